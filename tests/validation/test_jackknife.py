"""Jackknife errors: the textbook's where it has one, honest on repeated samples where not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint.validation.jackknife import jackknife, mean, ratio_of_means, rms_ratio


@given(st.integers(2, 30), st.integers(0, 1000))
def test_of_a_mean_it_is_the_standard_error(n: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((n, 3))
    found = mean(x)
    np.testing.assert_allclose(found.value, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(found.error, x.std(axis=0, ddof=1) / np.sqrt(n), rtol=1e-9)


def test_errors_of_ratios_are_their_scatter_over_repetitions() -> None:
    rng = np.random.default_rng(0)
    bottom = 2.0 + 0.5 * rng.standard_normal((2000, 40))
    top = 1.5 * bottom + 0.3 * rng.standard_normal((2000, 40))  # numerator and denominator go together
    for statistic, expected in ((ratio_of_means, 1.5), (rms_ratio, np.sqrt(1.5))):
        found = [statistic(t, b) for t, b in zip(top, bottom, strict=True)]
        values, errors = (np.array([f[i] for f in found]) for i in (0, 1))
        assert values.mean() == pytest.approx(expected, rel=2e-3)
        # the scatter of 2000 values is known to 1.6 %, the jackknife's mean square error has no bias to first order
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.06)


def test_one_sky_has_no_error_and_nothing_has_no_ratio() -> None:
    found = ratio_of_means(np.ones((1, 2)), np.array([[2.0, 0.0]]))
    assert found.value[0] == 0.5 and np.isnan(found.value[1]) and np.isnan(found.error).all()


def test_any_function_of_means() -> None:
    x = np.random.default_rng(1).standard_normal((50, 4))
    found = jackknife(lambda m: m.sum(axis=-1), x)
    assert found.error == pytest.approx(x.sum(axis=1).std(ddof=1) / np.sqrt(50), rel=1e-9)
