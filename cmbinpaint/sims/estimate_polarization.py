"""The sky model of a map of Q, U or of T, Q, U, from its observed pixels alone.

Inputs: a map with holes. Outputs: a `SkyModel`.

T as in `estimate`. Of Q and U the power of E and B together is measured, which no mask mixes, behind holes that are
bridged as T's are. The model is Planck 2018's EE and its BB of lensing, times T's ratio to Planck 2018 (of Q and U
alone: an amplitude and a beam), times a smoothed ratio to what is observed, plus noise, as of T. EE and BB share that
ratio, and TE has the geometric mean of it and of T's: so at each ell the spectra are those of some sky. B modes other
than lensing's, and another TE, are not looked for.
"""

import numpy as np

from cmbinpaint._ticks import advance
from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.sims.block_noise import block_noise
from cmbinpaint.sims.estimate import (
    FEWEST,
    LEAST_NSIDE,
    NOISE_GIVEN,
    SEED,
    believed_noise,
    estimate_sky_model,
)
from cmbinpaint.sims.map_signal import lowest_lmax
from cmbinpaint.sims.power_fit import Observer, PowerFit, band_means, fit_observed, interpolated
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.smooth_fill import smooth_fill
from cmbinpaint.sims.theory import fiducial_cl, fiducial_spectra
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import alm_to_cl
from cmbinpaint.sphere.power import noise_power, pixel_variance

_SOURCE = (
    "estimated from the observed {seen:.3g} of the sky: Planck 2018's EE and lensing BB, smoothed ratio of the "
    "observed power to them"
)
# Of one Stokes parameter: of all pixels, or of each.
Level = float | FloatArray


def estimate_polarized_model(
    values: FloatArray,
    valid: BoolArray,
    *,
    nside: int,
    noise_std: FloatArray | None = None,
    whole: bool = False,
) -> SkyModel:
    """Estimate the spectra and the noise of a map of Q, U or of T, Q, U from its observed pixels.

    Parameters
    ----------
    values
        (2, npix) or (3, npix) float, RING; never read where not valid.
    valid
        Bool of the same shape; True where observed, Q and U together.
    nside
        Resolution of the map.
    noise_std
        White noise per pixel if it is known, (k,) or (k, npix). Default: what `block_noise` finds, of T and of Q and U.
    whole
        Keep the signal to the highest multipole, not only as far as noise leaves it.

    Returns
    -------
    SkyModel
        Its `source` says what was estimated.

    Raises
    ------
    MapError
        If fewer pixels than a model can be estimated from are observed, or Q and U are zero there.
    """
    known: list[Level | None] = [None] * len(values) if noise_std is None else list(noise_std)
    _, ee, bb, te = fiducial_spectra(3 * nside - 1)
    if len(values) == 2:
        ratio, noise, words = _fit(values, valid[0], nside, known, None, whole)
        n = ratio.size
        signal = np.array([[ratio * ee[:n], np.zeros(n)], [np.zeros(n), ratio * bb[:n]]])
        source = f"{_SOURCE.format(seen=np.mean(valid[0]))}, {words}"
        return SkyModel(nside, signal, _stacked(noise), source, is_estimated=True, noise_source=words)
    temperature = estimate_sky_model(values[0], valid[0], nside=nside, noise_std=known[0], whole=whole)
    of_t = _ratio(temperature.signal_cl, fiducial_cl(3 * nside - 1))
    of_p, noise, words = _fit(values[1:], valid[1], nside, known[1:], _continued(of_t, 3 * nside), whole)
    n = max(of_t.size, of_p.size)
    of_t, of_p, tt = (np.pad(row, (0, n - row.size)) for row in (of_t, of_p, temperature.signal_cl))
    signal = np.zeros((3, 3, n))
    signal[0, 0], signal[1, 1], signal[2, 2] = tt, of_p * ee[:n], of_p * bb[:n]
    signal[0, 1] = signal[1, 0] = np.sqrt(of_t * of_p) * te[:n]
    source = f"T {temperature.source}; E and B {_SOURCE.format(seen=np.mean(valid[1]))}, {words}"
    return SkyModel(
        nside, signal, _stacked([temperature.noise_std, *noise]), source, is_estimated=True,
        noise_source=f"T: {temperature.noise_source}; Q and U: {words}",
    )  # fmt: skip


