"""Do beam, noise and sky model fit this very map? A test on the user's own sky.

Inputs: what `inpaint_map` takes. Outputs: `SelfCheck`.

The mask's own holes, rotated into observed sky (`withheld`), are filled from the rest and compared with what was
withheld. With `d` a withheld pixel, `m` its prediction, `s` the prediction's standard deviation in the sky model and
`n` the noise's, `x = (d - m) / sqrt(s² + n²)` has unit variance if the sky model fits. Pixels of one hole are
correlated, and predictions are not quite the exact mean; so what is expected of each statistic, and how far it
scatters, comes from simulated skies of the same sky model, withheld and filled alike.

The prediction is kriging's: within 1 to 9 % of the exact mean's error, prepared once and applied in milliseconds,
which pays for the simulations. The model that fills the holes is run once, on the map, and set beside it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.direct_inpainter import THREE_RESOLUTIONS, KrigingInpainter, KrigingPredictor
from cmbinpaint.networks.card_limits import serving
from cmbinpaint.pipeline.filling import Filler, draw_observation, realization_rng
from cmbinpaint.pipeline.models import find_inpainter
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.options import check_known
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Job
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.validation.depths import DepthBins
from cmbinpaint.validation.holdout import Withheld, withhold
from cmbinpaint.validation.self_check_text import line, table

# False alarms of the whole check, all its statistics together.
LEVEL = 0.01
# Errors that are off by less than this, or coverages, are of no consequence, however sure: a map of many holes tells
# a noise that is wrong by 3 %, and a sky model estimated from the map is no better than that.
MATERIAL = 0.04
# Fewer simulations than this say too little of the scatter.
LEAST_SIMULATIONS = 10
QUINTILES = 5
# Rotations that hold pixels back together: they leave room for few more. The next ones are another trial, for
# which the skies are simulated anyway.
TOGETHER = 4
# Withheld pixels beyond which no more trials are made: the edge ring's errors are known to 1 %.
ENOUGH = 20_000


@dataclass(frozen=True, eq=False)
class SelfCheck:
    """How a sky model fits a map, told by pixels that were withheld.

    Attributes
    ----------
    depths
        The bins of depth in words, pixels; the first is the edge ring.
    counts
        (bins,) withheld pixels in each.
    ratio, ratio_error
        (bins,) rms of the errors over what the sky model expects, and its scatter from sky to sky; NaN in bins
        without pixels.
    ratio_p, depth_p
        (bins,) two-sided p-values, and that of all bins together (Hotelling's T²).
    coverage, expected_coverage, coverage_error
        (5,) fraction of withheld pixels within one expected standard deviation of the prediction, in quintiles of
        the prediction; what simulations have there; its scatter.
    coverage_p, all_coverage_p
        (5,) two-sided p-values, and that of all together.
    model, model_ratio
        Name of the model that fills the holes, and (bins,) the rms of its errors on the map over those of kriging;
        NaN where there are no pixels. Errors hold the noise of the withheld pixels, so it is near 1 at the edge.
    sky_model
        What was tested, in the unit of `InpaintInfo.work_unit`; `inpaint_map` takes it as ``sky_model=``.
    n_holes, n_discs
        Rotated holes, and discs that stand in for holes too large to be rotated.
    n_simulations
        That the p-values rest on.
    """

    depths: tuple[str, ...]
    counts: IntArray
    ratio: FloatArray
    ratio_error: FloatArray
    ratio_p: FloatArray
    depth_p: float
    coverage: FloatArray
    expected_coverage: FloatArray
    coverage_error: FloatArray
    coverage_p: FloatArray
    all_coverage_p: float
    model: str
    model_ratio: FloatArray
    sky_model: SkyModel
    n_holes: int
    n_discs: int
    n_simulations: int

    @property
    def p(self) -> float:
        """The smaller of the p-values of depths and coverage, corrected for being two (Šidák)."""
        return float(-np.expm1(2 * np.log1p(-min(self.depth_p, self.all_coverage_p, 1 - 1e-16))))

    @property
    def odd(self) -> tuple[BoolArray, BoolArray]:
        """Which bins and which quintiles deviate significantly (1 %) and by 4 % or more."""
        depths = (self.ratio_p < LEVEL) & (np.abs(self.ratio - 1) >= MATERIAL)
        away = np.abs(self.coverage - self.expected_coverage)
        return depths, (self.coverage_p < LEVEL) & (away >= MATERIAL)

    @property
    def fits(self) -> bool:
        """Whether beam, noise and sky model pass: all statistics together at 1 %, or no single one is odd."""
        return self.p >= LEVEL or not any(part.any() for part in self.odd)

    def __str__(self) -> str:
        return line(self)

    def table(self) -> str:
        """All numbers, for people."""
        return table(self)


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
    exclude: Any = None,
    guard: int = 0,
    nest: bool = False,
    unit: str | None = None,
    mask_threshold: float | None = None,
    n_rotations: int = 32,
    n_simulations: int = 60,
    seed: int = 0,
    device: str = "auto",
) -> SelfCheck:
    """Test beam, noise and sky model on the map that is to be filled.

    Parameters
    ----------
    sky, mask, plan, cl, fwhm, beam, noise_std, sky_model, refine, exclude, guard, nest, unit, mask_threshold, device
        As in `inpaint_map`; without anything known the sky model that it would estimate is tested.
    model
        The model that is to fill the map; it is run once, beside kriging, which the test itself rests on.
    n_rotations
        Of the mask's holes, at most; fewer if 20 000 withheld pixels are reached before. Each four of them are a
        trial of their own, and a trial withholds at most a tenth of the data.
    n_simulations
        Skies that say what to expect, at least 10.
    seed
        Of the rotations and simulations: one seed, one result.

    Returns
    -------
    SelfCheck
        ``str()`` of it is a line, ``.table()`` all numbers.

    Raises
    ------
    MaskError
        If nothing is filled with this mask, or no hole finds a place in observed sky.
    CmbInpaintError
        On arguments that cannot be used, as `inpaint_map`.

    Notes
    -----
    It sees what changes errors in withheld observed pixels by more than their scatter: noise, beam and power at the
    scales of holes; residuals, if they are there in the clean sky too. It cannot see what is in the holes only.
    """
    _check_numbers(n_rotations, n_simulations)
    check_known(cl, fwhm, beam, noise_std, sky_model)
    job = Job.take(sky, mask, plan, exclude, guard, nest, unit, mask_threshold)
    job = job.in_work_unit(assume_microkelvin=cl is not None or noise_std is not None)
    check_known(cl, fwhm, beam, noise_std, sky_model, job.plan.nside)
    inpainter = serving(find_inpainter(model, job.plan.nside, device), job.plan.nside)
    withheld = _withhold_enough(job.plan, realization_rng(seed, 0), n_rotations)
    assumed = job.model_sky(sky_model, cl, fwhm, beam, noise_std)
    trials = [_Trial.prepare(one.plan, assumed) for one in withheld]
    # The fill leaves out power beyond the model's lmax that is small beside the noise; a sky does not.
    nature = assumed if cl is None else job.model_sky(None, cl, fwhm, beam, noise_std, whole=True)
    null = []
    for i in range(n_simulations):
        signal, noise = draw_observation(nature, realization_rng(seed, 1 + i))
        null.append(_statistics(trials, signal + noise))
    numbers = _judged(trials, _statistics(trials, job.observed), np.stack(null))
    return SelfCheck(
        **numbers,
        depths=trials[0].bins.labels,
        counts=_total([t.bins.counts for t in trials]),
        model=inpainter.name,
        model_ratio=_beside_kriging(trials[0], job.observed, inpainter, refine),
        sky_model=assumed,
        n_holes=sum(one.n_holes for one in withheld),
        n_discs=sum(one.n_discs for one in withheld),
        n_simulations=n_simulations,
    )


def _withhold_enough(plan: InpaintingPlan, rng: np.random.Generator, n_rotations: int) -> list[Withheld]:
    """Trials of a few rotations each, until they hold enough pixels."""
    trials: list[Withheld] = []
    for done in range(0, n_rotations, TOGETHER):
        trials.append(withhold(plan, rng, min(TOGETHER, n_rotations - done)))
        if sum(int(trial.plan.targets.sum()) for trial in trials) >= ENOUGH:
            break
    return trials


@dataclass(frozen=True, eq=False)
class _Trial:
    """Kriging from what is left, and what it should reach in the withheld pixels."""

    plan: InpaintingPlan
    sky_model: SkyModel
    predictor: KrigingPredictor
    bins: DepthBins
    std: FloatArray  # (n,) of a withheld observation about its prediction

    @classmethod
    def prepare(cls, plan: InpaintingPlan, sky_model: SkyModel) -> "_Trial":
        predictor = KrigingInpainter(THREE_RESOLUTIONS).prepare(plan, sky_model)
        bins = DepthBins.of(plan)
        spread = np.zeros(plan.valid.size)
        spread[predictor.weights.targets] = predictor.weights.spread
        noise = np.broadcast_to(np.asarray(sky_model.noise_std), spread.shape)
        return cls(plan, sky_model, predictor, bins, np.hypot(bins.at(spread), bins.at(noise)))

    def compare(self, observation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n,) the predictions of the withheld pixels, and x."""
        predicted = self.bins.at(self.predictor.predict(observation))
        return predicted, (self.bins.at(observation) - predicted) / self.std


def _statistics(trials: list[_Trial], observation: FloatArray) -> FloatArray:
    """(bins + 5,) half the log of the mean square of x by depth, then coverage in quintiles of the prediction."""
    pairs = [trial.compare(observation) for trial in trials]
    sums = _total(
        [np.bincount(t.bins.bin_of, np.square(x), t.bins.n) for t, (_, x) in zip(trials, pairs, strict=True)]
    )
    counts = _total([trial.bins.counts for trial in trials])
    with np.errstate(divide="ignore", invalid="ignore"):
        half_log = 0.5 * np.log(sums / counts)
    predicted, x = (np.concatenate(values) for values in zip(*pairs, strict=True))
    within = np.abs(x)[np.argsort(predicted, kind="stable")] < 1.0
    coverage = [float(part.mean()) if part.size else np.nan for part in np.array_split(within, QUINTILES)]
    return np.concatenate([half_log, coverage])


def _judged(trials: list[_Trial], found: FloatArray, null: FloatArray) -> dict[str, Any]:
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
    away = found[used] - null[:, used].mean(axis=0)
    covariance = np.atleast_2d(np.cov(null[:, used], rowvar=False))
    squared = float(away @ np.linalg.solve(covariance, away)) * n / (n + 1)
    return float(fisher.sf(squared * (n - k) / (k * (n - 1)), k, n - k))


def _beside_kriging(
    trial: _Trial, observed: FloatArray, inpainter: Inpainter, refine: int | None
) -> FloatArray:
    """(bins,) rms of a model's errors on the withheld pixels over kriging's."""
    filled = Filler.prepare(inpainter, trial.plan, trial.sky_model, refine).predict(observed)
    plain = trial.predictor.predict(observed)
    return np.sqrt(trial.bins.mean_square(observed - filled) / trial.bins.mean_square(observed - plain))


def _check_numbers(n_rotations: int, n_simulations: int) -> None:
    if n_rotations < 1:
        raise CmbInpaintError(f"n_rotations is {n_rotations}; give 1 or more")
    if n_simulations < LEAST_SIMULATIONS:
        raise CmbInpaintError(
            f"n_simulations is {n_simulations}; give {LEAST_SIMULATIONS} or more, their scatter is the yardstick"
        )


def _total(arrays: list[AnyArray]) -> AnyArray:
    return np.sum(arrays, axis=0)
