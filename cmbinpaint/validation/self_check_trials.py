"""Trials of a self-check: held-out pixels of T, or of Q and U, kriged from the rest, and statistics of the errors.

Inputs: a plan, a sky model, observations. Outputs: `Trials`; the spectra of the errors of all Stokes parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray, IntArray
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.validation.depths import DepthBins
from cmbinpaint.validation.holdout import Holdout, hold_out

QUINTILES = 5
# Rotations in one trial: they leave room for few more. The next ones are another trial; skies are simulated once.
ROTATIONS_PER_TRIAL = 4
# Held-out pixels beyond which no more trials are made: the edge ring's errors are known to 1 %.
ENOUGH = 20_000
# Neighbors of a pixel that is kriged.
_NEAREST = 32
# Draws from kriging's posterior that give the standard deviation of each prediction, to 7 %: it only weights.
_DRAWS = 100


@dataclass(frozen=True, eq=False)
class Trial:
    """Kriging from the remaining data, and the errors to expect in the held-out pixels."""

    plan: InpaintingPlan
    factor: HoleFactor
    bins: DepthBins
    std: FloatArray  # (n,) of a held-out observation about its prediction

    @classmethod
    def prepare(cls, plan: InpaintingPlan, sky_model: SkyModel) -> "Trial":
        """Of a plan (npix,), for a sky model of T, or of Q and U."""
        factor = hole_factor(plan.valid, sky_model, nearest=_NEAREST, targets=plan.targets)
        plan = plan.of(sky_model.fields)
        bins = DepthBins.of(plan)
        rng = np.random.default_rng(0)
        drawn = np.zeros(factor.holes.size)
        for _ in range(_DRAWS):
            drawn += np.square(factor.draw(rng)) / _DRAWS
        # Draws contain the holes' mean noise; each pixel has its own.
        variance = np.zeros(plan.valid.size)
        variance[factor.holes] = np.maximum(drawn - factor.noise_std**2, 0.0)
        level = np.asarray(sky_model.noise_std)
        level = level[:, None] if level.ndim == 1 and plan.valid.ndim == 2 else level
        noise = np.broadcast_to(level, plan.valid.shape)
        std = np.sqrt(bins.at(variance) + np.square(np.maximum(bins.at(noise), factor.noise_std * 1e-3)))
        return cls(plan, factor, bins, std)

    def predict(self, observed: FloatArray) -> FloatArray:
        """(n,) kriging's predictions of the held-out pixels."""
        filled = np.zeros(self.plan.valid.size)
        filled[self.factor.holes] = self.factor.mean(observed)
        return self.bins.at(filled)


@dataclass(frozen=True, eq=False)
class Trials:
    """All trials of T, or of Q and U.

    Attributes
    ----------
    stokes
        What they are of: T, or QU.
    rows
        Its rows in a map of the problem.
    holdouts, trials
        What is held out, and the kriging from the rest.
    """

    stokes: str
    rows: slice
    holdouts: tuple[Holdout, ...]
    trials: tuple[Trial, ...]

    @classmethod
    def prepare(
        cls,
        plan: InpaintingPlan,
        sky_model: SkyModel,
        rows: slice,
        rng: np.random.Generator,
        n_rotations: int,
    ) -> "Trials":
        """Trials of a few rotations each, until they hold enough pixels; `plan` (npix,)."""
        found: list[Holdout] = []
        for done in range(0, n_rotations, ROTATIONS_PER_TRIAL):
            found.append(hold_out(plan, rng, min(ROTATIONS_PER_TRIAL, n_rotations - done)))
            if sum(int(one.plan.targets.sum()) for one in found) >= ENOUGH:
                break
        trials = tuple(Trial.prepare(one.plan, sky_model) for one in found)
        return cls(sky_model.fields.stokes, rows, tuple(found), trials)

    @property
    def counts(self) -> IntArray:
        """(k, bins) held-out pixels by depth."""
        return self._by_stokes(np.sum([trial.bins.counts for trial in self.trials], axis=0))

    def of(self, observation: FloatArray) -> FloatArray:
        """These Stokes parameters of a map of the problem's, (npix,) or (2, npix)."""
        chosen = np.atleast_2d(observation)[self.rows]
        return chosen if len(chosen) > 1 else chosen[0]

    def errors(self, observation: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
        """Of each trial (n,) the predictions, and their errors over the standard deviation expected."""
        observed = self.of(observation)
        means = [trial.predict(observed) for trial in self.trials]
        pulls = [(t.bins.at(observed) - mean) / t.std for t, mean in zip(self.trials, means, strict=True)]
        return means, pulls

    def statistics(self, means: list[FloatArray], pulls: list[FloatArray]) -> FloatArray:
        """(k, bins + 5) half the log of the mean square error by depth, then coverage in quintiles of the prediction.

        Of errors and predictions as `errors` gives them.
        """
        sums = np.sum(
            [
                np.bincount(t.bins.bin_of, np.square(x), t.bins.n)
                for t, x in zip(self.trials, pulls, strict=True)
            ],
            axis=0,
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            half_log = 0.5 * np.log(self._by_stokes(sums) / self.counts)
        return np.concatenate(
            [half_log, [self._covered(s, means, pulls) for s in range(len(self.stokes))]], axis=1
        )

    def _covered(self, row: int, means: list[FloatArray], pulls: list[FloatArray]) -> list[float]:
        """Of one Stokes parameter, by quintile: the fraction within one standard deviation."""
        of_row = [trial.bins.bin_of // (trial.bins.n // len(self.stokes)) == row for trial in self.trials]
        chosen = np.concatenate([x[here] for x, here in zip(pulls, of_row, strict=True)])
        order = np.argsort(
            np.concatenate([m[here] for m, here in zip(means, of_row, strict=True)]), kind="stable"
        )
        within = np.abs(chosen)[order] < 1.0
        return [float(part.mean()) if part.size else np.nan for part in np.array_split(within, QUINTILES)]

    def as_maps(self, pulls: list[FloatArray]) -> FloatArray:
        """(k, npix) errors of all trials as maps, of the last one where they overlap, 0 elsewhere."""
        total = np.zeros(self.trials[0].plan.valid.shape)
        for trial, values in zip(self.trials, pulls, strict=True):
            total.reshape(-1)[trial.bins.pixels] = values
        return np.atleast_2d(total)

    def _by_stokes(self, values: AnyArray) -> AnyArray:
        return values.reshape(len(self.stokes), -1)


def error_spectra(parts: Sequence[Trials], pulls: list[list[FloatArray]]) -> FloatArray:
    """Of TT, EE, BB half the log of the errors' power, of TE, EB, TB their correlation, to ell = nside.

    Errors are in units of what is expected; up to there the noise of single pixels counts little, and E and B of the
    errors are those of the sky at the scale of holes.
    """
    maps = np.concatenate([part.as_maps(x) for part, x in zip(parts, pulls, strict=True)])
    fields, nside = Fields.of(len(maps)), parts[0].trials[0].plan.nside
    alm = Harmonics(nside, nside).adjoint(maps)
    modes = 2 * np.arange(nside + 1) + 1.0
    power = {(i, j): float((modes * alm_to_cl(alm[i], nside, alm[j]))[2:].sum()) for i, j in fields.pairs}
    return np.array(
        [
            0.5 * np.log(power[i, i]) if i == j else power[i, j] / np.sqrt(power[i, i] * power[j, j])
            for i, j in fields.pairs
        ]
    )
