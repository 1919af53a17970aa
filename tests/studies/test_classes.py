"""Classes: errors and spectra by loops, partners from the right class, a discriminant that tells spectra apart."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.errors import DataSetError, MaskError
from cmbinpaint.studies.classes import (
    ASSUMED,
    PREDICTION,
    REALIZATION,
    TARGET,
    ClassStudy,
    _partners,
    study_classes,
)
from cmbinpaint.studies.classifiers import RingDiscriminant, confusion_table
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import Targets, take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

VALID = circle(32, 9.0)


@pytest.fixture(scope="module")
def trained(small_training: Path) -> Trained:
    return Trained.open(small_training)


@pytest.fixture(scope="module")
def sets(small_set: Path) -> tuple[Targets, Targets]:
    one, two = (
        take_targets(None, 6, 0, folder=small_set, split=s, per_class=True) for s in ("validation", "train")
    )
    return one, two


@pytest.fixture(scope="module")
def judge(sets: tuple[Targets, Targets]) -> RingDiscriminant:
    return RingDiscriminant.learn(sets[1].truth, sets[1].labels)


@pytest.fixture(scope="module")
def study(trained: Trained, sets: tuple[Targets, Targets], judge: RingDiscriminant) -> ClassStudy:
    return study_classes(trained, trained.states[-1], *sets, VALID, judge)


def test_errors_are_those_of_each_class(
    study: ClassStudy, trained: Trained, sets: tuple[Targets, Targets]
) -> None:
    targets = sets[0]
    fill = trained.filler(trained.states[-1], targets).fill(targets.data, VALID).field_uK
    for k in range(2):
        own = [
            np.abs(f - t)[~VALID]
            for f, t, c in zip(fill, targets.truth, targets.labels, strict=True)
            if c == k
        ]
        means = [np.mean(values) for values in own]
        rms = np.std(targets.truth[targets.labels == k], dtype=float)
        assert study.error.value[k] == pytest.approx(np.mean(means), rel=1e-6)
        assert study.error.error[k] == pytest.approx(np.std(means, ddof=1) / np.sqrt(len(means)), rel=1e-6)
        assert study.relative.value[k] == pytest.approx(100 * np.mean(means) / rms, rel=1e-5)
        assert study.rms_error[k] == pytest.approx(np.sqrt(np.mean(np.square(own))) / rms, rel=1e-5)
    assert study.patches.tolist() == [6, 6] and study.hole_fraction == np.mean(~VALID)


def test_spectra_are_of_what_a_map_would_hold(
    study: ClassStudy, trained: Trained, sets: tuple[Targets, Targets]
) -> None:
    one, two = sets
    filler = trained.filler(trained.states[-1], one)
    predict = {id(s): np.where(VALID, s.data, filler.fill(s.data, VALID).field_uK) for s in sets}
    hann = np.outer(*[np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2] * 2)
    f = np.fft.fftfreq(32) * 2 * np.pi / one.step_rad
    ring = (np.hypot(f[:, None], f) >= study.edges[1]) & (np.hypot(f[:, None], f) < study.edges[2])

    def power(field: np.ndarray) -> float:
        cut = (field - np.average(field, weights=hann)) * hann
        return float(np.mean(np.abs(np.fft.fft2(cut)[ring]) ** 2))

    for k in range(2):
        mine, theirs = (np.flatnonzero(s.labels == k) for s in sets)
        top = {PREDICTION: 0.0, REALIZATION: 0.0}
        bottom = 0.0
        for i, j in zip(mine, theirs, strict=True):
            filled = predict[id(one)][i]
            drawn = filled + two.data[j] - predict[id(two)][j]
            np.testing.assert_allclose(drawn[VALID], one.data[i][VALID], atol=1e-3)
            bottom += power(one.data[i].astype(float))
            top[PREDICTION] += power(filled)
            top[REALIZATION] += power(drawn)
        for kind, value in top.items():
            assert study.transfer[kind].value[k, 1] == pytest.approx(value / bottom, rel=1e-5)
    # of the class that is Planck's the two realizations are the same
    np.testing.assert_array_equal(study.transfer[REALIZATION].value[0], study.transfer[ASSUMED].value[0])
    assert not np.allclose(study.transfer[REALIZATION].value[1], study.transfer[ASSUMED].value[1])


def test_tables_count_every_patch(
    study: ClassStudy, judge: RingDiscriminant, sets: tuple[Targets, Targets]
) -> None:
    targets = sets[0]
    for table in study.confusion.values():
        np.testing.assert_array_equal(table.sum(1), study.patches)
    found = judge.classify(targets.truth, targets.rms_uK)
    for true in range(2):
        for taken in range(2):
            assert study.confusion[TARGET][true, taken] == np.sum((targets.labels == true) & (found == taken))
    share, error = study.accuracy(TARGET)
    assert share == np.mean(found == targets.labels) > 0.8, "n_s 0.7 and 1.3 are far apart"
    assert error == pytest.approx(np.sqrt(share * (1 - share) / 12)) and study.kept(TARGET) == 0
    rows = study.rows()
    assert [row["n_s"] for row in rows] == [0.7, 1.3] and f"right_{PREDICTION}" in rows[0]
    assert study.facts()["classifier"].startswith("Fisher")


def test_partners_are_of_the_wanted_class_and_taken_in_turn() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    chosen = _partners(np.array([1, 1, 0, 1, 1, 0]), labels)
    assert chosen.tolist() == [1, 2, 0, 4, 1, 3]


def test_the_discriminant_is_fishers_own() -> None:
    """Two classes of white noise of different amplitude: the rule is the one on the mean logarithm."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    patches = rng.normal(0, 1, (200, 16, 16)) * np.where(labels, 1.3, 1.0)[:, None, None]
    judge = RingDiscriminant.learn(patches, labels)
    fresh = rng.normal(0, 1, (200, 16, 16)) * np.where(labels, 1.3, 1.0)[:, None, None]
    right = np.mean(judge.classify(fresh, 1.0) == labels)
    # on the windowed variance alone, halfway between, which here holds all there is
    hann = np.outer(*[np.sin(np.pi * (np.arange(16) + 0.5) / 16) ** 2] * 2)
    power = np.log([np.sum((p * hann) ** 2) for p in fresh])
    best = np.mean((power > np.log(np.sum(hann**2) * 1.3)) == labels)
    assert right == pytest.approx(best, abs=0.06)  # 200 patches, each rule errs with others
    np.testing.assert_array_equal(
        confusion_table(np.array([0, 1, 1]), np.array([1, 1, 0]), 2), [[0, 1], [1, 1]]
    )


def test_bad_input_is_refused(
    trained: Trained, sets: tuple[Targets, Targets], judge: RingDiscriminant
) -> None:
    one, two = sets
    state = trained.states[-1]
    with pytest.raises(MaskError, match="hides all pixels"):
        study_classes(trained, state, one, two, np.zeros((32, 32), bool), judge)
    with pytest.raises(DataSetError, match=r"class n_s = 1.3 has no patches; ask for some of each class"):
        study_classes(trained, state, one[one.labels == 0], two, VALID, judge)
    three = RingDiscriminant(np.zeros((3, 8)), np.eye(8))
    with pytest.raises(DataSetError, match="the classifier knows 3 classes, the data set has 2"):
        study_classes(trained, state, one, two, VALID, three)
    single = Targets(
        one.truth, one.data, one.labels * 0, (0.9649,), one.spectra[:1], one.rms_uK, one.step_arcmin
    )
    with pytest.raises(
        DataSetError, match=r"the data set has one class \(n_s = 0.9649\); classes are compared in"
    ):
        study_classes(trained, state, single, single, VALID, judge)
    with pytest.raises(DataSetError, match="6 patches of 1 classes given; a classifier needs two"):
        RingDiscriminant.learn(one.truth[:6], one.labels[:6] * 0)
