"""Do beam, noise and sky model fit this very map? A test on the user's own sky.

Inputs: what `inpaint_map` takes. Outputs: `SelfCheck`.

The mask's own holes, rotated into observed sky (`holdout`), are filled from the remaining data and compared with what
was held out. With `d` a held-out pixel, `m` its prediction, `s` the prediction's standard deviation in the sky model
and `n` the noise's, `x = (d - m) / sqrt(s² + n²)` has unit variance if the sky model fits. Pixels of one hole are
correlated, and predictions are not quite the exact mean; so the expectation and the scatter of each statistic come
from simulated skies of the same sky model, held out and filled alike.

The prediction is kriging's, coarse to fine: within a few percent of the exact mean's error, prepared once and applied
in milliseconds, which pays for the simulations; of T alone, and of Q and U together. The model that fills the holes is
run once, on the map, for comparison.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, MaskError
from cmbinpaint.pipeline.filler import Filler, draw_observation, realization_rng
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.options import Polconv, refuse_old_names, validate_known
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.self_check_result import ErrorSpectra, SelfCheck
from cmbinpaint.validation.self_check_trials import QUINTILES, Trials, error_spectra

# With fewer simulations their scatter is known too poorly.
LEAST_SIMULATIONS = 10


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
    noise_cov: FloatArray | None = None,
    colored_noise_cl: FloatArray | None = None,
    sky_model: SkyModel | None = None,
    refine: int | None = None,
    nest: bool = False,
    unit: str | None = None,
    polconv: Polconv | None = None,
    n_rotations: int = 32,
    n_simulations: int = 60,
    seed: int = 0,
) -> SelfCheck:
    """Test beam, noise and sky model on the map that is to be filled.

    Parameters
    ----------
    sky, mask, plan, cl, fwhm, beam, noise_std, noise_cov, colored_noise_cl, sky_model, refine, nest, unit, polconv
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
    known: dict[str, Any] = {
        "cl": cl,
        "fwhm": fwhm,
        "beam": beam,
        "noise_std": noise_std,
        "noise_cov": noise_cov,
        "colored_noise_cl": colored_noise_cl,
    }
    validate_known(**known, sky_model=sky_model)
    given = cl is not None or noise_std is not None or noise_cov is not None
    problem = Problem.make(
        sky, mask, plan=plan, nest=nest, unit=unit, polconv=polconv, assume_microkelvin=given
    )
    validate_known(**known, sky_model=sky_model, nside=problem.plan.nside)
    inpainter = load_model(model)
    inpainter.check(problem.plan.nside, problem.fields)
    plans = _plans(problem)
    assumed = problem.assume_sky(sky_model, **known)
    parts = [
        Trials.prepare(one, assumed.only(fields), rows, realization_rng(seed, 0), n_rotations)
        for fields, rows, one in plans
    ]
    # The fill leaves out power beyond the model's lmax that is small beside the noise; a sky does not.
    if noise_std is None and noise_cov is None:
        known["noise_std"] = assumed.noise_std
    nature = assumed if cl is None else problem.assume_sky(**known, whole=True)
    skies = (np.add(*draw_observation(nature, realization_rng(seed, 1 + i))) for i in range(n_simulations))
    found, found_spectra = _statistics(parts, problem.observed)
    null, null_spectra = (
        np.stack(part) for part in zip(*(_statistics(parts, one) for one in skies), strict=True)
    )
    return SelfCheck(
        **_compared(found, null),
        stokes="".join(part.stokes for part in parts),
        spectra=_compared_spectra(found_spectra, null_spectra, Fields.of(len(found))),
        depths=parts[0].trials[0].bins.labels,
        counts=_squeezed(np.concatenate([part.counts for part in parts])),
        model=inpainter.name,
        model_ratio=_beside_kriging(parts, problem, inpainter, assumed, refine),
        sky_model=assumed,
        n_holes=sum(one.n_holes for part in parts for one in part.holdouts),
        n_discs=sum(one.n_discs for part in parts for one in part.holdouts),
        n_simulations=n_simulations,
    )


def _plans(problem: Problem) -> list[tuple[Fields, slice, InpaintingPlan]]:
    """What has holes: T, or Q and U, its rows in a map, and its plan (npix,).

    Raises
    ------
    MaskError
        If nothing has.
    """
    plan, fields, found = problem.plan, problem.fields, []
    for spin, rows in fields.spins:
        kind = Fields.T if spin == 0 else Fields.QU
        valid, targets, excluded = (
            np.atleast_2d(array)[rows] for array in (plan.valid, plan.targets, plan.excluded)
        )
        # Where one of Q and U is observed, and the other filled, there is a hole.
        wanted = np.asarray(targets.any(axis=0))
        if wanted.any():
            excluded = np.asarray(excluded.any(axis=0)) & ~wanted
            alone = InpaintingPlan(plan.nside, valid[0], wanted, excluded)
            found.append((kind, rows, plan if fields is Fields.T else alone))
    if not found:
        raise MaskError("no pixel is filled with this mask, so there is nothing to check")
    return found


