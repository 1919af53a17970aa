"""Distributions and depths of a report, against scipy and plain sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cmbinpaint.report.fields import Maps
from cmbinpaint.report.statistics import Moments, OnePoint, depth_rows
from tests.report.world_of_a_fill import world


def maps(*, error: np.ndarray | None = None) -> Maps:
    w = world()
    return Maps(w.before, w.fills[0], w.plan.valid, w.plan.targets, w.target, error)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1e4), st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_moments_are_scipys(seed: int, scale: float, mean: float) -> None:
    values = mean + scale * np.random.default_rng(seed).gamma(2.0, size=300)
    found = Moments.of(values)
    assert (found.n, found.mean, found.std) == (
        300,
        pytest.approx(values.mean()),
        pytest.approx(values.std()),
    )
    assert found.skewness == pytest.approx(stats.skew(values), rel=1e-6)
    assert found.kurtosis == pytest.approx(stats.kurtosis(values), rel=1e-6, abs=1e-6)


def test_moments_of_a_constant_are_numbers() -> None:
    assert Moments.of(np.full(5, 2.0)) == Moments(5, 2.0, 0.0, 0.0, 0.0)


def test_densities_are_of_the_right_pixels_and_integrate_to_one() -> None:
    given_maps = maps()
    found = OnePoint.of(given_maps, world().plan.valid, 3.0)
    width = np.diff(found.edges)
    pixels = {
        "observed": world().target[world().plan.valid],
        "filled": world().fills[0][world().plan.targets],
        "target": world().target[world().plan.targets],
    }
    assert list(found.densities) == list(pixels)
    for name, values in pixels.items():
        inside = np.mean(np.abs(values - 3.0) <= found.edges[-1])
        assert (found.densities[name] * width).sum() == pytest.approx(inside, abs=1e-9)
        assert found.moments[name].mean == pytest.approx(values.mean() - 3.0)
    # A Gaussian between 4.5 standard deviations, in bins of a seventh: all of it but what the mean's shift cuts.
    assert (found.gaussian * width).sum() == pytest.approx(1.0, abs=2e-3)


def test_depths_have_the_rms_of_their_pixels() -> None:
    w = world()
    rows = depth_rows(maps(error=np.where(w.plan.targets, 7.0, np.nan)), w.plan, 2.0)
    assert sum(row.n_pixels for row in rows) == w.plan.targets.sum()
    first = w.plan.targets & (w.plan.depth <= 1.3)
    assert rows[0].depth == "(0, 1.3]" and rows[0].n_pixels == first.sum()
    assert rows[0].filled == pytest.approx(np.sqrt(np.mean((w.fills[0][first] - 2.0) ** 2)))
    assert rows[0].target == pytest.approx(np.sqrt(np.mean((w.target[first] - 2.0) ** 2)))
    assert rows[0].difference == pytest.approx(np.sqrt(np.mean((w.fills[0] - w.target)[first] ** 2)))
    assert all(row.error == pytest.approx(7.0) for row in rows)
    without = Maps(w.before, w.fills[0], w.plan.valid, w.plan.targets, None, None)
    assert {(r.target, r.difference, r.error) for r in depth_rows(without, w.plan, 2.0)} == {
        (None, None, None)
    }
