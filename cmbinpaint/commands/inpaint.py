"""`cmbinpaint inpaint`: a FITS file with holes in, filled FITS files out.

Inputs: a map, where its holes are, what is known of the sky. Outputs: one file, or one for each realization, each
written atomically and with its history.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands import _report as pages
from cmbinpaint.commands._fill import Filling, refuse_no_holes
from cmbinpaint.commands._harmonics import alm_path, refuse_no_modes
from cmbinpaint.commands._known import add_sky_arguments
from cmbinpaint.commands._moments import moments_to_write, write_moments
from cmbinpaint.commands._series import realization_paths, still_to_do
from cmbinpaint.errors import CmbInpaintError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inpaint`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint inpaint smica.fits --field I_STOKES --mask-field TMASK -o filled.fits\n"
        "  cmbinpaint inpaint map.fits --mask mask.fits -o filled.fits --realizations 100 --seed 1\n"
        "  cmbinpaint inpaint smica.fits --mask-field TMASK,PMASK -o filled.fits     (T, Q, U; --fields T: T alone)\n"
        "Without --mask and --mask-field the holes are the map's UNSEEN and NaN pixels."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file, T, Q, U or T alone")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="FITS file to write, or FOLDER/")
    add = parser.add_argument_group("input").add_argument
    add("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed")
    source.add_map_arguments(add)
    add = parser.add_argument_group("how to fill").add_argument
    add("--model", metavar="M", default="default", help="see `cmbinpaint models`; default: default")
    add("--fill", choices=["realization", "prediction"], default="realization", help="default: realization")
    add("--realizations", metavar="N", type=common.count, help="write OUT_000.fits and so on, N of them")
    add(
        "--first-realization",
        metavar="I",
        type=common.natural,
        default=0,
        help="index of the first; default 0",
    )
    add("--mean-map", metavar="FILE", type=Path, help="FITS file of the mean of the realizations")
    add(
        "--std-map",
        metavar="FILE",
        type=Path,
        help="FITS file of their standard deviation, 0 in observed pixels",
    )
    add(
        "--eb-maps",
        action="store_true",
        help="with Q and U: add columns E_MODES and B_MODES, maps of E and B",
    )
    add("--alm", action="store_true", help="write OUT_alm.fits too, the filled map's a_lm to 3 nside - 1")
    add(
        "--seed", metavar="S", type=common.natural, help="of the realizations; default: a fresh one, recorded"
    )
    add("--refine", metavar="N", type=common.natural, help="conjugate-gradient steps towards the exact mean")
    add("--guard", metavar="N", type=common.natural, default=0, help="rings beside holes not used as data")
    add("--plan", metavar="FILE", type=Path,
        help="what maps with this mask and sky model share: read, or made if it does not exist")  # fmt: skip
    add("--device", metavar="D", default="auto", help="auto (default), cpu, cuda, mps")
    add("--no-noise", action="store_true", help="realizations of the signal alone: no noise in the holes")
    add_sky_arguments(parser)
    parser.add_argument(
        "--self-check",
        action="store_true",
        help="test beam, noise and sky model on this map's own observed pixels (docs/self-check.md)",
    )
    pages.add_report_arguments(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing output (realizations: make all again)"
    )


def run(args: argparse.Namespace) -> int:
    """Fill the map and write what was asked for."""
    _refuse_contradictions(args)
    paths = _paths(args)
    many = args.realizations is not None
    outputs.refuse_outputs(args, paths.values(), overwrite=args.overwrite or many)
    if args.alm:
        outputs.refuse_outputs(args, map(alm_path, paths.values()), overwrite=args.overwrite or many)
    moments = [path for path in (args.mean_map, args.std_map) if path is not None]
    outputs.refuse_outputs(args, moments, overwrite=True)
    target = pages.report_target(args)
    outputs.refuse_twice([*paths.values(), *moments, target, args.plan])
    if args.plan is not None and not args.plan.exists():
        outputs.refuse_outputs(args, [args.plan], overwrite=False)
    with common.stage("read the input"):
        request = source.Request.read(args, guard=args.guard)
    refuse_no_holes(request)
    if args.eb_maps or args.alm:
        refuse_no_modes(request)
    if target is not None:
        pages.refuse_partial_sky(request)
    filling = Filling.prepare(request)
    left = still_to_do(paths, filling) if many and not args.overwrite else list(paths)
    wanted = moments_to_write(filling, list(paths))
    if len(left) < len(paths):
        print(
            f"{len(paths) - len(left)} of {len(paths)} realizations are there already (seed {filling.seed})"
        )
    if args.self_check:
        with common.stage("self-check"):
            said = filling.check()
        print(said)
    with common.progress_bar("filling", len(left)) as bar:
        for index, filled, seconds in _fills(filling, left, bar):
            if args.plan is not None and filling.save_plan(
                args.plan
            ):  # first: the job's digest has its model
                bar.write(f"{args.plan}: the plan, for the next map with this mask and sky model")
            filling.write(paths[index], filled, index)
            bar.update()
            bar.write(filling.summary(paths[index], seconds))
            if args.alm:
                bar.write(str(alm_path(paths[index])))
    if filling.assumed:
        print(filling.assumed)
    for path in write_moments(filling, paths, wanted):
        print(path)
    if target is not None:
        with common.stage("report"):
            pages.Page(request, list(paths.values()), filling.known, checked=filling.checked).write(target)
        print(target)
    return 0


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.fill == "prediction":
        given = {"--realizations": args.realizations is not None, "--no-noise": args.no_noise}
        for option in (name for name, is_given in given.items() if is_given):
            raise CmbInpaintError(
                f"{option} was given with --fill prediction, which is one map and has no noise; omit one of the two"
            )
    if args.no_noise and args.noise_std is None and args.noise_level is None:
        raise CmbInpaintError(
            "--no-noise asks for the signal alone, which cannot be told from noise in one map; give --noise-std, or "
            "--hits and --noise-level"
        )
    if (args.mean_map or args.std_map) and (args.realizations or 1) < 2:
        raise CmbInpaintError(
            "--mean-map and --std-map are of several realizations; give --realizations N, 2 or more"
        )


def _paths(args: argparse.Namespace) -> dict[int, Path]:
    """Return the file of each realization; of one fill, its file."""
    stem, dot, ending = args.map.name.partition(".fits")
    output = outputs.output_file(args.output, f"{stem}_filled{dot or '.fits'}{ending}")
    first = args.first_realization
    if args.realizations is None:
        return {first: output}
    return realization_paths(output, range(first, first + args.realizations))


def _fills(filling: Filling, indices: Iterable[int], bar: Any) -> Iterator[tuple[int, "AnyArray", float]]:
    """Yield (index, filled map, seconds), one map in memory at a time; the bar says what is being done."""
    for index in indices:
        start = time.perf_counter()
        filled = filling.fill(index, lambda progress: bar.set_postfix_str(str(progress)))
        yield index, filled, time.perf_counter() - start
