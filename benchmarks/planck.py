"""Planck's own map with holes: filled, its spectrum by three estimators, and Planck's published one.

    python benchmarks/planck.py DATA -o benchmarks/results/planck_128.json --figures docs/figures

DATA is a folder with public files that are not in this repository: CMB_I_SMICA_128_R2.00.fits,
HFI_SkyMap_857_128_R2.00_NESTED.fits, planck_like_mask_nside128.fits, COM_PowerSpect_CMB-TT-binned_R3.01.txt.

The sky is one, so that how well spectra should agree is learned from simulations treated alike: skies of nside 512,
beam 5', degraded to 128 as the public map is, behind the same mask; beside each, for what Planck published, the
decoupled spectrum behind another, larger mask. Spectra are divided by the simulations' mean: window and degrading drop
out.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import healpy as hp
import matplotlib
import numpy as np
from common import save_small, write
from scipy.stats import chi2

from cmbinpaint import inpaint_map, plan_inpainting, read_map, read_mask, self_check
from cmbinpaint.pipeline.bandpower_estimator import Estimator
from cmbinpaint.plots import draw_sky
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.mode_coupling import coupling_matrix, master
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

matplotlib.use("Agg")
from matplotlib import pyplot as plt

NSIDE, FINE, BEAM = 128, 512, np.radians(5 / 60)
LMAX = 3 * NSIDE - 1
# µK: the map has no noise but power beyond LMAX that degrading folded back, which `inpaint_map` estimates as 22 µK.
NOISE = 15.0
BANDS = Bandpowers(np.arange(30, 271, 30))  # Planck's, to where the degraded map is clean
REALIZATIONS = {"map": 10, "simulation": 1}
NAMES = ("filled", "decoupled", "optimal")


class Estimators:
    """Spectra of one map behind one mask, whatever map it is."""

    def __init__(self, mask: np.ndarray, published: np.ndarray) -> None:
        cl = fiducial_cl(LMAX)
        self.plan, self.mask, self.published = plan_inpainting(mask), mask, published
        self.model = SkyModel.from_theory(cl, NSIDE, fwhm=BEAM, noise_std=NOISE, lmax=LMAX)
        window = np.square(gaussian_beam(BEAM, LMAX) * pixel_window(NSIDE, LMAX))
        self.optimal = Estimator(mask, self.model, BANDS, window, seed=1)
        self.coupling = {w.tobytes(): coupling_matrix(w.astype(float), LMAX) for w in (mask, published)}

    def spectra(self, sky: np.ndarray, realizations: int, seed: int) -> dict[str, np.ndarray]:
        """Bandpowers by each estimator, and what stands for the published ones."""
        filled = inpaint_map(
            sky, plan=self.plan, sky_model=self.model, unit="uK", n_realizations=realizations, seed=seed
        )
        return {
            "filled": np.mean([BANDS.bin(hp.anafast(one, lmax=LMAX, iter=3)) for one in filled], axis=0),
            "decoupled": self._decoupled(sky, self.mask),
            "optimal": self.optimal.estimate(np.where(self.mask, sky - sky[self.mask].mean(), 0.0)),
            "published": self._decoupled(sky, self.published),
        }

    def _decoupled(self, sky: np.ndarray, mask: np.ndarray) -> np.ndarray:
        centered = np.where(mask, sky - sky[mask].mean(), 0.0)
        return master(
            centered,
            mask.astype(float),
            BANDS,
            shape=self.model.signal_cl,
            coupling=self.coupling[mask.tobytes()],
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--figures", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    smica = read_map(args.data / "CMB_I_SMICA_128_R2.00.fits", unit="K")[0].astype(float) * 1e6
    dust = read_map(args.data / "HFI_SkyMap_857_128_R2.00_NESTED.fits")[0].astype(float)
    table = np.loadtxt(args.data / "COM_PowerSpect_CMB-TT-binned_R3.01.txt")[: BANDS.n]
    published, error = table[:, 1] / table[:, 4], table[:, 2] / table[:, 4]
    smooth = hp.smoothing(dust, np.radians(2.0))
    masks = {
        "Planck-like": read_mask(args.data / "planck_like_mask_nside128.fits") > 0.5,
        "857 GHz": smooth < np.quantile(smooth, 0.8),
    }
    large = smooth < np.quantile(smooth, 0.6)
    skies = [_simulated(seed) for seed in range(args.simulations)]
    results = {}
    for name, mask in masks.items():
        estimators = Estimators(mask, large)
        found = estimators.spectra(smica, REALIZATIONS["map"], seed=1)
        simulated = [
            estimators.spectra(sky, REALIZATIONS["simulation"], seed) for seed, sky in enumerate(skies)
        ]
        results[name] = {"fsky": float(mask.mean())} | {
            which: _judged(found[which], np.array([s[which] for s in simulated]),
                           np.array([s["published"] for s in simulated]), published)
            for which in NAMES
        }  # fmt: skip
        check = self_check(smica, plan=estimators.plan, unit="uK", seed=1)
        results[name]["self_check"] = str(check)
        print(name, results[name], flush=True)
    write({
        "what": "planck", "simulations": args.simulations, "edges": BANDS.edges.tolist(),
        "published": published.tolist(), "published_error": error.tolist(), "results": results,
    }, args.output)  # fmt: skip
    if args.figures:
        _draw(args.figures, smica, masks["Planck-like"], results, published, error)


def _simulated(seed: int) -> np.ndarray:
    """A sky as the public map is: behind a beam of 5', degraded from a finer one."""
    cl = fiducial_cl(2 * FINE)
    return np.asarray(hp.ud_grade(simulate_sky(cl, FINE, fwhm=BEAM, seed=seed), NSIDE))


