"""r from the BB of filled maps, of decoupled pseudo-C_ell, and of the full sky.

    python benchmarks/tensor_to_scalar.py --nside 64 --skies 200 -o tensor_to_scalar_64.json

Q, U, noise 2 µK arcmin, beam of three pixels; B of lensing and of tensor modes (their E is left out), r = 0, 0.001 and
0.01; behind a mask of latitude with the package's point sources, fsky 0.84 and 0.6.

A fill holds the B of its model, so it is no evidence for it. So: fill under r = 0, fit r to the BB of the filled map,
fill under the r that was fitted, until it stays. All draws being the same from fill to fill, the fitted r is a smooth
function of the model's, known here at the r of `MODELS` and interpolated between them: where it equals the model's is
where the iteration ends. By linearity two solves for each sky and model make the fills for every true r.

Each fit is linear, with weights of the variance of full-sky BB, by ell up to 1.5 nside. Pseudo-C_ell are decoupled with
E and B together, with the mask as it is and apodized by 3 degrees, and weighted by the scatter over the skies
themselves.
"""

from typing import Any

import healpy as hp
import numpy as np
from common import arguments, write
from scipy.interpolate import PchipInterpolator

from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims import SkyModel, fiducial_spectra
from cmbinpaint.spectra import master
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl, draw_alm
from cmbinpaint.sphere.masks import apodize
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

TRUE = (0.0, 0.001, 0.01)
MODELS = (0.0, 0.0005, 0.002, 0.01)
NOISE = 2.0  # µK arcmin
WEIGHT_R = 0.001
APODIZED_DEG = 3.0


def mask_of(nside: int, fsky: float) -> np.ndarray:
    """A cut in Galactic latitude, and the point sources of the Planck-like mask off its own Galactic band."""
    latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
    sources = ~planck_like_mask(nside) & (latitude > 30)
    for cut in np.arange(0.0, 60.0, 0.25):
        valid = (latitude > cut) & ~sources
        if valid.mean() <= fsky:
            return valid
    raise ValueError(fsky)


def model_of(nside: int, r: float) -> SkyModel:
    """E, lensing B and r times tensor B, as the map has them."""
    spectra = fiducial_spectra(3 * nside - 1)[1:3]
    spectra[1] = fiducial_spectra(3 * nside - 1, r=r)[2]
    return SkyModel.from_theory(
        spectra, nside, fwhm=3 * pixel_size(nside), noise_std=noise_std(nside), lmax=5 * nside // 2
    )


def noise_std(nside: int) -> float:
    return NOISE / (pixel_size(nside) * np.degrees(1) * 60)


class Fit:
    """r from BB by ell, or from bandpowers: linear, lensing and noise known."""

    def __init__(self, lensing: np.ndarray, tensor: np.ndarray, noise: float, weights: np.ndarray) -> None:
        self.rest, self.tensor, self.weights = lensing + noise, tensor, weights * tensor

    @classmethod
    def of_multipoles(cls, model: SkyModel, tensor: np.ndarray, lmax: int) -> "Fit":
        ell, noise = np.arange(lmax + 1), model.noise_std[0] ** 2 * 4 * np.pi / model.npix
        lensing, tensor = model.signal_cl[1, 1, : lmax + 1], tensor[: lmax + 1]
        variance = 2 / (2 * ell + 1) * (lensing + WEIGHT_R * tensor + noise) ** 2
        return cls(lensing, tensor, noise, np.where(ell < 2, 0.0, 1 / variance))

    def __call__(self, bb: np.ndarray) -> np.ndarray:
        return (bb - self.rest) @ self.weights / (self.tensor @ self.weights)


