"""Filling Q, U and T, Q, U: steps to the exact mean, the bias of realizations' spectra, times.

    python benchmarks/polarization.py --nside 64 --skies 40 -o polarization_64.json
    python benchmarks/polarization.py --nside 512 --skies 3 --parts bias --cases "Q, U, 2" -o polarization_512.json

Planck-like mask, beam of three pixels, lensing B only. Distances are from a mean that is converged to 1e-6 posterior
standard deviations, in the posterior standard deviations of the worst Stokes parameter and depth; powers are the
largest E or B power of what is missing over the sky's, in bands to ell = 1.5 nside. The bias is `-2 C_ell(F, R)` over
the sky's spectrum, F the filled mean and R what it misses: as it is, and less that of the converged mean on the same
sky. Excess is the error of the filled signal over that of the converged mean, by Stokes parameter and depth: with the
sky model given, and with nothing given but map and mask.
"""

import time
import warnings
from typing import Any

import numpy as np
from common import Setting, arguments, write

from cmbinpaint import inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.gaussian.hole_values import HoleValues
from cmbinpaint.gaussian.missing_power import MissingPower
from cmbinpaint.gaussian.solver import DEPTH_EDGES, GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.pixels import pixel_size

STEPS = (0, 3, 5, 8, 12, 20, 30)
CONVERGED: dict[str, Any] = {"tolerance": 1e-6, "power_tolerance": 1e-8, "max_steps": 3000}
ARCMIN = np.degrees(1) * 60
# Noise of T (None: Q and U alone) and of Q and U, µK arcmin.
CASES = {
    "Q, U, 50": (None, 50.0), "Q, U, 16": (None, 16.0), "Q, U, 2": (None, 2.0),
    "T, Q, U, 50, 50": (50.0, 50.0), "T, Q, U, 16, 16": (16.0, 16.0), "T, Q, U, 160, 16": (160.0, 16.0),
    "T, Q, U, 2, 2": (2.0, 2.0),
}  # fmt: skip


def model_of(nside: int, noise_t: float | None, noise_p: float) -> SkyModel:
    """The sky model of a case."""
    per_pixel = np.array([noise_t or noise_p, noise_p, noise_p]) / (pixel_size(nside) * ARCMIN)
    made = SkyModel.from_theory(
        fiducial_spectra(3 * nside - 1), nside, fwhm=3 * pixel_size(nside), noise_std=per_pixel
    )
    return made if noise_t else made.only(Fields.QU)


def observe(model: SkyModel, seed: int) -> np.ndarray:
    """An observation of the full sky."""
    return np.add(*draw_observation(model, np.random.default_rng(seed)))


def steps_of(valid: np.ndarray, model: SkyModel) -> dict[str, Any]:
    """How far the mean is after so many steps, and how many both criteria ask for; with the factor and without."""
    observed = np.where(valid, observe(model, 0), 0.0)
    solver = GaussianSolver(valid, model)
    exact = solver.solve(observed, **CONVERGED).mean
    holes = HoleValues(solver.valid, model, factored=True)
    bins, std = holes.bins(DEPTH_EDGES)
    missing = MissingPower(solver.harmonics, model.signal, holes.places[-1])
    counts = np.maximum(np.bincount(bins, minlength=std.size), 1)

    def away(mean: np.ndarray) -> list[float]:
        left = holes.of(exact - mean)
        squares = np.bincount(bins, left**2, std.size) / counts
        power = np.square(missing.of(left[-holes.places[-1].size :])).max()
        return [float((np.sqrt(squares) / std).max()), float(power)]

    found: dict[str, Any] = {}
    for kind in ("holes", "diagonal"):
        one = GaussianSolver(valid, model, precondition=kind)
        found[kind] = {"away": [away(one.solve(observed, steps=steps).mean) for steps in STEPS]}
    solution = solver.solve(observed)
    return found | {
        "steps": solution.steps, "estimates": [solution.change, solution.power], "left": away(solution.mean)
    }  # fmt: skip


