"""The geometry of one inpainting job: which pixels are data, which are filled, how deep they lie.

Inputs: boolean masks in RING order. Outputs: `InpaintingPlan`, reusable for every map with that mask.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import npix_to_nside, validate_nside


@dataclass(frozen=True, eq=False)
class InpaintingPlan:
    """Geometry of an inpainting job; independent of the data and of the sky model.

    The arrays are (npix,), for T or for all Stokes parameters alike; (2, npix), for T and polarization, or for Q and U;
    or (3, npix), for T, Q, U.

    Parameters
    ----------
    nside
        Resolution of the map.
    valid
        Bool, RING; True where a pixel is used as data.
    targets
        Bool, RING; True where a value is wanted.
    excluded
        Bool, RING; neither data nor target, returned untouched.

    Raises
    ------
    MaskError
        If the three contradict each other, or no pixel is data.
    """

    nside: int
    valid: BoolArray
    targets: BoolArray
    excluded: BoolArray

    def __post_init__(self) -> None:
        npix = 12 * validate_nside(self.nside) ** 2
        for name in ("valid", "targets", "excluded"):
            array = np.array(getattr(self, name), dtype=bool)
            rows = {(npix,), (2, npix), (3, npix)}
            if array.shape not in rows or array.shape != np.shape(self.valid):
                raise MaskError(f"{name} has shape {array.shape}; nside {self.nside} needs ({npix},)")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if np.any(self.valid & (self.targets | self.excluded)) or np.any(self.targets & self.excluded):
            raise MaskError("valid, targets and excluded overlap; each pixel belongs to one of them at most")
        if not self.valid.any(axis=-1).all():
            of = "" if self.valid.ndim == 1 else " of one Stokes parameter"
            raise MaskError(f"all pixels{of} are masked: nothing is observed, so nothing can be filled")

    @classmethod
    def from_valid(
        cls, valid: BoolArray, *, exclude: BoolArray | None = None, guard: int = 0
    ) -> "InpaintingPlan":
        """Make the plan of a mask (True = observed); `exclude` and `guard` as in `plan_inpainting`."""
        valid = np.asarray(valid, dtype=bool)
        excluded = np.zeros_like(valid) if exclude is None else np.asarray(exclude, dtype=bool)
        valid, excluded = (np.array(array) for array in np.broadcast_arrays(valid, excluded))
        nside = npix_to_nside(valid.shape[-1])
        targets = ~valid & ~excluded
        data = valid & ~excluded
        if guard:
            # Only rims of holes that are filled are guarded: an excluded region's edge is not a source's wing.
            for row, wanted in zip(np.atleast_2d(data), np.atleast_2d(targets), strict=True):
                row &= masks.guard(~wanted, guard)
        return cls(nside=nside, valid=data, targets=targets, excluded=excluded)

    def of(self, fields: Fields) -> "InpaintingPlan":
        """The plan for a map of these Stokes parameters, a row for each; of T alone (npix,).

        Where only one of Q and U is observed, neither is data; what is observed stays as it is.

        Raises
        ------
        MaskError
            If the plan is for another number of Stokes parameters.
        """
        k, rows = fields.n, 1 if self.valid.ndim == 1 else len(self.valid)
        if rows == 1 and k == 1:
            return self
        if rows not in {1, len(fields.spins), k}:
            raise MaskError(
                f"the mask has {rows} rows, the map is of {', '.join(fields.stokes)}; expected (npix,) for all, or a "
                f"row for each{' (or for T and for polarization)' if k == 3 else ''}"
            )
        if rows == k and np.array_equal(self.valid[-2], self.valid[-1]):
            return self
        if fields not in self._rows:  # one object for all maps: what is prepared for it is found again
            chosen = [0, 1, 1] if (rows, k) == (2, 3) else slice(None)
            valid, targets, excluded = (
                np.array(np.broadcast_to(np.atleast_2d(array)[chosen], (k, array.shape[-1])))
                for array in (self.valid, self.targets, self.excluded)
            )
            valid[-2:] = valid[-2:].all(axis=0)
            self._rows[fields] = InpaintingPlan(self.nside, valid, targets, excluded)
        return self._rows[fields]

    @cached_property
    def temperature(self) -> "InpaintingPlan":
        """The plan of T alone, of one for T, Q, U."""
        if self.valid.ndim == 1:
            return self
        return InpaintingPlan(self.nside, self.valid[0], self.targets[0], self.excluded[0])

    @cached_property
    def _rows(self) -> "dict[Fields, InpaintingPlan]":
        return {}

    @cached_property
    def depth(self) -> FloatArray:
        """As `valid`, float64: angle from each unobserved pixel to the nearest datum, in pixels; 0 where valid."""
        return np.stack([masks.depth(row) for row in np.atleast_2d(self.valid)]).reshape(self.valid.shape)

    @cached_property
    def fsky(self) -> float:
        """The fraction of the sky used as data; of several Stokes parameters the mean."""
        return float(np.mean(self.valid))

    @cached_property
    def n_holes(self) -> int:
        """The number of holes by 8-connectivity, of any Stokes parameter."""
        return int(masks.hole_labels(~self.filled).max(initial=0))

    @cached_property
    def filled(self) -> BoolArray:
        """(npix,) where a value of any Stokes parameter is wanted."""
        return np.asarray(np.atleast_2d(self.targets).any(axis=0))

    @cached_property
    def digest(self) -> str:
        """sha256 of the geometry, hex."""
        state = hashlib.sha256(f"{self.nside}".encode())
        for array in (self.valid, self.targets, self.excluded):
            state.update(np.packbits(array).tobytes())
        return state.hexdigest()
