"""`cmbinpaint inpaint`: a FITS file with holes in, filled FITS files out.

Inputs: a map, where its holes are, what is known of the sky. Outputs: one file, or one for each realization, each
whole and with its history, or not there.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint import __version__
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _report as pages
from cmbinpaint.errors import CmbInpaintError, FitsError, MaskError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.problem.model import Inpainter
    from cmbinpaint.problem.plan import InpaintingPlan
    from cmbinpaint.problem.progress import Watch
    from cmbinpaint.sims.sky_model import SkyModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `inpaint`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint inpaint smica.fits --field I_STOKES --mask-field TMASK -o filled.fits\n"
        "  cmbinpaint inpaint map.fits --mask mask.fits -o filled.fits --realizations 100 --seed 1\n"
        "Without --mask and --mask-field the holes are the map's UNSEEN and NaN pixels."
    )
    parser.add_argument("map", metavar="MAP", type=Path, help="HEALPix FITS file, temperature")
    parser.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="FITS file to write")
    add = parser.add_argument_group("input").add_argument
    add("--mask", metavar="FILE", type=Path, help="FITS mask, 1 = observed")
    source.add_map_arguments(add)
    add = parser.add_argument_group("how to fill").add_argument
    add("--model", metavar="M", default="default", help="see `cmbinpaint models`; default: default")
    add("--fill", choices=["realization", "prediction"], default="realization", help="default: realization")
    add("--realizations", metavar="N", type=common.positive_int, help="write OUT_000.fits to OUT_<N-1>.fits")
    add(
        "--seed", metavar="S", type=common.natural, help="of the realizations; default: a fresh one, recorded"
    )
    add("--refine", metavar="N", type=common.natural, help="conjugate-gradient steps towards the exact mean")
    add("--guard", metavar="N", type=common.natural, default=0, help="rings beside holes not used as data")
    add("--device", metavar="D", default="auto", help="auto (default), cpu, cuda, mps")
    source.add_sky_arguments(parser)
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
    if args.realizations is not None and args.fill == "prediction":
        raise CmbInpaintError("--realizations came with --fill prediction, which is one map; leave one away")
    many = args.realizations is not None
    outputs = realization_paths(args.output, args.realizations) if many else [args.output]
    common.refuse_outputs(
        outputs, [args.map, args.mask, args.cl, _path(args.noise_std)], overwrite=args.overwrite or many
    )
    target = pages.report_target(args)
    with kept_warnings() as warned:
        job = _Job.take(args)
    job.remember(warned)
    done = _already_done(outputs, job) if many and not args.overwrite else set()
    if done:
        print(f"{len(done)} of {len(outputs)} realizations are there already (seed {job.seed})")
    if args.self_check:
        print(job.check())
    with common.progress_bar("filling", len(outputs) - len(done)) as bar:
        for index, filled, seconds in _fills(job, [i for i in range(len(outputs)) if i not in done], bar):
            job.write(outputs[index], filled, index)
            bar.update()
            bar.write(job.summary(outputs[index], seconds))
    if target is not None:
        job.report(target, outputs)
        print(target)
    return 0


def realization_paths(output: Path, n: int) -> list[Path]:
    """Return OUT_000.fits and so on; whatever n, realization i has the same name."""
    stem, dot, ending = output.name.partition(".fits")
    return [output.with_name(f"{stem}_{i:03d}{dot}{ending}") for i in range(n)]


@dataclass
class _Job:
    """Everything that is read before the first hole is filled."""

    args: argparse.Namespace
    sky: "AnyArray"
    info: "MapInfo"
    plan: "InpaintingPlan"
    model: "Inpainter"
    known: dict[str, Any]
    seed: int | None
    history: list[str]
    checked: str = ""  # all numbers of the self-check
    steps: int = 0
    remaining: float | None = None

    @classmethod
    def take(cls, args: argparse.Namespace) -> "_Job":
        from cmbinpaint.pipeline.models import load_model

        sky, info = source.read_sky(args)
        plan = _plan(args, sky, info)
        model = load_model(args.model, device=args.device)
        fresh = None if args.fill == "prediction" else common.fresh_seed()
        history = common.provenance_of(args.argv)[1]
        seed = fresh if args.seed is None else args.seed
        return cls(args, sky, info, plan, model, source.known_of_sky(args), seed, history)

    def fill(self, index: int, watch: "Watch | None" = None) -> "AnyArray":
        """Fill the holes once; `index` counts realizations."""
        from cmbinpaint.pipeline.inpaint import inpaint_map
        from cmbinpaint.problem.draws import Draws

        filled, info = inpaint_map(
            self.sky,
            plan=self.plan,
            model=self.model,
            fill=self.args.fill,
            refine=self.args.refine,
            unit=self.info.unit,
            seed=self.seed,
            draws=Draws(first=index),
            progress=watch,
            return_info=True,
            **self.known,
        )
        if "sky_model" not in self.known:  # the others follow from the same
            self._assume(info.sky_model)
        self.remember(info.warnings)
        self.steps, self.remaining = info.steps[-1], info.remaining
        return filled

    def check(self) -> str:
        """Test what is known of the sky on the map; return the line that says so."""
        from cmbinpaint.validation.self_check import self_check

        try:
            found = self_check(
                self.sky,
                plan=self.plan,
                model=self.model,
                refine=self.args.refine,
                unit=self.info.unit,
                **self.known,
            )
        except MaskError as error:  # the mask leaves no room for it: the fill does not depend on that
            said = f"self-check: not possible: {error}"
        else:
            self._assume(found.sky_model)
            self.checked = found.table()
            said = f"self-check: {found}"
        self.history = [*self.history, said]
        return said

    def _assume(self, sky_model: "SkyModel") -> None:
        """Let the fills that follow use this sky model, and say where it came from."""
        self.known = {"sky_model": sky_model}
        self.history = [*self.history, f"sky model: {sky_model.source}"]

    def remember(self, warned: Iterable[str]) -> None:
        """Let outputs say in their HISTORY what was warned of, once each."""
        lines = (f"warning: {text}" for text in warned)
        self.history += [line for line in dict.fromkeys(lines) if line not in self.history]

    def report(self, target: Path, outputs: list[Path]) -> None:
        """Write the report on what is in the files now."""
        pages.ReportJob(
            self.args, self.sky, self.info, self.plan, outputs, self.known, checked=self.checked
        ).write(target)

    def digest(self) -> str:
        """Return a hash of all that the fills follow from but the seed."""
        args = self.args
        said = [self.info.sha256, self.info.column, self.info.hdu, self.info.unit, self.plan.digest]
        said += [self.model.name, self.model.sha256, args.fill, args.refine, args.fwhm_arcmin, __version__]
        said += [_hash_of(args.cl), _hash_of(_path(args.noise_std)) or args.noise_std]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    def cards(self, index: int) -> dict[str, Any]:
        """Return the provenance of one output."""
        args, cards = self.args, common.provenance_of(self.args.argv)[0]
        cards |= {
            "MODEL": (self.model.name, "that filled the holes"),
            "WEIGHTS": (self.model.sha256 or None, "sha256 of the model's weights"),
            "FILL": (args.fill, "realization or prediction"),
            "SEED": (self.seed, "of the realizations"),
            "REALIZ": (index if self.seed is not None else None, "which realization of that seed"),
            "STEPS": (self.steps, "of conjugate gradients, last map"),
            "REMAINS": (self.remaining, "estimate of what they left, posterior std"),
            "GUARD": (args.guard, "rings beside holes not used as data"),
            "FSKY": (self.plan.fsky, "fraction of the sky used as data"),
            "NHOLES": (self.plan.n_holes, "holes, by 8-connectivity"),
            "NFILLED": (int(self.plan.targets.sum()), "pixels filled"),
            "MAPFILE": (args.map.name, "the map with holes"),
            "MAPSHA": (self.info.sha256, "its sha256"),
            "MASKFILE": ((args.mask or args.map).name, _mask_source(args)),
            "MASKSHA": (_hash_of(args.mask) or self.info.sha256, "its sha256"),
            "JOB": (self.digest(), "the same for all that differs in seed only"),
        }
        return cards

    def write(self, path: Path, filled: "AnyArray", index: int) -> None:
        """Write one filled map, whole or not at all."""
        from cmbinpaint.files import fits

        fits.write_map(
            path,
            filled,
            info=self.info,
            overwrite=self.args.overwrite,
            provenance=self.cards(index),
            history=self.history,
        )

    def summary(self, path: Path, seconds: float) -> str:
        """Return the line that says what was written."""
        holes, percent = self.plan.n_holes, 100 * float(self.plan.targets.mean())
        seed = "" if self.seed is None else f", seed {self.seed}"
        return (
            f"{path}: {holes} holes filled ({percent:.1f} % of the sky), {self.args.fill} by "
            f"{self.model.name}{seed}, {common.human_seconds(seconds)}"
        )


def _fills(job: _Job, indices: list[int], bar: Any) -> Iterator[tuple[int, "AnyArray", float]]:
    """Yield (index, filled map, seconds), one map in memory at a time; the bar says what is being done."""
    for index in indices:
        start = time.perf_counter()
        filled = job.fill(index, lambda progress: bar.set_postfix_str(str(progress)))
        yield index, filled, time.perf_counter() - start


def _plan(args: argparse.Namespace, sky: "AnyArray", info: "MapInfo") -> "InpaintingPlan":
    """Return what is data and what is filled; refuse a map without holes if no mask was named."""
    plan = source.read_plan(args, sky, info, guard=args.guard)
    if not plan.targets.any() and not source.has_mask(args):
        raise CmbInpaintError(
            f"{args.map} has no UNSEEN or NaN pixels in column {info.column}, and no mask was given: give --mask "
            "FILE, or --mask-field NAME for a column of the map's own file"
        )
    return plan


def _already_done(outputs: list[Path], job: _Job) -> set[int]:
    """Return which realizations an earlier run of the same job wrote; take its seed if none was given.

    Raises
    ------
    FitsError
        If a file under one of the names came from another job.
    """
    from cmbinpaint.files import fits

    there = {
        i: fits.read_map(path, unit="uK_CMB")[1].header for i, path in enumerate(outputs) if path.exists()
    }
    if there and job.args.seed is None:
        job.seed = next(iter(there.values())).get("SEED", job.seed)
    wanted = job.digest()
    for i, header in there.items():
        if header.get("JOB") != wanted or header.get("SEED") != job.seed:
            differs = "another seed" if header.get("JOB") == wanted else "another map, mask, model or options"
            raise FitsError(
                f"{outputs[i]} exists already and was made with {differs}; give another -o, or --overwrite to "
                "make all realizations again"
            )
    return set(there)


def _mask_source(args: argparse.Namespace) -> str:
    if not source.has_mask(args):
        return "holes: UNSEEN and NaN pixels of the map"
    return f"holes: column {args.mask_field if args.mask_field is not None else 0}"


def _path(text: str | None) -> Path | None:
    return None if text is None or not Path(text).is_file() else Path(text)


def _hash_of(path: Path | None) -> str | None:
    from cmbinpaint.files import fits

    return None if path is None else fits.sha256_of(path)
