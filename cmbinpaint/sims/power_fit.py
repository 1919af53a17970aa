"""Fit signal and noise to the power that a map with holes shows: a reference, a beam, a plateau, a smooth ratio.

Inputs: an `Observer`, which measures power, what bridged holes leak into it, and at last the noise; a reference
spectrum. Outputs: `PowerFit`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded
from scipy.optimize import minimize

from cmbinpaint._ticks import advance, expect
from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.sphere.harmonics import Harmonics

LOW_ELL = 30  # below, the reference's shape is kept
# How much the ratio of observed to fitted power may wander from band to band (bands are 8 % wide in ell).
WANDER = 0.03
# How far the leaked power scatters from that of one simulation, over its mean, for a full sky's modes.
LEAK_SCATTER = 0.1
# Low multipoles hold few of the modes that the likelihood averages over, and must not be given up for that.
TIGHT = {"ftol": 1e-13, "gtol": 1e-9, "maxiter": 300}
# What leaks from holes hides a low plateau of the power, or stands in its place, and a steep signal passes for one:
# noise comes from pixels, and the signal beside it, so many times in turn. Of a degraded map (nside 128) the power
# above 2.6 nside is then 2 % too high, for 6 % by the plateau, and errors at edges are as expected to 2 %, for 19 %.
BESIDE = 2
Likelihood = Callable[[FloatArray], tuple[float, FloatArray]]
# At nside 2048 a transform to 3*nside-1 takes most of a minute on two cores.
LARGE_NSIDE = 1024
_NO_BEAM = -60.0  # the logarithm of a beam's width squared that is none
SIMULATED_NSIDES = 512  # simulations times nside: what leaks scatters more where a map has fewer modes


@dataclass(frozen=True, eq=False)
class PowerFit:
    """Signal power (lmax+1,) and noise power of a map divided by its rms."""

    signal: FloatArray
    noise: float


class Observer(ABC):
    """Measures the power of maps with one mask, and what bridged holes leak into it.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where observed.
    nside
        Of the maps.
    """

    def __init__(self, valid: BoolArray, nside: int) -> None:
        self.valid = valid
        self.nside = nside
        self.fsky = float(np.mean(valid))
        self.harmonics = Harmonics(nside, 3 * nside - 1 if nside <= LARGE_NSIDE else (9 * nside) // 4)
        self.bands = bands_to(self.harmonics.lmax)

    @abstractmethod
    def power(self, observed: FloatArray) -> FloatArray:
        """Return (lmax+1,) the power of a map with bridged holes, over fsky."""

    @abstractmethod
    def leak(self, fit: PowerFit, known: float | FloatArray | None, count: int) -> FloatArray:
        """Return (lmax+1,) the power that maps of this model show beyond the model's, by `count` simulations.

        `known` is the noise of the pixels; None: that of the fit.
        """

    @abstractmethod
    def noise(self, observed: FloatArray, signal: FloatArray) -> float:
        """Return the power of the white noise that pixels show beside a signal of this power."""


def fit_observed(
    observer: Observer,
    observed: FloatArray,
    reference: FloatArray,
    known: float | FloatArray | None,
    level: float | None,
    *,
    shaped: bool = False,
) -> PowerFit:
    """Fit the model and what the bridges leak in turn.

    Parameters
    ----------
    observed
        The map, over its rms; 0 where not observed.
    reference
        (3 nside,) the spectrum that is fitted.
    known, level
        Noise of the pixels and of the power, if it is known.
    shaped
        Whether the reference has the map's amplitude and beam already: only noise and ratio are fitted.
    """
    nside, lmax = observer.nside, observer.harmonics.lmax
    # The last pass counts, and has the most simulations.
    counts = (1, 1, min(8, max(1, SIMULATED_NSIDES // nside))) if nside <= LARGE_NSIDE else (1,)
    expect(1 + sum(counts))
    power, bands, fsky = observer.power(observed), observer.bands, observer.fsky
    advance()
    # Leaked power, still unknown, must not pass for signal: at first all ell weigh alike in log(ell).
    equal = np.append(0.0, 1.0 / np.arange(1, lmax + 1))
    fit = _fit(power, np.zeros(lmax + 1), bands, fsky * equal**2, level, reference, shaped)
    for count in counts:
        leak = observer.leak(fit, known, count)
        share = _informative_fraction(power, leak, bands, fsky)
        fit = _fit(power, leak, bands, share, level, reference, shaped)
    for _ in range(BESIDE if level is None else 0):
        fit = _fit(power, leak, bands, share, observer.noise(observed, fit.signal), reference, shaped)
    return fit


def _informative_fraction(power: FloatArray, leak: FloatArray, bands: IntArray, fsky: float) -> FloatArray:
    """Return the fraction of the modes of each ell that is informative: fsky, less where leaked power dominates.

    What leaks varies from sky to sky and scatters alike in a whole band, so its many modes count for few.
    """
    modes = fsky * _band_sums(2.0 * np.arange(power.size, dtype=np.float64) + 1, bands)
    leaked = np.abs(band_means(leak, bands)) / np.maximum(band_means(power, bands), 1e-300)
    share = fsky / (1.0 + modes / 2.0 * np.square(LEAK_SCATTER * leaked) / fsky)
    return np.repeat(share, np.diff(np.append(0, bands[1:])))


def _fit(
    power: FloatArray,
    leak: FloatArray,
    bands: IntArray,
    share: FloatArray,
    noise: float | None,
    reference: FloatArray,
    shaped: bool,
) -> PowerFit:
    """Fit amplitude, beam width and noise by Whittle's likelihood, then correct the signal band by band.

    `power` is unit-free: the map has been divided by its rms. `share` (of the 2·ell+1 modes) is the weight of
    each ell. The signal is continued as far as the reference.
    """
    ell = np.arange(reference.size)
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

    theta = _best(likelihood, power, bands, power.size - 1, shaped)
    signal, level = parts(theta)
    return PowerFit(signal * _correction(power, leak, signal, level, bands, share), level)


def _best(likelihood: Likelihood, power: FloatArray, bands: IntArray, lmax: int, shaped: bool) -> FloatArray:
    """Return the best of several descents, one per beam width: there can be more than one minimum."""
    lowest = np.log(max(float(np.min(band_means(power, bands)[1:])), 1e-30))
    narrowest, widest = np.log(1e-3 / lmax**2), np.log(0.1)
    limits = [(-25.0, 10.0), (narrowest, widest), (lowest - 12.0, lowest + 8.0)]
    if shaped:
        limits[:2] = [(0.0, 0.0), (_NO_BEAM, _NO_BEAM)]
    found = []
    for width in np.log(np.array([0.01, 0.3, 3.0, 20.0, 200.0]) / lmax**2):
        start = np.array([0.0, _NO_BEAM if shaped else min(width, widest), lowest])
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


def bands_to(lmax: int) -> IntArray:
    """Return edges of bands from ell = 2 to lmax+1, 8 % wide and at least 4."""
    edges = [2]
    while edges[-1] < lmax + 1:
        edges.append(edges[-1] + max(4, round(0.08 * edges[-1])))
    edges[-1] = lmax + 1
    return np.array(edges, dtype=np.int64)


def _band_sums(per_ell: FloatArray, bands: IntArray) -> FloatArray:
    return np.add.reduceat(per_ell, bands[:-1])


def band_means(per_ell: FloatArray, bands: IntArray) -> FloatArray:
    modes = np.asarray(2.0 * np.arange(per_ell.size) + 1, dtype=np.float64)
    return _band_sums(per_ell * modes, bands) / _band_sums(modes, bands)


def interpolated(means: FloatArray, bands: IntArray) -> FloatArray:
    """Return band means as a function of ell, linear between band centers."""
    return np.interp(np.arange(bands[-1]), (bands[:-1] + bands[1:] - 1) / 2.0, means)
