"""How much E a fill leaks into B, and for what tensor modes that would be taken.

Inputs: a setup with Q and U, a model, a folder. Outputs: records, and from them a `Leakage`.

Skies of E alone, without noise, are filled by the mean: all B of the filled map is then E's. The model has the
setup's noise, and either its B or none. Zeros in the holes are the scale. Where noise dominates, the mean cannot go on
with what data hold at the edge of a hole, and such an edge is B; realizations have noise on both sides, and no edge.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.files.result_store import ResultStore
from cmbinpaint.pipeline.filler import Filler
from cmbinpaint.sims.map_signal import mode_windows
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_spectra
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.validation.ensemble import Candidate, Series, Unit
from cmbinpaint.validation.jackknife import Estimate, mean, ratio_of_means
from cmbinpaint.validation.simulation_setup import SimulationSetup, sky_rng

# What the model has of B.
WITH_B, WITHOUT_B, ZEROS = "with B", "without B", "zeros in the holes"
# Multipoles from which r is taken: the reionization bump, and the recombination peak.
RANGES = ((2, 10), (50, 120))


@dataclass(frozen=True, eq=False)
class Leaked:
    """B that was made of E.

    Attributes
    ----------
    over_e, over_b
        (bands,) its power over that of E, and over that of the setup's B (lensing's, in the standard setup).
    r
        (ranges,) the tensor-to-scalar ratio that it would be taken for: the power of primordial B fitted to it, with
        the weights of the setup's B and noise; NaN where the bands end below.
    """

    over_e: Estimate
    over_b: Estimate
    r: Estimate


class LeakageEnsemble(Series):
    """E-only skies of one setup, filled by one model under a sky model with B and one without.

    Raises
    ------
    SpectrumError
        If the setup's skies have no Q and U, or no B.
    """

    def __init__(self, setup: SimulationSetup, candidate: Candidate, folder: Path) -> None:
        if setup.fields is Fields.T:
            raise SpectrumError("leakage of E into B needs skies with Q and U; the setup is of T")
        self.setup, self.candidate = setup, candidate
        self._b = setup.fields.spectra.index("BB")
        if not np.any(np.asarray(setup.cl)[self._b]):
            raise SpectrumError("the setup's skies have no B, and leakage is compared with it: give one")
        self.records = {}
        for kind in (WITH_B, WITHOUT_B):
            state = f"{setup.digest} {candidate.digest} {kind}"
            name = kind.replace(" ", "-")
            self.records[kind] = ResultStore(folder / name, hashlib.sha256(state.encode()).hexdigest())
        self._fillers: dict[str, Filler] = {}

    def make(self, unit: Unit) -> None:
        """Do one unit and write its record."""
        observed = np.where(self.setup.plan.valid, sky := self._sky(unit.sky), 0.0)
        filled = self._filler(unit.kind).predict(observed)
        record = {
            "e_power": self._power(sky)[0],
            "b_power": self._power(filled)[1],
            "zero_power": self._power(observed)[1],
        }
        self.records[unit.kind].write(unit.sky, record)

    def result(self, skies: int) -> "dict[str, Leaked]":
        """The leakage under a model with B, without, and of zeros in the holes."""
        stacks = {kind: self.records[kind].stack(skies) for kind in self.records}
        e_power = stacks[WITH_B]["e_power"]
        found = {kind: self._leaked(stack["b_power"], e_power) for kind, stack in stacks.items()}
        return {**found, ZEROS: self._leaked(stacks[WITH_B]["zero_power"], e_power)}

    @cached_property
    def _without_b(self) -> FloatArray:
        cl = np.array(self.setup.cl)
        cl[self._b] = 0.0
        return cl

    def _sky(self, index: int) -> FloatArray:
        """The signal of sky number `index` with the same E, and no B."""
        setup = self.setup
        return simulate_sky(
            self._without_b, setup.nside, fwhm=setup.fwhm, pixwin=True, lmax=setup.sky_model.lmax,
            seed=sky_rng(setup.seed, index),
        )  # fmt: skip

    def _filler(self, kind: str) -> Filler:
        if kind not in self._fillers:
            setup, lmax = self.setup, self.setup.sky_model.lmax
            cl = setup.cl if kind == WITH_B else self._without_b
            model = SkyModel.from_theory(
                cl, setup.nside, fwhm=setup.fwhm, noise_std=setup.noise_std, lmax=lmax
            )
            plan = replace(setup.plan)  # a plan keeps what was prepared for it
            self._fillers[kind] = Filler.prepare(self.candidate.inpainter, plan, model, self.candidate.refine)
        return self._fillers[kind]

    def _power(self, sky: FloatArray) -> FloatArray:
        """(2, lmax + 1) C_ell of E and of B."""
        lmax = self.setup.bands.lmax
        alm = Harmonics(self.setup.nside, lmax).analysis(sky)[-2:]
        return np.stack([alm_to_cl(row, lmax) for row in alm])

    def _leaked(self, b_power: FloatArray, e_power: FloatArray) -> Leaked:
        bands = self.setup.bands
        b, e = bands.bin(b_power), bands.bin(e_power)
        ranges = [self._r(b_power, low, high) for low, high in RANGES]
        own = np.broadcast_to(bands.bin(self._own_b), b.shape)
        return Leaked(ratio_of_means(b, e), ratio_of_means(b, own), mean(np.stack(ranges, axis=-1)))

    @property
    def _own_b(self) -> FloatArray:
        """C_ell of the setup's B in the map."""
        return np.asarray(self.setup.sky_model.signal.values[-1, -1][: self.setup.bands.lmax + 1])

    def _r(self, b_power: FloatArray, low: int, high: int) -> FloatArray:
        """(skies,) the ratio fitted to C_ell of B from ell = low to high, or to where the bands end."""
        setup, lmax = self.setup, self.setup.bands.lmax
        if lmax <= low:
            return np.full(len(b_power), np.nan)
        window = mode_windows(setup.fields, setup.nside, lmax, fwhm=setup.fwhm, beam=None, pixwin=True)[-1]
        primordial = (fiducial_spectra(lmax, r=1.0)[2] - fiducial_spectra(lmax)[2]) * window**2
        noise = np.mean(np.square(np.asarray(setup.noise_std)[-2:])) * 4 * np.pi / setup.sky_model.npix
        used = slice(low, min(high, lmax) + 1)
        weight = ((2 * np.arange(lmax + 1) + 1) * primordial / np.square(self._own_b + noise))[used]
        return np.asarray(b_power[:, used] @ weight / (primordial[used] @ weight))
