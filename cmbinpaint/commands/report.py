"""`cmbinpaint report`: one page on a filled map, from the files alone.

Inputs: the map with holes and what was made of it. Outputs: `DIR/report.html`.
"""

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _report as pages
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint.problem.plan import InpaintingPlan

_MOST_GUARD = 100  # rings; a header that says more is not believed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `report`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint report sky.fits filled.fits --mask-field TMASK -o report\n"
        "  cmbinpaint report map.fits r_0*.fits --mask mask.fits --truth truth.fits -o report\n"
        "The same page as `cmbinpaint inpaint --report DIR` writes at once."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file, the map with holes")
    parser.add_argument(
        "filled", metavar="FILLED", type=Path, nargs="+", help="what was made of it; the first is shown"
    )
    add = parser.add_argument_group("input").add_argument
    add("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed")
    source.add_map_arguments(add)
    source.add_sky_arguments(parser)
    pages.add_report_arguments(parser, required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")


def run(args: argparse.Namespace) -> int:
    """Read, compare, write."""
    from cmbinpaint.files import fits

    target = pages.report_target(args)
    if target is None:
        raise CmbInpaintError("no folder came for the report; give -o DIR")
    known = source.known_of_sky(args)
    with kept_warnings() as warned:
        sky, info = source.read_sky(args)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)  # it is read, and warned of, again
        first = fits.read_map(args.filled[0], max_memory=args.max_memory)[1].header
    with kept_warnings() as more:
        plan = source.read_plan(args, sky, info, guard=_guard(first.get("GUARD", 0)))
    _refuse_no_holes(args, plan, first)
    pages.ReportJob(args, sky, info, plan, args.filled, known, [*warned, *more]).write(target)
    print(target)
    return 0


def _guard(said: Any) -> int:
    return said if isinstance(said, int) and 0 <= said <= _MOST_GUARD else 0


def _refuse_no_holes(args: argparse.Namespace, plan: "InpaintingPlan", filled: Mapping[str, Any]) -> None:
    if plan.targets.any():
        return
    mask = filled.get("MASKFILE")
    hint = f" ({args.filled[0].name} says that it was filled with {mask})" if mask else ""
    raise CmbInpaintError(
        f"{args.map} has no holes and no mask that has any came: give --mask FILE or --mask-field NAME as for the "
        f"fill{hint}"
    )
