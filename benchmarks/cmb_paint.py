"""CMB-PAInT, the exact peer, on its own example, beside this package: means, draws, seconds, memory.

    python -m venv peer && peer/bin/pip install cmbpaint mpich
    python benchmarks/cmb_paint.py --peer peer/bin/python --example FOLDER -o cmb_paint_16.json
    python benchmarks/cmb_paint.py --peer peer/bin/python --temperature 32 -o cmb_paint_32_T.json

FOLDER holds the files of its example (map, two masks and spectra of T, Q, U at nside 16, from its repository,
ChristianGim/CMB-PAInT). It factorizes the covariance of all pixels (Gimeno-Amo et al. 2024), to whose diagonal it adds
`Noise_Level` per cent; the model here has white noise of that variance. Monopole and dipole of T have ten times the
power of the quadrupole in both. One process and one thread each; seconds are processor time. Its Cholesky factor tells
the posterior covariance, which judges both: the difference of the means in posterior standard deviations, and draws
whitened by the factor, which are standard normal numbers where the distribution is right.

With `--temperature NSIDE` T alone, of a simulated sky behind the package's Planck-like mask, beam of three pixels.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
from common import arguments, write
from scipy.linalg import solve_triangular
from scipy.stats import kstest

from cmbinpaint import load_model, plan_inpainting, read_map, read_mask
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import Filler, draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

NOISE_PERCENT = 0.02  # 1.4 % of the rms: less than 1 % is taken as 1 % here
MONOPOLE = 10  # power of monopole and dipole over the quadrupole's
DRAWS = 200
FILES = {
    "map": "cmbpaint_example_map_TQU.fits", "T mask": "cmbpaint_example_I_mask.fits",
    "P mask": "cmbpaint_example_P_mask.fits", "spectra": "cmbpaint_Cls_TTEEBBTE_ns_16_fwhm_640.npy",
}  # fmt: skip
PEER = """
import sys, json
from CMBPAInT.CMB_PAInT import CMB_PAInT
CMB_PAInT(**json.loads(sys.argv[1])).generate_config_file()
"""
FACTOR = """
import sys, h5py, numpy
with h5py.File(sys.argv[1] + "/Chol.hdf5") as file:
    numpy.save(sys.argv[1] + "/factor.npy", file["/data"][:])
"""


def sky_model(spectra: np.ndarray, nside: int) -> SkyModel:
    """The peer's model: its spectra, and noise of `NOISE_PERCENT` of each Stokes parameter's variance."""
    tt, ee, bb, te = spectra
    tt = np.concatenate([np.full(2, MONOPOLE * tt[2]), tt[2:]])
    zero = np.zeros_like(tt)
    matrix = np.array([[tt, te, zero], [te, ee, zero], [zero, zero, bb]])
    ell = np.arange(tt.size)
    variances = ((2 * ell + 1) * [tt, (ee + bb) / 2, (ee + bb) / 2]).sum(axis=1) / (4 * np.pi)
    noise = np.sqrt(NOISE_PERCENT / 100 * variances)
    return SkyModel(nside, matrix, noise)


def run_peer(python: Path, files: dict[str, Path], spectra: np.ndarray, folder: Path) -> dict[str, Any]:
    """Its three scripts on the example; seconds of each, and the peak memory of any."""
    np.save(folder / "cls.npy", spectra)
    polarized, masks = "P mask" in files, _masks(files)
    np.save(folder / "zero_0.npy", np.zeros(int((~masks).sum())))
    options = {
        "Cls": folder / "cls.npy", "Nside": hp.npix2nside(masks.shape[1]), "Lmax": spectra.shape[1] - 1,
        "Out_PATH": folder,
        "Inp_In_PATH": files["map"].parent, "Inp_Out_PATH": folder / "mean", "In_Name": files["map"].name,
        "Num_Sims": 1, "Single": True, "No_Z": False, "Cons_Uncons": False, "Fields": len(masks),
        "Zbar_PATH": folder / "zero", "I_Mask": files["T mask"], "P_Mask": files.get("P mask", files["T mask"]),
        "Chunks": 1024, "job_name": "example", "Noise_Level": NOISE_PERCENT, "DP": True, "Pol": polarized,
        "TPol": polarized, "local": True,
    }  # fmt: skip
    package = subprocess.run(
        [python, "-c", "import CMBPAInT; print(CMBPAInT.__path__[0])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    env = os.environ | {"PYTHONPATH": package, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def step(name: str) -> float:
        start = _children_seconds()
        command = [python, f"{package}/scripts/{name}.py", "--config", folder / "config.ini"]
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return _children_seconds() - start

    def configure(**changed: Any) -> None:
        text = json.dumps({key: str(value) if isinstance(value, Path) else value
                           for key, value in (options | changed).items()})  # fmt: skip
        subprocess.run([python, "-c", PEER, text], check=True)

    configure()
    names = ["local_covariance_matrix", "cholesky", "local_inpainting"]
    if (folder / f"Cov_TT_lmax_{spectra.shape[1] - 1}.npy").exists():  # the covariance of a run before
        names = names[1:]
    seconds = {name: step(name) for name in names}
    configure(Zbar_PATH=None, Num_Sims=DRAWS, Inp_Out_PATH=folder / "draws")
    seconds[f"local_inpainting, {DRAWS} draws"] = step("local_inpainting")
    subprocess.run([python, "-c", FACTOR, str(folder)], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": seconds, "peak_gib": peak}


def read_peer(folder: Path, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its mean (k, npix), draws (DRAWS, k, npix), and the factor of the covariance in the holes, T first, then Q, U."""
    stokes, holes = "TQU"[: len(masks)], int((~masks).sum())
    name = f"Inpainted_Maps/Inpainted_{stokes}_{{}}.fits"

    mean = _maps(folder / "mean" / name.format(0), len(masks))
    draws = [_maps(folder / "draws" / name.format(i), len(masks)) for i in range(DRAWS)]
    factor = np.load(folder / "factor.npy", mmap_mode="r")[-holes:, -holes:]
    return mean, np.array(draws), factor


