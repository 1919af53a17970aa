"""Estimators on patches: powers by hand, a response that is the window's where nothing is hidden."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.errors import DataSetError
from cmbinpaint.studies.estimator_performance import EstimatorEnsemble
from cmbinpaint.studies.patch_estimators import _Run, study_patch_estimators
from cmbinpaint.studies.sky_estimators import MASKED, MEAN, PREDICTION, REALIZATION
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import Targets, take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

VALID = circle(32, 7.0)


@pytest.fixture(scope="module")
def sets() -> tuple[Targets, Targets]:
    data = {"kind": "flat", "side": 32, "step_arcmin": 20.0}
    one, two = (take_targets(data, 24, seed) for seed in (0, 1))
    return one, two


@pytest.fixture(scope="module")
def result(small_training: Path, sets: tuple[Targets, Targets]) -> EstimatorEnsemble:
    trained = Trained.open(small_training)
    return study_patch_estimators(trained, trained.states[-1], *sets, VALID, realizations=2, samples=3)


def test_estimates_are_of_the_maps_they_say(small_training: Path, sets: tuple[Targets, Targets]) -> None:
    one, two = sets
    trained = Trained.open(small_training)
    filler = trained.filler(trained.states[-1], one)
    run = _Run(filler, one, two, VALID, 2)
    true, found, hole, drawn = run.estimates(one.data.astype(float))
    predict = [np.where(VALID, s.data, filler.fill(s.data, VALID).field_uK) for s in sets]
    np.testing.assert_allclose(found[PREDICTION], run.spectra.auto(predict[0]), rtol=1e-6)
    realization = predict[0][3] + two.data[6] - predict[1][6]  # patch 3, first of two realizations
    np.testing.assert_allclose(found[REALIZATION][3], run.spectra.auto(realization[None])[0], rtol=1e-5)
    np.testing.assert_allclose(
        hole[REALIZATION][3], realization[~VALID] / one.truth.std(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(found[MEAN][0], drawn.mean(0))
    np.testing.assert_allclose(true, run.spectra.auto(one.data.astype(float)))


def test_bands_of_a_field_add_up_to_what_lies_between_the_edges(small_training: Path, sets) -> None:
    one, two = sets
    trained = Trained.open(small_training)
    run = _Run(trained.filler(trained.states[-1], one), one, two, VALID, 2)
    fields = one.data[:1].astype(float)
    parts = sum(run.band_of(fields, b) for b in range(len(run.edges) - 1))
    f = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) * 2 * np.pi / one.step_rad
    inside = (f >= run.edges[0]) & (f < run.edges[-1])
    np.testing.assert_allclose(np.fft.fft2(parts[0]) * inside, np.fft.fft2(fields[0]) * inside, atol=1e-6)
    assert np.abs(np.fft.fft2(parts[0])[~inside]).max() < 1e-6


def test_an_untrained_fill_is_biased_and_hears_less_than_the_observed_pixels_say(
    result: EstimatorEnsemble,
) -> None:
    assert set(result.estimators) == {MASKED, PREDICTION, REALIZATION, MEAN}
    response = result.estimators[PREDICTION].response.value
    assert np.all(response < 1.0) and np.all(np.isfinite(result.estimators[REALIZATION].bias.error))
    hann = np.outer(*[np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2] * 2)
    seen = np.sum(hann[VALID] ** 2) / np.sum(hann**2)
    assert response[2:].mean() == pytest.approx(seen, abs=0.15), "small scales are heard where they are seen"
    assert result.facts["patches"] == 24 and "whole patches" in result.limit_kind


def test_bad_input_is_refused(small_training: Path, small_set: Path, sets: tuple[Targets, Targets]) -> None:
    trained = Trained.open(small_training)
    one, two = sets
    with pytest.raises(
        DataSetError, match="5 patches given, and 24 to draw fluctuations from; expected 20 and 4"
    ):
        study_patch_estimators(trained, trained.states[-1], one[:5], two, VALID)
    mixed = take_targets(None, 99, 0, folder=small_set, split="train")
    with pytest.raises(
        DataSetError, match="patches of several classes given; spectra are evaluated within one"
    ):
        study_patch_estimators(trained, trained.states[-1], mixed, mixed, VALID)
