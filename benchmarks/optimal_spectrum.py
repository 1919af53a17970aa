"""Optimal bandpowers over many skies: are they right in the mean, are their errors true, what do they gain?

    python benchmarks/optimal_spectrum.py --nside 32 --skies 2000 -o optimal_32.json
    python benchmarks/optimal_spectrum.py --fields QU --nside 64 --skies 200 -o optimal_qu_64.json
    python benchmarks/optimal_spectrum.py --second-pass --nside 32 --skies 40 -o second_pass_32.json

Each sky behind the package's Planck-like mask goes through the estimator and, beside it, through the decoupled
pseudo-spectrum (MASTER) of the same pixels, nothing apodized; of Q, U apodized too.

Of Q, U the noise is 2 µK arcmin and the model that of lensing B alone; true skies have r = 0 and 0.001. r is fitted to
the bandpowers of BB, lensing and noise known, with weights by their scatter over the skies, for every way alike.

The second pass takes a model that is off by a tilt, fits a smooth correction to the bandpowers found with it, and
estimates again with the corrected model, made from the same data. Differences are from what the true model finds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint.pipeline.bandpower_estimator import Estimator
from cmbinpaint.sims import SkyModel, fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.spectra.mode_coupling import coupling_matrix, master
from cmbinpaint.sphere.masks import apodize
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NOISE = 3.0
BANDS = 12
POLARIZATION_NOISE = 2.0  # µK arcmin
TRUE_R = (0.0, 0.001)
APODIZED_DEG = 3.0
TILT = 0.3  # in ln C_ell over ln ell, of the model that is off
# Vectors a band, so that the response is known better than a mean over thousands of skies.
ROUNDS = 64


def temperature(nside: int, skies: int) -> dict[str, Any]:
    """Mean and scatter of TT beside the errors that are stated, and beside the decoupled spectrum's scatter."""
    lmax, valid = 3 * nside - 1, planck_like_mask(nside)
    cl, fwhm = fiducial_cl(lmax), 3 * pixel_size(nside)
    model, window, bands = temperature_setting(nside, cl)
    estimator = Estimator(valid, model, bands, window, seed=1, rounds=ROUNDS)
    wanted, errors = estimator.windows @ cl, np.sqrt(np.diag(estimator.solved))
    coupling = coupling_matrix(valid.astype(float), lmax)
    optimal, pseudo = np.empty((2, skies, bands.n))
    for seed in range(skies):
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=NOISE, pixwin=True, seed=seed)
        sky = np.where(valid, sky - sky[valid].mean(), 0.0)
        optimal[seed] = estimator.estimate(sky) - estimator.noise_bias
        pseudo[seed] = master(sky, valid.astype(float), bands, shape=model.signal_cl, coupling=coupling)
    mean, scatter = optimal.mean(axis=0), optimal.std(axis=0, ddof=1)
    chi2 = skies * (mean - wanted) @ np.linalg.solve(estimator.solved, mean - wanted)
    return {
        "fsky": float(valid.mean()),
        "edges": bands.edges.tolist(), "bias_sigma": ((mean - wanted) / scatter * np.sqrt(skies)).tolist(),
        "chi2": float(chi2), "scatter_over_error": (scatter / errors).tolist(),
        "error_over_cosmic": (errors / wanted / np.sqrt(2 / bands.n_modes / valid.mean())).tolist(),
        "pseudo_over_optimal": (pseudo.std(axis=0, ddof=1) / bands.bin(model.signal_cl) / (scatter / wanted)).tolist(),
    }  # fmt: skip


def temperature_setting(nside: int, cl: np.ndarray) -> tuple[SkyModel, np.ndarray, Bandpowers]:
    lmax, fwhm = 3 * nside - 1, 3 * pixel_size(nside)
    model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=NOISE, lmax=lmax)
    window = np.square(gaussian_beam(fwhm, lmax) * pixel_window(nside, lmax))
    return model, window, bands_of(nside)


