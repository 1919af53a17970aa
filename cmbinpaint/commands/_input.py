"""The map that a command works on, where its holes are, and what is known of the sky.

Inputs: the arguments declared here. Outputs: `Request`, which holds them read and checked; arrays in RING order.
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands._known import known_of_sky, refuse_unobserved, says_of_sky
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, FitsError, PlanError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.files.map_info import OtherColumn
    from cmbinpaint.problem.options import Polconv
    from cmbinpaint.problem.plan import InpaintingPlan


@dataclass(frozen=True, eq=False)
class Request:
    """What a command is asked to do with a map, all of it read before the work begins.

    Attributes
    ----------
    args
        The command's arguments.
    sky, info
        The map with holes, (npix,) or (k, npix) RING in the file's unit and dtype, and what its file says.
    plan
        What is data, and what is filled.
    masks
        The same of the masks alone, or the plan of ``--plan FILE``: what maps with these masks have in common.
    known
        Of the sky, as arguments of `inpaint_map`.
    warned
        Texts of the warnings given on the way.
    """

    args: argparse.Namespace
    sky: "AnyArray"
    info: "MapInfo"
    plan: "InpaintingPlan"
    masks: "InpaintingPlan"
    known: dict[str, Any]
    warned: list[str]

    @classmethod
    def read(cls, args: argparse.Namespace, *, guard: int = 0) -> "Request":
        """Read what the arguments name; `guard`: rings beside holes not used as data."""
        from cmbinpaint.problem.problem import plan_for
        from cmbinpaint.sphere.maps import validate_map

        with kept_warnings() as warned:
            sky, info = read_sky(args)
            masks = read_masks(args, sky, info, guard)
            plan = plan_for(validate_map(sky, polarized=True), plan=masks)
            known = known_of_sky(args, info)
            refuse_unobserved(args, known, plan.valid)
        if not known and masks.sky_model is not None:
            known = {"sky_model": masks.sky_model.only(info.fields)}
        return cls(args, sky, info, plan, masks, known, warned)

    @property
    def is_plain(self) -> bool:
        """Whether the map lacks no pixel that its masks call observed."""
        return self.plan.digest == self.masks.of(self.info.fields).digest

    def other_columns(self) -> "list[OtherColumn]":
        """Read the columns of MAP's table that are not filled: they pass through to the output."""
        from cmbinpaint.files.other_columns import read_other_columns

        args = self.args
        return read_other_columns(
            args.map, self.info.field, hdu=args.hdu, ordering=args.ordering, max_memory=args.max_memory
        )

    @property
    def polconv(self) -> "Polconv | None":
        """The convention of Q and U, for `inpaint_map`."""
        return None if self.info.fields.n == 1 else self.info.polcconv  # type: ignore[return-value]

    @property
    def mask_source(self) -> tuple[Path, str] | None:
        """The file and the columns that say what is observed; None: the map's own pixels do."""
        if not has_mask(self.args):
            return None
        columns = dict.fromkeys(str(column) for _, column in masks_of(self.args, self.info))
        return self.args.mask or self.args.map, ",".join(columns)

    @property
    def mask_sha256(self) -> str:
        """The hash of the file that says what is observed."""
        from cmbinpaint.files.fits import sha256_of

        return self.info.sha256 if self.args.mask is None else sha256_of(self.args.mask)

    @property
    def cl_sha256(self) -> str | None:
        """The hash of the theory spectrum's file, if one is given."""
        from cmbinpaint.files.fits import sha256_of

        return None if self.args.cl is None else sha256_of(self.args.cl)


def add_map_arguments(add: Callable[..., Any]) -> None:
    """Declare what says how MAP and its mask are to be read."""
    add_column_arguments(add)
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
    add("--hdu", metavar="H", type=common.column, default=1, help="HDU of MAP, number or name; default 1")
    add("--unit", metavar="U", help="declares the unit of MAP (K, mK or uK) where TUNIT is missing or wrong")
    add(
        "--ordering",
        choices=["RING", "NESTED"],
        help="declares the ordering of MAP where the header lacks it",
    )
    common.add_max_memory(add)


