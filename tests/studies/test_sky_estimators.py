"""Estimators on skies: the exact model is unbiased, its response finite differences confirm, and the bound holds."""

import numpy as np
import pytest
from scipy.stats import chi2

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm
from cmbinpaint.studies.estimator_performance import EstimatorEnsemble, evaluate
from cmbinpaint.studies.sky_estimators import (
    MASKED,
    MASTER,
    MEAN,
    PREDICTION,
    REALIZATION,
    _Run,
    standard_setup,
    study_sky_estimators,
)
from tests.validation.worlds import valid_at

SKIES = 48


@pytest.fixture(scope="module")
def result() -> EstimatorEnsemble:
    setup = standard_setup(valid_at(8), 0, bands=3)
    return study_sky_estimators(setup, load_model("gaussian"), SKIES, realizations=2, samples=6)


def test_figures_of_numbers_by_hand() -> None:
    rng = np.random.default_rng(0)
    true = 5 + rng.standard_normal((30, 2))
    estimated = 0.5 * true + 0.1 * rng.standard_normal((30, 2)) + 2
    found = evaluate(estimated, true, np.array([4.0, 4.0]), np.full((3, 2), 1.0), np.full((3, 2), 2.0))
    np.testing.assert_allclose(found.bias.value, (estimated.mean(0) - true.mean(0)) / true.mean(0))
    np.testing.assert_allclose(found.scatter.value, estimated.std(0, ddof=1) / 4)
    np.testing.assert_allclose(found.response.value, 0.5)
    np.testing.assert_allclose(found.effective.value, estimated.std(0, ddof=1) / 4 / 0.5)


def test_exact_realizations_are_unbiased_and_predictions_are_not(result: EstimatorEnsemble) -> None:
    for name in (REALIZATION, MEAN):
        bias = result.estimators[name].bias
        assert np.all(np.abs(bias.value) < 4 * bias.error + 1e-3)
    assert result.estimators[PREDICTION].bias.value[-1] < -0.02
    assert np.abs(result.estimators[MASKED].bias.value).max() > 0.05, "a red spectrum leaks through the cut"


def test_responses_and_the_limit(result: EstimatorEnsemble) -> None:
    master, filled = (result.estimators[name].response for name in (MASTER, REALIZATION))
    # MASTER is right to 1 % up to 2 nside, six samples scatter by some percent at the lowest band
    assert np.all(np.abs(master.value - 1) < 4 * master.error + 0.03)
    assert np.all(filled.value < 1) and np.all(np.diff(filled.value) < 0), (
        "small scales are not told across holes"
    )
    # Cramér and Rao; the scatter of so few skies falls this far below the true one one time in a thousand.
    least = np.sqrt(chi2.ppf(1e-3, SKIES - 1) / (SKIES - 1))
    for found in result.estimators.values():
        assert np.all(found.effective.value > least * result.limit)
    assert result.limit_kind == "Fisher, exact" and result.realizations.shape == (10, 3)
    assert set(result.example) == {"target", *result.estimators} and set(result.ks) == {
        PREDICTION,
        REALIZATION,
    }
    target = result.example["target"]
    for name in result.estimators:
        np.testing.assert_allclose(result.transfer[name] * target, result.example[name])
        np.testing.assert_allclose(result.residual[name] + target, result.example[name])
    rows = result.rows()
    assert (
        len(rows) == 6 * 3
        and rows[0]["effective_over_limit"] == rows[0]["effective"] / rows[0]["fisher_limit"]
    )


def test_the_response_is_a_derivative() -> None:
    """Paired skies with a band made stronger and weaker, phases the same, the model told the same."""
    setup = standard_setup(valid_at(8), 0, bands=3)
    run = _Run(setup, load_model("kriging"))
    moved, moves = run.responses(12, lambda: None)
    response = moved[PREDICTION].mean(0)[1] / moves.mean(0)[1]
    rng = np.random.default_rng(5)
    cl, edges = setup.sky_model.signal_cl, setup.bands.edges
    harmonics = Harmonics(8, cl.size - 1)
    inside = (np.arange(cl.size) >= edges[1]) & (np.arange(cl.size) < edges[2])
    top = bottom = 0.0
    for _ in range(150):
        part, rest = (draw_alm(np.where(keep, cl, 0.0), rng) for keep in (inside, ~inside))
        for sign in (1, -1):  # signs of the band's modes: what is odd in them cancels
            strong, weak = (harmonics.synthesis(np.sqrt(1 + a) * sign * part + rest) for a in (0.3, -0.3))
            top += (run.power(run.filled(strong)) - run.power(run.filled(weak)))[1]
            bottom += (run.power(strong) - run.power(weak))[1]
    assert response == pytest.approx(top / bottom, rel=0.03)  # 150 pairs, 12 samples


def test_too_little_is_refused() -> None:
    setup = standard_setup(valid_at(8), 0, bands=2)
    with pytest.raises(
        CmbInpaintError, match="19 skies, 20 samples and 4 realizations given; expected 20, 2 and 1"
    ):
        study_sky_estimators(setup, load_model("gaussian"), 19)
