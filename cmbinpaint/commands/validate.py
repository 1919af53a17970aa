"""`cmbinpaint validate`: models against the exact answer, on skies whose truth is known.

Inputs: models, a mask, how many skies. Outputs: figures as JSON, Markdown tables and pictures.

Every sky is a unit of work with a record of its own; a command that was interrupted is completed by typing it
again, and more skies are added by asking for more.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.errors import CmbInpaintError, WeightsError

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray
    from cmbinpaint.networks.card import Card
    from cmbinpaint.validation.ensemble import Candidate, Series
    from cmbinpaint.validation.leakage import Leaked
    from cmbinpaint.validation.misspecified import Misspecified
    from cmbinpaint.validation.simulation_setup import SimulationSetup
    from cmbinpaint.validation.validation import Validation

MODELS = ("default", "kriging", "diffusive")
MISSPECIFIED_MODELS = ("kriging",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `validate`."""
    parser.epilog = (
        "A model is a name of `cmbinpaint models` or the path of a network; NAME@N refines it with N steps:\n"
        "  cmbinpaint validate --model default --model combine128 --skies 20 -o validation\n"
        "writes validation.json, validation.md and figures. Kriging is always there as the baseline, and refined\n"
        "networks without their refinement too. Typed again it makes what is missing.\n"
        "  cmbinpaint validate --fields TQU --nside 64 --skies 10 -o validation_tqu\n"
        "has every figure by Stokes parameter, mode and spectrum, and how much E leaks into B."
    )
    add = parser.add_argument
    add("--model", metavar="M", action="append", help="repeat for several; default: default, kriging, diffusive "
        "(with --misspecified: kriging)")  # fmt: skip
    add("--fields", choices=["T", "QU", "TQU"], default="T", help="what the skies are of; default T")
    add("--nside", metavar="N", type=common.positive_int, default=128, help="default 128")
    which = parser.add_mutually_exclusive_group().add_argument
    which("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed, of any nside")
    which("--holes", choices=common.HOLES, default="planck", help="draw one: Planck-like (default), or round holes "
          "5 to 65 px wide, as CoMBInE's circles")  # fmt: skip
    add("--fwhm-arcmin", metavar="X", type=common.natural_float, help="beam; default: three pixels")
    add("--noise-std", metavar="X", type=common.levels, help="white noise per pixel, µK; default 3, of Q and U 0.3; "
        "X,Y: of T and of polarization")  # fmt: skip
    add("--skies", metavar="N", type=common.positive_int, default=20, help="2 or more; default 20")
    add("--seed", metavar="S", type=common.natural, default=0, help="of all skies; default 0")
    add("--refine", metavar="N", type=common.natural, help="steps towards the exact mean for models without @N; "
        "default: networks to 0.1 posterior std, others none")  # fmt: skip
    add("--misspecified", action="store_true", help="give the model wrong skies, and say what that does")
    add("--card", metavar="FILE", type=Path, help="put a network's figures into its card (.json)")
    add("--device", default="auto", metavar="D", help="for networks: auto, cpu, cuda, cuda:N or mps")
    add("-o", "--output", metavar="DIR", type=Path, required=True, help="folder of records and results")
    common.add_max_memory(add)
    add("--overwrite", action="store_true", help="discard records of another setup in DIR")


def run(args: argparse.Namespace) -> int:
    """Do what is missing, then make all figures."""
    if args.skies < 2:
        raise CmbInpaintError("--skies 1: errors need two skies at least; give 2 or more")
    if args.misspecified and args.card is not None:
        raise CmbInpaintError("--card takes the figures of the true sky model; omit --misspecified")
    if args.misspecified and args.fields != "T":
        raise CmbInpaintError(f"--misspecified is for temperature; omit --fields {args.fields}")
    card = None if args.card is None else _card(args.card)
    outputs.make_folder(args.output)
    return _misspecified(args) if args.misspecified else _validate(args, card)


def _refuse(args: argparse.Namespace, names: list[str], records: Path) -> None:
    """Refuse to replace inputs, and files that no earlier `validate` wrote: it leaves its records beside them."""
    own = args.overwrite or records.is_dir()
    outputs.refuse_outputs(args, [args.output / name for name in names], overwrite=own)


def _validate(args: argparse.Namespace, card: "Card | None") -> int:
    from cmbinpaint.plots.calibration import VALIDATION_FIGURES
    from cmbinpaint.validation.ensemble import Ensemble, with_baselines
    from cmbinpaint.validation.validation import Validation
    from cmbinpaint.validation.validation_text import markdown

    records = args.output / "records"
    names = (*VALIDATION_FIGURES, "coverage", *(() if args.fields == "T" else ("leakage",)))
    pictures = [f"{figure}.png" for figure in names]
    _refuse(args, ["validation.json", "validation.md", *pictures], records)
    setup = _setup(args)
    candidates = with_baselines(_candidates(args, MODELS if args.fields == "T" else MODELS[:1]), setup.fields)
    own = {} if card is None else _own(card, candidates)
    ensemble = Ensemble(setup, candidates, records)
    _do(ensemble, args)
    result = Validation.of(ensemble, args.skies)
    if args.fields != "T":
        result = replace(result, leakage=_leakage(args, setup, candidates[0]))
    figures = {**result.to_dict(), "command": common.command_line(args.argv)}
    write_whole(args.output / "validation.json", json.dumps(figures, indent=1) + "\n")
    text = markdown(figures)
    write_whole(args.output / "validation.md", text)
    _draw(result, args.output)
    print(text)
    if card is not None:
        _write_card(card, args.card, figures, own)
    print(f"files in {args.output.resolve()}")
    return 0


