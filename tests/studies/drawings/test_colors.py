"""Pictures of colors: drawn data are the study's, scales are shared, units stand on the axes."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.studies.colors import ColorStudy, Panels, fill_panels, study_colors
from cmbinpaint.studies.drawings import colors as plots
from cmbinpaint.studies.patch_study import circles, random_mask
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

MASKS = {"random": random_mask(32, 0), **circles(32, (25, 50))}


@pytest.fixture(scope="module")
def trained(small_training: Path) -> Trained:
    return Trained.open(small_training)


@pytest.fixture(scope="module")
def study(trained: Trained) -> ColorStudy:
    return study_colors(trained, take_targets(trained.data, 3, 0), MASKS, trained.states)


@pytest.fixture(scope="module")
def panels(trained: Trained) -> Panels:
    return fill_panels(trained, take_targets(trained.data, 1, 0), MASKS)


def steps(ax) -> dict[str, np.ndarray]:
    return {patch.get_label(): patch.get_data().values for patch in ax.patches}


def test_distributions_are_those_of_the_study(study: ColorStudy) -> None:
    drawn = steps(plots.draw_color_distribution(study, "blue"))
    assert list(drawn) == ["target", *MASKS]
    np.testing.assert_allclose(drawn["target"], study.target.density[:, 2].mean(0))
    np.testing.assert_allclose(drawn["r = 12.5 px"], study.prediction.density[-1, 2, :, 2].mean(0))
    ax = plots.draw_color_distribution(study, "grey", over="states")
    np.testing.assert_allclose(steps(ax)["step 8"], study.prediction.density[1, 0, :, 3].mean(0))
    assert list(steps(ax)) == ["target", "step 4", "step 8", "step 12"] and "full scale" in ax.get_xlabel()
    figure = plots.draw_color_distributions(study)
    assert len({ax.get_ylim() for ax in figure.axes}) == 1, "one scale for all channels"


def test_fits_over_the_training(study: ColorStudy) -> None:
    ax = plots.draw_color_percent(study, "std", mask=1)
    drawn = {c.get_label(): c[0].get_ydata() for c in ax.containers}
    for c, channel in enumerate(("red", "green", "blue", "grey")):
        np.testing.assert_allclose(drawn[channel], study.percent("std")[:, 1, :, c].mean(1))
    assert "%" in ax.get_ylabel() and ax.get_xlabel() == "optimizer steps"
    ax = plots.draw_color_fits(study, "mean")
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_allclose(lines["green"], study.prediction.mean[:, 0, :, 1].mean(1))
    level = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert pytest.approx(study.target.mean[:, 1].mean()) in level
    assert len(plots.draw_color_figure(study).axes) == 4


def test_panels_share_their_scales(panels: Panels) -> None:
    figure = plots.draw_panels(panels)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(images) == 12
    temperatures, away = [i for k, i in enumerate(images) if k % 4 < 3], images[3::4]
    limits = {image.get_clim() for image in temperatures}
    assert len(limits) == 1 and sum(limits.pop()) == 0, "one symmetric scale"
    top = np.abs(panels.prediction - panels.target).max()
    assert {image.get_clim() for image in away} == {(0.0, top)}, "one scale of differences"
    np.testing.assert_array_equal(images[1].get_array(), panels.prediction[0])
    np.testing.assert_array_equal(images[2].get_array(), panels.target)
    np.testing.assert_array_equal(np.ma.getmaskarray(images[0].get_array()), ~panels.valid[0])
    np.testing.assert_allclose(away[1].get_array(), np.abs(panels.prediction[1] - panels.target))
    labels = {ax.get_xlabel() for ax in figure.axes}
    assert {"temperature  [µK]", "|difference|  [µK]", "offset [deg]"} <= labels


def test_pictures_end_at_t_min_and_t_max(panels: Panels) -> None:
    figure = plots.draw_panels(panels, pictures=True)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert images[0].get_clim() == (-300.0, 300.0)
    np.testing.assert_array_equal(images[1].get_array(), panels.drawn[0])
    expected = np.abs(panels.drawn[0].astype(float) - panels.target_rgb).mean(-1)
    np.testing.assert_allclose(images[3].get_array(), expected)
