"""What a wrong sky model does to the fill: to the spectrum of realizations, and to the error in the holes.

Inputs: a setup, a model, a folder. Outputs: records, and from them a `Misspecified`.

In each scenario either the sky model given is wrong (beam, noise, amplitude), or the sky is unusual while the standard
model is given (tilt, a bump, a low quadrupole, correlated noise, wings of sources). Each sky is filled three times from
the same random numbers: given the right model, the fixed wrong one, and one estimated from the map's own observed
pixels. Differences between fills of one sky scatter little, so that few skies suffice.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.files.result_store import ResultStore
from cmbinpaint.pipeline.filler import Filler, realization_rng
from cmbinpaint.sims.estimate import estimate_sky_model
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import Cosmology, theory_cl
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm
from cmbinpaint.sphere.holes import grow
from cmbinpaint.validation.ensemble import Candidate, Series, Unit
from cmbinpaint.validation.jackknife import Estimate, ratio_of_means, rms_ratio
from cmbinpaint.validation.simulation_setup import SimulationSetup
from cmbinpaint.validation.sky_statistics import SkyStatistics

How = Literal["right", "fixed", "estimated"]
STANDARD = "standard"
TILTS = (0.5, 0.8, 1.2, 1.5)
BUMP_HEIGHT, BUMP_CENTER, BUMP_WIDTH = 0.3, 0.75, 0.15  # center and width in nside
LOW_QUADRUPOLE = 0.2
KNEE = 100.0  # multipole at which correlated noise equals the white one
WINGS_UK = 1.0


@dataclass(frozen=True)
class Scenario:
    """One way in which the model given differs from the sky.

    Parameters
    ----------
    name
        In tables and folders.
    beam, noise, amplitude
        What is given over what is true: full width, standard deviation, C_ell.
    tilt
        n_s of the true sky, which is normalized at 0.05/Mpc; None: the standard.
    bump, quadrupole
        Relative height of a bump in the true C_ell; the true C_2 over the standard.
    knee
        Of the true noise `N (1 + knee / ell)`; 0: white.
    wings_uK
        What sources leave in the observed pixels beside holes.
    """

    name: str
    beam: float = 1.0
    noise: float = 1.0
    amplitude: float = 1.0
    tilt: float | None = None
    bump: float = 0.0
    quadrupole: float = 1.0
    knee: float = 0.0
    wings_uK: float = 0.0

    @property
    def changes_spectrum(self) -> bool:
        """Whether the true spectrum is not the standard one."""
        return self.tilt is not None or self.bump != 0.0 or self.quadrupole != 1.0

    @property
    def contaminates(self) -> bool:
        """Whether the observation holds what no sky model of this package has."""
        return self.knee > 0 or self.wings_uK != 0.0

    def true_cl(self, setup: SimulationSetup) -> FloatArray:
        """C_ell of the true sky, of the length of the setup's."""
        cl = setup.cl.copy()
        if self.tilt is not None:
            cl = theory_cl(Cosmology(ns=self.tilt), lmax=cl.size - 1)
        distance = (np.arange(cl.size) / setup.nside - BUMP_CENTER) / BUMP_WIDTH
        cl *= 1.0 + self.bump * np.exp(-0.5 * np.square(distance))
        cl[2] *= self.quadrupole
        return cl


SCENARIOS = (
    Scenario(STANDARD),
    Scenario("beam given 2 % too narrow", beam=0.98),
    Scenario("beam given 2 % too wide", beam=1.02),
    Scenario("noise given 20 % too low", noise=0.8),
    Scenario("noise given 20 % too high", noise=1.2),
    Scenario("C_ell given 10 % too low", amplitude=0.9),
    Scenario("C_ell given 10 % too high", amplitude=1.1),
    *(Scenario(f"true n_s {tilt:g}", tilt=tilt) for tilt in TILTS),
    Scenario("true bump of 30 %", bump=BUMP_HEIGHT),
    Scenario("true quadrupole a fifth", quadrupole=LOW_QUADRUPOLE),
    Scenario("true noise with knee at 100", knee=KNEE),
    Scenario("wings of 1 µK at edges", wings_uK=WINGS_UK),
)