def bands_of(nside: int) -> Bandpowers:
    return log_bands(2, 3 * nside // 2, min(BANDS, 3 * nside // 4 - 1), min_width=2)


def polarization(nside: int, skies: int) -> dict[str, Any]:
    """BB and the r fitted to it, for each true r: optimal, decoupled, decoupled with the mask apodized."""
    lmax, valid, fwhm = 3 * nside - 1, planck_like_mask(nside), 3 * pixel_size(nside)
    level = POLARIZATION_NOISE / (pixel_size(nside) * np.degrees(1) * 60)
    spectra = {r: fiducial_spectra(lmax, r=r)[1:3] for r in TRUE_R}
    tensor = (spectra[TRUE_R[1]] - spectra[0.0])[1] / TRUE_R[1]
    model = SkyModel.from_theory(spectra[0.0], nside, fwhm=fwhm, noise_std=level, lmax=lmax)
    beam = gaussian_beam(fwhm, lmax) * pixel_window(nside, lmax, spin=2)
    window, bands = np.tile(np.square(beam), (3, 1)), bands_of(nside)
    estimator = Estimator(np.stack([valid, valid]), model, bands, window, seed=1, rounds=ROUNDS)
    weights = {"decoupled": valid.astype(float), "apodized": apodize(valid, APODIZED_DEG)}
    found = {way: np.empty((len(TRUE_R), skies, bands.n)) for way in ("optimal", *weights)}
    for i, r in enumerate(TRUE_R):
        for seed in range(skies):
            sky = simulate_sky(spectra[r], nside, fwhm=fwhm, noise_std=level, pixwin=True, seed=seed)
            found["optimal"][i, seed] = (estimator.estimate(sky) - estimator.noise_bias)[1]
            for way, mask in weights.items():
                shape = model.signal_cl[[0, 1], [0, 1]]
                found[way][i, seed] = master(sky, mask, bands, shape=shape)[1]
    noise = level**2 * 4 * np.pi / valid.size
    inside = np.divide(1.0, window[0], out=np.zeros(lmax + 1), where=window[0] > 0)
    ideal = bands.bin(spectra[0.0][1] + noise * inside) * np.sqrt(2 / bands.n_modes / valid.mean())
    errors = np.sqrt(np.diag(estimator.solved)).reshape(3, -1)[1]
    result: dict[str, Any] = {
        "fsky": float(valid.mean()), "edges": bands.edges.tolist(), "noise": level,
        "BB error over ideal": (errors / ideal).tolist(),
    }  # fmt: skip
    for i, r in enumerate(TRUE_R):
        rows: dict[str, Any] = {}
        for way, powers in found.items():
            beams = np.ones(lmax + 1) if way == "optimal" else window[0]
            added = 0.0 if way == "optimal" else noise
            # A decoupled bandpower has the beam in: of the mean spectrum in its band.
            own = 1.0 if way == "optimal" else bands.bin(beams * spectra[r][1]) / bands.bin(spectra[r][1])
            if way == "optimal":
                rest, slope = ((estimator.windows[1] * np.stack([e, b, 0 * b])).sum(axis=(1, 2))
                               for e, b in (spectra[0.0], (0 * tensor, tensor)))  # fmt: skip
            else:
                rest, slope = bands.bin(beams * spectra[0.0][1]) + added, bands.bin(beams * tensor)
            fitted = fit(powers[i], rest, slope)
            expected = rest + r * slope
            scatter = powers[i].std(axis=0, ddof=1)
            rows[way] = {
                "scatter over ideal": (scatter / own / ideal).tolist(),
                "bias in standard errors": ((powers[i].mean(axis=0) - expected) / scatter * skies**0.5).tolist(),
                "r": float(fitted.mean()), "r error": float(fitted.std(ddof=1) / skies**0.5),
                "sigma r": float(fitted.std(ddof=1)),
            }  # fmt: skip
        result[f"r = {r:g}"] = rows
    slope = (estimator.windows[1, :, 1] * tensor).sum(axis=1)
    block = estimator.solved.reshape(3, bands.n, 3, bands.n)[1, :, 1]
    result["sigma r, Fisher"] = float((slope @ np.linalg.solve(block, slope)) ** -0.5)
    return result


def fit(powers: np.ndarray, rest: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(skies,) r, linear, with weights by the bandpowers' scatter."""
    weights = slope / powers.var(axis=0, ddof=1)
    return (powers - rest) @ weights / (slope @ weights)


def second_pass(nside: int, skies: int) -> dict[str, Any]:
    """How far bandpowers are from those of the true model, with a model that is off and with one fitted to the sky."""
    lmax, valid = 3 * nside - 1, planck_like_mask(nside)
    cl, fwhm, ell = fiducial_cl(lmax), 3 * pixel_size(nside), np.maximum(np.arange(lmax + 1), 2)
    model, window, bands = temperature_setting(nside, cl)
    ways: dict[str, list[np.ndarray]] = {"off": [], "fitted": []}
    true = Estimator(valid, model, bands, window, seed=1)
    off_cl = cl * (ell / nside) ** TILT
    off = Estimator(valid, temperature_setting(nside, off_cl)[0], bands, window, seed=1)
    powers = np.vander(np.log(ell / nside), 3)
    for seed in range(skies):
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=NOISE, pixwin=True, seed=seed)
        best, first = true.estimate(sky) - true.noise_bias, off.estimate(sky) - off.noise_bias
        # A smooth factor, quadratic in ln ell, that brings the model to the bandpowers.
        ratio, error = first / (off.windows @ off_cl), np.sqrt(np.diag(off.solved)) / (off.windows @ off_cl)
        at = np.vander(np.log(bands.centers / nside), 3) / error[:, None]
        correction = powers @ np.linalg.lstsq(at, np.log(np.maximum(ratio, 0.05)) / error, rcond=None)[0]
        again_cl = off_cl * np.exp(np.clip(correction, -3, 3))
        again = Estimator(valid, temperature_setting(nside, again_cl)[0], bands, window, seed=1)
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
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    result = {"what": "optimal_spectrum", "nside": args.nside, "skies": args.skies}
    if args.second_pass:
        result |= second_pass(args.nside, args.skies)
    elif args.fields == "QU":
        result |= polarization(args.nside, args.skies)
    else:
        result |= temperature(args.nside, args.skies)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
