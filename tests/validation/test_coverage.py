"""Coverage: right for calibrated errors however few the skies; a bad predictor fails at its extremes alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint.validation.coverage import LEVELS, covered

K = 3000
GROUPS = np.arange(K) % 2


def world(skies: int, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and their errors, `slope` of which hangs on the prediction; widths differ between pixels."""
    rng = np.random.default_rng(seed)
    predictions = rng.standard_normal((skies, K))
    scale = rng.uniform(0.5, 2.0, K)
    return scale * (slope * predictions + rng.standard_normal((skies, K))), scale * predictions


@pytest.mark.parametrize("skies", [3, 5, 40])
def test_calibrated_errors_are_covered_with_few_skies_too(skies: int) -> None:
    errors, predictions = world(skies, slope=0.0)
    found = covered(errors, predictions, GROUPS, 2)
    for i, level in enumerate(LEVELS):
        n = skies * K / 2
        # pixels are independent here; widths shared between skies widen the binomial scatter a little
        assert found.marginal.value[i] == pytest.approx(level, abs=6 * np.sqrt(level * (1 - level) / n))
        assert found.conditional.value[i] == pytest.approx(
            level, abs=6 * np.sqrt(level * (1 - level) / n * 5)
        )
    assert np.abs(found.pull.value).max() < 6 * np.sqrt(5 / (skies * K / 2) * (1 if skies > 9 else 4))


def test_a_predictor_that_is_too_bold_fails_at_the_extremes_not_in_the_margin() -> None:
    errors, predictions = world(30, slope=0.5)
    found = covered(errors, predictions, GROUPS, 2)
    assert found.marginal.value[0] == pytest.approx(LEVELS[0], abs=0.02)
    outer, middle = found.conditional.value[0][:, [0, 4]], found.conditional.value[0][:, 2]
    assert (outer < LEVELS[0] - 0.05).all() and (middle > LEVELS[0] + 0.03).all()
    # error = prediction - truth grows with the prediction: where that is high, truth lies below
    assert (found.pull.value[:, 0] > 0.3).all() and (found.pull.value[:, 4] < -0.3).all()


@given(st.floats(0.1, 10.0), st.integers(0, 50))
def test_units_do_not_matter(factor: float, seed: int) -> None:
    errors, predictions = world(4, 0.2, seed)
    first = covered(errors[:, :100], predictions[:, :100], GROUPS[:100], 2)
    second = covered(factor * errors[:, :100], factor * predictions[:, :100], GROUPS[:100], 2)
    np.testing.assert_allclose(first.marginal.value, second.marginal.value)
    np.testing.assert_allclose(first.pull.value, second.pull.value, rtol=1e-9)


def test_an_empty_group_and_what_is_in_none() -> None:
    errors, predictions = world(4, 0.0)
    found = covered(errors, predictions, np.where(GROUPS == 1, -1, 0), 2)
    alone = covered(errors[:, GROUPS == 0], predictions[:, GROUPS == 0], np.zeros(K // 2, int), 1)
    assert np.isnan(found.marginal.value[:, 1]).all()
    np.testing.assert_allclose(found.conditional.value[:, 0], alone.conditional.value[:, 0])