@dataclass(frozen=True, eq=False)
class Effect:
    """What one scenario does.

    Attributes
    ----------
    excess
        (depths,) rms error over that of the same model given the truth.
    shift
        (bands,) relative change of the bias of realizations' spectra, against the same model given the truth.
    """

    excess: Estimate
    shift: Estimate


@dataclass(frozen=True, eq=False)
class Misspecified:
    """Effects by scenario, with the fixed wrong model and with one estimated from the map.

    Where only the model given is wrong the estimate is that of the standard scenario, listed once.
    """

    model: str
    skies: int
    depths: tuple[str, ...]
    fixed: Mapping[str, Effect]
    estimated: Mapping[str, Effect]


class MisspecifiedEnsemble(Series):
    """Skies of all scenarios, filled by one model.

    Parameters
    ----------
    setup
        The standard skies.
    candidate
        The model.
    folder
        Of the records.
    scenarios
        `STANDARD` first.

    Raises
    ------
    CmbInpaintError
        If the standard scenario is not the first.
    """

    def __init__(
        self,
        setup: SimulationSetup,
        candidate: Candidate,
        folder: Path,
        scenarios: Sequence[Scenario] = SCENARIOS,
    ) -> None:
        if not scenarios or scenarios[0] != Scenario(STANDARD):
            raise CmbInpaintError("the first scenario must be the standard one, to which others are compared")
        self.candidate = candidate
        self.scenarios = {scenario.name: scenario for scenario in scenarios}
        # One lmax for all, so that one seed draws the same sky and the same realization under every model.
        skies = {s.name: setup.varied(cl=s.true_cl(setup)) for s in scenarios}
        models = [sky.sky_model for sky in skies.values()] + [_given(s, setup, None) for s in scenarios]
        lmax = max(model.lmax for model in models)
        self.setup = setup.varied(lmax=lmax)
        self.skies = {name: sky.varied(lmax=lmax) for name, sky in skies.items()}
        self.statistics = SkyStatistics(self.setup)
        self.records = {
            _kind(s.name, how): ResultStore(folder / _folder_name(_kind(s.name, how)), self._digest(s, how))
            for s in scenarios
            for how in _runs(s)
        }
        self._runs = {_kind(s.name, how): (s, how) for s in scenarios for how in _runs(s)}
        self._prepared: tuple[str, Filler] | None = None

    def make(self, unit: Unit) -> None:
        """Do one unit and write its record."""
        scenario, how = self._runs[unit.kind]
        clean, signal = self.skies[scenario.name].sky(unit.sky)
        observed = clean + self.contamination(scenario, unit.sky)
        # Wings are not part of the sky to be restored; noise of any color is part of the observation.
        reference = clean if scenario.wings_uK else observed
        seen = np.where(self.setup.plan.valid, observed, 0.0)
        filler = self._filler(self._given(scenario, how, seen))
        filled = filler.predict(seen)
        realized = filler.realize(seen, realization_rng(self.setup.seed, unit.sky))
        record: dict[str, AnyArray] = {
            "error": self.setup.depths.mean_square(filled - signal),
            "realization_power": self.statistics.power(self.statistics.alm(realized)),
            "true_power": self.statistics.power(self.statistics.alm(reference)),
        }
        self.records[unit.kind].write(unit.sky, record)

    def result(self, n: int) -> Misspecified:
        """All effects, from the records of n skies."""
        stacks = {kind: records.stack(n) for kind, records in self.records.items()}
        effects: dict[str, dict[str, Effect]] = {"fixed": {}, "estimated": {}}
        for kind, (scenario, how) in self._runs.items():
            if how == "right":
                continue
            right = scenario.name if scenario.changes_spectrum else STANDARD
            effects[how][scenario.name] = _effect(stacks[kind], stacks[_kind(right, "right")])
        return Misspecified(
            self.candidate.label, n, self.setup.depths.labels, effects["fixed"], effects["estimated"]
        )

    def _given(self, scenario: Scenario, how: How, seen: FloatArray) -> SkyModel:
        if how == "right":
            return self.skies[scenario.name].sky_model
        if how == "fixed":
            return _given(scenario, self.setup, self.setup.lmax)
        model = estimate_sky_model(seen, self.setup.plan.valid, nside=self.setup.nside)
        cl = np.zeros(self.setup.sky_model.lmax + 1)
        shared = min(cl.size, model.signal_cl.size)
        cl[:shared] = model.signal_cl[:shared]
        return replace(model, signal_cl=cl)

    def _filler(self, given: SkyModel) -> Filler:
        """The model prepared for a sky model; the last one is kept."""
        if self._prepared is None or self._prepared[0] != given.digest:
            candidate = self.candidate
            filler = Filler.prepare(candidate.inpainter, self.setup.plan, given, candidate.refine)
            self._prepared = (given.digest, filler)
        return self._prepared[1]

    def contamination(self, scenario: Scenario, sky: int) -> FloatArray:
        """(npix,) what the observation holds beyond signal and white noise."""
        plan = self.setup.plan
        extra = np.zeros(plan.valid.size)
        if scenario.wings_uK:
            extra[self._rim] += scenario.wings_uK
        if scenario.knee:
            ell = np.arange(self.setup.sky_model.lmax + 1)
            colored = self.setup.sky_model.noise_cl * scenario.knee / np.maximum(ell, 2)
            colored[:2] = 0.0
            sequence = np.random.SeedSequence(self.setup.seed, spawn_key=(sky, 2))
            alm = draw_alm(colored, np.random.default_rng(sequence))
            extra += Harmonics(plan.nside, ell.size - 1).synthesis(alm)
        return extra

    @cached_property
    def _rim(self) -> AnyArray:
        """(npix,) bool: observed pixels beside holes."""
        valid = self.setup.plan.valid
        return grow(~valid, 1, self.setup.nside) & valid

    def _digest(self, scenario: Scenario, how: How) -> str:
        sky = self.skies[scenario.name].digest
        given = "" if how == "estimated" else self._given(scenario, how, np.zeros(0)).digest
        words = f"{sky} {given} {how} {scenario.knee} {scenario.wings_uK} {self.candidate.digest}"
        return hashlib.sha256(words.encode()).hexdigest()


