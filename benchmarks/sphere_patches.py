"""Training patches cut from spheres, as the pipeline cuts them: what a network sees in use, with the exact mean known.

    python benchmarks/sphere_patches.py --spheres 0 60 -o PATCHES     # more processes may make other numbers

Each sphere of nside 128 has a mask, a sky model and some skies of its own. Finer pixels are had by stretching the
spectrum: C'(L) = f² C(f L) is the sky seen with pixels f times smaller. Each file is a pure function of its number.
"""

import argparse
import os
from pathlib import Path

import healpy as hp
import numpy as np
import torch

from cmbinpaint.inpainters.factor import hole_factor, spread_by_depth
from cmbinpaint.inpainters.gaussian import GaussianSolver
from cmbinpaint.nn.inputs import conditions, patch_rms
from cmbinpaint.patches.cutting import cut_field, nearest_pixels
from cmbinpaint.patches.tiling import Tiling
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.skymodel import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

NSIDE, SKIES, TILES = 128, 6, 64
SHALLOW = 6.0  # pixels: deeper nothing is asked of the network
SPREAD_EDGES = tuple(0.9 * 2 ** (0.25 * i) for i in range(24))


def stretched_cl(factor: float) -> np.ndarray:
    """The fiducial spectrum as pixels `factor` times smaller than nside 128's see it."""
    cl = fiducial_cl(6200)
    ell = np.arange(3 * NSIDE)
    out = factor**2 * np.interp(ell * factor, np.arange(cl.size), cl, right=0.0)
    out[:2] = 0.0
    return out


def draw_mask(rng: np.random.Generator) -> np.ndarray:
    """A Planck-like mask, its pixels one, two or four across, and sometimes discs."""
    block = int(rng.choice([1, 2, 4], p=[0.5, 0.25, 0.25]))
    valid = planck_like_mask(NSIDE // block, seed=int(rng.integers(1 << 30)))
    valid = np.asarray(hp.ud_grade(valid.astype(float), NSIDE)) > 0.5
    if rng.random() < 0.5:
        for radius in np.exp(rng.uniform(np.log(1), np.log(20), size=rng.integers(20, 150))):
            center = rng.standard_normal(3)
            valid[hp.query_disc(NSIDE, center / np.linalg.norm(center), radius * pixel_size(NSIDE))] = False
    return valid


def make(number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(np.random.SeedSequence(number, spawn_key=(77,)))
    factor = float(np.exp(rng.uniform(0, np.log(16))))
    cl, fwhm = stretched_cl(factor), rng.uniform(0.5, 5.0) * pixel_size(NSIDE)
    rough = SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=1.0)
    side_rms = patch_rms(rough.signal_cl, pixel_size(NSIDE), 64)
    noise = side_rms * float(np.exp(rng.uniform(np.log(0.01), np.log(0.5))))
    model = SkyModel.from_theory(cl, NSIDE, fwhm=fwhm, noise_std=noise)
    valid = draw_mask(rng)
    k = int(rng.choice([32, 64]))
    guess = hole_factor(valid, model, nearest=k, threads=1)
    solver = GaussianSolver(valid, model, factor=guess, threads=1)
    near = np.sort(guess.holes[guess.depth < SHALLOW])
    tiling = Tiling.cover(NSIDE, near)
    grid = tiling.grid
    rms = patch_rms(model.signal_cl, grid.step_rad, grid.side)
    class_of, std = spread_by_depth(guess, SPREAD_EDGES)
    spread, depth = np.zeros(valid.size), np.zeros(valid.size)
    spread[guess.holes], depth[guess.holes] = std[class_of] / rms, guess.depth
    chosen = rng.permutation(len(tiling))[:TILES]
    planes = [tiling.planes[i] for i in chosen]
    under = nearest_pixels(NSIDE, planes)
    transform = Harmonics(NSIDE, 3 * NSIDE - 1, single=True, threads=1)
    fields, wanted = [], []
    for _ in range(SKIES):
        observed = simulate_sky(
            cl,
            NSIDE,
            fwhm=fwhm,
            noise_std=noise,
            pixwin=True,
            lmax=model.lmax,
            seed=int(rng.integers(1 << 30)),
        )
        filled = np.where(valid, observed, 0.0)
        filled[guess.holes] = guess.mean(filled)
        change = np.where(valid, 0.0, solver.solve(observed).mean - filled) / rms
        alm = transform.analysis((filled - filled.mean()).astype(np.float32), iterations=1)
        fields.append(cut_field(alm, planes, threads=1) / rms)
        wanted.append(change[under] / np.maximum(spread[under], 1e-3))
    return {
        "x": np.stack(fields, 1).astype(np.float32),
        "wanted": np.stack(wanted, 1).astype(
            np.float16
        ),  # (tiles, skies, side, side) what lacks, over the spread
        "valid": valid[under],
        "deep": depth[under] >= SHALLOW,
        "spread": spread[under].astype(np.float16),
        "told": conditions(model.signal_cl, noise, grid.step_rad, grid.side),
        "facts": np.array([factor, fwhm / pixel_size(NSIDE), noise / rms, k, float(valid.mean())]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spheres", type=int, nargs=2, required=True, metavar=("FIRST", "LAST"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    for number in range(*args.spheres):
        path = args.output / f"{number:05d}.npz"
        if path.exists():
            continue
        made = make(number)
        beside = path.with_suffix(".part.npz")
        np.savez(beside, **made)
        os.replace(beside, path)
        gain = np.sqrt(
            np.mean(np.square(made["wanted"].astype(float)), where=~(made["valid"] | made["deep"])[:, None])
        )
        print(path.name, np.round(made["facts"], 3), f"lacks {gain:.3f} of the spread", flush=True)


if __name__ == "__main__":
    main()
