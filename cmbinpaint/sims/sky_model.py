"""What is assumed about a sky: the power of the signal in the map, and the noise of each pixel.

Inputs: theory spectra with a beam, or map-level spectra. Outputs: `SkyModel`, which every inpainter is
prepared with.

Beam, signal and noise cannot be told apart in one map and need not be: `signal_cl` is the power of the
signal *as it is in the map*, beam and pixel window included. Noise is white and independent between pixels,
of one level or a level per pixel; colored noise is not modeled.
"""

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sphere.maps import validate_nside
from cmbinpaint.sphere.power import noise_power, pixel_variance, validate_cl, validate_lmax, validate_noise
from cmbinpaint.sphere.windows import map_window

# Prior variance of monopole and dipole over the largest C_ell. A constant loses about (its posterior
# variance)/(its prior variance), and a cut sky leaves it a posterior variance below C_2: 1e4 passes a
# constant to about 1e-4 while the four modes stay within float64's reach of the others (a diagonal
# preconditioner takes the factor out).
BROAD_PRIOR = 1.0e4
# Power may be dropped beyond lmax when its variance is below a fifth of the noise (which it then adds 2 % to, in
# quadrature) and below 1e-3 of the signal's, or below 1e-5 of it, 0.3 % of its rms; and when every multipole's is below
# a quarter of the noise's: noise in a pixel says nothing about what many pixels know together. Behind beams of 3, 5 and
# 7 pixels the exact mean then has 1.0004 of the error of the one with all multipoles in shallow holes; without the last
# rule 1.008, 1.035 and 1.076 (benchmarks/multipoles.py).
TAIL_OF_NOISE = 0.2
TAIL_OF_SIGNAL = (1.0e-5, 1.0e-3)
MULTIPOLE_OF_NOISE = 0.25
# Noise below this fraction of the signal's rms is taken for it, here and by the solvers: the system is singular
# without noise. The steps that the diagonal preconditioner needs grow as the rms over the noise (nside 32, fsky 0.81,
# beam 3 px, noise 0.03/0.01/0.003: 460/1230/3770 to a tolerance of 1e-4 of the rms), while the error in the holes
# gains little (0.224/0.202/0.181 of the rms) and is lost again if the sky has power above lmax (0.7 % of the rms
# there: 0.224/0.219/0.295).
LEAST_NOISE = 1.0e-2


@dataclass(frozen=True, eq=False)
class SkyModel:
    """Gaussian model of a map: signal power and white noise, unit-free or in the map's unit.

    Parameters
    ----------
    nside
        Resolution of the map.
    signal_cl
        (lmax+1,) float, map-level signal power from ell = 0 (beam and pixel window included), unit².
        Entries 0 and 1 are prior variances of monopole and dipole, made broad by the constructors so that a
        constant or a dipole in the map goes through to the fill.
    noise_std
        Standard deviation of the white noise per pixel: a float, or (npix,) float in RING order.
    source
        Where the model came from, in words.

    Raises
    ------
    SpectrumError
        If the parts contradict each other.

    Examples
    --------
    >>> model = SkyModel(nside=2, signal_cl=[1.0, 1.0, 0.5], noise_std=0.1)
    >>> model.lmax
    2
    >>> model.signal_cl[0] = 2.0
    Traceback (most recent call last):
        ...
    ValueError: assignment destination is read-only
    """

    nside: int
    signal_cl: FloatArray
    noise_std: float | FloatArray = 0.0
    source: str = "given"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nside", validate_nside(self.nside))
        cl = validate_cl(self.signal_cl, "signal_cl", lmax=2)
        if cl.size > 4 * self.nside:
            raise SpectrumError(
                f"signal_cl reaches ell = {cl.size - 1}; a map of nside {self.nside} holds nothing above "
                f"4*nside - 1 = {4 * self.nside - 1}. Cut it there, or let SkyModel.from_theory choose lmax."
            )
        cl.flags.writeable = False
        object.__setattr__(self, "signal_cl", cl)
        object.__setattr__(self, "noise_std", validate_noise(self.noise_std, self.nside))
        if not cl.any() and not np.any(self.noise_std):
            raise SpectrumError(
                "the sky model has neither signal nor noise: give a cl or a noise_std above 0"
            )

    @property
    def npix(self) -> int:
        """Number of pixels of the map."""
        return 12 * self.nside**2

    @property
    def lmax(self) -> int:
        """The highest multipole of the signal."""
        return int(self.signal_cl.size) - 1

    @property
    def rms(self) -> float:
        """Standard deviation of the signal in a pixel, without monopole and dipole."""
        return float(np.sqrt(pixel_variance(self.signal_cl)))

    @cached_property
    def noise_cl(self) -> float:
        """The level of the noise spectrum, mean(noise_std²)·4π/npix, unit²."""
        return noise_power(self.noise_std, self.npix)

    @property
    def total_cl(self) -> FloatArray:
        """(lmax+1,) float: signal and noise power together, unit²."""
        return np.asarray(self.signal_cl + self.noise_cl)

    @cached_property
    def digest(self) -> str:
        """sha256 of what the model says (not of `source`), hex."""
        state = hashlib.sha256(f"{self.nside}".encode())
        state.update(self.signal_cl.tobytes())
        state.update(np.asarray(self.noise_std, dtype=np.float64).tobytes())
        return state.hexdigest()

    @classmethod
    def from_theory(
        cls,
        cl: FloatArray,
        nside: int,
        *,
        fwhm: float | None = None,
        beam: FloatArray | None = None,
        noise_std: float | FloatArray = 0.0,
        lmax: int | None = None,
        source: str | None = None,
    ) -> Self:
        """Make the model of a map from a sky spectrum, a beam and a noise level.

        Parameters
        ----------
        cl
            (n,) float, the sky's C_ell from ell = 0 (not D_ell), unit². Entries 0 and 1 are not used.
        nside
            Resolution of the map.
        fwhm
            Full width at half maximum of a Gaussian beam, radians. The pixel window is then included: real
            pixels average, and a model without it overfills holes by 9/22/42 % in power at ell = 1/1.5/2
            nside.
        beam
            (n,) float, b_ell from ell = 0 instead of `fwhm`; it holds the pixel window already if one is
            wanted. With neither, the pixel window alone is applied.
        noise_std
            White noise per pixel, scalar or (npix,) RING.
        lmax
            Highest multipole of the model. Default: the lowest (at most 3*nside-1) beyond which the signal
            left in the map is negligible: below a fifth of the noise or 0.3 % of the signal's rms, and at each
            multipole below a quarter of the noise.
        source
            Words for where the spectrum came from.

        Raises
        ------
        SpectrumError
            On a negative or NaN cl, a beam in the wrong unit or too short, both beams, noise of the wrong
            length.

        Warns
        -----
        CmbInpaintWarning
            If the spectrum ends before the power does; nothing is assumed beyond its end.
        """
        nside = validate_nside(nside)
        sky = validate_cl(cl, lmax=2)
        band = 3 * nside - 1 if lmax is None else validate_lmax(lmax, 4 * nside - 1, lowest=2)
        window = map_window(nside, band, fwhm=fwhm, beam=beam, pixwin=beam is None)
        given = min(band, sky.size - 1, window.size - 1)
        signal = np.square(window[: given + 1]) * sky[: given + 1]
        noise = validate_noise(noise_std, nside)
        limit = tail_limit(signal, noise)
        if given < band:
            _warn_if_power_ends(signal, window, sky, band, limit)
        found = lowest_lmax(signal, noise, nside) if lmax is None else given
        signal = np.pad(signal[: found + 1], (0, 0 if lmax is None else band - given))
        signal = with_broad_prior(signal, noise, nside)
        return cls(nside, signal, noise, source or "given cl")

    def with_noise(self, noise_std: float | FloatArray) -> Self:
        """Return the same signal under another noise, scalar or (npix,) RING."""
        noise = validate_noise(noise_std, self.nside)
        prior = with_broad_prior(self.signal_cl, noise, self.nside)[:2]
        signal = self.signal_cl.copy()
        signal[:2] = np.maximum(signal[:2], prior)
        return replace(self, signal_cl=signal, noise_std=noise)

    def scaled(self, factor: float) -> Self:
        """Return the model of the map times `factor` (a change of unit, say)."""
        if not np.isfinite(factor) or factor == 0:
            raise SpectrumError(f"factor is {factor!r}; a map can be scaled by a finite number other than 0")
        return replace(self, signal_cl=self.signal_cl * factor**2, noise_std=self.noise_std * abs(factor))