def _fit(
    values: FloatArray,
    valid: BoolArray,
    nside: int,
    known: list[Level | None],
    shape: FloatArray | None,
    whole: bool,
) -> tuple[FloatArray, list[Level], str]:
    """The ratio of EE and of BB to Planck 2018's in the map, the noise of Q and of U, and words for it.

    `shape` is what the ratio is expected to be; None: that of an amplitude and a beam.
    """
    count, npix = int(np.count_nonzero(valid)), valid.size
    seen = np.where(valid, values, 0.0)
    scale = float(np.sqrt(np.sum(np.square(seen)) / (2 * max(count, 1))))
    if count < FEWEST or nside < LEAST_NSIDE or scale == 0.0:
        raise MapError(
            f"Q and U are zero, or only {count} pixels of nside {nside} of them are observed; spectra are estimated "
            f"from at least {FEWEST}, of nside {LEAST_NSIDE} or more: give cl and noise_std, or a sky_model"
        )
    _, ee, bb, _ = fiducial_spectra(3 * nside - 1)
    both = ee + bb
    reference = both / pixel_variance(both) if shape is None else both * shape / scale**2
    std = None if known[0] is None else _stacked([one / scale for one in known if one is not None])
    if std is not None and std.ndim == 1:
        std = std[:, None]
    level = None if std is None else 2 * noise_power(std, npix)
    share = np.divide(ee, both, out=np.ones_like(ee), where=both > 0)
    observer = _Observer(valid, nside, share)
    fit = fit_observed(observer, seen / scale, reference, std, level, shaped=shape is not None)
    one = PowerFit(fit.signal / 2, fit.noise / 2)  # of Q, and of U, a half each
    if std is None:
        mean, words = believed_noise(one, npix, scale)
        noise: list[Level] = [mean * scale] * 2
    else:
        mean, words = float(np.sqrt(np.mean(std**2))), NOISE_GIVEN
        noise = [one for one in known if one is not None]
    last = one.signal.size - 1 if whole else lowest_lmax(one.signal, mean, nside)
    return _ratio(fit.signal[: last + 1] * scale**2, both), noise, words


class _Observer(Observer):
    """Of E and B together."""

    def __init__(self, valid: BoolArray, nside: int, share: FloatArray) -> None:
        super().__init__(valid, nside)
        self.share, part = share, share[: self.harmonics.lmax + 1]
        self.shares = np.array([[part, np.zeros_like(part)], [np.zeros_like(part), 1 - part]])

    def power(self, observed: FloatArray) -> FloatArray:
        filled = np.stack([smooth_fill(row, self.valid) for row in observed])
        alm = self.harmonics.adjoint(filled) * (4 * np.pi / self.valid.size)
        total = sum(alm_to_cl(row, self.harmonics.lmax) for row in alm)
        return np.asarray(total / self.fsky)

    def leak(self, fit: PowerFit, known: Level | None, count: int) -> FloatArray:
        rng, lmax = np.random.default_rng(SEED), self.harmonics.lmax
        std = np.sqrt(fit.noise / 2 * self.valid.size / (4 * np.pi)) if known is None else known
        beyond = np.zeros(lmax + 1)
        for _ in range(count):
            alm = EllMatrix(self.shares * fit.signal[: lmax + 1]).draw(rng)
            sky = self.harmonics.synthesis(alm)
            sky += rng.standard_normal(sky.shape) * std
            beyond += self.power(sky) - sum(alm_to_cl(row, lmax) for row in alm) - fit.noise
            advance()
        return interpolated(band_means(beyond / count, self.bands), self.bands)

    def noise(self, observed: FloatArray, signal: FloatArray) -> float:
        of_pixels = block_noise(observed, self.valid, signal * np.stack([self.share, 1 - self.share]))
        return 2 * noise_power(of_pixels, self.valid.size)


def _stacked(levels: list[Level]) -> FloatArray:
    """(k,) or (k, npix)."""
    return np.stack(np.broadcast_arrays(*levels))


def _ratio(signal: FloatArray, reference: FloatArray) -> FloatArray:
    """What a sky's spectrum is multiplied with in the map; 0 at ell = 0 and 1, which hold a prior."""
    ratio = signal / np.maximum(reference[: signal.size], 1e-300)
    ratio[:2] = 0.0
    return ratio


def _continued(ratio: FloatArray, n: int) -> FloatArray:
    """The ratio up to n multipoles, beyond its end with the Gaussian beam that its last half shows."""
    half = np.arange(max(2, ratio.size // 2), ratio.size)
    slope, _ = np.polyfit(half * (half + 1.0), np.log(ratio[half]), 1) if half.size > 1 else (0.0, 0.0)
    ell = np.arange(ratio.size, n)
    last = ratio.size - 1.0
    beyond = ratio[-1] * np.exp(min(slope, 0.0) * (ell * (ell + 1.0) - last * (last + 1.0)))
    return np.concatenate([ratio, beyond])
