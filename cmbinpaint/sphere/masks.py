"""Masks as users have them, sky fractions, apodized weights.

Inputs: masks of any type and order; inside, bool `valid` (npix,) in RING, True = observed.
Outputs: `valid`, sky fractions, apodized weights.
"""

import os
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere.holes import (
    CHUNK,
    depth,
    grow,
    guard,
    hole_labels,
    hole_sizes,
    nearest_observed,
    nside_of,
    validate_bool_mask,
)  # fmt: skip
from cmbinpaint.sphere.maps import is_unseen, npix_to_nside, to_ring, validate_nside
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.units import in_unit

__all__ = [
    "apodize", "depth", "fsky", "guard", "hole_labels", "hole_sizes", "nearest_observed",
    "planck_like_mask", "validate_mask",
]  # fmt: skip


_SHARE_OF_A_MAP = 0.1  # of all pixels: with so many values that no mask has, it is none


def validate_mask(
    mask: Any,
    nside: int | None = None,
    *,
    nest: bool = False,
    threshold: float | None = None,
    hidden: bool = False,
    what: str = "mask",
    polarized: bool = False,
) -> BoolArray:
    """Return a user's mask as bool (npix,) in RING order, True = observed.

    Parameters
    ----------
    mask
        (npix,), (npix, 1) or (1, npix) array of booleans, integers or floats, 1 = observed; a masked array or a
        Quantity of pure numbers too. It is never written to.
    nside
        The map's resolution, which the mask must have; None: whatever the mask has.
    nest
        Whether the mask is in NESTED order.
    threshold
        For a mask with values between 0 and 1: pixels of at least this value are observed.
    hidden
        What entries hidden in a masked array stand for: by default holes.
    what
        How messages call it: `"mask"` or `"exclude mask"`.
    polarized
        Whether two or three masks may be given, and are returned, as rows: of T and polarization, or one for each
        Stokes parameter.

    Raises
    ------
    MaskError
        If it is not a mask, does not fit the map, or holds other values than 0 and 1 and no threshold is given.
    """
    if polarized and _has_rows(mask):
        rows = (
            validate_mask(row, nside, nest=nest, threshold=threshold, hidden=hidden, what=what)
            for row in mask
        )
        return np.stack(list(rows))
    values = _mask_values(mask, hidden, what)
    try:
        own = npix_to_nside(values.size)
    except ValueError as error:
        raise MaskError(f"the {what} does not fit: {error}") from error
    if nside is not None and own != validate_nside(nside):
        order = ', order_in="NESTED", order_out="NESTED"' if nest else ""
        raise MaskError(
            f"the {what} has nside {own}, the map nside {nside}; bring it to the map's with\n"
            f"    mask = healpy.ud_grade(mask.astype(float), {nside}{order}) > 0.9"
        )
    valid = _observed(values, threshold, what)
    return np.asarray(to_ring(valid), dtype=bool) if nest else valid


def _has_rows(mask: Any) -> bool:
    """Whether it is two or three masks."""
    try:
        return len(mask) in (2, 3) and len({len(row) for row in mask}) == 1 and len(mask[0]) >= 12
    except (TypeError, KeyError):
        return False


def _mask_values(mask: Any, hidden: bool, what: str) -> AnyArray:
    """Return the mask as a one-dimensional array of numbers, hidden entries as 0 or 1."""
    mask = in_unit(mask, "", f"the {what}")
    concealed = getattr(mask, "mask", None)
    try:
        values = np.asarray(getattr(mask, "unmasked", mask))
    except ValueError as error:
        raise MaskError(
            f"the {what} is not an array of 0 and 1: got {type(mask).__name__}: {error}"
        ) from error
    if values.dtype.kind not in "biuf":
        raise MaskError(
            f"the {what} is not an array of 0 and 1: got {type(mask).__name__} of dtype {values.dtype}"
            + (": is it a path? read_mask reads a file" if isinstance(mask, str | os.PathLike) else "")
        )
    if values.ndim == 0 or values.size == 0:
        raise MaskError(
            f"the {what} is no array of 12 nside**2 pixels: got {type(mask).__name__} of shape {values.shape}"
        )
    if concealed is not None and np.any(concealed):
        values = np.where(concealed, np.array(hidden, dtype=values.dtype), values)
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise MaskError(f"the {what} has shape {values.shape}; one of shape (npix,) was expected")
    return values