class Sky:
    """What one sky is made of: E and lensing B, tensor B for r = 1, noise; as maps."""

    def __init__(self, model: SkyModel, tensor: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        harmonics = Harmonics(model.nside, model.lmax)
        cl = model.signal_cl.copy()
        cl[..., :2] = 0.0
        alm = np.array([draw_alm(cl[0, 0], rng), draw_alm(cl[1, 1], rng)])
        self.lensed = harmonics.synthesis(alm)
        self.tensor = harmonics.synthesis(np.array([0 * alm[0], draw_alm(tensor[: model.lmax + 1], rng)]))
        self.noise = np.asarray(model.noise_std)[:, None] * rng.standard_normal(self.lensed.shape)

    def observed(self, r: float) -> np.ndarray:
        return self.lensed + self.noise + np.sqrt(r) * self.tensor


def bb_of(maps: np.ndarray, lmax: int) -> np.ndarray:
    """(n, n, lmax+1): cross spectra of the B of n maps."""
    harmonics = Harmonics(int(np.sqrt(maps.shape[-1] / 12)), lmax)
    b = [harmonics.analysis(one, iterations=3)[1] for one in maps]
    return np.array([[alm_to_cl(x, lmax, y) for y in b] for x in b])


def with_r(cross: np.ndarray, r: float) -> np.ndarray:
    """BB of the first map and √r times the second."""
    return cross[0, 0] + np.sqrt(r) * (cross[0, 1] + cross[1, 0]) + r * cross[1, 1]


def filled_fits(
    sky: Sky, other: Sky, solvers: dict[float, GaussianSolver], fit: Fit, lmax: int
) -> np.ndarray:
    """(true r, model r): r fitted to one realization's BB."""
    found = []
    for r, solver in solvers.items():
        drawn, valid = other.observed(r), solver.valid
        base = np.where(
            valid, sky.observed(0.0), drawn + solver.solve(_cut(sky.observed(0.0) - drawn, valid)).mean
        )
        tensor = np.where(valid, sky.tensor, solver.solve(_cut(sky.tensor, valid)).mean)
        cross = bb_of(np.array([base, tensor]), lmax)
        found.append([fit(with_r(cross, true)) for true in TRUE])
    return np.array(found).T


def _cut(maps: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.where(valid, maps, 0.0)


def fixed_points(fits: np.ndarray) -> np.ndarray:
    """(skies,) where the fitted r, known at MODELS, equals the model's; `fits` is (skies, models).

    A draw of tensor B goes as √r, in which the fits are interpolated. No model has an r below 0: a first fit below 0
    stays.
    """
    root = np.sqrt(MODELS)
    found = []
    for one in fits:
        x = np.linspace(0, 1.5 * root[-1], 3001)
        away = PchipInterpolator(root, one)(x) - x**2
        crossed = np.flatnonzero((away[:-1] > 0) & (away[1:] <= 0))
        found.append(x[crossed[-1]] ** 2 if crossed.size else one[0])
    return np.array(found)


def decoupled(sky: Sky, weights: np.ndarray, bands: Bandpowers, lmax: int, shape: np.ndarray) -> np.ndarray:
    """(true r, bands) BB, decoupled with EE."""
    return np.array([master(sky.observed(r), weights, bands, lmax, shape=shape)[1] for r in TRUE])


def summary(r: np.ndarray) -> dict[str, float]:
    """Mean of (skies,) with its error, and the scatter."""
    scatter = float(r.std(ddof=1))
    return {"mean": float(r.mean()), "error": scatter / np.sqrt(r.size), "scatter": scatter}


def measure(nside: int, fsky: float, skies: int) -> dict[str, Any]:
    """Mean and scatter of r over skies, by every way, for each true r."""
    lmax, valid, models = 3 * nside // 2, mask_of(nside, fsky), {r: model_of(nside, r) for r in MODELS}
    plain = models[0.0]
    tensor = models[MODELS[-1]].signal_cl[1, 1] / MODELS[-1] - plain.signal_cl[1, 1] / MODELS[-1]
    solvers = {r: GaussianSolver(np.array([valid, valid]), model) for r, model in models.items()}
    fit, wide = Fit.of_multipoles(plain, tensor, lmax), 2 * nside
    noise = fit.rest[0] - plain.signal_cl[1, 1, 0]
    weights = {
        "decoupled": valid.astype(float),
        f"decoupled, apodized by {APODIZED_DEG:g} degrees": apodize(valid, APODIZED_DEG),
    }
    bands = log_bands(2, lmax, 12, min_width=2 + int(1 / min(w.mean() for w in weights.values())))
    found: dict[str, list] = {name: [] for name in ("full sky", "filled", *weights)}
    for seed in range(skies):
        sky, other = Sky(plain, tensor, 2 * seed), Sky(plain, tensor, 2 * seed + 1)
        cross = bb_of(np.array([sky.observed(0.0), sky.tensor]), lmax)
        found["full sky"].append([fit(with_r(cross, r)) for r in TRUE])
        found["filled"].append(filled_fits(sky, other, solvers, fit, lmax))
        for name, values in weights.items():
            found[name].append(
                decoupled(sky, values, bands, wide, plain.signal_cl[[0, 1], [0, 1], : wide + 1])
            )
        if seed % 10 == 9:
            print(fsky, seed + 1, flush=True)
    arrays = {name: np.array(rows) for name, rows in found.items()}
    for name in weights:
        powers = arrays[name]
        by_bands = Fit(
            *(bands.bin(cl[: lmax + 1]) for cl in (plain.signal_cl[1, 1], tensor)),
            noise,
            1 / powers[:, 1].var(axis=0),
        )
        arrays[name] = by_bands(powers)
    fills = arrays.pop("filled")  # (skies, true r, model r)
    ways = {
        "full sky": arrays["full sky"],
        "filled, first fit": fills[..., 0],
        "filled, last fit": np.array([fixed_points(fills[:, i]) for i in range(len(TRUE))]).T,
        **{name: arrays[name] for name in weights},
    }
    return {
        "fsky": float(valid.mean()),
        "r": {
            f"{r:g}": {way: summary(values[:, i]) for way, values in ways.items()} for i, r in enumerate(TRUE)
        },
        "fitted for a model's r": {
            f"{r:g}": {f"{m:g}": summary(fills[:, i, j]) for j, m in enumerate(MODELS)}
            for i, r in enumerate(TRUE)
        },
    }


def main() -> None:
    """Both masks."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--fsky", type=float, nargs="+", default=[0.84, 0.6])
    args = parser.parse_args()
    results = []
    for fsky in args.fsky:
        results.append(measure(args.nside, fsky, args.skies))
        print(results[-1], flush=True)
    write({"nside": args.nside, "skies": args.skies, "models": MODELS, "masks": results}, args.output)


if __name__ == "__main__":
    main()
