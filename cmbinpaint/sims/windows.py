"""Checks of spectra and beams, and the window that a map puts on a sky.

Inputs: arrays and widths as users give them. Outputs: float64 spectra and windows, or an error.
"""

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window


def take_spectrum(cl: FloatArray, name: str) -> FloatArray:
    """Return a copy of a spectrum as float64, refusing what is none."""
    try:
        array = np.array(cl, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SpectrumError(f"{name} is no array of numbers: {error}") from None
    if array.ndim != 1 or array.size < 3:
        raise SpectrumError(
            f"{name} has shape {array.shape}; expected one spectrum (lmax+1,) from ell = 0, with lmax >= 2"
        )
    bad = ~np.isfinite(array) | (array < 0)
    if bad.any():
        ell = int(np.argmax(bad))
        raise SpectrumError(
            f"{name} holds {int(bad.sum())} negative or non-finite entries, the first at ell = {ell} "
            f"({array[ell]}); a power spectrum of temperature is finite and >= 0"
        )
    return array


def map_window(
    nside: int, lmax: int, *, fwhm: float | None = None, beam: FloatArray | None = None, pixwin: bool = True
) -> FloatArray:
    """Return the amplitude (≤ lmax+1,) that a sky's a_lm are multiplied with in a map.

    Parameters
    ----------
    fwhm
        Gaussian beam, radians; or `beam`, b_ell from ell = 0 (which may end before lmax).
    pixwin
        Whether to include the pixel window of nside.
    """
    if fwhm is not None and beam is not None:
        raise SpectrumError("both fwhm and beam are given; give one of them")
    window = np.ones(lmax + 1)
    if fwhm is not None:
        window = gaussian_beam(check_fwhm(fwhm), lmax)
    elif beam is not None:
        window = take_beam(beam)[: lmax + 1]
    if pixwin:
        window = window * pixel_window(nside, window.size - 1)
    return np.asarray(window, dtype=np.float64)


def check_fwhm(fwhm: float) -> float:
    """Return fwhm in radians, refusing what looks like degrees or arcminutes."""
    value = float(fwhm)
    if not np.isfinite(value) or value < 0:
        raise SpectrumError(f"fwhm is {fwhm!r}; expected radians, finite and >= 0")
    if value > 1:
        raise SpectrumError(
            f"fwhm is {value:g}, above 1: it is in radians; did you mean np.radians({value:g}/60)?"
        )
    return value


def take_beam(beam: FloatArray) -> FloatArray:
    """Return b_ell as float64, refusing what is no beam."""
    array = np.asarray(beam, dtype=np.float64)
    if array.ndim != 1 or array.size < 3:
        raise SpectrumError(
            f"beam has shape {array.shape}; expected b_ell (lmax+1,) from ell = 0, with lmax >= 2"
        )
    if not np.isfinite(array).all() or not np.any(array):
        raise SpectrumError("beam holds NaN or inf, or is zero everywhere; expected finite b_ell")
    return array


def window_beyond(nside: int, lmax: int) -> FloatArray:
    """Return the pixel window to any lmax, continued as a Gaussian in ell above 4*nside."""
    known = min(lmax, 4 * nside)
    window = np.asarray(pixel_window(nside, known), dtype=np.float64)
    if lmax == known:
        return window
    ell = np.arange(known + 1, lmax + 1)
    return np.append(window, window[known] ** np.square(ell / known))


def take_noise(noise_std: float | FloatArray, nside: int) -> float | FloatArray:
    """Return noise per pixel as a float or a read-only (npix,) array, refusing what is none."""
    noise = np.array(noise_std, dtype=np.float64)
    npix = 12 * nside**2
    if noise.ndim and noise.shape != (npix,):
        raise SpectrumError(
            f"noise_std has shape {noise.shape}; expected a number, or one value per pixel: "
            f"({npix},) at nside {nside}"
        )
    bad = ~np.isfinite(noise) | (noise < 0)
    if bad.any():
        where = f", the first in pixel {int(np.argmax(bad))}" if noise.ndim else f" ({noise_std!r})"
        raise SpectrumError(
            f"noise_std holds {int(bad.sum())} negative or non-finite values{where}; "
            "expected standard deviations >= 0"
        )
    if noise.ndim == 0:
        return float(noise)
    noise.flags.writeable = False
    return noise


def take_lmax(lmax: int, nside: int) -> int:
    """Return lmax, refusing what a map of nside cannot hold."""
    if not 2 <= lmax < 4 * nside:
        raise SpectrumError(
            f"lmax is {lmax}; expected 2 to 4*nside - 1 = {4 * nside - 1} (default at most 3*nside - 1)"
        )
    return int(lmax)