def _judged(found: np.ndarray, simulated: np.ndarray, paired: np.ndarray, published: np.ndarray) -> dict:
    """Ratios to the simulations' mean, and whether they agree with the published ones but for a window."""
    ratios, others = simulated / simulated.mean(axis=0), paired / paired.mean(axis=0)
    ratio, off = found / simulated.mean(axis=0), found / simulated.mean(axis=0) - published
    n, k = ratios.shape
    cov = np.cov(ratios - others, rowvar=False)
    # What smoothed the public map besides its beam is not known: its window, exp(-ell² s²) in power, is fitted.
    shape, inverse = np.square(BANDS.centers), np.linalg.inv(cov)
    smoothing = -float(shape @ inverse @ off) / float(shape @ inverse @ shape)
    off = off + smoothing * shape
    value = float(off @ inverse @ off) * (n - k - 2) / (n - 1)  # Hartlap, Simon & Schneider 2007
    return {
        "smoothing_fwhm_arcmin": float(np.sign(smoothing) * np.degrees(np.sqrt(8 * np.log(2) * abs(smoothing))) * 60),
        "ratio": (ratio + smoothing * shape).tolist(), "scatter": ratios.std(axis=0, ddof=1).tolist(),
        "difference": off.tolist(), "difference_scatter": np.sqrt(np.diag(cov)).tolist(),
        "chi2": value, "p": float(chi2.sf(value, k - 1)),
    }  # fmt: skip


def _draw(
    folder: Path, sky: np.ndarray, mask: np.ndarray, results: dict, published: np.ndarray, error: np.ndarray
) -> None:
    filled = inpaint_map(np.where(mask, sky, np.nan), unit="uK", seed=1)
    figure = plt.figure(figsize=(12, 3.6))
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.15])
    draw_sky(
        np.where(mask, sky, np.nan),
        ax=axes[0],
        unit="uK_CMB",
        limit=300,
        title="SMICA behind a Planck-like mask",
    )
    draw_sky(filled, ax=axes[1], unit="uK_CMB", limit=300, title="filled")
    centers = [0.5 * (a + b - 1) for a, b in pairwise(BANDS.edges)]
    ax = axes[2]
    ax.errorbar(centers, published, error, fmt="ks", ms=5, label="Planck 2018, published")
    for shift, name, mark in zip((4, 8, 12), NAMES, "o^D", strict=True):
        one = results["Planck-like"][name]
        ax.errorbar(np.array(centers) + shift, one["ratio"], one["scatter"], fmt=mark, ms=4, label=name)
    ax.axhline(1, color="0.6", lw=1)
    ax.set(xlabel=r"$\ell$", ylabel="over the best fit")
    ax.legend(fontsize=8, ncol=2, loc="upper center")
    ax.set_ylim(0.88, 1.16)
    figure.tight_layout()
    save_small(figure, folder / "planck.png", colors=256)


if __name__ == "__main__":
    main()
