"""A series of simulated skies, filled by several models as a user would, measured one sky at a time.

Inputs: a setup, models, a folder. Outputs: records, from which alone all figures are made.

One unit of work is one sky of one kind: the exact mean (`"exact"`), or a model. It depends on nothing but its
number and is written whole, so that any process may do any unit, in any order, and a rerun does what is missing:
`ensemble.units(n)[rank::size]` shares the work between `size` processes.

Of the exact mean: `error`, `residual`, `field` (mean squares by depth of mean - signal, observation - mean, signal),
`error_by_width` (widths, depths), `mean` (targets,), `error_kept`, `true_power`, `zero_power` (the map with zeros in
its holes), `mean_power`, `true_alm`, `residual_alm`, `jumps`, `one_point`, `seconds`.

Of a model, with F the map filled with its prediction and R = o - F its residual: `error`, `distance`, `scatter`
(mean squares by depth of prediction - signal, prediction - exact mean, realization - prediction),
`error_by_width`, `distance_by_width`, `prediction_kept`, `error_kept`, `prediction_power`, `realization_power`,
`residual_cross` (C_ell(F, R)), `distance_cross` (C_ell(F, F - M), M the map filled with the exact mean), `filled_alm`,
`residual_alm`, `jumps`, `prediction_jumps`, `one_point`, `prediction_one_point`, `steps`, `seconds` (of the plan, of
one prediction). Of several Stokes parameters, or their modes and spectra, one stands after the other.
"""

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.files.result_store import ResultStore
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.inpaint import inpaint_map
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.problem.draws import Draws
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.simulation_setup import SimulationSetup
from cmbinpaint.validation.sky_statistics import SkyStatistics

