"""Realizations: reproducible, true to the data, and a posterior draw when the predictor is exact."""

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.pipeline.filler import Filler, draw_observation, realization_rng
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.pipeline.planning import plan_inpainting
from cmbinpaint.problem.model import Predictor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.full_sky import anafast
from tests.gaussian.dense import DenseSolver

NSIDE, LMAX = 8, 16


def model(noise: float = 0.3) -> SkyModel:
    ell = np.arange(LMAX + 1)
    cl = 1.0 / (1.0 + ell) ** 2
    cl[:2] = 100.0
    return SkyModel(NSIDE, cl, noise)


def plan(seed: int = 0) -> InpaintingPlan:
    valid = np.ones(12 * NSIDE**2, bool)
    valid[300:360] = False
    valid[np.random.default_rng(seed).integers(0, valid.size, 30)] = False
    return InpaintingPlan.from_valid(valid)


def filler(name: str = "gaussian", refine: int | None = 0) -> Filler:
    return Filler.prepare(load_model(name), plan(), model(), refine)


def test_the_exact_model_takes_no_steps_of_refinement() -> None:
    one, asked = filler("gaussian", None), filler("gaussian", 7)
    observed = np.where(one.plan.valid, sum(draw_observation(one.sky_model, realization_rng(1, 0))), np.nan)
    np.testing.assert_array_equal(one.predict(observed), asked.predict(observed))


@pytest.mark.parametrize("name", ["gaussian", "kriging", "diffusive"])
def test_data_stay_and_draws_repeat(name: str) -> None:
    fill = filler(name)
    observed = np.where(fill.plan.valid, sum(draw_observation(fill.sky_model, realization_rng(1, 0))), np.nan)
    first = fill.realize(observed, realization_rng(9, 3))
    assert np.array_equal(first[fill.plan.valid], observed[fill.plan.valid])
    assert np.all(np.isfinite(first))
    assert np.array_equal(first, fill.realize(observed, realization_rng(9, 3)))
    assert not np.array_equal(first, fill.realize(observed, realization_rng(9, 4)))


@pytest.mark.parametrize("name", ["gaussian", "kriging"])
def test_a_prediction_in_place_is_the_same_in_the_targets(name: str) -> None:
    """And 0 where excluded. Of the exact answer it is where the data were; what is made of a user's map never is."""
    region = np.arange(12 * NSIDE**2) > 700
    fill = Filler.prepare(load_model(name), plan_inpainting(plan().valid, exclude=region), model(), 0)
    observed = np.where(fill.plan.valid, sum(draw_observation(fill.sky_model, realization_rng(1, 0))), 0.0)
    kept, targets = observed.copy(), ~fill.plan.valid
    assert fill.plan.excluded.any()
    expected = fill.predictor.predict(observed)[targets]
    fill.realize(observed, realization_rng(9, 3))
    fill.constrain(observed, observed[::-1].copy())
    np.testing.assert_array_equal(observed, kept)
    found = fill.predictor.predict_in_place(observed)
    np.testing.assert_array_equal(found[targets], expected)
    assert np.shares_memory(found, observed) == (name == "gaussian")


def test_realizations_of_the_exact_mean_scatter_as_the_posterior() -> None:
    fill, sky_model = filler(), model()
    targets = fill.plan.targets
    observed = np.where(fill.plan.valid, sum(draw_observation(sky_model, realization_rng(2, 0))), 0.0)
    draws = np.stack(
        [fill.realize(observed, realization_rng(0, i), with_noise=False)[targets] for i in range(200)]
    )
    dense = DenseSolver(fill.plan.valid, sky_model)
    mean, spread = dense.mean(observed), dense.std()
    pull = (draws.mean(0) - mean) / (spread / np.sqrt(len(draws)))
    # 90 correlated pixels: the mean square pull of 200 draws is 1 within a third
    assert np.mean(pull**2) == pytest.approx(1.0, abs=0.5)
    assert np.mean(draws.std(0) / spread) == pytest.approx(1.0, abs=0.05)


def test_refining_moves_a_fill_to_the_exact_mean() -> None:
    observed = np.where(plan().valid, sum(draw_observation(model(), realization_rng(3, 0))), 0.0)
    exact = filler("gaussian").predict(observed)
    plain, refined = filler("kriging", 0).predict(observed), filler("kriging", 200).predict(observed)
    error = np.std((plain - exact)[plan().targets])
    assert error > 1e-3
    assert np.std((refined - exact)[plan().targets]) < 1e-3 * error + 1e-3 * model().rms


@pytest.mark.parametrize("refine", [2, None])
def test_before_a_solver_a_cheaper_guess_is_made_and_one_warning_given(refine: int | None) -> None:
    class Guess(CoarseToFineInpainter):
        refined_by_default = True

        def prepare(self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False) -> Predictor:
            return CoarseToFineInpainter(4 if to_refine else None).prepare(
                plan, sky_model, to_refine=to_refine
            )

    observed = np.where(plan().valid, sum(draw_observation(model(), realization_rng(4, 0))), 0.0)
    for steps, nearest in ((refine, 4), (0, 64)):
        with pytest.warns(CmbInpaintWarning, match="noise_std is below") as caught:
            made = Filler.prepare(Guess(), plan(), model(0.0), steps)
        assert len(caught) == 1
        expected = CoarseToFineInpainter(nearest).prepare(plan(), model(0.0), to_refine=True)
        np.testing.assert_array_equal(made.predictor.predict(observed), expected.predict(observed))


def test_the_bias_of_realizations_is_minus_twice_the_cross_spectrum() -> None:
    """`E[C(o' + predict(d - d'))] - E[C(o)] = -2 E[C(F, R)]` for a short-sighted linear predictor."""
    fill = filler("diffusive")
    n, bias, cross = 120, [], []
    for i in range(n):
        o = sum(draw_observation(fill.sky_model, realization_rng(5, i)))
        observed = np.where(fill.plan.valid, o, 0.0)
        bias.append(anafast(fill.realize(observed, realization_rng(6, i)), LMAX) - anafast(o, LMAX))
        predicted = fill.predict(observed)
        left = o - predicted
        cross.append(0.5 * (anafast(o, LMAX) - anafast(predicted, LMAX) - anafast(left, LMAX)))
    direct, identity = np.mean(bias, 0)[2:], -2 * np.mean(cross, 0)[2:]
    error = np.hypot(np.std(bias, 0)[2:], 2 * np.std(cross, 0)[2:]) / np.sqrt(n)
    pull = (direct - identity) / error
    assert np.mean(pull**2) < 2.2  # 15 multipoles: chi-square per degree of freedom
    assert np.max(np.abs(identity / error)) > 3  # the bias is there to be seen
