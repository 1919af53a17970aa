"""Validate and reorder HEALPix maps of any array type, and return results in the user's format.

Inputs: arrays, masked arrays, Quantities; RING or NESTED; any byte order. Outputs: `SkyInput`: float64 RING
values, which pixels are known, and the way back to the type, ordering, dtype and unit of the input.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import healpy as hp
import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.sphere.containers import unwrap
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.units import agree

__all__ = [
    "UNSEEN", "SkyInput", "degrade", "is_unseen", "npix_to_nside", "to_nest", "to_ring",
    "validate_map", "validate_nside",
]  # fmt: skip

UNSEEN = float(hp.UNSEEN)

# UNSEEN survives float32 and text headers only to about 1e-7; healpy's own test is as wide.
_UNSEEN_TOLERANCE = 1e-5 * abs(UNSEEN)
_REORDER_CHUNK = 1 << 22  # bounds the index arrays of a reordering to 32 MiB


def validate_nside(nside: Any) -> int:
    """Return nside as an int, or raise MapError unless it is a power of two from 1 to 2**29."""
    try:
        number = int(nside)
        whole = bool(number == nside) and not isinstance(nside, (bool, np.bool_))
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or number < 1:
        raise MapError(f"nside must be a whole number, a power of two from 1 to 2**29; got {nside!r}")
    if number & (number - 1) or number > 1 << 29:
        raise MapError(
            f"nside {number} is not a power of two up to 2**29: NESTED ordering and the halving of "
            "resolution need one; regrid the map with healpy.ud_grade"
        )
    return number


def npix_to_nside(npix: int) -> int:
    """Return the nside of a full-sky map of npix pixels, or raise MapError with the nearest valid lengths."""
    nside = round((npix / 12) ** 0.5)
    if npix > 0 and 12 * nside * nside == npix:
        return validate_nside(nside)
    lower = max(1 << max(int(np.floor(np.log2(max(npix / 12, 1)) / 2)), 0), 1)
    near = " and ".join(f"{12 * n * n} (nside {n})" for n in (lower, 2 * lower))
    raise MapError(
        f"a map of {npix} pixels is not a HEALPix map (12 nside**2); the nearest lengths are {near}"
    )


def is_unseen(values: AnyArray) -> BoolArray:
    """Return where a float array holds HEALPix's UNSEEN, -1.6375e30, in any precision."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(values - UNSEEN) <= _UNSEEN_TOLERANCE, dtype=bool)


def _reorder(sky: AnyArray, index_of: Callable[..., Any]) -> AnyArray:
    nside = npix_to_nside(sky.shape[-1])
    out = np.empty(sky.shape, dtype=sky.dtype)
    for start in range(0, sky.shape[-1], _REORDER_CHUNK):
        stop = min(start + _REORDER_CHUNK, sky.shape[-1])
        out[..., start:stop] = sky[..., index_of(nside, np.arange(start, stop))]
    return out


def to_ring(sky: AnyArray) -> AnyArray:
    """Return a NESTED map, or several in shape (..., npix), in RING order; any dtype, always a copy."""
    return _reorder(np.asarray(sky), hp.ring2nest)


def to_nest(sky: AnyArray) -> AnyArray:
    """Return a RING map, or several in shape (..., npix), in NESTED order; any dtype, always a copy."""
    return _reorder(np.asarray(sky), hp.nest2ring)