def _observed(values: AnyArray, threshold: float | None, what: str) -> BoolArray:
    option = f"--{what.split()[0]}-threshold"
    if threshold is not None and not _is_positive(threshold):
        raise MaskError(f"threshold ({option}) is {threshold!r}; expected a number above 0, such as 0.9")
    if values.dtype.kind == "b":
        return values.astype(bool)
    if values.dtype.kind == "f":
        if threshold is None:
            _refuse_a_map(values, what)
        nans = np.isnan(values)
        if nans.any():
            raise MaskError(_faulty(nans, "NaN", "set them to 0 or 1", what))
    negative = values < 0
    if negative.any():
        unseen = values.dtype.kind == "f" and bool(np.all(is_unseen(values[negative])))
        kind = "UNSEEN (-1.6375e30)" if unseen else "negative"
        raise MaskError(_faulty(negative, kind, "it holds 0 and 1; set them to 0", what))
    if threshold is not None:
        return np.asarray(values >= threshold, dtype=bool)
    other = (values != 0) & (values != 1)
    if other.any():
        low, high = float(values.min()), float(values.max())
        raise MaskError(
            _faulty(other, "neither 0 nor 1", f"the values go from {low:g} to {high:g}", what)
            + f"; if it is apodized, threshold=0.9 ({option} 0.9) sets from which value on a pixel counts as 1"
        )
    return values.astype(bool)


def _refuse_a_map(values: AnyArray, what: str) -> None:
    """Refuse values like temperatures; an apodized mask may ripple a little below 0 and above 1."""
    known = values[np.isfinite(values)]
    beyond = known[((known < 0) | (known > 1)) & (known != np.round(known))]  # without UNSEEN, which is whole
    if beyond.size <= _SHARE_OF_A_MAP * values.size:
        return
    low, high = float(beyond.min()), float(known.max())
    if low < -0.5 or not 0.5 <= high <= 2:
        raise MaskError(
            f"the {what} looks like a map, not a mask: its values go from {low:g} to {high:g}; 1 where observed and 0 "
            f"elsewhere was expected (--{what.split()[0]}-field names another column of a file)"
        )


def _is_positive(number: Any) -> bool:
    try:
        return bool(0 < float(number) < np.inf)  # numpy's arrays of one number too
    except (TypeError, ValueError, OverflowError):
        return False


def _faulty(where: BoolArray, kind: str, remedy: str, what: str) -> str:
    count, first = int(np.count_nonzero(where)), int(np.argmax(where))
    which = f"1 pixel of the {what} is" if count == 1 else f"{count} pixels of the {what} are"
    return f"{which} {kind}, the first at index {first}; {remedy}"


# How an apodized mask rises, as NaMaster names it.
Taper = Literal["C1", "C2"]


def fsky(weights: npt.ArrayLike) -> float:
    """Return the sky fraction of a mask or of weights: their mean."""
    return float(np.mean(np.asarray(weights), dtype=np.float64))


def apodize(valid: BoolArray, radius_deg: float, taper: Taper = "C2") -> FloatArray:
    """Return weights that rise smoothly from 0 in the holes to 1 at `radius_deg` from them.

    The "C2" taper, `(1 - cos(pi x)) / 2`, or "C1", `x - sin(2 pi x) / (2 pi)`, with
    `x = sqrt((1 - cos t) / (1 - cos radius))`, t the angle to the nearest hole pixel's center (Grain, Tristram &
    Stompor 2009, Phys. Rev. D 79, 123515).

    Parameters
    ----------
    valid
        (npix,) bool, RING, True = observed.
    radius_deg
        Width of the taper in degrees, at most 90; 0 gives the mask itself as weights.
    taper
        ``"C1"`` or ``"C2"``, as NaMaster names them.

    Returns
    -------
    weights
        (npix,) float64 in [0, 1].
    """
    valid = validate_bool_mask(valid)
    if not 0 <= radius_deg <= 90:
        raise MaskError(f"an apodization radius is 0 to 90 degrees; got {radius_deg!r}")
    if taper not in get_args(Taper):
        raise MaskError(f"the taper of an apodization is C1 or C2; got {taper!r}")
    weights = valid.astype(np.float64)
    if radius_deg == 0 or valid.all() or not valid.any():
        return weights
    nside = nside_of(valid)
    # Mirror of `depth`: the nearest hole pixel of an observed pixel touches an observed pixel.
    rim = np.flatnonzero(grow(valid, 1, nside) & ~valid)
    tree = cKDTree(pixel_vectors(nside, rim))
    reach = 2 * np.sin(np.radians(radius_deg) / 2)
    observed = np.flatnonzero(valid)
    for start in range(0, observed.size, CHUNK):
        chunk = observed[start : start + CHUNK]
        chord, _ = tree.query(pixel_vectors(nside, chunk), distance_upper_bound=reach, workers=-1)
        # chord / reach is the x above; no hole within reach comes back as inf.
        x = np.minimum(chord / reach, 1.0)
        weights[chunk] = (
            0.5 * (1 - np.cos(np.pi * x)) if taper == "C2" else x - np.sin(2 * np.pi * x) / (2 * np.pi)
        )
    return weights
