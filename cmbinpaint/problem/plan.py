"""The geometry of one inpainting job: which pixels are data, which are filled, how deep they lie.

Inputs: boolean masks in RING order. Outputs: `InpaintingPlan`, reusable for every map with that mask.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import MaskError, PlanError
from cmbinpaint.problem.array_file import read_arrays, write_arrays
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import npix_to_nside, validate_nside


class Factor(Protocol):
    """What takes the time of a first map and can be kept in a file."""

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Numbers and arrays that it can be made of again."""
        ...


# Of each kind the last that was made, and a hash of what it was made for.
Factors = dict[str, tuple[str, Factor]]
_PARTS = ("valid", "targets", "excluded")


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
    sky_model
        What is assumed of all maps that are filled with this plan; None: each call says it.

    Raises
    ------
    MaskError
        If the three contradict each other, or no pixel is data.
    """

    nside: int
    valid: BoolArray
    targets: BoolArray
    excluded: BoolArray
    sky_model: SkyModel | None = None

    def __post_init__(self) -> None:
        npix = 12 * validate_nside(self.nside) ** 2
        for name in _PARTS:
            array = np.array(getattr(self, name), dtype=bool)
            rows = {(npix,), (2, npix), (3, npix)}
            if array.shape not in rows or array.shape != np.shape(self.valid):
                raise MaskError(f"{name} has shape {array.shape}; nside {self.nside} needs ({npix},)")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if np.any(self.valid & (self.targets | self.excluded)) or np.any(self.targets & self.excluded):
            raise MaskError("valid, targets and excluded overlap; each pixel belongs to one of them at most")
        if self.sky_model is not None and self.sky_model.nside != self.nside:
            raise MaskError(
                f"the sky model is for nside {self.sky_model.nside}, the mask has {self.nside}; make one for the mask's"
            )
        if not self.valid.any(axis=-1).all():
            of = "" if self.valid.ndim == 1 else " of one Stokes parameter"
            raise MaskError(f"all pixels{of} are masked: nothing is observed, so nothing can be filled")

    def __repr__(self) -> str:
        """In one line, without the pixels."""
        excluded = int(
            np.count_nonzero(self.excluded.any(axis=0) if self.excluded.ndim > 1 else self.excluded)
        )
        what = f"nside {self.nside}: fsky {self.fsky:.4f}, {int(self.filled.sum())} pixels to fill, {excluded} excluded"
        return f"<InpaintingPlan of {what}{'' if self.sky_model is None else f', for {self.sky_model}'}>"

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
            made = InpaintingPlan(self.nside, valid, targets, excluded, self.sky_model)
            made.__dict__["factors"] = self.factors
            self._rows[fields] = made
        return self._rows[fields]

    @cached_property
    def temperature(self) -> "InpaintingPlan":
        """The plan of T alone, of one for T, Q, U."""
        if self.valid.ndim == 1:
            return self
        return InpaintingPlan(self.nside, self.valid[0], self.targets[0], self.excluded[0])

    def refuse_other(self, sky_model: SkyModel) -> None:
        """Refuse a sky model that is not the plan's, if it has one.

        Raises
        ------
        PlanError
            If they differ.
        """
        if self.sky_model is not None and self.sky_model.only(sky_model.fields).digest != sky_model.digest:
            raise PlanError(
                f"the plan is for another sky model ({self.sky_model.source}); omit what is said of the sky, which the "
                "plan holds, or make a plan for it"
            )

    @cached_property
    def factors(self) -> Factors:
        """What was prepared last, for the next map and for `save`."""
        return {}

    def save(
        self, path: str | os.PathLike[str], *, sky_model: SkyModel | None = None, overwrite: bool = False
    ) -> Path:
        """Write the plan, its sky model and what was prepared for them into one file, for `load_plan`.

        Parameters
        ----------
        path
            The file; nothing is under this name until all is written. It is as large as what was prepared takes
            memory: some 2 GB at nside 2048 with 12 million hole pixels.
        sky_model
            That of the maps; None: the plan's own, from `plan_inpainting`.
        overwrite
            Whether an existing file is replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        PlanError
            If the file exists already.
        """
        path, model = Path(path), self.sky_model if sky_model is None else sky_model
        if path.exists() and not overwrite:
            raise PlanError(f"{path} exists already; give another name, or overwrite=True")
        said: dict[str, Any] = {"nside": self.nside, "digest": self.digest, "sky_model": None, "factors": {}}
        arrays: dict[str, AnyArray] = {name: np.packbits(getattr(self, name), axis=-1) for name in _PARTS}
        if model is not None:
            said["sky_model"], own = model.to_arrays()
            arrays |= {f"sky.{name}": array for name, array in own.items()}
        for slot, (key, factor) in self.factors.items():
            numbers, own = factor.to_arrays()
            said["factors"][slot] = [key, numbers]
            arrays |= {f"{slot}.{name}": array for name, array in own.items()}
        write_arrays(path, said, arrays)
        return path

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        factor_of: Callable[[dict[str, Any], dict[str, AnyArray]], Factor],
    ) -> "InpaintingPlan":
        """The plan of a file, its factors made by `factor_of`; see `load_plan`."""
        said, arrays = read_arrays(Path(path))

        def below(name: str) -> dict[str, AnyArray]:
            return {n.removeprefix(f"{name}."): a for n, a in arrays.items() if n.startswith(f"{name}.")}

        try:
            count = 12 * int(said["nside"]) ** 2
            parts = {name: np.unpackbits(arrays[name], axis=-1, count=count).astype(bool) for name in _PARTS}
            model = None if said["sky_model"] is None else SkyModel.of_arrays(said["sky_model"], below("sky"))
            plan = cls(said["nside"], **parts, sky_model=model)
            for slot, (key, numbers) in said["factors"].items():
                plan.factors[slot] = key, factor_of(numbers, below(slot))
            whole = plan.digest == said["digest"]
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"{path} does not hold a plan ({error}); make it again") from error
        if not whole:
            raise PlanError(f"{path} is damaged: its mask is not the one it names; make the plan again")
        return plan

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
