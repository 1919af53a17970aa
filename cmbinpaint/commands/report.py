"""`cmbinpaint report`: one page on a filled map, from the files alone.

Inputs: the map with holes and what was made of it. Outputs: `DIR/report.html`.
"""

import argparse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _report as pages
from cmbinpaint.commands._known import add_sky_arguments
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning

_MOST_GUARD = 100  # rings; a header that says more is not believed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `report`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint report sky.fits filled.fits --mask-field TMASK -o report\n"
        "  cmbinpaint report map.fits r_0*.fits --mask mask.fits --target truth.fits -o report\n"
        "The same page as `cmbinpaint inpaint --report DIR` writes at once."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file, the map with holes")
    parser.add_argument(
        "filled", metavar="FILLED", type=Path, nargs="+", help="what was made of it; the first is shown"
    )
    add = parser.add_argument_group("input").add_argument
    add("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed")
    source.add_map_arguments(add)
    add_sky_arguments(parser)
    pages.add_report_arguments(parser, required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing report")


def run(args: argparse.Namespace) -> int:
    """Read, compare, write."""
    target = pages.page_target(args)
    header = _header(args)
    if args.fields is None and args.field is None and header.get("FIELDS") in ("T", "QU", "TQU"):
        args.fields = header["FIELDS"]  # as it was filled
    with common.stage("read the input"):
        request = source.Request.read(args, guard=_guard(header.get("GUARD", 0)))
    _refuse_no_holes(request, header)
    pages.refuse_partial_sky(request)
    with common.stage("report"):
        pages.Page(request, args.filled, request.known, request.warned).write(target)
    print(target)
    return 0


def _header(args: argparse.Namespace) -> Mapping[str, Any]:
    """Return what the first filled file says of itself; it is read, and warned of, again."""
    from cmbinpaint.files import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        return fits.read_map(args.filled[0], max_memory=args.max_memory)[1].header


def _guard(said: Any) -> int:
    return said if isinstance(said, int) and 0 <= said <= _MOST_GUARD else 0


def _refuse_no_holes(request: source.Request, filled: Mapping[str, Any]) -> None:
    if request.plan.targets.any():
        return
    args, mask = request.args, filled.get("MASKFILE")
    hint = f" ({args.filled[0].name} says that it was filled with {mask})" if mask else ""
    raise CmbInpaintError(
        f"{args.map} has no holes, and no mask that has any was given: give --mask FILE or --mask-field NAME as for "
        f"the fill{hint}"
    )
