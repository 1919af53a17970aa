"""The page on a filled map, for the commands that write one.

Inputs: a `Request`, the files made of it. Outputs: `DIR/report.html`, written atomically.
"""

import argparse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._companions import Companions
from cmbinpaint.commands._input import Request
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, FitsError, MapError, kept_warnings

if TYPE_CHECKING:
    from cmbinpaint._types import FloatArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.report.contents import MapReport
    from cmbinpaint.report.page import ReportFacts
    from cmbinpaint.sims.sky_model import SkyModel

NAME = "report.html"
_ROUNDING = 1e-6  # relative, of single precision, where units or types of the files differ
_CARDS = {
    "CREATOR": "software", "MODEL": "model", "WEIGHTS": "weights", "FILL": "fill", "SEED": "seed",
    "REALIZ": "realization", "STEPS": "steps", "GUARD": "guard", "MAPFILE": "map", "MAPSHA": "map's sha256",
    "MASKFILE": "mask", "MASKSHA": "mask's sha256", "CLFILE": "theory spectrum",
    "CLSHA": "theory spectrum's sha256", "JOB": "job",
}  # fmt: skip

_ASSUMED, _CHECKED, _WARNED = "sky model, in ", "self-check: ", "warning: "


def add_report_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Declare where a report goes and what it may hold; `required` for the command that does nothing else."""
    add = parser.add_argument_group("report").add_argument
    names = ("-o", "--report") if required else ("--report",)
    add(
        *names,
        metavar="DIR",
        dest="report",
        type=Path,
        required=required,
        help=f"write DIR/{NAME}, a page on the result",
    )
    add("--target", metavar="FILE", type=Path, help="the true full sky, if it is known, for the report")
    errors = ("--error-map", "--std-map") if required else ("--error-map",)  # elsewhere --std-map is written
    add(*errors, metavar="FILE", dest="error_map", type=Path,
        help="standard deviation in the holes, for the report")  # fmt: skip
    add(
        "--error-sims",
        metavar="N",
        type=common.positive_int,
        help="make that map of N simulations by the exact mean; slow at high nside",
    )


def report_target(args: argparse.Namespace) -> Path | None:
    """Return the report's path, None if none is wanted; refuse what could not be made at the end.

    Raises
    ------
    OutputError
        If the report exists and is not to be replaced, is an input, or its folder is none.
    CmbInpaintError
        If the report's other options contradict each other, or are given without it.
    """
    given = [name for name in ("target", "error_map", "error_sims") if getattr(args, name) is not None]
    if args.report is None:
        if given:
            raise CmbInpaintError(f"--{given[0].replace('_', '-')} is for a report; give --report DIR too")
        return None
    return page_target(args)


def page_target(args: argparse.Namespace) -> Path:
    """As `report_target`, of a command that always makes a report."""
    if args.error_map is not None and args.error_sims is not None:
        raise CmbInpaintError("--error-map and --error-sims both say what the error is; give one of them")
    if args.error_sims == 1:
        raise CmbInpaintError("--error-sims 1 has no scatter; give at least 2")
    folder: Path = args.report
    outputs.refuse_folder(folder)
    for path in (args.target, args.error_map):
        if path is not None and not path.is_file():
            raise FitsError(f"{path} does not exist, or is not a file; the path of a FITS file was expected")
    target = folder / NAME
    if folder.exists():
        outputs.refuse_outputs(args, [target], overwrite=args.overwrite)
    return target


def refuse_partial_sky(request: Request) -> None:
    """Refuse a report on a map that has no values where nothing is filled.

    Raises
    ------
    MapError
        With the number of such pixels.
    """
    from cmbinpaint.sphere.maps import validate_map

    lost = int((request.plan.excluded & ~validate_map(request.sky, polarized=True).known).sum())
    if lost:
        raise MapError(
            f"a report needs a full sky, and {lost} excluded pixels of {request.args.map} have no value; omit the "
            "report"
        )


@dataclass(frozen=True, eq=False)
class Page:
    """What a page is made of.

    Attributes
    ----------
    request
        The map with holes, and what was filled.
    filled
        The files made of it; the first is shown.
    known
        Of the sky, as arguments of `inpaint_map`; `sky_model` among them saves its estimate.
    warned
        Warnings given before.
    checked
        All numbers of the self-check, if it ran.
    """

    request: Request
    filled: list[Path]
    known: Mapping[str, Any]
    warned: Sequence[str] = ()
    checked: str = ""

    def write(self, target: Path) -> None:
        """Read the filled files and the others, and write the report; its folder is made."""
        from cmbinpaint.report.page import report_page

        with kept_warnings() as warned:
            numbers, first, words = self._numbers()
        facts = self._facts(first, [*self.warned, *warned], words)
        page = report_page(numbers, facts)
        outputs.make_folder(target.parent)
        write_whole(target, page, replace=self.request.args.overwrite)

    def _numbers(self) -> "tuple[MapReport, MapInfo, dict[str, str]]":
        """Return the numbers, what the first filled file says of itself, and what sky model and error map are."""
        from cmbinpaint.pipeline.posterior import error_map
        from cmbinpaint.report.contents import LEAST_REALIZATIONS, report_on

        request, args, info = self.request, self.request.args, self.request.info
        sky_model, unit = self._assumed()
        files = Companions(info, unit, args.max_memory)
        values, first = files.read_filled(self.filled[0])
        self._warn_of_another_job(first)
        assumed = self._words_on(sky_model, first)
        error, source = None, ""
        if args.error_map is not None:
            error, source = files.read(args.error_map)[0], f"Standard deviation from {args.error_map.name}"
        elif args.error_sims is not None:
            error = error_map(request.plan, sky_model, n=args.error_sims, seed=0)
            source = f"Posterior standard deviation of the signal, from {args.error_sims} simulations"
        elif len(self.filled) >= LEAST_REALIZATIONS:
            source = f"Spread of {len(self.filled)} realizations, noise included"
        same = first.unit == info.unit and first.dtype == info.dtype
        numbers = report_on(
            files.in_work_unit(request.sky, info),
            _each(values, self.filled[1:], files),
            request.plan,
            target=None if args.target is None else files.read_full(args.target),
            error=error,
            sky_model=sky_model,
            unit=unit,
            tolerance=0.0 if same else _ROUNDING,
        )
        return numbers, first, {"sky_model": assumed, "error_source": source}

    def _assumed(self) -> "tuple[SkyModel, str | None]":
        """Return the sky model, as `inpaint_map` takes it, and the unit of the work."""
        from cmbinpaint.problem.problem import Problem

        known = self.known
        given = any(known.get(name) is not None for name in ("cl", "noise_std", "noise_cov"))
        request = self.request
        unit = "uK_CMB" if request.info.unit or given else None
        if "sky_model" in known:
            return known["sky_model"], unit
        problem = Problem.make(
            request.sky,
            plan=request.plan,
            unit=request.info.unit,
            polconv=request.polconv,
            assume_microkelvin=given,
        )
        return problem.assume_sky(**known), unit

    def _words_on(self, sky_model: "SkyModel", filled: "MapInfo") -> str:
        """Say where the drawn sky model is from, and warn if the filled file says that its own was another."""
        from cmbinpaint.files.fits_scan import clean_text

        if "sky_model" in self.known:
            return f"the fill's own: {sky_model.source}"
        name, source = Path(filled.path).name, clean_text(sky_model.source)
        how = f"estimated again from {self.request.args.map.name}" if sky_model.is_estimated else "given"
        how = f"{how} ({source.removeprefix('estimated ')})"
        said = next((e.partition(": ")[2] for e in filled.history if e.startswith(_ASSUMED)), None)
        if said is None:
            return f"{how}; {name} does not say which one it was filled with"
        own = self.request.cl_sha256
        if said == source and own != (other := filled.header.get("CLSHA", own)):
            return f"{how}; {name} was filled with another theory spectrum (sha256 {other})"
        if said == source:
            return f"{how}; {name} says the same of the one it was filled with"
        warnings.warn(
            f"the report's sky model is not the one that {name} was filled with ({said}); give --cl, --noise-std and "
            "so on as for the fill",
            CmbInpaintWarning,
            stacklevel=2,
        )
        return f"{how}; {name} was filled with another: {said}"

    def _warn_of_another_job(self, filled: "MapInfo") -> None:
        """Warn if the filled file says that it was made of other files than these."""
        request = self.request
        found = {"MAPSHA": request.info.sha256, "NFILLED": int(request.plan.filled.sum())}
        found |= {} if request.args.mask is None else {"MASKSHA": request.mask_sha256}
        found |= {} if request.args.cl is None else {"CLSHA": request.cl_sha256}
        words = {
            "MAPSHA": "another map",
            "NFILLED": "another number of filled pixels",
            "MASKSHA": "another mask",
            "CLSHA": "another theory spectrum",
        }
        for card, value in found.items():
            said = filled.header.get(card, value)
            if said != value:
                warnings.warn(
                    f"{Path(filled.path).name} says in its header ({card}) that it was made with {words[card]}: "
                    f"{said}, not {value}",
                    CmbInpaintWarning,
                    stacklevel=2,
                )

    def _facts(self, filled: "MapInfo", warned: Sequence[str], words: Mapping[str, str]) -> "ReportFacts":
        """Return what the page says in words; of the fill, what its file says of itself."""
        from cmbinpaint.files.fits_scan import clean_text
        from cmbinpaint.report.page import ReportFacts

        info, name = self.request.info, Path(filled.path).name
        source = {
            "file": Path(info.path).name, "column": f"{', '.join(info.names)} of HDU {info.hdu}",
            "nside": str(info.nside), "ordering": info.ordering, "unit": info.unit or "not given",
            "coordinates": info.coord or "not given",
            "type": info.dtype, "sha256": info.sha256, **self._mask_words(),
        }  # fmt: skip
        filling = {"file": name, "sha256": filled.sha256}
        filling |= {word: str(filled.header[card]) for card, word in _CARDS.items() if card in filled.header}
        # A header holds ASCII: what was said now is the better spelling of the same.
        earlier = {
            e.removeprefix(_WARNED): e.removeprefix(_WARNED) for e in filled.history if e.startswith(_WARNED)
        }
        verdict = next((e.removeprefix(_CHECKED) for e in filled.history if e.startswith(_CHECKED)), None)
        line, _, numbers = self.checked.partition("\n")
        return ReportFacts(
            title=name,
            source=source,
            header={key: str(value) for key, value in info.header.items()},
            filling=filling,
            history=filled.history,
            warnings=tuple((earlier | {clean_text(text): text for text in warned}).values()),
            self_check=None if verdict is None else (line or verdict, numbers),
            **words,
            command=common.command_line(self.request.args.argv),
        )

    def _mask_words(self) -> dict[str, str]:
        mask, own = self.request.mask_source, self.request.args.mask is None
        if mask is None:
            return {"holes": "the map's UNSEEN and NaN pixels"}
        where = {
            "holes": f"column {mask[1]} of {'the map' if own else mask[0].name}" + ("'s file" if own else "")
        }
        return where if own else where | {"mask's sha256": self.request.mask_sha256}


def _each(first: "FloatArray", others: list[Path], files: Companions) -> "Iterator[FloatArray]":
    """Yield filled maps, one in memory at a time."""
    yield first
    for path in others:
        yield files.read_filled(path)[0]