def _leakage(
    args: argparse.Namespace, setup: "SimulationSetup", candidate: "Candidate"
) -> "dict[str, Leaked]":
    """How much E the first model leaks into B."""
    from cmbinpaint.validation.leakage import LeakageEnsemble

    series = LeakageEnsemble(setup, candidate, args.output / "records" / "leakage")
    _do(series, args)
    return series.result(args.skies)


def _misspecified(args: argparse.Namespace) -> int:
    from cmbinpaint import plots
    from cmbinpaint.validation import misspecified
    from cmbinpaint.validation.validation import band_labels, plain
    from cmbinpaint.validation.validation_text import misspecified_markdown

    setup, candidates = _setup(args), _candidates(args, MISSPECIFIED_MODELS)
    pictures = [f"misspecified_{candidate.label}.png" for candidate in candidates]
    _refuse(args, ["misspecified.json", "misspecified.md", *pictures], args.output / "misspecified")
    bands = band_labels(setup.bands)
    results: list[Misspecified] = []
    for candidate in candidates:
        folder = args.output / "misspecified" / candidate.label
        ensemble = misspecified.MisspecifiedEnsemble(setup, candidate, folder, misspecified.SCENARIOS)
        _do(ensemble, args)
        results.append(ensemble.result(args.skies))
        figure = plots.draw_misspecified(results[-1], bands)
        plots.save_figure(figure, args.output / f"misspecified_{candidate.label}.png")
    figures = {
        "what": "misspecified", "nside": args.nside, "seed": args.seed, "bands": bands,
        "command": common.command_line(args.argv), "results": plain(results),
    }  # fmt: skip
    write_whole(args.output / "misspecified.json", json.dumps(figures, indent=1) + "\n")
    text = misspecified_markdown(figures)
    write_whole(args.output / "misspecified.md", text)
    print(f"{text}\nfiles in {args.output.resolve()}")
    return 0


def _mask(args: argparse.Namespace) -> "BoolArray":
    """Return (npix,) bool RING at --nside: from the file, averaged or repeated, or drawn."""
    import numpy as np

    from cmbinpaint.files import fits
    from cmbinpaint.sphere.maps import degrade, validate_nside
    from cmbinpaint.sphere.masks import validate_mask

    nside = validate_nside(args.nside)
    if args.mask is None:
        return common.drawn_mask(args.holes, nside)
    valid = validate_mask(fits.read_mask(args.mask, max_memory=args.max_memory))
    share, known = degrade(valid.astype(np.float64), np.ones(valid.size, bool), nside)
    return known & (share > 0.5)


def _setup(args: argparse.Namespace) -> "SimulationSetup":
    import numpy as np

    from cmbinpaint.sphere.fields import Fields
    from cmbinpaint.validation.simulation_setup import SimulationSetup

    fields, noise_std = Fields(args.fields), None
    fwhm = None if args.fwhm_arcmin is None else float(np.radians(args.fwhm_arcmin / 60))
    if args.noise_std is not None:
        levels = common.for_each_stokes(args.noise_std, fields, "--noise-std")
        noise_std = levels[0] if fields is Fields.T else np.array(levels)
    return SimulationSetup.standard(_mask(args), args.seed, fields=fields, fwhm=fwhm, noise_std=noise_std)


def _candidates(args: argparse.Namespace, usual: tuple[str, ...]) -> "list[Candidate]":
    from cmbinpaint.sphere.fields import Fields
    from cmbinpaint.validation.ensemble import Candidate

    candidates = [Candidate.named(name, args.refine, args.device) for name in args.model or usual]
    for candidate in candidates:
        candidate.inpainter.check(args.nside, Fields(args.fields))  # before any sky is made
    return candidates


def _do(ensemble: "Series", args: argparse.Namespace) -> None:
    """Make the records that are missing, with a bar."""
    if args.overwrite:
        for records in ensemble.records.values():
            records.discard_others()
    units = ensemble.missing(args.skies)
    with common.progress_bar("skies", len(units)) as bar:
        for unit in units:
            bar.set_postfix_str(f"{unit.kind} {unit.sky}")
            ensemble.make(unit)
            bar.update()


def _draw(result: "Validation", folder: Path) -> None:
    from cmbinpaint import plots
    from cmbinpaint.plots.calibration import VALIDATION_FIGURES

    for figure in VALIDATION_FIGURES:
        plots.save_figure(plots.draw_validation(result, figure), folder / f"{figure}.png")
    plots.save_figure(plots.draw_coverage(result), folder / "coverage.png")
    if result.leakage is not None:
        plots.save_figure(plots.draw_leakage(result), folder / "leakage.png")


def _card(path: Path) -> "Card":
    from cmbinpaint.networks.card import read_card

    if not path.is_file():
        raise WeightsError(f"{path} is not available; --card names the card (.json) of a network")
    return read_card(path)


def _own(card: "Card", candidates: "list[Candidate]") -> dict[str, str]:
    """Return the labels under which the network of a card is evaluated, and what follows `validation_nsideN`."""
    own = {}
    for candidate in candidates:
        if candidate.inpainter.sha256 == card.sha256:
            own[candidate.label] = "" if candidate.refine is None else f"@{candidate.refine}"
    if not own:
        models = ", ".join(candidate.label for candidate in candidates)
        raise WeightsError(
            f"the card is of {card.name!r}, which is none of the models {models}; name it with --model"
        )
    return own


def _write_card(card: "Card", path: Path, figures: dict[str, Any], own: dict[str, str]) -> None:
    from cmbinpaint.validation.validation_text import card_figures

    entries = {
        f"validation_nside{figures['nside']}{use}": card_figures(figures, label) for label, use in own.items()
    }
    write_whole(path, replace(card, figures={**card.figures, **entries}).to_json())
    print(f"{path}: figures of {', '.join(own)}")
