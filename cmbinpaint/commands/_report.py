"""The page on a filled map, for the commands that write one.

Inputs: a map with holes as read, its plan, the files made of it. Outputs: `DIR/report.html`, whole or not there.
"""

import argparse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.errors import (
    CmbInpaintError,
    CmbInpaintWarning,
    FitsError,
    MapError,
    UnitsError,
    kept_warnings,
)

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo
    from cmbinpaint.problem.plan import InpaintingPlan
    from cmbinpaint.report.contents import MapReport
    from cmbinpaint.report.page import ReportFacts
    from cmbinpaint.sims.sky_model import SkyModel

NAME = "report.html"
_ROUNDING = 1e-6  # relative, of single precision, where units or types of the files differ
_CARDS = {
    "CREATOR": "software", "MODEL": "model", "WEIGHTS": "weights", "FILL": "fill", "SEED": "seed",
    "REALIZ": "realization", "REFINE": "refine", "GUARD": "guard", "MAPFILE": "map", "MAPSHA": "map's sha256",
    "MASKFILE": "mask", "MASKSHA": "mask's sha256", "JOB": "job",
}  # fmt: skip

_CHECKED, _WARNED = "self-check: ", "warning: "


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
    add("--truth", metavar="FILE", type=Path, help="the true full sky, if it is known, for the report")
    add("--error-map", metavar="FILE", type=Path, help="standard deviation in the holes, for the report")
    add(
        "--error-sims",
        metavar="N",
        type=common.positive_int,
        help="make that map of N simulations by the exact mean; slow at high nside",
    )


def report_target(args: argparse.Namespace) -> Path | None:
    """Return the report's path, None if none is wanted; refuse one that exists and a place that is no folder.

    Raises
    ------
    FitsError
        If the report exists and is not to be replaced.
    CmbInpaintError
        If the report's other options contradict each other, or come without it.
    """
    if args.report is None:
        for name in ("truth", "error_map", "error_sims"):
            if getattr(args, name) is not None:
                raise CmbInpaintError(f"--{name.replace('_', '-')} is for a report; give --report DIR too")
        return None
    if args.error_map is not None and args.error_sims is not None:
        raise CmbInpaintError("--error-map and --error-sims both say what the error is; give one of them")
    if args.error_sims == 1:
        raise CmbInpaintError("--error-sims 1 has no scatter; give at least 2")
    folder: Path = args.report
    if folder.exists() and not folder.is_dir():
        raise FitsError(f"{folder} is a file; --report takes a folder, in which {NAME} is written")
    for path in (args.truth, args.error_map):
        if path is not None and not path.is_file():
            raise FitsError(f"{path} does not exist, or is no file; the path of a FITS file was expected")
    target = folder / NAME
    if target.exists() and not args.overwrite:
        raise FitsError(f"{target} exists already; give another folder, or --overwrite")
    return target


