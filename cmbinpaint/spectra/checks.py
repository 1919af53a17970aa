"""What maps and weights must be before a spectrum is computed.

Inputs: arrays. Outputs: them as float64, or an error.
"""

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.maps import npix_to_nside

__all__ = ["refuse_gaps", "validate_full_sky", "validate_weights", "weighted_sky"]


def validate_full_sky(sky: AnyArray, name: str) -> FloatArray:
    """Return a RING map as float64, or raise an error."""
    array = np.asarray(sky, dtype=np.float64)
    if array.ndim != 1:
        raise SpectrumError(f"{name} has shape {array.shape}; one RING map (npix,) was expected")
    npix_to_nside(array.size)
    return array


def refuse_gaps(values: FloatArray, name: str, remedy: str) -> None:
    """Raise SpectrumError if a pixel is NaN, inf or UNSEEN."""
    bad = ~np.isfinite(values) | (np.abs(values) > 1e20)
    if bad.any():
        raise SpectrumError(
            f"{name} has {int(bad.sum())} pixels that are NaN, inf or UNSEEN, the first at "
            f"{int(np.argmax(bad))}: one of them spoils every multipole; {remedy}"
        )


def weighted_sky(sky: AnyArray, weights: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the sky, 0 where its weight is 0, and the weights as float64."""
    w = validate_weights(weights)
    values = validate_full_sky(sky, "the map")
    if values.size != w.size:
        raise SpectrumError(f"the map has {values.size} pixels, the weights {w.size}; they must be equal")
    values = np.where(w != 0, values, 0.0)
    refuse_gaps(values, "the observed part of the map", "add them to the mask")
    return values, w


def validate_weights(weights: npt.ArrayLike) -> FloatArray:
    """Return a mask or weights as float64, or raise an error."""
    w = validate_full_sky(np.asarray(weights), "weights")
    if not np.isfinite(w).all() or w.min() < 0:
        raise SpectrumError(
            "weights hold negative or non-finite values; they are 0 in holes, up to 1 elsewhere"
        )
    if not w.any():
        raise SpectrumError("all weights are 0: nothing is observed, so there is no spectrum")
    return w
