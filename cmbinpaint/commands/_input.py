"""The map that a command works on, where its holes are, and what is known of the sky.

Inputs: the arguments declared here. Outputs: `Request`, which holds them read and checked; arrays in RING order.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands._known import known_of_sky
from cmbinpaint.errors import CmbInpaintError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.files.map_info import OtherColumn
    from cmbinpaint.problem.plan import InpaintingPlan


@dataclass(frozen=True, eq=False)
class Request:
    """What a command is asked to do with a map, all of it read before the work begins.

    Attributes
    ----------
    args
        The command's arguments.
    sky, info
        The map with holes, (npix,) RING in the file's unit and dtype, and what its file says.
    plan
        What is data, and what is filled.
    known
        Of the sky, as arguments of `inpaint_map`.
    warned
        Texts of the warnings given on the way.
    """

    args: argparse.Namespace
    sky: "AnyArray"
    info: "MapInfo"
    plan: "InpaintingPlan"
    known: dict[str, Any]
    warned: list[str]

    @classmethod
    def read(cls, args: argparse.Namespace, *, guard: int = 0) -> "Request":
        """Read what the arguments name; `guard`: rings beside holes not used as data."""
        with kept_warnings() as warned:
            sky, info = read_sky(args)
            _refuse_polarization(info)
            plan = read_plan(args, sky, info, guard)
            known = known_of_sky(args, info)
        return cls(args, sky, info, plan, known, warned)

    def other_columns(self) -> "list[OtherColumn]":
        """Read the columns of MAP's table that are not filled: they pass through to the output."""
        from cmbinpaint.files.other_columns import read_other_columns

        args = self.args
        return read_other_columns(
            args.map, args.field, hdu=args.hdu, ordering=args.ordering, max_memory=args.max_memory
        )

    @property
    def mask_source(self) -> tuple[Path, str | int] | None:
        """The file and the column that say what is observed; None: the map's own pixels do."""
        if not has_mask(self.args):
            return None
        return self.args.mask or self.args.map, self.args.mask_field or 0

    @property
    def mask_sha256(self) -> str:
        """The hash of the file that says what is observed."""
        from cmbinpaint.files.fits import sha256_of

        return self.info.sha256 if self.args.mask is None else sha256_of(self.args.mask)


def add_map_arguments(add: Callable[..., Any]) -> None:
    """Declare what says how MAP and its mask are to be read."""
    add(
        "--mask-field",
        metavar="NAME",
        type=common.column,
        help="the mask's column, in the mask's file or MAP",
    )
    add(
        "--mask-threshold", metavar="X", type=float, help="for a mask not 0 or 1: observed from this value on"
    )
    add(
        "--exclude",
        metavar="FILE",
        type=Path,
        help="FITS mask, 1 = neither used nor filled: outside a survey, say",
    )
    add("--exclude-field", metavar="NAME", type=common.column, help="its column, in that file or in MAP")
    add(
        "--exclude-threshold", metavar="X", type=float, help="for one not 0 or 1: excluded from this value on"
    )
    add("--field", metavar="NAME", type=common.column, default=0, help="column of MAP; default the first")
    add("--hdu", metavar="H", type=common.column, default=1, help="HDU of MAP, number or name; default 1")
    add("--unit", metavar="U", help="declares the unit of MAP (K, mK or uK) where TUNIT is missing or wrong")
    add(
        "--ordering",
        choices=["RING", "NESTED"],
        help="declares the ordering of MAP where the header lacks it",
    )
    common.add_max_memory(add)


def read_sky(args: argparse.Namespace) -> "tuple[AnyArray, MapInfo]":
    """Read MAP: (npix,) RING in the file's unit and dtype."""
    from cmbinpaint.files import fits

    return fits.read_map(
        args.map, args.field, hdu=args.hdu, unit=args.unit, ordering=args.ordering, max_memory=args.max_memory
    )


def _refuse_polarization(info: "MapInfo") -> None:
    """Refuse to take Q or U for a temperature."""
    from cmbinpaint.errors import FitsError
    from cmbinpaint.files.stokes_columns import stokes_of

    if stokes_of(info.column) in ("Q", "U"):
        raise FitsError(
            f"column {info.column!r} is polarization, which commands do not fill: it is no temperature. In Python, "
            "read_map(path, 'TQU') and inpaint_map fill T, Q, U together"
        )


def has_mask(args: argparse.Namespace) -> bool:
    """Return whether a mask was named, as a file or a column."""
    return args.mask is not None or args.mask_field is not None


def read_plan(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo", guard: int = 0) -> "InpaintingPlan":
    """Return what is data and what is filled: by the masks, if there are any, and by what the map holds."""
    from cmbinpaint.problem.plan import InpaintingPlan
    from cmbinpaint.problem.problem import plan_for
    from cmbinpaint.sphere.maps import validate_map

    observed, excluded = read_observed(args, sky, info), read_excluded(args, info)
    plan = InpaintingPlan.from_valid(observed, exclude=excluded, guard=guard)
    return plan_for(validate_map(sky), plan=plan)


def read_observed(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo") -> "BoolArray":
    """Return (npix,) bool, RING: observed by the mask, if there is one, else what the map holds."""
    from cmbinpaint.sphere import masks
    from cmbinpaint.sphere.maps import validate_map

    if not has_mask(args):
        if args.mask_threshold is not None:
            raise CmbInpaintError("--mask-threshold is for a mask; give --mask FILE or --mask-field NAME too")
        return validate_map(sky).known
    mask = _read_mask(args, args.mask, args.mask_field, info)
    return masks.validate_mask(mask, info.nside, threshold=args.mask_threshold)


def read_excluded(args: argparse.Namespace, info: "MapInfo") -> "BoolArray | None":
    """Return (npix,) bool, RING: neither data nor filled; None without such a mask."""
    from cmbinpaint.sphere import masks

    if args.exclude is None and args.exclude_field is None:
        if args.exclude_threshold is not None:
            raise CmbInpaintError(
                "--exclude-threshold is for --exclude FILE or --exclude-field NAME; give one too"
            )
        return None
    mask = _read_mask(args, args.exclude, args.exclude_field, info)
    return masks.validate_mask(mask, info.nside, threshold=args.exclude_threshold, what="exclude mask")


def _read_mask(
    args: argparse.Namespace, path: Path | None, field: int | str | None, info: "MapInfo"
) -> "AnyArray":
    """Read a mask from a file, or from a column of MAP."""
    from cmbinpaint.files import fits

    own = path is None
    return fits.read_mask(
        path or args.map,
        field or 0,
        hdu=args.hdu if own else 1,
        ordering=args.ordering if own else None,
        max_memory=args.max_memory,
        same_frame_as=info,
    )