def add_column_arguments(add: Callable[..., Any]) -> None:
    """Declare which columns are the map's and its masks', and the convention of Q and U."""
    add(
        "--fields",
        choices=["T", "QU", "TQU"],
        help="what is filled; default: all that MAP has by its columns' names",
    )
    add("--mask-field", metavar="NAMES", type=common.columns,
        help="the mask's column, in the mask's file or MAP; TMASK,PMASK: of T and of polarization")  # fmt: skip
    add("--mask-pol", metavar="FILE", type=Path, help="mask of Q and U, if it is in another file than T's")
    add("--field", metavar="NAMES", type=common.columns,
        help="column of MAP, or those of Q,U or T,Q,U; default by --fields; of T the first")  # fmt: skip
    add(
        "--polconv",
        choices=["COSMO", "IAU"],
        help="declares the convention of Q and U where POLCCONV is missing or wrong",
    )


def read_sky(args: argparse.Namespace) -> "tuple[AnyArray, MapInfo]":
    """Read MAP: (npix,) or (k, npix) RING in the file's unit and dtype."""
    from cmbinpaint.files import fits

    sky, info = fits.read_map(
        args.map,
        _columns(args),
        hdu=args.hdu,
        unit=args.unit,
        ordering=args.ordering,
        max_memory=args.max_memory,
    )
    _refuse_other_stokes(info)
    return sky, _with_polconv(args, info)


def _columns(args: argparse.Namespace) -> int | str | tuple[int | str, ...]:
    """Which columns of MAP are worked on: those that are named, or that have the usual names."""
    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import fields_of, stokes_columns, stokes_of
    from cmbinpaint.sphere.fields import Fields

    if args.field is not None:
        if args.fields is not None and len(args.field) != len(args.fields):
            raise CmbInpaintError(
                f"--field names {len(args.field)} columns, --fields {args.fields} has {len(args.fields)}"
            )
        return args.field if len(args.field) > 1 else args.field[0]
    names = column_names(args.map, hdu=args.hdu, max_memory=args.max_memory)
    fields = fields_of(names) if args.fields is None else Fields(args.fields)
    if fields is not Fields.T:
        return stokes_columns(names, fields, str(args.map))
    own = [name for name in names if stokes_of(name) == "T"]
    return own[0] if args.fields == "T" and len(own) == 1 else 0


def _refuse_other_stokes(info: "MapInfo") -> None:
    """Refuse to take Q or U for a temperature, or for one another."""
    from cmbinpaint.files.stokes_columns import stokes_of

    for expected, name in zip(info.fields.stokes, info.names, strict=True):
        found = stokes_of(name)
        if found not in (None, expected):
            raise FitsError(
                f"column {name!r} is {found} by its name, and {expected} was expected: --fields TQU or QU fills "
                "polarization; --field names T, Q, U in this order"
            )


def _with_polconv(args: argparse.Namespace, info: "MapInfo") -> "MapInfo":
    """Take the convention of Q and U as declared, or as the file has it."""
    if info.fields.n == 1:
        if args.polconv is not None:
            raise CmbInpaintError(f"--polconv {args.polconv} is for Q and U; the map is of T")
        return info
    said = info.polcconv and info.polcconv.upper()
    if args.polconv is None and said not in (None, "COSMO", "IAU"):
        raise FitsError(
            f"{info.path} has POLCCONV={info.polcconv!r}; known: COSMO, IAU. --polconv declares what it is"
        )
    if None not in (args.polconv, said) and args.polconv != said:
        warnings.warn(
            f"{info.path} has POLCCONV={info.polcconv!r}; its U is taken in the {args.polconv} convention, as declared",
            CmbInpaintWarning,
            stacklevel=3,
        )
    return replace(info, polcconv=args.polconv or said)


