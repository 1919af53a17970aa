"""Pictures of clipped spectra: the curves are the study's, in percent."""

import numpy as np
import pytest

from cmbinpaint.studies.clipping import GREY, PLANCK, ClippingStudy, study_clipping
from cmbinpaint.studies.drawings import clipping as plots


@pytest.fixture(scope="module")
def study() -> ClippingStudy:
    truth = np.random.default_rng(1).normal(0, 100, (4, 32, 32))
    return study_clipping(truth, np.radians(0.2), (100.0, 200.0, 350.0))


def test_power_is_in_percent_of_the_temperatures(study: ClippingStudy) -> None:
    ax = plots.draw_clipping(study, GREY)
    drawn = {c.get_label(): c[0] for c in ax.containers}
    assert list(drawn) == study.bands
    for b, band in enumerate(study.bands):
        np.testing.assert_allclose(drawn[band].get_ydata(), 100 * (study.ratio[GREY].value[:, b] - 1))
        np.testing.assert_array_equal(drawn[band].get_xdata(), study.t_max_uK)
    (dashed,) = [line for line in ax.lines if line.get_label() == r"erf$^2$"]
    np.testing.assert_allclose(dashed.get_ydata(), 100 * (study.expected - 1))
    assert "µK" in ax.get_xlabel() and "%" in ax.get_ylabel()
    assert len({(d.get_marker(), d.get_color()) for d in drawn.values()}) == len(study.bands)


def test_coherence_is_drawn_at_the_nearest_t_max(study: ClippingStudy) -> None:
    ax = plots.draw_coherence(study, 300.0)
    drawn = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    np.testing.assert_allclose(drawn[PLANCK], study.coherence[PLANCK].value[2])
    assert "±350 µK" in ax.get_title(loc="left") and "correlation" in ax.get_ylabel()
    assert len(plots.draw_clipping_figure(study).axes) == 2
