"""Do beam, noise and sky model fit this very map? A test on the user's own sky.

Inputs: what `inpaint_map` takes. Outputs: `SelfCheck`.

The mask's own holes, rotated into observed sky (`holdout`), are filled from the remaining data and compared with what
was held out. With `d` a held-out pixel, `m` its prediction, `s` the prediction's standard deviation in the sky model
and `n` the noise's, `x = (d - m) / sqrt(s² + n²)` has unit variance if the sky model fits. Pixels of one hole are
correlated, and predictions are not quite the exact mean; so the expectation and the scatter of each statistic come
from simulated skies of the same sky model, held out and filled alike.

The prediction is kriging's, coarse to fine: within a few percent of the exact mean's error, prepared once and applied
in milliseconds, which pays for the simulations. The model that fills the holes is run once, on the map, for comparison.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, MapError
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.pipeline.filler import Filler, draw_observation, realization_rng
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.options import refuse_old_names, validate_known
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.depths import DepthBins
from cmbinpaint.validation.holdout import Holdout, hold_out
from cmbinpaint.validation.self_check_result import SelfCheck

# With fewer simulations their scatter is known too poorly.
LEAST_SIMULATIONS = 10
QUINTILES = 5
# Rotations in one trial: they leave room for few more. The next ones are another trial; skies are simulated once.
ROTATIONS_PER_TRIAL = 4
# Held-out pixels beyond which no more trials are made: the edge ring's errors are known to 1 %.
ENOUGH = 20_000
# Neighbors of a pixel that is kriged.
_NEAREST = 32
# Draws from kriging's posterior that give the standard deviation of each prediction, to 7 %: it only weights.
_DRAWS = 100


@refuse_old_names(
    exclude="plan=plan_inpainting(mask, exclude=...)",
    guard="plan=plan_inpainting(mask, guard=...)",
    mask_threshold="plan=plan_inpainting(mask, threshold=...)",
    device="model=load_model(name, device=...)",
)
def self_check(
    sky: Any,
    mask: Any = None,
    *,
    plan: InpaintingPlan | None = None,
    model: str | Inpainter = "default",
    cl: FloatArray | None = None,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    noise_std: float | FloatArray | None = None,
    sky_model: SkyModel | None = None,
    refine: int | None = None,
    nest: bool = False,
    unit: str | None = None,
    n_rotations: int = 32,
    n_simulations: int = 60,
    seed: int = 0,
) -> SelfCheck:
    """Test beam, noise and sky model on the map that is to be filled.

    Parameters
    ----------
    sky, mask, plan, cl, fwhm, beam, noise_std, sky_model, refine, nest, unit
        As in `inpaint_map`; without anything known the sky model that it would estimate is tested.
    model
        The model that is to fill the map; it is run once, beside kriging, which the test itself rests on.
    n_rotations
        Of the mask's holes, at most; fewer if 20 000 held-out pixels are reached before. Each four of them are a
        trial of their own, and a trial holds out at most a tenth of the data.
    n_simulations
        Simulated skies for the expectation, at least 10.
    seed
        Of the rotations and simulations: one seed, one result.

    Returns
    -------
    SelfCheck
        ``str()`` of it is a line, ``.table()`` all numbers.

    Raises
    ------
    MaskError
        If nothing is filled with this mask, or no hole fits into the observed sky.
    CmbInpaintError
        On arguments that cannot be used, as `inpaint_map`.

    Notes
    -----
    It sees what changes errors in held-out observed pixels by more than their scatter: noise, beam and power at the
    scales of holes; residuals, if they are there in the clean sky too. It cannot see what is in the holes only.
    """
    _check_numbers(n_rotations, n_simulations)
    validate_known(cl, fwhm, beam, noise_std, sky_model)
    problem = Problem.make(
        sky, mask, plan=plan, nest=nest, unit=unit, assume_microkelvin=cl is not None or noise_std is not None
    )
    if problem.fields is not Fields.T:
        raise MapError(
            f"self_check is for temperature; the map is of {', '.join(problem.fields.stokes)}: pass map[0]"
        )
    validate_known(cl, fwhm, beam, noise_std, sky_model, problem.plan.nside)
    inpainter = load_model(model)
    inpainter.check(problem.plan.nside)
    holdouts = _holdouts(problem.plan, realization_rng(seed, 0), n_rotations)
    assumed = problem.assume_sky(sky_model, cl=cl, fwhm=fwhm, beam=beam, noise_std=noise_std)
    trials = [_Trial.prepare(one.plan, assumed) for one in holdouts]
    # The fill leaves out power beyond the model's lmax that is small beside the noise; a sky does not.
    nature = (
        assumed
        if cl is None
        else problem.assume_sky(
            cl=cl,
            fwhm=fwhm,
            beam=beam,
            noise_std=assumed.noise_std if noise_std is None else noise_std,
            whole=True,
        )
    )
    null = []
    for i in range(n_simulations):
        signal, noise = draw_observation(nature, realization_rng(seed, 1 + i))
        null.append(_statistics(trials, signal + noise))
    numbers = _compared(trials, _statistics(trials, problem.observed), np.stack(null))
    return SelfCheck(
        **numbers,
        depths=trials[0].bins.labels,
        counts=_total([t.bins.counts for t in trials]),
        model=inpainter.name,
        model_ratio=_beside_kriging(trials[0], problem.observed, inpainter, refine),
        sky_model=assumed,
        n_holes=sum(one.n_holes for one in holdouts),
        n_discs=sum(one.n_discs for one in holdouts),
        n_simulations=n_simulations,
    )


def _holdouts(plan: InpaintingPlan, rng: np.random.Generator, n_rotations: int) -> list[Holdout]:
    """Trials of a few rotations each, until they hold enough pixels."""
    trials: list[Holdout] = []
    for done in range(0, n_rotations, ROTATIONS_PER_TRIAL):
        trials.append(hold_out(plan, rng, min(ROTATIONS_PER_TRIAL, n_rotations - done)))
        if sum(int(trial.plan.targets.sum()) for trial in trials) >= ENOUGH:
            break
    return trials


@dataclass(frozen=True, eq=False)
class _Trial:
    """Kriging from the remaining data, and the errors to expect in the held-out pixels."""

    plan: InpaintingPlan
    sky_model: SkyModel
    factor: HoleFactor
    bins: DepthBins
    std: FloatArray  # (n,) of a held-out observation about its prediction

    @classmethod
    def prepare(cls, plan: InpaintingPlan, sky_model: SkyModel) -> "_Trial":
        factor, bins = (
            hole_factor(plan.valid, sky_model, nearest=_NEAREST, targets=plan.targets),
            DepthBins.of(plan),
        )
        rng = np.random.default_rng(0)
        drawn = np.zeros(factor.holes.size)
        for _ in range(_DRAWS):
            drawn += np.square(factor.draw(rng)) / _DRAWS
        # Draws contain the holes' mean noise; each pixel has its own.
        variance = np.zeros(plan.valid.size)
        variance[factor.holes] = np.maximum(drawn - factor.noise_std**2, 0.0)
        noise = np.broadcast_to(np.asarray(sky_model.noise_std), variance.shape)
        std = np.sqrt(bins.at(variance) + np.square(np.maximum(bins.at(noise), factor.noise_std * 1e-3)))
        return cls(plan, sky_model, factor, bins, std)

    def predict(self, observed: FloatArray) -> FloatArray:
        """(n,) kriging's predictions of the held-out pixels."""
        filled = np.zeros(self.plan.valid.size)
        filled[self.factor.holes] = self.factor.mean(observed)
        return self.bins.at(filled)


