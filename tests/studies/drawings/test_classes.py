"""Pictures of classes: percentages of rows, curves of each class, shared limits."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.studies.classes import ClassStudy, study_classes
from cmbinpaint.studies.classifiers import RingDiscriminant
from cmbinpaint.studies.drawings import classes as plots
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained


@pytest.fixture(scope="module")
def study(small_set: Path, small_training: Path) -> ClassStudy:
    trained = Trained.open(small_training)
    one, two = (
        take_targets(None, 6, 0, folder=small_set, split=s, per_class=True) for s in ("validation", "train")
    )
    judge = RingDiscriminant.learn(two.truth, two.labels)
    return study_classes(trained, trained.states[-1], one, two, circle(32, 9.0), judge)


def test_errors_against_the_spectral_index(study: ClassStudy) -> None:
    ax = plots.draw_class_error(study)
    line, _, (bars,) = ax.containers[0]
    np.testing.assert_array_equal(line.get_xdata(), study.ns)
    np.testing.assert_array_equal(line.get_ydata(), study.relative.value)
    lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
    np.testing.assert_allclose(lengths, study.relative.error)
    assert "% of the class's rms" in ax.get_ylabel() and "n_s" in ax.get_xlabel()
    assert "µK" in plots.draw_class_error(study, "µK").get_ylabel()


def test_transfers_have_a_curve_each(study: ClassStudy) -> None:
    ax = plots.draw_class_transfer(study, "realization")
    drawn = {c.get_label(): c[0] for c in ax.containers}
    assert list(drawn) == ["0.7", "1.3"]
    np.testing.assert_array_equal(drawn["1.3"].get_ydata(), study.transfer["realization"].value[1])
    assert drawn["0.7"].get_marker() != drawn["1.3"].get_marker()
    _, left, right = plots.draw_class_figure(study).axes
    assert left.get_ylim() == right.get_ylim()


def test_confusion_is_in_percent_of_the_true_class(study: ClassStudy) -> None:
    ax = plots.draw_confusion(study, "prediction")
    table = study.confusion["prediction"]
    np.testing.assert_allclose(ax.images[0].get_array(), 100 * table / table.sum(1, keepdims=True))
    assert ax.images[0].get_clim() == (0, 100)
    written = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    for (row, column), count in np.ndenumerate(table):
        expected = f"{100 * count / table[row].sum():.0f}" if count else None
        assert written.get((column, row)) == expected
    assert "true" in ax.get_ylabel() and "% right" in ax.get_title(loc="left")
    assert len(plots.draw_confusions(study).axes) == 4