def _statistics(parts: Sequence[Trials], observation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(k, bins + 5) by depth and by quintile of the prediction; and the errors' spectra, of T alone none."""
    errors = [part.errors(observation) for part in parts]
    rows = [part.statistics(*one) for part, one in zip(parts, errors, strict=True)]
    polarized = parts[-1].stokes != "T"
    spectra = error_spectra(parts, [pulls for _, pulls in errors]) if polarized else np.empty(0)
    return np.concatenate(rows), spectra


def _compared(found: FloatArray, null: FloatArray) -> dict[str, Any]:
    """The map's statistics (k, bins + 5) beside those of simulations, by the names of `SelfCheck`."""
    bins = found.shape[-1] - QUINTILES
    mean, error, p = _beside(found, null)
    ratio = np.exp(found - mean)[:, :bins]
    depth_p = np.array(
        [
            _together(one, rows)
            for one, rows in zip(found[:, :bins], null[..., :bins].swapaxes(0, 1), strict=True)
        ]
    )
    all_p = np.array(
        [
            _together(one, rows)
            for one, rows in zip(found[:, bins:], null[..., bins:].swapaxes(0, 1), strict=True)
        ]
    )
    compared = {
        "ratio": ratio,
        "ratio_error": ratio * error[:, :bins],
        "ratio_p": p[:, :bins],
        "depth_p": depth_p,
        "coverage": found[:, bins:],
        "expected_coverage": mean[:, bins:],
        "coverage_error": error[:, bins:],
        "coverage_p": p[:, bins:],
        "all_coverage_p": all_p,
    }
    return {name: _squeezed(values) for name, values in compared.items()}


def _compared_spectra(found: FloatArray, null: FloatArray, fields: Fields) -> ErrorSpectra | None:
    """The spectra of the errors beside those of simulations."""
    if not found.size:
        return None
    mean, error, p = _beside(found, null)
    auto = np.array([i == j for i, j in fields.pairs])
    value = np.where(auto, np.exp(found - mean), found)
    return ErrorSpectra(
        fields.spectra,
        value,
        np.where(auto, 1.0, mean),
        np.where(auto, value * error, error),
        p,
        _together(found, null),
    )


def _beside(found: FloatArray, null: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The mean of simulated statistics, the scatter of one more, and the two-sided p-value of what is found."""
    n, mean = len(null), null.mean(axis=0)
    # Student's t: one more draw beside n, whose mean and scatter are estimated.
    error = null.std(axis=0, ddof=1) * np.sqrt(1 + 1 / n)
    pull = np.divide(found - mean, error, out=np.full_like(found, np.nan), where=error > 0)
    return mean, error, 2 * student.sf(np.abs(pull), n - 1)


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
    parts: Sequence[Trials], problem: Problem, inpainter: Inpainter, sky_model: SkyModel, refine: int | None
) -> FloatArray:
    """(bins,) or (k, bins) rms of a model's errors on the held-out pixels over kriging's, in the first trials."""
    observed, plan = problem.observed, _first_trials(parts, problem.plan)
    filled = Filler.prepare(inpainter, plan, sky_model, refine).predict(observed)
    ratios = []
    for part in parts:
        trial, target = part.trials[0], part.of(observed)
        bins, known = trial.bins, trial.bins.at(target)
        errors = [np.square(mean - known) for mean in (bins.at(part.of(filled)), trial.predict(target))]
        ratio = np.sqrt(np.divide(*(bins.mean(squares) for squares in errors)))
        ratios.append(ratio.reshape(len(part.stokes), -1))
    return _squeezed(np.concatenate(ratios))


def _first_trials(parts: Sequence[Trials], plan: InpaintingPlan) -> InpaintingPlan:
    """The first trial of each part, in one plan; what has no trial keeps its data."""
    if plan.valid.ndim == 1:
        return parts[0].trials[0].plan
    valid, targets = plan.valid.copy(), np.zeros_like(plan.targets)
    for part in parts:
        trial = part.trials[0].plan
        valid[part.rows], targets[part.rows] = trial.valid, trial.targets
    return InpaintingPlan(plan.nside, valid, targets, ~valid & ~targets)


def _check_numbers(n_rotations: int, n_simulations: int) -> None:
    if n_rotations < 1:
        raise CmbInpaintError(f"n_rotations is {n_rotations}; give 1 or more")
    if n_simulations < LEAST_SIMULATIONS:
        raise CmbInpaintError(
            f"n_simulations is {n_simulations}; give {LEAST_SIMULATIONS} or more: their scatter is the reference"
        )


def _squeezed(rows: AnyArray) -> Any:
    """Of T alone without the axis of Stokes parameters."""
    return rows if len(rows) > 1 else rows[0]
