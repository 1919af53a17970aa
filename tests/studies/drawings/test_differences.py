"""Pictures of differences: what is drawn is what was measured, with its unit."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.plots import save_figure
from cmbinpaint.studies.differences import DifferenceStudy, study_differences
from cmbinpaint.studies.drawings import differences as plots
from cmbinpaint.studies.patch_study import RANDOM, circles, random_mask
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained


@pytest.fixture(scope="module")
def study(small_training: Path) -> DifferenceStudy:
    trained = Trained.open(small_training)
    masks = {**circles(32), RANDOM: random_mask(32, 0)}
    return study_differences(trained, take_targets(trained.data, 3, 0), masks, trained.states)


def curves(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label to (points, half lengths of bars) of everything with error bars."""
    found = {}
    for container in ax.containers:
        line, _, bars = container
        ends = np.array([segment[:, 1] for segment in bars[0].get_segments()]) if bars else np.zeros((0, 2))
        found[container.get_label()] = (
            line.get_ydata(),
            (ends[:, 1] - ends[:, 0]) / 2 if len(ends) else ends,
        )
    return found


def test_history_draws_means_with_scatter_over_patches(study: DifferenceStudy) -> None:
    ax = plots.draw_difference_history(study, "temperature", region="holes", mask=4)
    drawn = curves(ax)
    where = study.regions.index("holes")
    for name, values in (("mean", study.temperature.mean), ("standard deviation", study.temperature.std)):
        np.testing.assert_allclose(drawn[name][0], values[:, 4, :, where].mean(1))
        np.testing.assert_allclose(drawn[name][1], values[:, 4, :, where].std(1))
    dots = [line for line in ax.lines if line.get_marker() == "." and len(line.get_xdata()) == 3]
    assert len(dots) == 2 * 3, "each patch of both series"
    assert (
        "µK" in ax.get_ylabel()
        and ax.get_xlabel() == "optimizer steps"
        and "holes" in ax.get_title(loc="left")
    )
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"][-1:] == [8], (
        "where stage 2 began"
    )
    assert "full scale" in plots.draw_difference_history(study, "rgb").get_ylabel()


def test_percent_and_depths(study: DifferenceStudy) -> None:
    ax = plots.draw_difference_percent(study, "rgb", mask=13)
    assert (
        set(curves(ax)) == {"holes", "all, as drawn", "all, observed kept"}
        and "mean color" in ax.get_ylabel()
    )
    values = study.rgb.percent[:, 13, :, study.regions.index("holes")]
    np.testing.assert_allclose(curves(ax)["holes"][0], values.mean(1))
    ax = plots.draw_difference_depths(study, mask=3)  # r = 5 px here: no pixel is deeper than 8.3
    assert "> 8.3 px" not in curves(ax) and "4.3-8.3 px" in curves(ax) and "rms" in ax.get_ylabel()
    left, right = plots.draw_difference_figure(study).axes[0], plots.draw_difference_figure(study).axes[1]
    assert left.get_title(loc="left").startswith("Temperatures") and right.get_title(loc="left").startswith(
        "RGB"
    )


def test_mask_sizes_have_a_curve_each_and_the_random_one_is_dashed(study: DifferenceStudy) -> None:
    ax = plots.draw_mask_size_history(study, "rgb", "std")
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(lines) == list(study.masks) and lines[RANDOM].get_linestyle() == "--"
    where = study.regions.index("all, as drawn")
    for i, name in enumerate(study.masks):
        np.testing.assert_allclose(lines[name].get_ydata(), study.rgb.std[:, i, :, where].mean(1))
    looks = {(line.get_marker(), line.get_linestyle()) for line in lines.values()}
    assert len(looks) == 14, "each can be told in black and white"
    figure = plots.draw_mask_size_figure(study)
    assert [ax.get_legend() is not None for ax in figure.axes] == [False, True, False]


def test_the_last_state_against_the_share_of_holes(study: DifferenceStudy, tmp_path: Path) -> None:
    ax = plots.draw_mask_size(study, "temperature")
    values, _ = curves(ax)["holes"]
    np.testing.assert_allclose(values, study.temperature.percent[-1, :13, :, 2].mean(1))
    line = ax.containers[0][0]
    np.testing.assert_allclose(line.get_xdata(), 100 * study.hole_fraction[:13])
    hollow = [c[0] for c in ax.containers if c[0].get_markerfacecolor() == "white"]
    assert len(hollow) == 3 and hollow[0].get_xdata()[0] == pytest.approx(100 * study.hole_fraction[13])
    for suffix in ("png", "pdf"):
        assert save_figure(ax, tmp_path / f"a.{suffix}").stat().st_size > 5000
