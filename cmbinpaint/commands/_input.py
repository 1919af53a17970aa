"""The map that a command works on, where its holes are, and what is known of the sky.

Inputs: the arguments declared here. Outputs: `Request`, which holds them read and checked; arrays in RING order.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.errors import CmbInpaintError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray
    from cmbinpaint.files.fits import MapInfo
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
            plan = read_plan(args, sky, info, guard)
            known = known_of_sky(args)
        return cls(args, sky, info, plan, known, warned)

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
    add("--field", metavar="NAME", type=common.column, default=0, help="column of MAP; default the first")
    add("--hdu", metavar="H", type=common.column, default=1, help="HDU of MAP, number or name; default 1")
    add("--unit", metavar="U", help="declares the unit of MAP (K, mK or uK) where TUNIT is missing or wrong")
    add(
        "--ordering",
        choices=["RING", "NESTED"],
        help="declares the ordering of MAP where the header lacks it",
    )
    add("--max-memory", metavar="B", type=common.memory_size, help="refuse files that need more, as 8G")


def add_sky_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the user knows of the sky."""
    add = parser.add_argument_group(
        "what is known of the sky (estimated from the map otherwise)"
    ).add_argument
    add("--cl", metavar="FILE", type=Path, help="theory C_ell of the sky, lensed, in µK², from ell 0")
    add("--fwhm-arcmin", metavar="X", type=common.positive_float, help="Gaussian beam; only with --cl")
    add("--noise-std", metavar="X|FILE", help="white noise per pixel in µK, or a FITS map of it")


def known_of_sky(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the user knows of the sky, as arguments of `inpaint_map`."""
    if args.fwhm_arcmin is not None and args.cl is None:
        raise CmbInpaintError(
            "--fwhm-arcmin says how the spectrum of --cl was smoothed, and --cl is not given; without a spectrum the "
            "beam is part of what is estimated from the map"
        )
    known: dict[str, Any] = {}
    if args.cl is not None:
        from cmbinpaint.files.spectrum_files import read_cl

        known["cl"] = read_cl(args.cl)
    if args.fwhm_arcmin is not None:
        import numpy as np

        known["fwhm"] = float(np.radians(args.fwhm_arcmin / 60))
    if args.noise_std is not None:
        known["noise_std"] = common.read_noise(args.noise_std)
    return known


def read_sky(args: argparse.Namespace) -> "tuple[AnyArray, MapInfo]":
    """Read MAP: (npix,) RING in the file's unit and dtype."""
    from cmbinpaint.files import fits

    return fits.read_map(
        args.map, args.field, hdu=args.hdu, unit=args.unit, ordering=args.ordering, max_memory=args.max_memory
    )


def has_mask(args: argparse.Namespace) -> bool:
    """Return whether a mask was named, as a file or a column."""
    return args.mask is not None or args.mask_field is not None


def read_plan(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo", guard: int = 0) -> "InpaintingPlan":
    """Return what is data and what is filled: by the mask, if there is one, and by what the map holds."""
    from cmbinpaint.problem.plan import InpaintingPlan
    from cmbinpaint.problem.problem import plan_for
    from cmbinpaint.sphere.maps import validate_map

    plan = InpaintingPlan.from_valid(read_observed(args, sky, info), guard=guard)
    return plan_for(validate_map(sky), plan=plan)


def read_observed(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo") -> "BoolArray":
    """Return (npix,) bool, RING: observed by the mask, if there is one, else what the map holds."""
    from cmbinpaint.files import fits
    from cmbinpaint.sphere import masks
    from cmbinpaint.sphere.maps import validate_map

    if not has_mask(args):
        return validate_map(sky).known
    field = 0 if args.mask_field is None else args.mask_field
    if args.mask is not None:
        mask = fits.read_mask(args.mask, field, max_memory=args.max_memory)
    else:
        mask = fits.read_mask(
            args.map, field, hdu=args.hdu, ordering=args.ordering, max_memory=args.max_memory
        )
    return masks.validate_mask(mask, info.nside, threshold=args.mask_threshold)
