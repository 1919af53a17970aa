"""`cmbinpaint collect`: the filled pixels that `batch --save holes` wrote, put back into their maps.

Inputs: files of holes, the folder of the maps that they were filled in. Outputs: filled maps, as `batch` writes them.
"""

import argparse
import glob
from pathlib import Path

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._batch_folder import filled_columns
from cmbinpaint.commands._units import CARDS, card_of
from cmbinpaint.errors import CmbInpaintError, FitsError, OutputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `collect`."""
    parser.epilog = "example:\n  cmbinpaint collect 'filled/*_holes_*.fits' --maps sims --outdir full"
    parser.add_argument(
        "holes", metavar="HOLES", nargs="+", help="of `batch --save holes`; or patterns in quotes"
    )
    parser.add_argument(
        "--maps", metavar="FOLDER", type=Path, required=True, help="where the maps with holes are"
    )
    parser.add_argument("--outdir", metavar="D", type=Path, required=True, help="folder of the filled maps")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    common.add_max_memory(parser.add_argument)


def run(args: argparse.Namespace) -> int:
    """Write one filled map for each file of holes."""
    found = ([one] if Path(one).exists() else sorted(glob.glob(one)) for one in args.holes)
    paths = [Path(path) for matched in found for path in matched]
    if not paths:
        raise CmbInpaintError(f"{' '.join(args.holes)} matches no file; give files of `batch --save holes`")
    args.holes = paths
    outputs.make_folder(args.outdir)
    targets = {path: args.outdir / path.name.replace("_holes", "_filled") for path in paths}
    outputs.refuse_twice(targets.values())
    outputs.refuse_outputs(args, targets.values(), overwrite=args.overwrite)
    for path, target in targets.items():
        _put_back(args, path, target)
        print(target)
    return 0


def _put_back(args: argparse.Namespace, path: Path, target: Path) -> None:
    from cmbinpaint.files import fits
    from cmbinpaint.files.other_columns import read_other_columns
    from cmbinpaint.sphere.maps import is_unseen

    name, sha = card_of(path, "MAPFILE"), card_of(path, "MAPSHA")
    if name is None or sha is None or card_of(path, "FILLCOL") is None:
        raise FitsError(f"{path} is not a file of `batch --save holes`: it names no map")
    columns, hdu = filled_columns(path), int(card_of(path, "MAPHDU") or 1)
    values, said = fits.read_map(path, columns, max_memory=args.max_memory)
    own = args.maps / name
    sky, info = fits.read_map(
        own, columns, hdu=hdu, unit=said.unit, ordering=said.ordering, max_memory=args.max_memory
    )
    if info.sha256 != sha:
        raise OutputError(
            f"{own} is not the map that {path} was filled in: its content differs; give its folder"
        )
    filled = sky.astype(values.dtype)
    listed = ~is_unseen(values)
    filled[listed] = values[listed]
    others = read_other_columns(own, info.field, hdu=hdu, ordering=said.ordering, max_memory=args.max_memory)
    cards = {key: said.header[key] for key in CARDS if key in said.header}
    fits.write_map(
        target,
        filled,
        info=info,
        others=others,
        overwrite=args.overwrite,
        provenance=cards,
        history=said.history,
    )
