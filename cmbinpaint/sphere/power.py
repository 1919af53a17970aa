"""Angular power spectra and noise levels: what they must be, and the variance that they give a pixel.

Inputs: spectra from ell = 0, noise and multipoles as users give them. Outputs: float64 arrays and numbers, or an error.
"""

from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.units import in_unit

__all__ = [
    "as_numbers", "noise_power", "pixel_variance", "symmetric", "validate_cl", "validate_lmax", "validate_noise",
    "validate_noise_cov",
]  # fmt: skip


def validate_cl(cl: Any, name: str = "cl", *, lmax: int = 0, signed: bool = False) -> FloatArray:
    """Return a copy of a power spectrum as float64, or raise an error.

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
    array = as_numbers(cl, "uK2", name)
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


def validate_noise(noise_std: Any, nside: int, k: int = 1) -> float | FloatArray:
    """Return noise per pixel, or raise an error.

    Parameters
    ----------
    noise_std
        A number or (npix,) of one map; a number, (k,) or (k, npix) of k Stokes parameters. A Quantity is converted.
    nside, k
        Of the map.

    Returns
    -------
    A float or a read-only (npix,) array; of several Stokes parameters a read-only (k,) or (k, npix) array.
    """
    noise = as_numbers(noise_std, "uK", "noise_std")
    npix = 12 * nside**2
    if k > 1 and noise.ndim == 0:
        noise = np.full(k, noise)
    if noise.shape not in (((), (npix,)) if k == 1 else ((k,), (k, npix))):
        expected = (
            f"a number, or one value per pixel: ({npix},)"
            if k == 1
            else f"a number, one for each Stokes parameter: ({k},), or one for each and each pixel: ({k}, {npix})"
        )
        raise SpectrumError(f"noise_std has shape {noise.shape}; expected {expected} at nside {nside}")
    bad = ~np.isfinite(noise) | (noise < 0)
    if bad.any():
        where = (
            f", the first in pixel {int(np.argmax(bad)) % npix}" if noise.size > 3 else f" ({noise_std!r})"
        )
        raise SpectrumError(
            f"noise_std holds {int(bad.sum())} negative or non-finite values{where}; "
            "expected standard deviations >= 0"
        )
    if noise.ndim == 0:
        return float(noise)
    noise.flags.writeable = False
    return noise


def validate_noise_cov(noise_cov: Any, nside: int, k: int) -> FloatArray:
    """Return the noise covariance of Stokes parameters per pixel, read-only, or raise an error.

    Parameters
    ----------
    noise_cov
        (3, npix) QQ, QU, UU of Q, U; (6, npix) II, IQ, IU, QQ, QU, UU of T, Q, U. Unit²; a Quantity is converted.
    nside, k
        Of the map.

    Raises
    ------
    SpectrumError
        If the shape is another, or a pixel's matrix is no covariance.
    """
    rows = k * (k + 1) // 2
    cov = as_numbers(noise_cov, "uK2", "noise_cov")
    if k == 1 or cov.shape != (rows, 12 * nside**2):
        raise SpectrumError(
            f"noise_cov has shape {cov.shape}; expected (3, {12 * nside**2}) for Q, U: QQ, QU, UU, or "
            f"(6, {12 * nside**2}) for T, Q, U: II, IQ, IU, QQ, QU, UU, at nside {nside}"
        )
    matrices = symmetric(cov, k)
    lowest = np.full(cov.shape[1], -1.0)
    finite = np.isfinite(cov).all(axis=0)
    lowest[finite] = np.linalg.eigvalsh(matrices[..., finite].transpose(2, 0, 1))[:, 0]
    bad = lowest < -1e-12 * np.abs(matrices).max(axis=(0, 1), initial=0.0, where=finite)
    if bad.any():
        first = int(np.argmax(bad))
        raise SpectrumError(
            f"noise_cov is no covariance in {int(bad.sum())} pixels, the first {first}: {cov[:, first]}; variances are "
            "not negative, and QU² is at most QQ UU"
        )
    cov.flags.writeable = False
    return cov


def symmetric(rows: FloatArray, k: int) -> FloatArray:
    """(k, k, n) matrices, from (k (k + 1) / 2, n) their upper triangles row after row."""
    matrices = np.empty((k, k, rows.shape[1]))
    for row, (i, j) in zip(rows, zip(*np.triu_indices(k), strict=True), strict=True):
        matrices[i, j] = matrices[j, i] = row
    return matrices


def validate_lmax(lmax: Any, highest: int | None = None, *, lowest: int = 0, why: str = "") -> int:
    """Return a multipole as an int, or raise an error unless it is a whole number from `lowest` to `highest`."""
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


def as_numbers(value: Any, unit: str, name: str) -> FloatArray:
    """A copy as float64; hidden entries of masked arrays are NaN."""
    plain = in_unit(value, unit, name)
    hidden = getattr(plain, "mask", None)
    try:
        array = np.asarray(getattr(plain, "unmasked", plain))
        if array.dtype.kind in "USc":  # numpy reads texts, and drops imaginary parts
            raise TypeError(f"got {array.dtype.name.rstrip('0123456789')}")
        array = np.array(array, dtype=np.float64)
        return array if hidden is None else np.where(hidden, np.nan, array)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpectrumError(f"{name} is not an array of numbers: {error}") from None
