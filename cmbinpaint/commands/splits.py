"""`cmbinpaint splits`: splits of one sky with holes in, the same files without holes out.

Inputs: two maps or more, masks, what is known of the sky. Outputs: a file for each split and realization.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._known import NOISE_OPTIONS, add_spectrum_arguments
from cmbinpaint.commands._series import realization_paths
from cmbinpaint.errors import CmbInpaintError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `splits`."""
    parser.epilog = (
        "example:\n"
        "  cmbinpaint splits half1.fits half2.fits --mask mask.fits --noise-std 20 --noise-std 35 -o filled/\n"
        "Filled apart, splits have different skies in their holes, and their cross spectrum lacks power."
    )
    parser.add_argument("maps", metavar="SPLIT", type=Path, nargs="+", help="HEALPix FITS files, two or more")
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="folder to write into"
    )
    add = parser.add_argument_group("input").add_argument
    add(
        "--mask",
        metavar="FILE",
        type=Path,
        action="append",
        help="FITS mask, 1 = observed; repeat for one per split",
    )
    source.add_map_arguments(add)
    add = parser.add_argument_group("what is known of the sky").add_argument
    add("--cl", metavar="FILE", type=Path, help="C_ell in µK² from ell 0; default: estimated from the splits")
    add_spectrum_arguments(add)
    add("--fwhm-arcmin", metavar="X", type=common.natural_float, help="beam of all splits, with --cl")
    add("--noise-std", metavar="X|FILE", action="append",
        help="white noise per pixel in µK, once per split; default: from their products")  # fmt: skip
    add(
        "--realizations", metavar="N", type=common.count, help="write ..._000.fits and so on, N of each split"
    )
    add(
        "--seed", metavar="S", type=common.natural, help="of the realizations; default: a fresh one, recorded"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")


def run(args: argparse.Namespace) -> int:
    """Fill the splits together and write them."""
    from cmbinpaint.pipeline.inpaint_splits import inpaint_splits

    each = _each(args)
    outputs.make_folder(args.output)
    paths = [_paths(args, path) for path in args.maps]
    every = [path for of_split in paths for path in of_split]
    outputs.refuse_twice(every)
    outputs.refuse_outputs(args, every, overwrite=args.overwrite)
    seed = common.fresh_seed() if args.seed is None else args.seed
    with common.stage("read the input"):
        requests = [source.Request.read(one) for one in each]
    _refuse_differences(requests)
    known = {name: value for name, value in requests[0].known.items() if name != "noise_std"}
    noise = None if args.noise_std is None else [request.known["noise_std"] for request in requests]
    with common.progress_bar("filling", args.realizations or 1) as bar, kept_warnings() as warned:
        filled = inpaint_splits(
            [request.sky for request in requests],
            [request.plan for request in requests],
            noise_std=noise,
            n_realizations=args.realizations or 1,
            seed=seed,
            unit=requests[0].info.unit,
            polconv=requests[0].polconv,
            progress=lambda progress: bar.set_postfix_str(str(progress)),
            **known,
        )
    for request, maps, of_split in zip(requests, filled, paths, strict=True):
        _write(request, maps, of_split, seed, warned)
        holes = common.count_of(request.plan.n_holes, "hole")
        for path in of_split:
            print(
                f"{path}: {holes} filled ({100 * float(request.plan.filled.mean()):.1f} % of the sky), seed {seed}"
            )
    return 0


def _paths(args: argparse.Namespace, split: Path) -> list[Path]:
    """Return the files of one split, one for each realization."""
    stem, dot, ending = split.name.partition(".fits")
    output = args.output / f"{stem}_filled{dot or '.fits'}{ending}"
    return (
        [output]
        if args.realizations is None
        else list(realization_paths(output, range(args.realizations)).values())
    )


def _each(args: argparse.Namespace) -> list[argparse.Namespace]:
    """Return the arguments of each split alone, as other commands have them."""
    n = len(args.maps)
    if n < 2:
        raise CmbInpaintError(
            f"one split was given, {args.maps[0]}; give two or more, or use cmbinpaint inpaint"
        )
    masks = args.mask or [None]
    masks = masks * n if len(masks) == 1 else masks
    noise = args.noise_std or [None] * n
    for option, given in (("--mask", masks), ("--noise-std", noise)):
        if len(given) != n:
            raise CmbInpaintError(
                f"{n} splits and {len(given)} times {option} were given; give it once for each split"
            )
    without = dict.fromkeys((*NOISE_OPTIONS, "colored_noise"))
    return [
        argparse.Namespace(**vars(args) | without | {"map": path, "mask": mask, "noise_std": std})
        for path, mask, std in zip(args.maps, masks, noise, strict=True)
    ]


def _refuse_differences(requests: list[source.Request]) -> None:
    """Refuse splits whose files are in other units or conventions; --unit and --polconv declare them for all."""
    for what, said in (
        ("unit", [request.info.unit for request in requests]),
        ("polarization convention", [request.polconv for request in requests]),
    ):
        if len(set(said)) > 1:
            raise CmbInpaintError(
                f"the splits' files differ in {what}: {', '.join(map(str, said))}; make them agree"
            )


def _write(
    request: source.Request, maps: "AnyArray", paths: list[Path], seed: int, warned: Sequence[str]
) -> None:
    """Write the realizations of one split in its own unit, atomically each."""
    from cmbinpaint.files import fits

    args, plan = request.args, request.plan
    cards, history = common.provenance_of(args.argv)
    history += [f"warning: {text}" for text in dict.fromkeys([*request.warned, *warned])]
    others = request.other_columns()
    for index, (path, sky) in enumerate(zip(paths, maps, strict=True)):
        fits.write_map(
            path, sky, info=request.info, others=others, overwrite=args.overwrite, history=history,
            provenance=cards | {
                "SEED": (seed, "of the realizations, the same for all splits"),
                "REALIZ": (index, "which realization of that seed"),
                "FSKY": (plan.fsky, "fraction of the sky used as data"),
                "NHOLES": (plan.n_holes, "holes, by 8-connectivity"),
                "NFILLED": (int(plan.filled.sum()), "pixels filled"),
                "MAPFILE": (args.map.name, "the split with holes"),
                "MAPSHA": (request.info.sha256, "its sha256"),
                "MASKFILE": ((args.mask or args.map).name, "file that says what is observed"),
                "MASKSHA": (request.mask_sha256, "its sha256"),
                "CLFILE": (args.cl and args.cl.name, "theory spectrum"),
                "CLSHA": (request.cl_sha256, "its sha256"),
                "NSPLITS": (len(args.maps), "filled together"),
            },
        )  # fmt: skip