def bias_of(valid: np.ndarray, model: SkyModel, skies: int) -> dict[str, Any]:
    """The bias of realizations' spectra over the sky's, in bands, and its standard error over skies."""
    solver = GaussianSolver(valid, model)
    lmax = min(model.lmax, 3 * model.nside // 2)
    bands, harmonics = log_bands(2, lmax, 8), Harmonics(model.nside, lmax)
    names, pairs = model.fields.spectra, model.fields.pairs
    plain, reduced = [], []
    for seed in range(skies):
        sky = observe(model, 100 + seed)
        both = []
        for options in ({}, CONVERGED):
            filled = np.where(valid, sky, solver.solve(np.where(valid, sky, 0.0), **options).mean)
            f, r = (harmonics.analysis(one, iterations=1) for one in (filled, sky - filled))
            cross = [(alm_to_cl(f[i], lmax, r[j]) + alm_to_cl(f[j], lmax, r[i])) / 2 for i, j in pairs]
            both.append([-2 * bands.bin(cl) for cl in cross])
        plain.append(both[0])
        reduced.append(np.subtract(*both))
    power = model.signal.values[..., : lmax + 1]
    scale = np.array([bands.bin(np.sqrt(power[i, i] * power[j, j])) for i, j in pairs])
    return {
        "bands": bands.edges.tolist(),
        **{
            name: {key: (np.array(values)[:, n] / scale[n]).mean(axis=0).tolist() for key, values in
                   (("bias", plain), ("reduced", reduced))}
            | {f"{key} error": ((np.array(values)[:, n] / scale[n]).std(axis=0) / np.sqrt(skies)).tolist()
               for key, values in (("bias", plain), ("reduced", reduced))}
            for n, name in enumerate(names)
        },
    }  # fmt: skip


def excess_of(valid: np.ndarray, model: SkyModel, skies: int) -> dict[str, Any]:
    """The error in each bin of Stokes parameter and depth over that of the converged mean, and its standard error."""
    solver = GaussianSolver(valid, model)
    holes = HoleValues(solver.valid, model, factored=True)
    bins, std = holes.bins(DEPTH_EDGES)
    plan = plan_inpainting(valid)
    squares: dict[str, list[np.ndarray]] = {"exact": [], "given": [], "from the map": []}
    for seed in range(skies):
        signal, noise = draw_observation(model, np.random.default_rng(500 + seed))
        sky = signal + noise
        options: dict[str, Any] = {"plan": plan, "unit": "uK", "fill": "prediction", "seed": 1}
        found = {
            "exact": solver.solve(np.where(valid, sky, 0.0), **CONVERGED).mean,
            "given": inpaint_map(sky, sky_model=model, **options),
            "from the map": inpaint_map(sky, **options),
        }
        for way, filled in found.items():
            squares[way].append(np.bincount(bins, holes.of(signal - filled) ** 2, std.size))
    exact = np.array(squares.pop("exact"))
    result = {"pixels": np.bincount(bins, minlength=std.size).tolist()}
    for way, rows in squares.items():
        ratio = np.sqrt(np.sum(rows, axis=0) / exact.sum(axis=0))
        without = [
            np.sqrt((np.sum(rows, axis=0) - row) / (exact.sum(axis=0) - one))
            for row, one in zip(rows, exact, strict=True)
        ]
        result[way] = ratio.tolist()
        result[f"{way}, error"] = (np.std(without, axis=0) * np.sqrt(skies - 1)).tolist()
    return result


def seconds_of(valid: np.ndarray, model: SkyModel) -> dict[str, float]:
    """Of a first map and of the next, by `inpaint_map`."""
    sky, plan, found = observe(model, 0), plan_inpainting(valid), {}
    for name in ("first", "next"):
        start = time.perf_counter()
        inpaint_map(sky, plan=plan, sky_model=model, unit="uK", seed=1)
        found[name] = time.perf_counter() - start
    return found


def main() -> None:
    """Measure every case, or those that are named."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    parser.add_argument("--parts", nargs="*", default=["steps", "seconds", "bias", "excess"])
    args = parser.parse_args()
    warnings.simplefilter("ignore", CmbInpaintWarning)
    valid = Setting.at(args.nside, args.mask).plan.valid
    results = {}
    for name in args.cases:
        model = model_of(args.nside, *CASES[name])
        results[name] = {}
        if "steps" in args.parts:
            results[name] |= steps_of(valid, model)
        if "seconds" in args.parts:
            results[name]["seconds"] = seconds_of(valid, model)
        if "bias" in args.parts and args.skies > 1:
            results[name]["bias"] = bias_of(valid, model, args.skies)
        if "excess" in args.parts and args.skies > 1:
            results[name]["excess"] = excess_of(valid, model, args.skies)
        print(name, results[name], flush=True)
    write(results | {"fsky": float(valid.mean())}, args.output)


if __name__ == "__main__":
    main()