def _runs(scenario: Scenario) -> tuple[How, ...]:
    """How a scenario is filled: what only repeats the standard one is left out."""
    if scenario.changes_spectrum:
        return ("right", "fixed", "estimated")
    if scenario.contaminates:
        return ("fixed", "estimated")
    return ("right", "estimated") if scenario.name == STANDARD else ("fixed",)


def _given(scenario: Scenario, setup: SimulationSetup, lmax: int | None) -> SkyModel:
    """The fixed model that is given in a scenario."""
    return SkyModel.from_theory(
        setup.cl * scenario.amplitude, setup.nside, fwhm=setup.fwhm * scenario.beam,
        noise_std=setup.noise_std * scenario.noise, lmax=lmax,
    )  # fmt: skip


def _effect(wrong: Mapping[str, AnyArray], right: Mapping[str, AnyArray]) -> Effect:
    def residual(stack: Mapping[str, AnyArray]) -> AnyArray:
        return stack["realization_power"] - stack["true_power"]

    return Effect(
        rms_ratio(wrong["error"], right["error"]),
        ratio_of_means(residual(wrong) - residual(right), right["true_power"]),
    )


def _kind(name: str, how: How) -> str:
    return f"{name}, {how}"


def _folder_name(kind: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in kind.replace("µ", "u"))
