"""Optimal bandpowers over many skies: are they right in the mean, are their errors true, what do they gain?

    python benchmarks/optimal_spectrum.py --nside 32 --skies 2000 --rounds 256 --workers 2 -o optimal_32.json
    python benchmarks/optimal_spectrum.py --fields QU --nside 64 --skies 200 --workers 2 -o optimal_qu_64.json
    python benchmarks/optimal_spectrum.py --second-pass --nside 32 --skies 40 -o second_pass_32.json

Each sky behind the package's Planck-like mask goes through the estimator and, beside it, through the decoupled
pseudo-spectrum (MASTER) of the same pixels, with the mask as it is and apodized. Skies have power as far as the map
holds, the estimator's model as far as `optimal_spectrum` takes it.

Of Q, U the noise is 2 µK arcmin and the model that of lensing B alone; true skies have r = 0 and 0.001. r is fitted to
the bandpowers of BB, lensing and noise known, with weights by their scatter over the skies, for every way alike.

The second pass takes a model that is off by a tilt, fits a smooth correction to the bandpowers found with it, and
estimates again with the corrected model, made from the same data. Differences are from what the true model finds.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from cmbinpaint._machine import most_threads
from cmbinpaint.pipeline.bandpower_estimator import Estimator, without_tail
from cmbinpaint.sims import SkyModel, fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.spectra.mode_coupling import coupling_matrix, decouple, master, pseudo_cl
from cmbinpaint.sphere.masks import apodize
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NOISE = 3.0
BANDS = 12
POLARIZATION_NOISE = 2.0  # µK arcmin
TRUE_R = (0.0, 0.001)
APODIZED_DEG = {"T": (1.0, 2.0), "QU": (3.0,)}
TILT = 0.3  # in ln C_ell over ln ell, of the model that is off


def temperature(nside: int, skies: int, workers: int, rounds: int) -> dict[str, Any]:
    """Mean and scatter of TT beside the errors that are stated, and beside the decoupled spectra's scatter."""
    cl, valid = fiducial_cl(3 * nside - 1), planck_like_mask(nside)
    model, window, bands = temperature_setting(nside, cl)
    with pool_of(workers) as pool:
        estimator = Estimator(valid, model, bands, window, seed=1, rounds=rounds, executor=pool)
    ways = [Pseudo.of(weights, (0, 0), model, bands) for weights in weights_of(valid, APODIZED_DEG["T"])]
    raw, *pseudo = each_sky(Task(nside, cl, NOISE, estimator._work, ways), range(skies), workers)
    optimal = np.array([estimator._bandpowers(one) - estimator.noise_bias for one in raw])
    wanted, errors = estimator.windows @ cl[: model.lmax + 1], np.sqrt(np.diag(estimator.solved))
    mean, scatter = optimal.mean(axis=0), optimal.std(axis=0, ddof=1)
    scatters = (scatter / errors - 1) * np.sqrt(2 * (skies - 1))
    relative = [powers.std(axis=0, ddof=1) / bands.bin(model.signal_cl) for powers in pseudo]
    return {
        "fsky": float(valid.mean()), "edges": bands.edges.tolist(), "lmax": model.lmax,
        "mean": agreement(mean - wanted, estimator.solved / skies),
        "scatter over error": (scatter / errors).tolist(),
        "scatter": agreement(scatters, np.eye(bands.n)),
        "error over cosmic": (errors / wanted / np.sqrt(2 / bands.n_modes / valid.mean())).tolist(),
        "pseudo over optimal": {
            name: (each / (scatter / wanted)).tolist() for name, each in zip(names_of("T"), relative, strict=True)
        },
    }  # fmt: skip


def agreement(distance: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """How far numbers are from what is expected of them: in standard errors, and all together."""
    deviations = distance / np.sqrt(np.diag(covariance))
    chi2 = float(distance @ np.linalg.solve(covariance, distance))
    return {
        "deviations": deviations.tolist(), "largest deviation": float(np.abs(deviations).max()), "chi2": chi2,
        "p": float(stats.chi2.sf(chi2, distance.size)),
    }  # fmt: skip


def temperature_setting(nside: int, cl: np.ndarray) -> tuple[SkyModel, np.ndarray, Bandpowers]:
    """What `optimal_spectrum` makes of a spectrum, the beam and the noise."""
    fwhm, bands = 3 * pixel_size(nside), bands_of(nside)
    model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=NOISE, lmax=3 * nside - 1)
    model = without_tail(model, planck_like_mask(nside), bands.lmax)
    return model, np.square(gaussian_beam(fwhm, model.lmax) * pixel_window(nside, model.lmax)), bands


