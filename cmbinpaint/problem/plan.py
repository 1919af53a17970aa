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
from cmbinpaint.sphere.maps import npix_to_nside, validate_nside


@dataclass(frozen=True, eq=False)
class InpaintingPlan:
    """Geometry of an inpainting job; independent of the data and of the sky model.

    Parameters
    ----------
    nside
        Resolution of the map.
    valid
        (npix,) bool, RING; True where a pixel is used as data.
    targets
        (npix,) bool, RING; True where a value is wanted.
    excluded
        (npix,) bool, RING; neither data nor target, returned untouched.

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
            if array.shape != (npix,):
                raise MaskError(f"{name} has shape {array.shape}; nside {self.nside} needs ({npix},)")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if np.any(self.valid & (self.targets | self.excluded)) or np.any(self.targets & self.excluded):
            raise MaskError("valid, targets and excluded overlap; each pixel belongs to one of them at most")
        if not self.valid.any():
            raise MaskError("all pixels are masked: nothing is observed, so nothing can be filled")

    @classmethod
    def from_valid(
        cls, valid: BoolArray, *, exclude: BoolArray | None = None, guard: int = 0
    ) -> "InpaintingPlan":
        """Make the plan of a mask (True = observed); `exclude` and `guard` as in `plan_inpainting`."""
        valid = np.asarray(valid, dtype=bool)
        nside = npix_to_nside(valid.size)
        excluded = np.zeros_like(valid) if exclude is None else np.asarray(exclude, dtype=bool)
        targets = ~valid & ~excluded
        data = valid & ~excluded
        if guard:
            # Only rims of holes that are filled are guarded: an excluded region's edge is not a source's wing.
            data &= masks.guard(~targets, guard)
        return cls(nside=nside, valid=data, targets=targets, excluded=excluded)

    @cached_property
    def depth(self) -> FloatArray:
        """(npix,) float64: angle from each unobserved pixel to the nearest datum, in pixels; 0 where valid."""
        return masks.depth(self.valid)

    @cached_property
    def fsky(self) -> float:
        """The fraction of the sky used as data."""
        return float(np.mean(self.valid))

    @cached_property
    def n_holes(self) -> int:
        """The number of holes by 8-connectivity."""
        return int(masks.hole_labels(~self.targets).max(initial=0))

    @cached_property
    def digest(self) -> str:
        """sha256 of the geometry, hex."""
        state = hashlib.sha256(f"{self.nside}".encode())
        for array in (self.valid, self.targets, self.excluded):
            state.update(np.packbits(array).tobytes())
        return state.hexdigest()