@dataclass(frozen=True, eq=False)
class ReportJob:
    """What a report is made of.

    Attributes
    ----------
    args
        With `mask`, `mask_field`, `truth`, `error_map`, `error_sims`, `max_memory` and `argv`.
    sky, info, plan
        The map with holes, (npix,) RING, and what was filled.
    filled
        The files made of it; the first is shown.
    known
        Of the sky, as arguments of `inpaint_map`; `sky_model` among them saves its estimate.
    warned
        Warnings given before.
    checked
        All numbers of the self-check, if it ran.
    """

    args: argparse.Namespace
    sky: "AnyArray"
    info: "MapInfo"
    plan: "InpaintingPlan"
    filled: list[Path]
    known: Mapping[str, Any]
    warned: Sequence[str] = ()
    checked: str = ""

    def write(self, target: Path) -> None:
        """Read the filled files and what else came, and write the report; its folder is made."""
        from cmbinpaint.report.page import report_page

        with kept_warnings() as warned:
            numbers, first, error_source = self._numbers()
        facts = self._facts(first, [*self.warned, *warned], error_source)
        page = report_page(numbers, facts)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, page)

    def _numbers(self) -> "tuple[MapReport, MapInfo, str]":
        """Return the numbers, what the first filled file says of itself, and what the error map is."""
        from cmbinpaint.pipeline.posterior import error_map
        from cmbinpaint.report.contents import LEAST_REALIZATIONS, report_on

        args, info = self.args, self.info
        sky_model, unit = self._assumed()
        files = _Files(info, unit, args.max_memory)
        values, first = files.read_filled(self.filled[0])
        self._warn_of_another_job(first)
        error, source = None, ""
        if args.error_map is not None:
            error, source = files.read(args.error_map)[0], f"Standard deviation from {args.error_map.name}"
        elif args.error_sims is not None:
            error = error_map(self.plan, sky_model, n=args.error_sims, seed=0)
            source = f"Posterior standard deviation of the signal, from {args.error_sims} simulations"
        elif len(self.filled) >= LEAST_REALIZATIONS:
            source = f"Spread of {len(self.filled)} realizations, noise included"
        same = first.unit == info.unit and first.dtype == info.dtype
        numbers = report_on(
            files.in_work_unit(self.sky, info),
            _each(values, self.filled[1:], files),
            self.plan,
            target=None if args.truth is None else files.read_full(args.truth),
            error=error,
            sky_model=sky_model,
            unit=unit,
            tolerance=0.0 if same else _ROUNDING,
        )
        return numbers, first, source

    def _assumed(self) -> "tuple[SkyModel, str | None]":
        """Return the sky model, as `inpaint_map` takes it, and the unit of the work."""
        from cmbinpaint.problem.problem import Problem

        known = self.known
        told = known.get("cl") is not None or known.get("noise_std") is not None
        unit = "uK_CMB" if self.info.unit or told else None
        if "sky_model" in known:
            return known["sky_model"], unit
        problem = Problem.make(self.sky, plan=self.plan, unit=self.info.unit, assume_microkelvin=told)
        return problem.assume_sky(**known), unit

    def _warn_of_another_job(self, filled: "MapInfo") -> None:
        """Warn if the filled file says that it was made of other files than these."""
        from cmbinpaint.files.fits import sha256_of

        found = {"MAPSHA": self.info.sha256, "NFILLED": int(self.plan.targets.sum())}
        found |= {"MASKSHA": sha256_of(self.args.mask)} if self.args.mask is not None else {}
        words = {
            "MAPSHA": "another map",
            "NFILLED": "another number of filled pixels",
            "MASKSHA": "another mask",
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

    def _facts(self, filled: "MapInfo", warned: Sequence[str], error_source: str) -> "ReportFacts":
        """Return what the page says in words; of the fill, what its file says of itself."""
        from cmbinpaint.files.fits_scan import clean_text
        from cmbinpaint.report.page import ReportFacts

        info, name = self.info, Path(filled.path).name
        source = {
            "file": Path(info.path).name, "column": f"{info.column} of HDU {info.hdu}", "nside": str(info.nside),
            "ordering": info.ordering, "unit": info.unit or "not said", "coordinates": info.coord or "not said",
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
            error_source=error_source,
            command=common.command_line(self.args.argv),
        )

    def _mask_words(self) -> dict[str, str]:
        from cmbinpaint.files.fits import sha256_of

        mask, field = self.args.mask, self.args.mask_field
        if mask is None and field is None:
            return {"holes": "the map's UNSEEN and NaN pixels"}
        column = f"column {0 if field is None else field}"
        if mask is None:
            return {"holes": f"{column} of the map's file"}
        return {"holes": f"{column} of {mask.name}", "mask's sha256": sha256_of(mask)}


class _Files:
    """Reads maps that belong to the map with holes, in its unit of work, float64."""

    def __init__(self, info: "MapInfo", unit: str | None, max_memory: int | None) -> None:
        self.info, self.unit, self.max_memory = info, unit, max_memory

    def in_work_unit(self, sky: "AnyArray", info: "MapInfo") -> "FloatArray":
        """Return (npix,) float64, NaN where nothing is known; a file that says no unit has the map's."""
        import numpy as np

        from cmbinpaint.sphere.maps import validate_map
        from cmbinpaint.sphere.units import unit_factor

        if info.unit is not None and self.unit is None:
            raise UnitsError(
                f"{self.info.path} says no unit and {info.path} is in {info.unit}: they cannot be compared; --unit "
                "declares it"
            )
        taken, own = validate_map(sky), info.unit or self.info.unit
        factor = 1.0 if own is None or self.unit is None else unit_factor(own, self.unit)
        return np.where(taken.known, taken.values * factor, np.nan)

    def read(self, path: Path) -> "tuple[FloatArray, MapInfo]":
        """Read the column named as the map's, or the first; refuse another resolution or frame."""
        from cmbinpaint.files import fits

        named = any(c.name == self.info.column for c in fits.describe(path, max_memory=self.max_memory))
        with warnings.catch_warnings():
            if self.info.unit is None:  # said of the map itself already
                warnings.filterwarnings("ignore", "column .* has no TUNIT", CmbInpaintWarning)
            sky, info = fits.read_map(path, self.info.column if named else 0, max_memory=self.max_memory)
        if info.nside != self.info.nside:
            raise MapError(
                f"{path} has nside {info.nside}, {self.info.path} has nside {self.info.nside}; they must be equal"
            )
        if info.coord and self.info.coord and info.coord != self.info.coord:
            raise MapError(
                f"{path} is in coordinates {info.coord}, {self.info.path} in {self.info.coord}; maps are never rotated"
            )
        return self.in_work_unit(sky, info), info

    def read_full(self, path: Path) -> "FloatArray":
        """Read a map without holes."""
        import numpy as np

        sky, _ = self.read(path)
        n = int(np.count_nonzero(np.isnan(sky)))
        if n:
            raise MapError(f"{path} has {n} pixels that are NaN or UNSEEN; a full sky was expected")
        return sky

    def read_filled(self, path: Path) -> "tuple[FloatArray, MapInfo]":
        """Read a filled map; say so if it looks to be the one with holes."""
        import numpy as np

        sky, info = self.read(path)
        n = int(np.count_nonzero(np.isnan(sky)))
        if n:
            raise MapError(
                f"{path} has {n} pixels that are NaN or UNSEEN, and a filled map was expected; the order is the map "
                "with holes first, then what was made of it"
            )
        return sky, info


def _each(first: "FloatArray", others: list[Path], files: _Files) -> "Iterator[FloatArray]":
    """Yield filled maps, one in memory at a time."""
    yield first
    for path in others:
        yield files.read_filled(path)[0]
