"""`cmbinpaint analyze`: the analyses of CoMBInE, and what a cosmologist wants to see.

Inputs: a training folder with its checkpoints, the name or file of a model, or a filled map. Outputs: numbers as CSV
and JSON, figures as PNG and PDF.
"""

import argparse
import difflib
from pathlib import Path

from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import CmbInpaintError, requires
from cmbinpaint.studies.catalog import STUDIES, Source, Study

KINDS = ("differences", "mask-size", "colors", "spectra", "classes", "maps", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `analyze`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint analyze all runs/combine128-short -o analysis\n"
        "  cmbinpaint analyze colors combine128 --data data-old-small -o colors\n"
        "  cmbinpaint analyze spectra kriging --nside 16 -o spectra\n"
        "  cmbinpaint analyze maps filled.fits --target true.fits -o analysis\n"
        "Trainings are followed over the checkpoints that they keep: all with keep_checkpoints = 0."
    )
    add = parser.add_argument
    add("what", metavar="WHAT", type=_kind, help=", ".join(KINDS))
    add(
        "source",
        metavar="SOURCE",
        type=Path,
        help="a training folder, the name or file of a model, or a filled map",
    )
    add("-o", "--output", metavar="DIR", type=Path, required=True, help="folder of all files; made if absent")
    add("--target", metavar="FILE", type=Path, help="of maps: the map before its pixels were hidden")
    add("--data", metavar="DIR", type=Path, help="data set with the truth; default: the training's own")
    add("--split", choices=("validation", "test", "train"), default="validation", help="default validation")
    add("--last", action="store_true", help="the last checkpoint alone, instead of all")
    add("--seed", metavar="S", type=common.natural, default=0, help="of patches, masks, skies; default 0")
    add(
        "--mask", metavar="FILE", type=Path, help="picture or .npy, bright = observed; default: random shapes"
    )
    counts = (
        ("--patches", 50, "of differences, spectra and maps"), ("--size-patches", 1, "of mask-size, as CoMBInE"),
        ("--color-patches", 10, "of colors; CoMBInE: 1"), ("--class-patches", 20, "of each class"),
        ("--skies", 40, "of spectra of a model; 20 or more"), ("--nside", 16, "of these skies"),
    )  # fmt: skip
    for option, default, words in counts:
        text = f"{words}; default {default}"
        add(option, metavar="N", type=common.positive_int, default=default, help=text)
    add("--t-min-uK", metavar="T", type=float, default=-300.0, help="where colors begin; default -300")
    add("--t-max-uK", metavar="T", type=float, default=300.0, help="where they end; default 300")
    add("--colors", metavar="NAME", default="planck", help="map of colors: planck (default) or grey")
    add("--classifier", metavar="DIR", type=Path, help="a classifier's training folder; default: Fisher's "
        "discriminant on the power in rings")  # fmt: skip
    add("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Refuse what cannot be done, then do study after study."""
    requires("network")
    if (args.what == "maps") != (args.target is not None):
        raise CmbInpaintError(
            "--target, the map before its pixels were hidden, belongs to `analyze maps`, which needs it"
        )
    from cmbinpaint.training.data.planck_colors import render

    source = Source(args, common.command_line(args.argv), common.progress_bar)
    render(0.0, args.t_min_uK, args.t_max_uK, args.colors)  # refuses bad colors now
    chosen, passed_over = _chosen(args, source)
    outputs.make_folder(args.output)
    for study in chosen:
        outputs.refuse_outputs(args, study.outputs(args.output), overwrite=args.overwrite)
    for study in chosen:
        study.write(source, args.output)
        print(f"{study.name}: {', '.join(path.name for path in study.outputs(args.output))}")
    for note in passed_over:
        print(note)
    print(f"files in {args.output.resolve()}")
    return 0


def _chosen(args: argparse.Namespace, source: Source) -> tuple[list[Study], list[str]]:
    """The studies that are asked for, and of `all` what does not apply, in words."""
    if args.what == "spectra":
        return _spectra(args), []
    if args.what != "all":
        return [STUDIES[args.what]], []
    chosen, notes = [STUDIES[name] for name in ("differences", "mask-size", "colors")], []
    if len(source.states) == 1 and not args.last:
        notes.append(
            f"{source.trained.name} has a single checkpoint (step {source.states[0].step}): nothing is followed over "
            "the training; train with keep_checkpoints = 0 to have all"
        )
    targets, lack = source.targets(1), source.spectra_lack()
    if lack:
        notes.append(
            f"spectra: skipped, the data set has {lack} {args.split} patches too few; --data names another"
        )
    else:
        chosen.append(STUDIES["patch spectra"])
    if len(targets.ns) > 1:
        chosen.append(STUDIES["classes"])
    else:
        notes.append(
            f"classes: skipped, the data set has one (n_s = {targets.ns[0]:g}); --data names another"
        )
    return chosen, notes


def _spectra(args: argparse.Namespace) -> list[Study]:
    """Of a folder or with a data set spectra of patches, of a model those of skies."""
    if args.source.is_dir():
        return [STUDIES["patch spectra"]]
    sky = [STUDIES["sky spectra"]]
    return sky if args.data is None else [STUDIES["patch spectra"], *sky]


def _kind(text: str) -> str:
    if text in KINDS:
        return text
    near = difflib.get_close_matches(text, KINDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise argparse.ArgumentTypeError(f"{text!r} is not an analysis; known: {', '.join(KINDS)}{hint}")