def _statistics(trials: list[_Trial], observation: FloatArray) -> FloatArray:
    """(bins + 5,) half the log of the mean square of x by depth, then coverage in quintiles of the prediction."""
    means = [trial.predict(observation) for trial in trials]
    pulls = [(t.bins.at(observation) - mean) / t.std for t, mean in zip(trials, means, strict=True)]
    sums = _total(
        [np.bincount(t.bins.bin_of, np.square(x), t.bins.n) for t, x in zip(trials, pulls, strict=True)]
    )
    counts = _total([trial.bins.counts for trial in trials])
    with np.errstate(divide="ignore", invalid="ignore"):
        half_log = 0.5 * np.log(sums / counts)
    within = np.abs(np.concatenate(pulls))[np.argsort(np.concatenate(means), kind="stable")] < 1.0
    coverage = [float(part.mean()) if part.size else np.nan for part in np.array_split(within, QUINTILES)]
    return np.concatenate([half_log, coverage])


def _compared(trials: list[_Trial], found: FloatArray, null: FloatArray) -> dict[str, Any]:
    """The map's statistics beside those of simulations, by the names of `SelfCheck`."""
    n, bins = len(null), trials[0].bins.n
    mean = null.mean(axis=0)
    # Student's t: one more draw beside n, whose mean and scatter are estimated.
    error = null.std(axis=0, ddof=1) * np.sqrt(1 + 1 / n)
    pull = np.divide(found - mean, error, out=np.full_like(found, np.nan), where=error > 0)
    p = 2 * student.sf(np.abs(pull), n - 1)
    ratio = np.exp(found[:bins] - mean[:bins])
    return {
        "ratio": ratio,
        "ratio_error": ratio * error[:bins],
        "ratio_p": p[:bins],
        "depth_p": _together(found[:bins], null[:, :bins]),
        "coverage": found[bins:],
        "expected_coverage": mean[bins:],
        "coverage_error": error[bins:],
        "coverage_p": p[bins:],
        "all_coverage_p": _together(found[bins:], null[:, bins:]),
    }


def _together(found: FloatArray, null: FloatArray) -> float:
    """The p-value of several statistics at once, correlated as simulations have them: Hotelling's T²."""
    used = np.isfinite(found) & np.isfinite(null).all(axis=0) & (null.std(axis=0) > 0)
    n, k = len(null), int(used.sum())
    if not k:
        return 1.0
    difference = found[used] - null[:, used].mean(axis=0)
    covariance = np.atleast_2d(np.cov(null[:, used], rowvar=False))
    squared = float(difference @ np.linalg.solve(covariance, difference)) * n / (n + 1)
    return float(fisher.sf(squared * (n - k) / (k * (n - 1)), k, n - k))


def _beside_kriging(
    trial: _Trial, observed: FloatArray, inpainter: Inpainter, refine: int | None
) -> FloatArray:
    """(bins,) rms of a model's errors on the held-out pixels over kriging's."""
    filled = Filler.prepare(inpainter, trial.plan, trial.sky_model, refine).predict(observed)
    target = trial.bins.at(observed)
    errors = [np.square(mean - target) for mean in (trial.bins.at(filled), trial.predict(observed))]
    return np.sqrt(np.divide(*(trial.bins.mean(squares) for squares in errors)))


def _check_numbers(n_rotations: int, n_simulations: int) -> None:
    if n_rotations < 1:
        raise CmbInpaintError(f"n_rotations is {n_rotations}; give 1 or more")
    if n_simulations < LEAST_SIMULATIONS:
        raise CmbInpaintError(
            f"n_simulations is {n_simulations}; give {LEAST_SIMULATIONS} or more: their scatter is the reference"
        )


def _total(arrays: list[AnyArray]) -> AnyArray:
    return np.sum(arrays, axis=0)