def has_mask(args: argparse.Namespace) -> bool:
    """Return whether a mask was named, as a file or a column."""
    return args.mask is not None or args.mask_field is not None or args.mask_pol is not None


def masks_of(args: argparse.Namespace, info: "MapInfo") -> list[tuple[Path | None, int | str]]:
    """Where the masks are, file (None: MAP's) and column: one for all, of T and polarization, or one of each."""
    from cmbinpaint.files.other_columns import column_names
    from cmbinpaint.files.stokes_columns import mask_columns

    named = args.mask_field
    if args.mask_pol is not None:
        if info.fields.n == 1:
            raise CmbInpaintError("--mask-pol is for Q and U; the map is of T")
        if info.fields.n == 3 and args.mask is None and named is None:
            raise CmbInpaintError(
                "--mask-pol is the mask of Q and U; give T's too, with --mask or --mask-field"
            )
        first, *rest = named or (0,)
        own: list[tuple[Path | None, int | str]] = [(args.mask, first)] if info.fields.n == 3 else []
        return [*own, (args.mask_pol, rest[0] if rest else 0 if args.mask is None else first)]
    if named is None:
        names = column_names(args.mask, max_memory=args.max_memory)
        return [(args.mask, one) for one in mask_columns(names, info.fields) or (0,)]
    texts = [one for one in named if isinstance(one, str)]
    return [(args.mask, one) for one in mask_columns(texts, info.fields) or named]


def read_masks(
    args: argparse.Namespace, sky: "AnyArray", info: "MapInfo", guard: int = 0
) -> "InpaintingPlan":
    """Return what is data and what is filled by the masks, or by what the map holds; that of ``--plan FILE`` if it is.

    Raises
    ------
    PlanError
        If the file's plan is for other masks.
    """
    from cmbinpaint.pipeline.planning import loaded_plan
    from cmbinpaint.problem.plan import InpaintingPlan

    path = getattr(args, "plan", None)
    saved = None if path is None or not path.exists() else loaded_plan(path)
    given = has_mask(args) or args.exclude is not None or args.exclude_field is not None or guard
    if saved is not None and not given:
        return saved
    observed, excluded = read_observed(args, sky, info), read_excluded(args, info)
    plan = InpaintingPlan.from_valid(observed, exclude=excluded, guard=guard)
    if saved is not None and saved.digest != plan.digest:
        raise PlanError(
            f"{path} is the plan of another mask (of nside {saved.nside}, fsky {saved.fsky:.4f}; here nside "
            f"{plan.nside}, fsky {plan.fsky:.4f}); give another --plan, or omit the mask, which the plan holds"
        )
    return saved or plan


def sky_model_of_plan(args: argparse.Namespace) -> list[str]:
    """The digest of the sky model that fills have from ``--plan FILE`` alone; empty if they do not."""
    from cmbinpaint.pipeline.planning import loaded_plan

    if says_of_sky(args) or args.plan is None or not args.plan.exists():
        return []
    model = loaded_plan(args.plan).sky_model
    return [] if model is None else [model.digest]


def read_observed(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo") -> "BoolArray":
    """Return (npix,) bool, RING, or rows: observed by the mask, if there is one, else what the map holds."""
    import numpy as np

    from cmbinpaint.sphere.maps import validate_map
    from cmbinpaint.sphere.masks import validate_mask

    if not has_mask(args):
        if args.mask_threshold is not None:
            raise CmbInpaintError("--mask-threshold is for a mask; give --mask FILE or --mask-field NAME too")
        return validate_map(sky, polarized=True).known
    rows = [
        validate_mask(_read_mask(args, path, column, info), info.nside, threshold=args.mask_threshold)
        for path, column in masks_of(args, info)
    ]
    return rows[0] if len(rows) == 1 else np.stack(common.for_each_stokes(rows, info.fields, "the mask"))


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