EXACT, BASELINE = "exact", "kriging"
Kind = Literal["exact", "linear", "refined", "nonlinear"]
# Of the exact mean, in posterior standard deviations: its error enters C_ell(F, F - M) once, not squared.
EXACT_TOLERANCE = 1e-4
_EXACT_POWER = 1e-6  # of E and B that is missing, over the sky's


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model to be evaluated, and how it is used.

    Parameters
    ----------
    label
        Its name in tables and folders.
    inpainter
        The model.
    refine
        Steps towards the exact mean after it, as in `inpaint_map`; None: as the model's default is.
    """

    label: str
    inpainter: Inpainter
    refine: int | None = None

    @classmethod
    def named(cls, text: str, refine: int | None = None, device: str = "auto") -> Self:
        """The model of a text `NAME` or `NAME@STEPS`; without `@STEPS`, `refine` counts.

        Raises
        ------
        WeightsError
            If there is no such model.
        """
        match = re.fullmatch(r"(.+)@(\d+)", text)
        name, steps = (match[1], int(match[2])) if match else (text, refine)
        inpainter = load_model(name, device=device)
        # A path cannot name a folder: the network's own name does.
        shown = name if re.fullmatch(r"[\w.+-]+", name) else inpainter.name
        return cls(shown if steps is None else f"{shown}@{steps}", inpainter, steps)

    @property
    def digest(self) -> str:
        """sha256 of the model and its use, hex."""
        return hashlib.sha256(
            f"{self.inpainter.name} {self.inpainter.sha256} {self.refine}".encode()
        ).hexdigest()

    @property
    def kind(self) -> Kind:
        """What its predictions are, and with it what holds for its figures."""
        if self.inpainter.is_exact:
            return "exact"
        if self.inpainter.refined_by_default if self.refine is None else self.refine > 0:
            return "refined"
        return "linear" if self.inpainter.is_linear else "nonlinear"


def with_baselines(candidates: Sequence[Candidate], fields: Fields = Fields.T) -> list[Candidate]:
    """Each refined model without its refinement too, which would otherwise be all that is evaluated; of T kriging."""
    plain = {c.inpainter.name for c in candidates if c.kind != "refined"}
    chosen: list[Candidate] = []
    for candidate in candidates:
        name = candidate.inpainter.name
        if name not in plain:
            plain.add(name)
            chosen.append(Candidate(f"{candidate.label.partition('@')[0]}@0", candidate.inpainter, 0))
        chosen.append(candidate)
    if fields is Fields.T and not any(candidate.inpainter.name == BASELINE for candidate in candidates):
        chosen.append(Candidate(BASELINE, load_model(BASELINE)))
    return chosen


class Unit(NamedTuple):
    """One sky of one kind."""

    kind: str
    sky: int


class Series(ABC):
    """Records of skies, kind by kind.

    Attributes
    ----------
    records
        By kind.
    """

    records: dict[str, ResultStore]

    def units(self, n: int) -> list[Unit]:
        """All units of n skies, kind by kind."""
        return [Unit(kind, sky) for kind in self.records for sky in range(n)]

    def missing(self, n: int) -> list[Unit]:
        """The units of n skies that have no record yet.

        Raises
        ------
        CmbInpaintError
            If a record of another setup is in the way.
        """
        return [unit for unit in self.units(n) if not self.records[unit.kind].has(unit.sky)]

    @abstractmethod
    def make(self, unit: Unit) -> None:
        """Do one unit and write its record."""


class Ensemble(Series):
    """Skies of one setup and the models that fill them.

    Parameters
    ----------
    setup
        The skies.
    candidates
        The models, labels all different and none of them `"exact"`.
    folder
        Of the records.

    Raises
    ------
    CmbInpaintError
        If labels are not unique.
    """

    def __init__(self, setup: SimulationSetup, candidates: Sequence[Candidate], folder: Path) -> None:
        self.setup = setup
        self.candidates = {candidate.label: candidate for candidate in candidates}
        if len(self.candidates) < len(candidates) or EXACT in self.candidates:
            labels = ", ".join(candidate.label for candidate in candidates)
            raise CmbInpaintError(f"got models {labels}; expected different ones, none named {EXACT!r}")
        self.records = {EXACT: ResultStore(folder / EXACT, setup.digest)}
        for label, candidate in self.candidates.items():
            both = hashlib.sha256(f"{setup.digest} {candidate.digest}".encode()).hexdigest()
            self.records[label] = ResultStore(folder / label, both)
        # A plan keeps what the last model prepared: each model has its own.
        plan = setup.plan
        self._plans = {
            label: InpaintingPlan(plan.nside, plan.valid, plan.targets, plan.excluded)
            for label in self.candidates
        }
        self.statistics = SkyStatistics(setup)

    def make(self, unit: Unit) -> None:
        """Do one unit and write its record."""
        record = self._exact(unit.sky) if unit.kind == EXACT else self._model(unit)
        self.records[unit.kind].write(unit.sky, record)

    @cached_property
    def _solver(self) -> GaussianSolver:
        return GaussianSolver(self.setup.plan.valid, self.setup.sky_model)

    def _exact(self, index: int) -> dict[str, AnyArray]:
        statistics, depths, valid = self.statistics, self.setup.depths, self.setup.plan.valid
        observed, signal = self.setup.sky(index)
        start = time.perf_counter()
        seen = np.where(valid, observed, 0.0)
        mean = self._solver.solve(seen, tolerance=EXACT_TOLERANCE, power_tolerance=_EXACT_POWER).mean
        seconds = time.perf_counter() - start
        filled = np.where(valid, observed, mean)
        true_alm, mean_alm = statistics.alm(observed), statistics.alm(filled)
        return {
            "error": depths.mean_square(mean - signal),
            "error_by_width": statistics.by_width(mean - signal),
            "residual": depths.mean_square(observed - mean),
            "field": depths.mean_square(signal),
            "mean": depths.at(mean).astype(np.float32),
            "error_kept": statistics.at_kept(mean - signal),
            "true_power": statistics.power(true_alm),
            "zero_power": statistics.power(statistics.alm(seen)),
            "mean_power": statistics.power(mean_alm),
            "true_alm": statistics.low_alm(true_alm),
            "residual_alm": statistics.low_alm(true_alm - mean_alm),
            "jumps": statistics.jumps(observed),
            "one_point": statistics.one_point(observed),
            "seconds": np.array(seconds),
        }

    def exact_mean(self, index: int, observed: FloatArray) -> FloatArray:
        """The observation with the exact mean in its holes, made first if need be."""
        if not self.records[EXACT].has(index):
            self.make(Unit(EXACT, index))
        mean = observed.copy()
        mean.reshape(-1)[self.setup.depths.pixels] = self.records[EXACT].read(index)["mean"]
        return mean

    def _model(self, unit: Unit) -> dict[str, AnyArray]:
        statistics, depths = self.statistics, self.setup.depths
        observed, signal = self.setup.sky(unit.sky)
        exact = self.exact_mean(unit.sky, observed)
        candidate, plan = self.candidates[unit.kind], self._plans[unit.kind]
        realized, info = inpaint_map(
            np.where(plan.valid, observed, np.nan), plan=plan, model=candidate.inpainter, unit="uK",
            cl=self.setup.cl, fwhm=self.setup.fwhm, noise_std=self.setup.noise_std, refine=candidate.refine,
            seed=self.setup.seed, draws=Draws(first=unit.sky), return_info=True,
        )  # fmt: skip
        filled = info.prediction
        filled_alm, exact_alm = statistics.alm(filled), statistics.alm(exact)
        residual_alm = statistics.alm(observed) - filled_alm
        return {
            "error": depths.mean_square(filled - signal),
            "error_by_width": statistics.by_width(filled - signal),
            "distance": depths.mean_square(filled - exact),
            "distance_by_width": statistics.by_width(filled - exact),
            "scatter": depths.mean_square(realized - filled),
            "prediction_kept": statistics.at_kept(filled),
            "error_kept": statistics.at_kept(filled - signal),
            "prediction_power": statistics.power(filled_alm),
            "realization_power": statistics.power(statistics.alm(realized)),
            "residual_cross": statistics.power(filled_alm, residual_alm),
            "distance_cross": statistics.power(filled_alm, filled_alm - exact_alm),
            "filled_alm": statistics.low_alm(filled_alm),
            "residual_alm": statistics.low_alm(residual_alm),
            "jumps": statistics.jumps(realized),
            "prediction_jumps": statistics.jumps(filled),
            "one_point": statistics.one_point(realized),
            "prediction_one_point": statistics.one_point(filled),
            "steps": np.array(info.steps[0]),
            # What is filled is a prediction and a realization, which costs another prediction.
            "seconds": np.array([info.seconds["plan"], info.seconds["fill"] / 2]),
        }