@dataclass(frozen=True, eq=False)
class SkyInput:
    """A map of T, of Q, U or of T, Q, U as the algorithms see it, and the way back to what the user gave.

    Attributes
    ----------
    values
        (npix,) or, of several Stokes parameters, (k, npix) float64, RING, contiguous; 0.0 where nothing is known.
    known
        Bool, RING, of the same shape; False where the map is NaN, UNSEEN or a masked entry.
    nside
        Resolution.
    unit
        `"K_CMB"`, `"mK_CMB"`, `"uK_CMB"`, another unit as it was given, or None: unspecified.
    nest
        Whether the map is in NESTED ordering, and is returned so.
    """

    values: FloatArray
    known: BoolArray
    nside: int
    unit: str | None
    nest: bool
    _data: AnyArray
    _masked: BoolArray | None
    _wrap: Callable[[AnyArray, BoolArray | None], Any]

    def __post_init__(self) -> None:
        npix = 12 * validate_nside(self.nside) ** 2
        for name in ("values", "known", "_data"):
            if getattr(self, name).shape not in {(npix,), (2, npix), (3, npix)}:
                raise MapError(
                    f"{name} has shape {getattr(self, name).shape}; nside {self.nside} needs ({npix},)"
                )

    @property
    def fields(self) -> Fields:
        """T, or Q and U, or all three."""
        return Fields.T if self.values.ndim == 1 else Fields.of(len(self.values))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of what `to_user_format` returns."""
        return _output_dtype(self._data.dtype)

    def to_user_format(self, filled: AnyArray, holes: BoolArray) -> Any:
        """Return the user's map with its holes filled, in the type, ordering, dtype and unit of the input.

        Parameters
        ----------
        filled
            (npix,) or (n, npix) float64, RING, in the map's unit; read in the holes only. Of several Stokes parameters
            (k, npix) or (n, k, npix).
        holes
            Bool, RING, of the map's shape; every other pixel is returned bit for bit, cast to the output's dtype.

        Returns
        -------
        ndarray, MaskedArray or Quantity
            Of the shape of `filled`; float32, float64 and longer kept in native byte order, float16 to float32,
            integers to float64. A masked array keeps masked what was masked and is not a hole.

        Raises
        ------
        MapError
            If the shapes do not fit the map.
        """
        filled, holes = np.asarray(filled), np.asarray(holes, dtype=bool)
        shape = self.known.shape
        if holes.shape != shape or shape not in (filled.shape, filled.shape[1:]):
            raise MapError(f"filled has shape {filled.shape} and holes {holes.shape}; {shape} was expected")
        if self.nest:
            filled, holes = to_nest(filled), to_nest(holes)
        out = np.empty(filled.shape, dtype=self.dtype)
        out[...] = self._data
        out[..., holes] = filled[..., holes]
        mask = None if self._masked is None else np.broadcast_to(self._masked & ~holes, out.shape).copy()
        return self._wrap(out, mask)


def _output_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind in "iu":
        return np.dtype(np.float64)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype.newbyteorder("=")


def _as_map(data: Any, given: Any, polarized: bool) -> AnyArray:
    """Return the (npix,) array of a map, or (k, npix) if it may be `polarized`; or raise MapError."""
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise MapError(f"a map is one array of numbers; got {type(given).__name__}: {error}") from error
    if array.dtype.kind not in "iuf":
        hint = ": is it the mask? The map comes first" if array.dtype.kind == "b" else ""
        if isinstance(given, str | os.PathLike):
            hint = ": is it a path? read_map reads a file"
        raise MapError(f"a map holds real numbers; got {type(given).__name__} of dtype {array.dtype}{hint}")
    if array.ndim == 0 or array.size == 0:
        kind = "a scalar" if array.ndim == 0 else f"an empty array of shape {array.shape}"
        raise MapError(f"a map is an array of 12 nside**2 pixels; got {type(given).__name__}, {kind}")
    if array.ndim == 2 and 1 in array.shape:
        return array.reshape(-1)
    if array.ndim == 2 and array.shape[1] in (2, 3):
        remedy = (
            "pass map.T: one row for each Stokes parameter"
            if polarized
            else "temperature only, pass map[:, 0]"
        )
        raise MapError(f"the map has shape {array.shape}: {remedy}")
    if array.ndim == 2 and array.shape[0] in (2, 3):
        if polarized:
            return array
        raise MapError(f"the map has shape {array.shape}: temperature only, pass map[0]")
    if array.ndim != 1:
        also = ", or (3, npix) of T, Q, U or (2, npix) of Q, U," if polarized else ""
        raise MapError(f"the map has shape {array.shape}; one map of shape (npix,){also} was expected")
    return array


def validate_map(
    sky: Any, *, nest: bool = False, unit: str | None = None, polarized: bool = False
) -> SkyInput:
    """Read a map in any form that users have it.

    Parameters
    ----------
    sky
        (npix,), (npix, 1) or (1, npix) array, masked array or Quantity of integers or floats in any byte
        order; it is never written to. Masked entries are unknown, whatever their values. If `polarized` also (3, npix)
        of T, Q, U or (2, npix) of Q, U, or a list of such maps.
    nest
        Whether it is in NESTED order.
    unit
        Declares the unit of bare numbers, in any spelling; never converts.
    polarized
        Whether it may have Q and U.

    Returns
    -------
    SkyInput

    Raises
    ------
    MapError
        If it is not a HEALPix map, or has Q and U where it may not.
    UnitsError
        If `unit` is not a unit, or contradicts the map's own.
    """
    data, mask, own, wrap = unwrap(sky)
    array = _as_map(data, sky, polarized)
    nside = npix_to_nside(array.shape[-1])
    masked = None if mask is None else np.broadcast_to(mask, np.shape(data)).reshape(array.shape).astype(bool)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float64)
    known = ~(np.isnan(values) | is_unseen(values))
    if masked is not None:
        known &= ~masked
    if known.all():  # nothing is written then, and large maps are in memory once
        values = values.view()
        values.flags.writeable = False
    else:
        values = np.where(known, values, 0.0)
    if nest:
        values, known = to_ring(values), to_ring(known)
    return SkyInput(
        values=values,
        known=known,
        nside=nside,
        unit=agree(unit, own, what="the map"),
        nest=bool(nest),
        _data=array,
        _masked=masked,
        _wrap=wrap,
    )


def degrade(
    values: FloatArray, valid: BoolArray, nside_out: int, min_fraction: float = 0.5
) -> tuple[FloatArray, BoolArray]:
    """Average a map over coarser pixels, observed ones only; or repeat it in finer ones.

    Parameters
    ----------
    values, valid
        (npix,) float64 and (npix,) bool, True = observed; both RING. Nothing is read where not valid.
    nside_out
        Resolution wanted.
    min_fraction
        The fraction of a coarse pixel that must be observed for it to count as observed, in [0, 1].

    Returns
    -------
    values, valid
        RING at nside_out; 0.0 where not valid.

    Raises
    ------
    MapError
        If the shapes or numbers do not fit.
    """
    nside, nside_out = npix_to_nside(np.size(values)), validate_nside(nside_out)
    if np.shape(values) != np.shape(valid) or not 0.0 <= min_fraction <= 1.0:
        raise MapError(
            f"values {np.shape(values)} and valid {np.shape(valid)} must have the same shape, and min_fraction "
            f"({min_fraction}) within 0 and 1"
        )
    nested_valid = to_nest(valid)
    nested = np.where(nested_valid, to_nest(values), 0.0)
    if nside_out >= nside:
        ratio = (nside_out // nside) ** 2
        return to_ring(np.repeat(nested, ratio)), to_ring(np.repeat(nested_valid, ratio))
    children = (nside // nside_out) ** 2
    count = nested_valid.reshape(-1, children).sum(axis=1)
    keep = (count > 0) & (count >= min_fraction * children)
    total = nested.reshape(-1, children).sum(axis=1)
    return to_ring(np.where(keep, total / np.maximum(count, 1), 0.0)), to_ring(keep)
