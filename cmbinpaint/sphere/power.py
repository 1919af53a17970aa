"""Angular power spectra and noise levels: what they must be, and the variance that they give a pixel.

Inputs: spectra from ell = 0, noise and multipoles as users give them. Outputs: float64 arrays and numbers, or an error.
"""

from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.units import in_unit

__all__ = ["noise_power", "pixel_variance", "validate_cl", "validate_lmax", "validate_noise"]


def validate_cl(cl: Any, name: str = "cl", *, lmax: int = 0, signed: bool = False) -> FloatArray:
    """Return a copy of a power spectrum as float64, refusing what is none.

    Parameters
    ----------
    cl
        (at least lmax+1,) from ell = 0; a Quantity is converted to µK².
    name
        How messages name it.
    lmax
        The multipole that it must reach.
    signed
        Whether values may be negative, as those of a cross spectrum.

    Raises
    ------
    SpectrumError
        If it is not one-dimensional, too short, or holds NaN, inf or (unless `signed`) negative values.
    UnitsError
        If it is a Quantity, but no temperature squared.
    """
    array = _numbers(cl, "uK2", name)
    if array.ndim != 1 or array.size == 0:
        raise SpectrumError(f"{name} has shape {array.shape}; expected one spectrum (lmax+1,) from ell = 0")
    if array.size <= lmax:
        raise SpectrumError(f"{name} has shape {array.shape}; it is needed from ell = 0 to {lmax} at least")
    bad = ~np.isfinite(array) | ((array < 0) & (not signed))
    if bad.any():
        ell = int(np.argmax(bad))
        kind = "non-finite" if signed else "negative or non-finite"
        raise SpectrumError(
            f"{name} holds {int(bad.sum())} {kind} values, the first at ell = {ell} ({array[ell]}); "
            f"a power spectrum is finite{'' if signed else ' and >= 0'}"
        )
    return array


def validate_noise(noise_std: Any, nside: int) -> float | FloatArray:
    """Return noise per pixel as a float or a read-only (npix,) array, refusing what is none.

    A Quantity is converted to µK.
    """
    noise = _numbers(noise_std, "uK", "noise_std")
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


def validate_lmax(lmax: Any, highest: int | None = None, *, lowest: int = 0, why: str = "") -> int:
    """Return a multipole as an int, refusing what is no whole number from `lowest` to `highest`."""
    whole = isinstance(lmax, int | np.integer) and not isinstance(lmax, bool)
    if not whole or lmax < lowest or (highest is not None and lmax > highest):
        upper = "up" if highest is None else f"to {highest}"
        raise SpectrumError(f"lmax is {lmax!r}; expected a whole number from {lowest} {upper}{why}")
    return int(lmax)


def pixel_variance(cl: FloatArray, lowest: int = 2) -> float:
    """The variance of a field in a point, `Σ (2 ell + 1) C_ell / 4π` from `lowest` on.

    Monopole and dipole are left out by default: in a sky model they hold a broad prior.
    """
    ell = np.arange(lowest, cl.size)
    return float(np.sum((2 * ell + 1) * cl[lowest:]) / (4 * np.pi))


def noise_power(noise_std: float | FloatArray, npix: int) -> float:
    """The level of the spectrum of white noise, `mean(noise_std²) 4π / npix`."""
    return float(np.mean(np.square(noise_std))) * 4 * np.pi / npix


def _numbers(value: Any, unit: str, name: str) -> FloatArray:
    """A copy as float64; hidden entries of masked arrays are NaN."""
    plain = in_unit(value, unit, name)
    hidden = getattr(plain, "mask", None)
    try:
        array = np.array(getattr(plain, "unmasked", plain), dtype=np.float64)
        return array if hidden is None else np.where(hidden, np.nan, array)
    except (TypeError, ValueError) as error:
        raise SpectrumError(f"{name} is no array of numbers: {error}") from None
