"""Pictures of estimators: figures in their units, the null beside the tests."""

import numpy as np
import pytest

from cmbinpaint.pipeline.models import load_model
from cmbinpaint.studies.drawings import estimators as plots
from cmbinpaint.studies.estimator_performance import EstimatorEnsemble
from cmbinpaint.studies.sky_estimators import standard_setup, study_sky_estimators
from tests.validation.worlds import valid_at


@pytest.fixture(scope="module")
def result() -> EstimatorEnsemble:
    setup = standard_setup(valid_at(8), 0, bands=3)
    return study_sky_estimators(setup, load_model("kriging"), 20, realizations=1, samples=2)


@pytest.mark.parametrize("kind", ["bias", "response", "effective"])
def test_figures_are_drawn_in_their_units(result: EstimatorEnsemble, kind: str) -> None:
    ax = plots.draw_estimator(result, kind)  # type: ignore[arg-type]
    drawn = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    assert list(drawn) == list(result.estimators)
    for name, found in result.estimators.items():
        value = getattr(found, kind).value
        expected = {"bias": 100 * value, "response": value, "effective": value / result.limit}[kind]
        np.testing.assert_allclose(drawn[name], expected)
    assert ("%" in ax.get_ylabel()) == (kind == "bias")
    assert [t.get_text() for t in ax.get_xticklabels()] == result.bands
    looks = {(c[0].get_marker(), c[0].get_color()) for c in ax.containers}
    assert len(looks) == len(drawn)


def test_the_example_is_in_d_ell_with_the_band_of_realizations(result: EstimatorEnsemble) -> None:
    ax = plots.draw_example(result)
    factor = result.centers * (result.centers + 1) / (2 * np.pi)
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["target"], factor * result.example["target"])
    np.testing.assert_allclose(lines["MASTER"], factor * result.example["MASTER"])
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert corners.max() == pytest.approx((factor * result.realizations.max(0)).max())
    assert "µK²" in ax.get_ylabel() and "pixel window" in ax.get_xlabel()


def test_distances_are_drawn_with_their_null(result: EstimatorEnsemble) -> None:
    ax = plots.draw_ks(result)
    lines = {line.get_label(): line for line in ax.lines}
    test = result.ks["realization"]
    np.testing.assert_allclose(lines["true skies (null)"].get_xdata(), np.sort(test.null))
    np.testing.assert_allclose(lines["realization"].get_xdata(), np.sort(test.distance))
    assert lines["95 % of true skies"].get_xdata()[0] == pytest.approx(np.quantile(test.null, 0.95))
    assert "detectable" in ax.get_title(loc="left")
    figure = plots.draw_estimators(result)
    assert len(figure.axes) == 4 and len(figure.legends) == 1