def example(folder: Path) -> tuple[dict[str, Path], SkyModel]:
    """Its own files and their sky model."""
    files = {name: (folder / file).resolve() for name, file in FILES.items()}
    return files, sky_model(np.load(files["spectra"]), 16)


def temperature(nside: int, folder: Path) -> tuple[dict[str, Path], SkyModel]:
    """Files of a simulated map of T and its mask, and their sky model."""
    lmax, fwhm = 3 * nside - 1, 3 * pixel_size(nside)
    signal = SkyModel.from_theory(fiducial_spectra(lmax)[0], nside, fwhm=fwhm, lmax=lmax).signal_cl.copy()
    signal[:2] = MONOPOLE * signal[2]
    variance = ((2 * np.arange(lmax + 1) + 1) * signal).sum() / (4 * np.pi)
    model = SkyModel(nside, signal, np.sqrt(NOISE_PERCENT / 100 * variance))
    files = {"map": folder / "map.fits", "T mask": folder / "mask.fits"}
    sky = np.add(*draw_observation(model, np.random.default_rng(0)))
    hp.write_map(files["map"], sky, column_units="uK", dtype=np.float64, overwrite=True)
    hp.write_map(files["T mask"], planck_like_mask(nside), dtype=np.float32, overwrite=True)
    return files, model


def _children_seconds() -> float:
    """Processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _maps(path: Path, k: int) -> np.ndarray:
    """(k, npix) T, or T, Q, U."""
    return np.atleast_2d(read_map(path, (0, 1, 2) if k == 3 else 0, unit="uK")[0])


def _masks(files: dict[str, Path]) -> np.ndarray:
    """(3, npix) masks of T, Q, U, or (1, npix) of T alone."""
    names = ("T mask", "P mask", "P mask") if "P mask" in files else ("T mask",)
    return np.array([read_mask(files[name]) > 0.5 for name in names])


def ours(
    sky: np.ndarray, masks: np.ndarray, model: SkyModel
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """The mean (k, npix), draws, and what they took."""
    sky, masks = np.squeeze(sky), np.squeeze(masks)
    observed, start = np.where(masks, sky, 0.0), time.process_time()
    solution = GaussianSolver(masks, model).solve(
        observed, tolerance=1e-5, power_tolerance=1e-6, max_steps=20_000
    )
    mean = np.where(masks, sky, solution.mean)
    found: dict[str, Any] = {
        "mean to 1e-5 σ": {"seconds": time.process_time() - start, "steps": solution.steps}
    }
    start, rng = time.process_time(), np.random.default_rng(1)
    filler = Filler.prepare(load_model("gaussian"), plan_inpainting(masks).of(model.fields), model, None)
    drawn = [filler.realize(observed, rng)]
    found["a first realization"] = time.process_time() - start
    start = time.process_time()
    drawn += [filler.realize(observed, rng) for _ in range(DRAWS - 1)]
    found[f"{DRAWS} draws"] = time.process_time() - start
    return np.atleast_2d(mean), np.reshape(drawn, (DRAWS, *np.atleast_2d(mean).shape)), found


def judged(draws: np.ndarray, mean: np.ndarray, factor: np.ndarray, holes: np.ndarray) -> dict[str, float]:
    """Draws whitened by the peer's factor: mean of squares with its error, the KS test's p against a normal."""
    white = solve_triangular(factor, (draws - mean)[:, holes].T, lower=True)
    return {
        "mean square": float(np.square(white).mean()),
        "error": float(np.sqrt(2 / white.size)),
        "ks_p": float(kstest(white.ravel(), "norm").pvalue),
    }


def main() -> None:
    """Run both on the example and compare."""
    parser = arguments(__doc__ or "")
    parser.add_argument(
        "--peer", type=Path, required=True, help="python of an environment with cmbpaint and mpich"
    )
    parser.add_argument("--example", type=Path, help="folder of the example's four files")
    parser.add_argument("--temperature", type=int, metavar="NSIDE", help="T alone of a simulated sky instead")
    parser.add_argument("--keep", type=Path, help="a folder for the peer's files, made once and read again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        files, model = temperature(args.temperature, folder) if args.temperature else example(args.example)
        masks = _masks(files)
        sky = _maps(files["map"], len(masks))
        theirs, signal = np.zeros((6, model.lmax + 1)), model.signal.values
        for row, (i, j) in zip(theirs, model.fields.pairs[:4], strict=False):
            row[:] = signal[i, j]
        peer, holes = run_peer(args.peer.absolute(), files, theirs, folder), ~masks
        peer_mean, peer_draws, factor = read_peer(folder, masks)
    mean, draws, mine = ours(sky, masks, model)
    std = np.sqrt(np.square(factor).sum(axis=1))
    off = np.abs(mean - peer_mean)[holes] / std
    row = np.nonzero(holes)[0]
    apart = {
        name: {"rms": float(np.sqrt(np.mean(off[row == i] ** 2))), "largest": float(off[row == i].max())}
        for i, name in enumerate("TQU"[: len(masks)])
    }
    result = {
        "holes": holes.sum(axis=1).tolist(),
        "means apart, posterior σ": apart,
        "draws": {"peer": judged(peer_draws, peer_mean, factor, holes),
                  "cmbinpaint": judged(draws, mean, factor, holes)},
        "peer": peer, "cmbinpaint": mine | {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20},
    }  # fmt: skip
    print(result)
    write(result, args.output)


if __name__ == "__main__":
    sys.exit(main())
