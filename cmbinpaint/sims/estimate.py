"""The sky model of a map, from its observed pixels alone.

Inputs: a map with holes. Outputs: a `SkyModel`.

With nothing given but the map, the model is a reference spectrum (Planck 2018, lensed) times a Gaussian
beam, plus a noise plateau, fitted to the observed power; then the *ratio* of the observed to the fitted
power, smoothed over bands, corrects the signal. Below ell = 30 a cut sky holds too few modes, and the
reference's shape stays.

The observed power is that of the map with its holes bridged smoothly (`smooth_fill`); what the bridges leak
and lack is measured on a simulation of the model, treated alike, and subtracted. That decouples any mask at
the price of a transform, and where spectra fall by decades it leaks less than weights do: with a beam of
three pixels, with noise of 3 µK and a Planck-like mask at nside 128, 1.3 times the noise power above ell =
250 against 25 to 34 times.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded
from scipy.optimize import minimize

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MapError
from cmbinpaint.sims.map_signal import lowest_lmax, with_broad_prior
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.smooth_fill import smooth_fill
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl, draw_alm
from cmbinpaint.sphere.power import noise_power, pixel_variance, validate_noise

LOW_ELL = 30  # below, the reference's shape is kept
# Noise assumed at least, over the rms of the signal: 0.3 µK on a CMB sky with a beam, a tenth of what the
# error in a one-pixel hole is anyway, and signal to noise per mode stays below 1e9 for the solver.
NOISE_FLOOR = 5.0e-3
# A plateau is believed when it is above this fraction of the power that bridges leak to high multipoles,
# which varies from sky to sky by 2 to 4 %.
BELIEVED_PLATEAU = 0.15
# How much the ratio of observed to fitted power may wander from band to band (bands are 8 % wide in ell).
WANDER = 0.03
# How far the leaked power scatters from that of one simulation, over its mean, for a full sky's modes.
LEAK_SCATTER = 0.1
# With fewer pixels, or multipoles, there is nothing to tell a signal from noise by.
FEWEST, LEAST_NSIDE = 32, 4
# Low multipoles hold few of the modes that the likelihood averages over, and must not be given up for that.
TIGHT = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 300}
Likelihood = Callable[[FloatArray], tuple[float, FloatArray]]
SEED = 20180717  # of the simulation that measures leakage: estimates are reproducible
# At nside 2048 a transform to 3*nside-1 takes most of a minute on two cores.
LARGE_NSIDE = 1024
SIMULATED_NSIDES = 512  # simulations times nside: what leaks scatters more where a map has fewer modes


@dataclass(frozen=True, eq=False)
class _Fit:
    """Signal power (lmax+1,) and noise power of a map divided by its rms."""

    signal: FloatArray
    noise: float


def estimate_sky_model(
    values: FloatArray, valid: BoolArray, *, nside: int, noise_std: float | FloatArray | None = None
) -> SkyModel:
    """Estimate signal power and noise of a map from its observed pixels.

    Parameters
    ----------
    values
        (npix,) float, RING; never read where not valid. Any unit: a factor on the map is a factor on the
        model. A constant or a dipole changes nothing.
    valid
        (npix,) bool, RING; True where observed.
    nside
        Resolution of the map.
    noise_std
        White noise per pixel if it is known, scalar or (npix,) RING. Default: the plateau above 2*nside, if
        one stands out of what the holes leak; else 0.5 % of the signal's rms, for the solver.

    Returns
    -------
    SkyModel
        Its `source` says what was estimated.

    Raises
    ------
    MapError
        If the shapes do not fit, or fewer pixels than a model can be estimated from are observed.
    SpectrumError
        If noise_std is negative, NaN or of another length.
    """
    nside = maps.validate_nside(nside)
    values, valid = _checked(values, valid, nside)
    known = None if noise_std is None else validate_noise(noise_std, nside)
    observed = _DipoleFit(valid).removed(np.where(valid, values, 0.0))
    scale = float(np.sqrt(np.mean(np.square(observed[valid]))))
    largest = float(np.max(np.abs(values[valid])))
    if scale <= 1e-12 * largest or scale == 0.0:
        return _model_of_constant(nside, largest or 1.0, known)
    if known is not None:
        known = known / scale
    fit, leak = _fitted(observed / scale, valid, nside, known)
    floor = NOISE_FLOOR * np.sqrt(pixel_variance(fit.signal))
    plateau = float(np.sqrt(fit.noise * valid.size / (4 * np.pi)))
    noise: float | FloatArray
    if known is not None:
        noise, words = known, "noise given"
    elif fit.noise > BELIEVED_PLATEAU * leak and plateau > floor:
        noise, words = plateau, f"noise {plateau * scale:.3g} per pixel from the plateau"
    else:
        noise, words = max(floor, plateau), "no noise plateau found, a small noise assumed"
    signal = with_broad_prior(fit.signal[: lowest_lmax(fit.signal, noise, nside) + 1], noise, nside)
    source = (
        f"estimated from the observed {np.mean(valid):.3g} of the sky: Planck 2018 shape below "
        f"ell = {LOW_ELL}, smoothed ratio to it above, {words}"
    )
    return SkyModel(nside, signal, noise, source).scaled(scale)


def _checked(values: FloatArray, valid: BoolArray, nside: int) -> tuple[FloatArray, BoolArray]:
    values, valid = np.asarray(values, dtype=np.float64), np.asarray(valid, dtype=bool)
    npix = 12 * nside**2
    if values.shape != (npix,) or valid.shape != (npix,):
        raise MapError(
            f"values and valid have shapes {values.shape} and {valid.shape}; nside {nside} needs ({npix},) "
            "for both"
        )
    if not np.isfinite(values[valid]).all():
        raise MapError("observed pixels hold NaN or inf; add them to the mask")
    count = np.count_nonzero(valid)
    constant = count > 1 and np.ptp(values[valid]) == 0
    if (count < FEWEST or nside < LEAST_NSIDE) and not constant:
        raise MapError(
            f"{count} pixels of nside {nside} are observed; a sky model is estimated from at least {FEWEST}, of nside "
            f"{LEAST_NSIDE} or more: give cl and noise_std, or a sky_model"
        )
    return values, valid


def _fitted(
    observed: FloatArray, valid: BoolArray, nside: int, known: float | FloatArray | None
) -> tuple[_Fit, float]:
    """Fit the model and what the bridges leak in turn; return the fit and the leak above 2·nside."""
    lmax = 3 * nside - 1 if nside <= LARGE_NSIDE else (9 * nside) // 4
    observer = _Observer(valid, nside, lmax)
    power, bands, fsky = observer.power(observed), observer.bands, observer.fsky
    level = None if known is None else noise_power(known, valid.size)
    # Leaked power, still unknown, must not pass for signal: at first all ell weigh alike in log(ell).
    equal = np.append(0.0, 1.0 / np.arange(1, lmax + 1))
    fit = _fit(power, np.zeros(lmax + 1), bands, fsky * equal**2, level, 3 * nside - 1)
    # The last pass counts, and has the most simulations.
    counts = (1, 1, min(8, max(1, SIMULATED_NSIDES // nside))) if nside <= LARGE_NSIDE else (1,)
    for count in counts:
        leak = observer.leak(fit, known, count)
        fit = _fit(power, leak, bands, _informative_fraction(power, leak, bands, fsky), level, 3 * nside - 1)
    return fit, float(np.mean(leak[min(2 * nside, lmax - 2) :]))


class _Observer:
    """Measures the power of maps with one mask, and what bridged holes leak into it."""

    def __init__(self, valid: BoolArray, nside: int, lmax: int) -> None:
        self.valid = valid
        self.fsky = float(np.mean(valid))
        self.harmonics = Harmonics(nside, lmax)
        self.bands = _bands(lmax)
        self.dipole = _DipoleFit(valid)

    def power(self, observed: FloatArray) -> FloatArray:
        """Return (lmax+1,) the power of a map without dipole and with bridged holes, over fsky.

        Plain sums, no iterations: they keep white noise flat to 3*nside-1, and miss the power of a band-limited
        sky by 1e-6 of its largest only.
        """
        filled = smooth_fill(self.dipole.removed(observed), self.valid)
        alm = self.harmonics.adjoint(filled) * (4 * np.pi / filled.size)
        return np.asarray(alm_to_cl(alm, self.harmonics.lmax) / self.fsky)

    def leak(self, fit: _Fit, known: float | FloatArray | None, count: int) -> FloatArray:
        """Return (lmax+1,) the power that maps of this model show beyond the model's, by `count` simulations."""
        rng = np.random.default_rng(SEED)
        std = np.sqrt(fit.noise * self.valid.size / (4 * np.pi)) if known is None else known
        beyond = np.zeros(self.harmonics.lmax + 1)
        for _ in range(count):
            alm = draw_alm(fit.signal[: beyond.size], rng)
            sky = self.harmonics.synthesis(alm) + rng.standard_normal(self.valid.size) * std
            beyond += self.power(sky) - alm_to_cl(alm, self.harmonics.lmax) - fit.noise
        return _interpolated(_band_means(beyond / count, self.bands), self.bands)