def bands_of(nside: int) -> Bandpowers:
    return log_bands(2, 3 * nside // 2, min(BANDS, 3 * nside // 4 - 1), min_width=2)


def weights_of(valid: np.ndarray, degrees: Sequence[float]) -> list[np.ndarray]:
    return [valid.astype(float), *(apodize(valid, radius) for radius in degrees)]


def names_of(fields: str) -> list[str]:
    return ["decoupled", *(f"apodized by {radius:g} degrees" for radius in APODIZED_DEG[fields])]


@dataclass(frozen=True)
class Pseudo:
    """The decoupled spectrum of one weighting: TT, or BB."""

    weights: np.ndarray
    coupling: np.ndarray
    shape: np.ndarray
    bands: Bandpowers

    @classmethod
    def of(cls, weights: np.ndarray, spins: tuple[int, int], model: SkyModel, bands: Bandpowers) -> "Pseudo":
        shape = np.diagonal(model.signal.values).T
        return cls(weights, coupling_matrix(weights, model.lmax, spins=spins), np.squeeze(shape), bands)

    def bandpowers(self, sky: np.ndarray) -> np.ndarray:
        lmax = self.shape.shape[-1] - 1
        if sky.ndim == 1:
            return master(sky, self.weights, self.bands, lmax, shape=self.shape, coupling=self.coupling)
        pseudo = pseudo_cl(sky, np.stack([self.weights] * 2), lmax)[:2]
        return decouple(pseudo, self.coupling, self.bands, shape=self.shape)[1]


@dataclass(frozen=True)
class Task:
    """What each sky is drawn from, and the ways it goes."""

    nside: int
    cl: np.ndarray
    noise: float
    work: Any
    ways: list[Pseudo]

    def of(self, inverse: Any, seed: int) -> list[np.ndarray]:
        """The quadratic estimates of a sky, and its decoupled bandpowers."""
        fwhm = 3 * pixel_size(self.nside)
        sky = simulate_sky(self.cl, self.nside, fwhm=fwhm, noise_std=self.noise, pixwin=True, seed=seed)
        sky = np.where(self.work.valid, sky, 0.0)
        return [self.work.quadratic(inverse, sky), *(way.bandpowers(sky) for way in self.ways)]


def each_sky(task: Task, seeds: Iterable[int], workers: int) -> list[np.ndarray]:
    """Arrays with the skies on the first axis."""
    if workers == 1:
        inverse = task.work.filter()
        rows = [task.of(inverse, seed) for seed in seeds]
    else:
        with pool_of(workers, task) as pool:
            rows = list(pool.map(_by_worker, seeds, chunksize=4))
    return [np.array(one) for one in zip(*rows, strict=True)]


def pool_of(workers: int, task: Task | None = None) -> Any:
    if workers == 1:
        return nullcontext()
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(workers, context, *((_begin, (task,)) if task else ()))


_begun: list[Any] = []


def _begin(task: Task) -> None:
    with most_threads(1):
        _begun[:] = [task, task.work.filter()]


def _by_worker(seed: int) -> list[np.ndarray]:
    task, inverse = _begun
    with most_threads(1):
        return task.of(inverse, seed)


def polarization(nside: int, skies: int, workers: int, rounds: int) -> dict[str, Any]:
    """BB and the r fitted to it, for each true r: optimal, decoupled, decoupled with the mask apodized."""
    lmax, valid, fwhm = 3 * nside - 1, planck_like_mask(nside), 3 * pixel_size(nside)
    level, both, bands = (
        POLARIZATION_NOISE / (pixel_size(nside) * np.degrees(1) * 60), np.stack([valid, valid]), bands_of(nside)
    )  # fmt: skip
    spectra = {r: fiducial_spectra(lmax, r=r)[1:3] for r in TRUE_R}
    model = SkyModel.from_theory(spectra[0.0], nside, fwhm=fwhm, noise_std=level, lmax=lmax)
    model = without_tail(model, both, bands.lmax)
    cut = {r: each[:, : model.lmax + 1] for r, each in spectra.items()}
    tensor = (cut[TRUE_R[1]] - cut[0.0])[1] / TRUE_R[1]
    beam = gaussian_beam(fwhm, model.lmax) * pixel_window(nside, model.lmax, spin=2)
    window = np.tile(np.square(beam), (3, 1))
    with pool_of(workers) as pool:
        estimator = Estimator(both, model, bands, window, seed=1, rounds=rounds, executor=pool)
    ways = [Pseudo.of(weights, (2, 2), model, bands) for weights in weights_of(valid, APODIZED_DEG["QU"])]
    noise = level**2 * 4 * np.pi / valid.size
    inside = np.divide(1.0, window[0], out=np.zeros(model.lmax + 1), where=window[0] > 0)
    ideal = bands.bin(cut[0.0][1] + noise * inside) * np.sqrt(2 / bands.n_modes / valid.mean())
    block = estimator.solved.reshape(3, bands.n, 3, bands.n)[1, :, 1]
    result: dict[str, Any] = {
        "fsky": float(valid.mean()), "edges": bands.edges.tolist(), "noise": level, "lmax": model.lmax,
        "BB error over ideal": (np.sqrt(np.diag(block)) / ideal).tolist(),
    }  # fmt: skip
    for r in TRUE_R:
        raw, *pseudo = each_sky(Task(nside, spectra[r], level, estimator._work, ways), range(skies), workers)
        optimal = np.array([(estimator._bandpowers(one) - estimator.noise_bias)[1] for one in raw])
        rows: dict[str, Any] = {}
        for way, powers in zip(["optimal", *names_of("QU")], [optimal, *pseudo], strict=True):
            # A decoupled bandpower has the beam in: of the mean spectrum in its band.
            own = 1.0 if way == "optimal" else bands.bin(window[0] * cut[r][1]) / bands.bin(cut[r][1])
            if way == "optimal":
                rest, slope = ((estimator.windows[1] * np.stack([e, b, 0 * b])).sum(axis=(1, 2))
                               for e, b in (cut[0.0], (0 * tensor, tensor)))  # fmt: skip
            else:
                rest, slope = bands.bin(window[0] * cut[0.0][1]) + noise, bands.bin(window[0] * tensor)
            fitted, scatter = fit(powers, rest, slope), powers.std(axis=0, ddof=1)
            distance = powers.mean(axis=0) - rest - r * slope
            covariance = block if way == "optimal" and r == 0 else np.cov(powers, rowvar=False)
            rows[way] = {
                "scatter over ideal": (scatter / own / ideal).tolist(),
                "mean": agreement(distance, covariance / skies),
                "r": float(fitted.mean()), "r error": float(fitted.std(ddof=1) / skies**0.5),
                "sigma r": float(fitted.std(ddof=1)),
            }  # fmt: skip
        result[f"r = {r:g}"] = rows
    slope = (estimator.windows[1, :, 1] * tensor).sum(axis=1)
    result["sigma r, Fisher"] = float((slope @ np.linalg.solve(block, slope)) ** -0.5)
    return result


def fit(powers: np.ndarray, rest: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(skies,) r, linear, with weights by the bandpowers' scatter."""
    weights = slope / powers.var(axis=0, ddof=1)
    return (powers - rest) @ weights / (slope @ weights)


def second_pass(nside: int, skies: int) -> dict[str, Any]:
    """How far bandpowers are from those of the true model, with a model that is off and with one fitted to the sky."""
    valid, sky_cl, fwhm = planck_like_mask(nside), fiducial_cl(3 * nside - 1), 3 * pixel_size(nside)
    model, window, bands = temperature_setting(nside, sky_cl)
    cl, ell = sky_cl[: model.lmax + 1], np.maximum(np.arange(model.lmax + 1), 2)
    ways: dict[str, list[np.ndarray]] = {"off": [], "fitted": []}

    def assumed(cl: np.ndarray) -> SkyModel:
        return SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=NOISE, lmax=model.lmax)

    true = Estimator(valid, model, bands, window, seed=1)
    off_cl = cl * (ell / nside) ** TILT
    off = Estimator(valid, assumed(off_cl), bands, window, seed=1)
    powers = np.vander(np.log(ell / nside), 3)
    for seed in range(skies):
        sky = simulate_sky(sky_cl, nside, fwhm=fwhm, noise_std=NOISE, pixwin=True, seed=seed)
        best, first = true.estimate(sky) - true.noise_bias, off.estimate(sky) - off.noise_bias
        # A smooth factor, quadratic in ln ell, that brings the model to the bandpowers.
        ratio, error = first / (off.windows @ off_cl), np.sqrt(np.diag(off.solved)) / (off.windows @ off_cl)
        at = np.vander(np.log(bands.centers / nside), 3) / error[:, None]
        correction = powers @ np.linalg.lstsq(at, np.log(np.maximum(ratio, 0.05)) / error, rcond=None)[0]
        again_cl = off_cl * np.exp(np.clip(correction, -3, 3))
        again = Estimator(valid, assumed(again_cl), bands, window, seed=1)
        found = again.estimate(sky) - again.noise_bias
        ways["off"].append((first - off.windows @ cl) - (best - true.windows @ cl))
        ways["fitted"].append((found - again.windows @ cl) - (best - true.windows @ cl))
    sigma = np.sqrt(np.diag(true.solved))
    result: dict[str, Any] = {"edges": bands.edges.tolist(), "tilt": TILT}
    for way, rows in ways.items():
        differences = np.array(rows) / sigma
        result[way] = {
            "bias over sigma": differences.mean(axis=0).tolist(),
            "its error": (differences.std(axis=0, ddof=1) / skies**0.5).tolist(),
            "scatter over sigma": differences.std(axis=0, ddof=1).tolist(),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nside", type=int, default=32)
    parser.add_argument("--skies", type=int, default=200)
    parser.add_argument("--fields", choices=["T", "QU"], default="T")
    parser.add_argument("--second-pass", action="store_true")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that share the skies; not of --second-pass"
    )
    parser.add_argument("--rounds", type=int, default=64, help="vectors a band that probe the response: its error, of "
        "8 up to 0.05 of a bandpower's, must be below that of the mean over skies; not of --second-pass")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    result = {"what": "optimal_spectrum", "nside": args.nside, "skies": args.skies}
    if args.second_pass:
        result |= second_pass(args.nside, args.skies)
    elif args.fields == "QU":
        result |= polarization(args.nside, args.skies, args.workers, args.rounds)
    else:
        result |= temperature(args.nside, args.skies, args.workers, args.rounds)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
