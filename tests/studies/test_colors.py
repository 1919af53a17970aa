"""Distributions of color against counts by hand and scipy's fits."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cmbinpaint.errors import MapError, MaskError
from cmbinpaint.studies.colors import BINS, CHANNELS, channels, distribution, fill_panels, study_colors
from cmbinpaint.studies.patch_study import circles, random_mask
from cmbinpaint.training.data.planck_colors import render, to_rgb
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

MASKS = {"random": random_mask(32, 0), **circles(32, (25, 50))}


@pytest.fixture(scope="module")
def trained(small_training: Path) -> Trained:
    return Trained.open(small_training)


def test_a_distribution_is_fitted_and_counted() -> None:
    field = np.random.default_rng(0).normal(20, 100, (2, 16, 16))
    pictures = to_rgb(field)
    found = distribution(pictures)
    for i, (r, g, b) in enumerate(np.moveaxis(pictures.reshape(2, -1, 3).astype(float), 2, 1)):
        for c, values in enumerate((r, g, b, 0.2989 * r + 0.5870 * g + 0.1140 * b)):
            mean, std = stats.norm.fit(values)
            assert (found.mean[i, c], found.std[i, c]) == pytest.approx((mean, std), rel=1e-6)
            assert found.misfit[i, c] == pytest.approx(
                stats.kstest((values - mean) / std, "norm").statistic, rel=1e-6
            )
            assert found.density[i, c].sum() / BINS == pytest.approx(1.0)
            count = np.histogram(np.clip(values, 0, 1 - 1e-9), BINS, (0, 1))[0]
            # a value on an edge may fall to either side by rounding
            assert np.abs(found.density[i, c] * 256 / BINS - count).sum() <= 4


def test_channels_are_red_green_blue_grey() -> None:
    np.testing.assert_allclose(channels([0.1, 0.2, 0.4]), [0.1, 0.2, 0.4, 0.02989 + 0.1174 + 0.0456])
    assert CHANNELS == ("red", "green", "blue", "grey")


def test_a_study_compares_predictions_with_their_targets(trained: Trained) -> None:
    targets = take_targets(trained.data, 3, 0)
    study = study_colors(trained, targets, MASKS, trained.states, colors_uK=(-250.0, 150.0))
    assert study.prediction.mean.shape == (3, 3, 3, 4)
    valid = MASKS["r = 6.25 px"]
    drawn = render(trained.filler(trained.states[1], targets).fill(targets.data, valid).field_uK, -250, 150)
    expected = distribution(drawn)
    for key in ("mean", "std", "misfit", "density"):
        np.testing.assert_allclose(getattr(study.prediction, key)[1, 1], getattr(expected, key))
    goal = distribution(render(targets.truth, -250, 150))
    np.testing.assert_allclose(study.percent("std")[1, 1], 100 * (expected.std / goal.std - 1))
    (row,) = [r for r in study.rows() if (r["step"], r["mask"], r["channel"]) == (8, "r = 6.25 px", "blue")]
    assert row["target_mean"] == pytest.approx(goal.mean[:, 2].mean())
    assert row["std_percent_scatter"] == pytest.approx(study.percent("std")[1, 1, :, 2].std())
    assert study.facts()["colors_uK"] == (-250.0, 150.0)


def test_panels_are_of_the_last_state(trained: Trained) -> None:
    targets = take_targets(trained.data, 2, 0)
    panels = fill_panels(trained, targets, MASKS, colors="grey")
    fill = trained.filler(trained.states[-1], targets).fill(targets.data[:1], MASKS["r = 12.5 px"])
    np.testing.assert_array_equal(panels.prediction[2], fill.field_uK[0])
    np.testing.assert_array_equal(panels.target_rgb, render(targets.truth[0], -300, 300, "grey"))
    np.testing.assert_array_equal(panels.drawn[2], render(fill.field_uK[0], -300, 300, "grey"))


def test_bad_input_is_refused(trained: Trained) -> None:
    targets = take_targets(trained.data, 1, 0)
    with pytest.raises(MapError, match="T_min = 5 µK to T_max = 5 µK"):
        study_colors(trained, targets, MASKS, trained.states, colors_uK=(5.0, 5.0))
    with pytest.raises(MapError, match="unknown color map 'gray'; known: planck, grey; did you mean 'grey'"):
        fill_panels(trained, targets, MASKS, colors="gray")
    with pytest.raises(MaskError, match="hides all pixels"):
        fill_panels(trained, targets, {"x": np.zeros((32, 32), bool)})
