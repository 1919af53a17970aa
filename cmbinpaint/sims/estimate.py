"""The sky model of a map, from its observed pixels alone.

Inputs: a map with holes. Outputs: a `SkyModel`.

With nothing given but the map, the model is a reference spectrum (Planck 2018, lensed) times a Gaussian
beam, plus a noise plateau, fitted to the observed power; then the *ratio* of the observed to the fitted
power, smoothed over bands, corrects the signal. Below ell = 30 a cut sky holds too few modes, and the
reference's shape stays. The noise is then found again, from blocks of pixels (`block_noise`), and the signal
beside it.

The observed power is that of the map with its holes bridged smoothly (`smooth_fill`); what the bridges leak
and lack is measured on a simulation of the model, treated alike, and subtracted. That decouples any mask at
the price of a transform, and where spectra fall by decades it leaks less than weights do: with a beam of
three pixels, with noise of 3 µK and a Planck-like mask at nside 128, 1.3 times the noise power above ell =
250 against 25 to 34 times.
"""

import numpy as np

from cmbinpaint._ticks import advance
from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.sims.block_noise import block_noise
from cmbinpaint.sims.map_signal import lowest_lmax, with_broad_prior
from cmbinpaint.sims.power_fit import LOW_ELL, Observer, PowerFit, band_means, fit_observed, interpolated
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.smooth_fill import smooth_fill
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl, draw_alm
from cmbinpaint.sphere.power import noise_power, pixel_variance, validate_noise

# Noise assumed at least, over the rms of the signal: 0.3 µK on a CMB sky with a beam, a tenth of what the
# error in a one-pixel hole is anyway, and signal to noise per mode stays below 1e9 for the solver.
NOISE_FLOOR = 5.0e-3
# With fewer pixels, or multipoles, there is nothing to tell a signal from noise by.
FEWEST, LEAST_NSIDE = 32, 4
NOISE_GIVEN, NO_NOISE = "noise given", "no noise seen, a small noise assumed"
SEED = 20180717  # of the simulation that measures leakage: estimates are reproducible


def estimate_sky_model(
    values: FloatArray,
    valid: BoolArray,
    *,
    nside: int,
    noise_std: float | FloatArray | None = None,
    whole: bool = False,
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
        White noise per pixel if it is known, scalar or (npix,) RING. Default: what `block_noise` finds, and at least
        0.5 % of the signal's rms, for the solver.
    whole
        Keep the signal to the highest multipole, not only as far as noise leaves it.

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
    reference = fiducial_cl(3 * nside - 1)
    reference = reference / pixel_variance(reference)
    level = None if known is None else noise_power(known, valid.size)
    fit = fit_observed(_Observer(valid, nside), observed / scale, reference, known, level)
    if known is not None:
        noise, words = known, NOISE_GIVEN
    else:
        noise, words = believed_noise(fit, valid.size, scale)
    last = fit.signal.size - 1 if whole else lowest_lmax(fit.signal, noise, nside)
    signal = with_broad_prior(fit.signal[: last + 1], noise, nside)
    source = (
        f"estimated from the observed {np.mean(valid):.3g} of the sky: Planck 2018 shape below "
        f"ell = {LOW_ELL}, smoothed ratio to it above, {words}"
    )
    model = SkyModel(nside, signal, noise, source, is_estimated=True, noise_source=words)
    return model.scaled(scale)


def believed_noise(fit: PowerFit, npix: int, scale: float) -> tuple[float, str]:
    """The noise of a pixel, over `scale`, and where it is from in words."""
    found, rms = np.sqrt(fit.noise * npix / (4 * np.pi)), np.sqrt(pixel_variance(fit.signal))
    if found > NOISE_FLOOR * rms:
        return float(found), f"noise {found * scale:.3g} per pixel from blocks of pixels"
    return float(NOISE_FLOOR * rms), NO_NOISE


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


class _Observer(Observer):
    """Of temperature."""

    def __init__(self, valid: BoolArray, nside: int) -> None:
        super().__init__(valid, nside)
        self.dipole = _DipoleFit(valid)

    def power(self, observed: FloatArray) -> FloatArray:
        """Return (lmax+1,) the power of a map without dipole and with bridged holes, over fsky.

        Plain sums, no iterations: they keep white noise flat to 3*nside-1, and miss the power of a band-limited
        sky by 1e-6 of its largest only.
        """
        filled = smooth_fill(self.dipole.removed(observed), self.valid)
        alm = self.harmonics.adjoint(filled) * (4 * np.pi / filled.size)
        return np.asarray(alm_to_cl(alm, self.harmonics.lmax) / self.fsky)

    def leak(self, fit: PowerFit, known: float | FloatArray | None, count: int) -> FloatArray:
        """Return (lmax+1,) the power that maps of this model show beyond the model's, by `count` simulations."""
        rng = np.random.default_rng(SEED)
        std = np.sqrt(fit.noise * self.valid.size / (4 * np.pi)) if known is None else known
        beyond = np.zeros(self.harmonics.lmax + 1)
        for _ in range(count):
            alm = draw_alm(fit.signal[: beyond.size], rng)
            sky = self.harmonics.synthesis(alm) + rng.standard_normal(self.valid.size) * std
            beyond += self.power(sky) - alm_to_cl(alm, self.harmonics.lmax) - fit.noise
            advance()
        return interpolated(band_means(beyond / count, self.bands), self.bands)

    def noise(self, observed: FloatArray, signal: FloatArray) -> float:
        """Return the power of white noise."""
        return noise_power(block_noise(observed, self.valid, signal), self.valid.size)


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
    return SkyModel(nside, with_broad_prior(cl, noise, nside), noise, source, is_estimated=True)