def _informative_fraction(power: FloatArray, leak: FloatArray, bands: IntArray, fsky: float) -> FloatArray:
    """Return the fraction of the modes of each ell that is informative: fsky, less where leaked power dominates.

    What leaks varies from sky to sky and scatters alike in a whole band, so its many modes count for few.
    """
    modes = fsky * _band_sums(2.0 * np.arange(power.size, dtype=np.float64) + 1, bands)
    leaked = np.abs(_band_means(leak, bands)) / np.maximum(_band_means(power, bands), 1e-300)
    share = fsky / (1.0 + modes / 2.0 * np.square(LEAK_SCATTER * leaked) / fsky)
    return np.repeat(share, np.diff(np.append(0, bands[1:])))


def _fit(
    power: FloatArray, leak: FloatArray, bands: IntArray, share: FloatArray, noise: float | None, lmax: int
) -> _Fit:
    """Fit amplitude, beam width and noise by Whittle's likelihood, then correct the signal band by band.

    `power` is unit-free: the map has been divided by its rms. `share` (of the 2·ell+1 modes) is the weight of
    each ell. The signal is continued to `lmax`.
    """
    reference = fiducial_cl(lmax)
    reference = reference / pixel_variance(reference)
    ell = np.arange(lmax + 1)
    use = slice(2, power.size)
    modes = share[use] * (2 * ell[use] + 1) / 2.0
    degree = ell * (ell + 1.0)

    def parts(theta: FloatArray) -> tuple[FloatArray, float]:
        signal = np.exp(theta[0] - degree * np.exp(theta[1])) * reference
        return signal, float(np.exp(theta[2])) if noise is None else noise

    def likelihood(theta: FloatArray) -> tuple[float, FloatArray]:
        signal, level = parts(theta)
        total = np.maximum(signal[use] + level + leak[use], 0.3 * (signal[use] + level))
        ratio = power[use] / total
        slope = modes * (1.0 - ratio) / total
        gradient = [
            np.sum(slope * signal[use]),
            np.sum(slope * signal[use] * -degree[use]) * np.exp(theta[1]),
            np.sum(slope) * level if noise is None else 0.0,
        ]
        count = np.sum(modes)
        return float(np.sum(modes * (ratio + np.log(total))) / count), np.array(gradient) / count

    theta = _best(likelihood, power, bands, power.size - 1)
    signal, level = parts(theta)
    return _Fit(signal * _correction(power, leak, signal, level, bands, share), level)


