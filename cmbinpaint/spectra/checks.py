"""What maps and weights must be before a spectrum is computed.

Inputs: arrays. Outputs: them as float64, or an error.
"""

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.maps import npix_to_nside

__all__ = ["refuse_gaps", "validate_full_sky", "validate_weights", "weighted_sky"]


def validate_full_sky(sky: AnyArray, name: str, *, polarized: bool = False) -> FloatArray:
    """Return a RING map as float64, (npix,) or, if `polarized`, also (k, npix), or raise an error."""
    array = np.asarray(sky, dtype=np.float64)
    if array.ndim != 1 and not (polarized and array.ndim == 2 and len(array) in (2, 3)):
        also = " or (k, npix) of Q, U or T, Q, U" if polarized else ""
        raise SpectrumError(f"{name} has shape {array.shape}; one RING map (npix,){also} was expected")
    npix_to_nside(array.shape[-1])
    return array


def refuse_gaps(values: FloatArray, name: str, remedy: str) -> None:
    """Raise SpectrumError if a pixel is NaN, inf or UNSEEN."""
    bad = ~np.isfinite(values) | (np.abs(values) > 1e20)
    if bad.any():
        raise SpectrumError(
            f"{name} has {int(bad.sum())} pixels that are NaN, inf or UNSEEN, the first at "
            f"{int(np.argmax(bad)) % bad.shape[-1]}: one of them spoils every multipole; {remedy}"
        )


def weighted_sky(sky: AnyArray, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the sky, 0 where its weight is 0, and the weights of its shape, both float64."""
    values = validate_full_sky(sky, "the map", polarized=True)
    w = validate_weights(weights, 1 if values.ndim == 1 else len(values))
    if values.shape[-1] != w.shape[-1]:
        raise SpectrumError(
            f"the map has {values.shape[-1]} pixels, the weights {w.shape[-1]}; they must be equal"
        )
    values = np.where(w != 0, values, 0.0)
    refuse_gaps(values, "the observed part of the map", "add them to the mask")
    return values, w


def validate_weights(weights: npt.ArrayLike, k: int = 1) -> FloatArray:
    """Return a mask or weights as float64, or raise an error.

    Of k Stokes parameters (k, npix), from weights for all, for T and polarization, or for each; Q and U are seen
    through the product of theirs.
    """
    w = validate_full_sky(np.asarray(weights), "weights", polarized=k > 1)
    if not np.isfinite(w).all() or w.min() < 0:
        raise SpectrumError(
            "weights hold negative or non-finite values; they are 0 in holes, up to 1 elsewhere"
        )
    if not w.any(axis=-1).all():
        raise SpectrumError("all weights are 0: nothing is observed, so there is no spectrum")
    if k == 1:
        return w
    rows = np.atleast_2d(w)
    if len(rows) not in {1, k - 1, k}:
        raise SpectrumError(
            f"the weights have {len(rows)} rows, the map {k}; expected one for all, or one for each"
        )
    rows = rows[[min(i, len(rows) - 1) for i in range(k)]]
    if not np.array_equal(rows[-2], rows[-1]):
        rows[-2:] = rows[-2] * rows[-1]
    return rows