def tail_limit(signal_cl: FloatArray, noise_std: float | FloatArray) -> float:
    """Return the signal variance that may be dropped beyond lmax, unit²."""
    signal = pixel_variance(signal_cl)
    noise = TAIL_OF_NOISE**2 * float(np.mean(np.square(noise_std)))
    return float(np.clip(noise, TAIL_OF_SIGNAL[0] * signal, TAIL_OF_SIGNAL[1] * signal))


def lowest_lmax(signal_cl: FloatArray, noise_std: float | FloatArray, nside: int) -> int:
    """Return the lowest lmax (at least 2) beyond which the signal is negligible beside the noise."""
    ell = np.arange(signal_cl.size)
    terms = (2 * ell + 1) / (4 * np.pi) * signal_cl
    beyond = np.append(np.cumsum(terms[::-1])[::-1][1:], 0.0)
    noise = max(float(np.mean(np.square(noise_std))), LEAST_NOISE**2 * pixel_variance(signal_cl))
    heard = np.flatnonzero(signal_cl > MULTIPOLE_OF_NOISE * noise * 4 * np.pi / (12 * nside**2))
    return max(2, int(np.argmax(beyond <= tail_limit(signal_cl, noise_std))), int(heard.max(initial=0)))


def with_broad_prior(signal_cl: FloatArray, noise_std: float | FloatArray, nside: int) -> FloatArray:
    """Return signal_cl with entries 0 and 1 set to a broad prior variance for monopole and dipole."""
    signal = signal_cl.copy()
    signal[:2] = BROAD_PRIOR * max(float(signal[2:].max()), noise_power(noise_std, 12 * nside**2))
    return signal


def _warn_if_power_ends(
    signal: FloatArray, window: FloatArray, sky: FloatArray, band: int, limit: float
) -> None:
    """Warn if the signal would go on beyond the last multipole given, at the last D_ell."""
    last = signal.size - 1
    ell = np.arange(last + 1, band + 1)
    shape = np.ones(ell.size) * window[-1]
    known = window[last + 1 : band + 1]
    shape[: known.size] = known
    dl = sky[last] * last * (last + 1) / (ell * (ell + 1.0))
    lost = float(np.sum((2 * ell + 1) / (4 * np.pi) * dl * np.square(shape)))
    if lost > limit:
        what = "cl" if sky.size - 1 <= window.size - 1 else "beam"
        warnings.warn(
            f"the {what} ends at ell = {last}, where the map still holds signal (about {np.sqrt(lost):.3g} "
            f"rms beyond); no signal was assumed above it. Give a {what} to ell = {band} if you have one.",
            CmbInpaintWarning,
            stacklevel=3,
        )