def _best(likelihood: Likelihood, power: FloatArray, bands: IntArray, lmax: int) -> FloatArray:
    """Return the best of several descents, one per beam width: there can be more than one minimum."""
    lowest = np.log(max(float(np.min(_band_means(power, bands)[1:])), 1e-30))
    narrowest, widest = np.log(1e-3 / lmax**2), np.log(0.1)
    limits = [(-25.0, 10.0), (narrowest, widest), (lowest - 12.0, lowest + 8.0)]
    found = []
    for width in np.log(np.array([0.01, 0.3, 3.0, 20.0, 200.0]) / lmax**2):
        start = np.array([0.0, min(width, widest), lowest])
        found.append(minimize(likelihood, start, jac=True, method="L-BFGS-B", bounds=limits, options=TIGHT))
    return np.asarray(min(found, key=lambda descent: descent.fun).x)


def _correction(
    power: FloatArray, leak: FloatArray, signal: FloatArray, noise: float, bands: IntArray, modes: FloatArray
) -> FloatArray:
    """Return the factor on the signal: observed over fitted, smoothed.

    Constant below LOW_ELL and where noise dominates: a random walk from band to band with steps of WANDER,
    observed with the scatter of a Gaussian sky's power.
    """
    count = power.size
    ell = np.arange(count)
    share = signal[:count] / np.maximum(signal[:count] + noise + leak, 0.3 * (signal[:count] + noise))
    excess = (power - signal[:count] - noise - leak) / np.maximum(signal[:count], 1e-300)
    information = modes * (2 * ell + 1) / 2.0 * np.square(share)
    bands = np.append(2, bands[bands >= min(LOW_ELL, count // 3)])
    weight = _band_sums(information, bands)
    step = np.divide(
        _band_sums(information * excess, bands), weight, out=np.zeros_like(weight), where=weight > 0
    )
    stiffness = 1.0 / WANDER**2
    diagonal = weight + stiffness * 2.0
    diagonal[[0, -1]] -= stiffness
    diagonal += 1e-6
    system = np.stack([diagonal, np.full(weight.size, -stiffness)])
    factor = 1.0 + solveh_banded(system, weight * step, lower=True)
    centers = np.sqrt(bands[:-1] * (bands[1:] - 1.0).clip(min=1))
    log_factor = np.interp(
        np.log(np.arange(1, signal.size + 1)), np.log(centers), np.log(factor.clip(0.05, 20.0))
    )
    return np.exp(log_factor)


def _bands(lmax: int) -> IntArray:
    """Return edges of bands from ell = 2 to lmax+1, 8 % wide and at least 4."""
    edges = [2]
    while edges[-1] < lmax + 1:
        edges.append(edges[-1] + max(4, round(0.08 * edges[-1])))
    edges[-1] = lmax + 1
    return np.array(edges, dtype=np.int64)


def _band_sums(per_ell: FloatArray, bands: IntArray) -> FloatArray:
    return np.add.reduceat(per_ell, bands[:-1])


def _band_means(per_ell: FloatArray, bands: IntArray) -> FloatArray:
    modes = np.asarray(2.0 * np.arange(per_ell.size) + 1, dtype=np.float64)
    return _band_sums(per_ell * modes, bands) / _band_sums(modes, bands)


def _interpolated(means: FloatArray, bands: IntArray) -> FloatArray:
    """Return band means as a function of ell, linear between band centers."""
    return np.interp(np.arange(bands[-1]), (bands[:-1] + bands[1:] - 1) / 2.0, means)


class _DipoleFit:
    """Fits monopole and dipole to the observed pixels of a mask."""

    def __init__(self, valid: BoolArray) -> None:
        self.valid = valid
        self.harmonics = Harmonics(maps.npix_to_nside(valid.size), 1)
        modes = [self._products(valid * self.harmonics.synthesis(mode)) for mode in _DIPOLE_MODES]
        self.inverse = np.linalg.pinv(np.array(modes), rcond=1e-10)

    def removed(self, observed: FloatArray) -> FloatArray:
        """Return the map less the fitted monopole and dipole; 0 where not observed."""
        centered = np.where(self.valid, observed - np.mean(observed[self.valid]), 0.0)
        fitted = self.harmonics.synthesis(self.inverse @ self._products(centered) @ _DIPOLE_MODES)
        return np.where(self.valid, centered - fitted, 0.0)

    def _products(self, sky: FloatArray) -> FloatArray:
        """Return the products of a map with the four modes."""
        alm = self.harmonics.adjoint(sky)
        return np.array([alm[0].real, alm[1].real, 2 * alm[2].real, 2 * alm[2].imag])


# a_lm of lmax 1 of the four real modes of monopole and dipole.
_DIPOLE_MODES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1j]], dtype=np.complex128)


def _model_of_constant(nside: int, level: float, known: float | FloatArray | None) -> SkyModel:
    """Return a model for a map without fluctuations: anything smooth fills it with its constant."""
    cl = fiducial_cl(3 * nside - 1)
    cl *= (1e-3 * level) ** 2 / pixel_variance(cl)
    noise = 1e-3 * NOISE_FLOOR * level if known is None else known
    source = "the observed sky is constant: Planck 2018 shape, a thousandth of the constant in size"
    return SkyModel(nside, with_broad_prior(cl, noise, nside), noise, source)
