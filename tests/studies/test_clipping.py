"""Spectra of clipped pictures against the moments of a clipped Gaussian, in closed form."""

import numpy as np
import pytest
from scipy.special import erf

from cmbinpaint.errors import MapError
from cmbinpaint.studies.clipping import CLIPPED, GREY, PLANCK, study_clipping
from cmbinpaint.training.data.planck_colors import from_rgb, render

STEP = np.radians(0.2)


def white(n: int = 6, side: int = 64, sigma: float = 100.0) -> np.ndarray:
    return np.random.default_rng(1).normal(0, sigma, (n, side, side))


def variance_left(t: float) -> float:
    """Variance of a unit Gaussian clipped at ±t: the integral by hand."""
    return (
        erf(t / np.sqrt(2)) - t * np.sqrt(2 / np.pi) * np.exp(-(t**2) / 2) + t**2 * (1 - erf(t / np.sqrt(2)))
    )


def test_of_white_noise_the_power_left_is_the_variance_left() -> None:
    study = study_clipping(white(), STEP, (100.0, 200.0, 300.0))
    # 24 576 pixels, paired: the ratio scatters by less than its jackknife says times four
    for name in (CLIPPED, GREY):
        for t, limit in enumerate((1.0, 2.0, 3.0)):
            found = study.ratio[name]
            assert np.all(np.abs(found.value[t] - variance_left(limit)) < 5 * found.error[t] + 2e-3)
    np.testing.assert_allclose(study.expected, erf(study.t_max_uK / study.rms_uK / np.sqrt(2)) ** 2)
    share = np.mean(np.abs(white()) > 200)
    assert study.clipped[1] == share and study.patches == 6 and study.transfer == {}


def test_coherence_is_bussgangs() -> None:
    """Of white noise: cross power erf, auto power the variance left."""
    study = study_clipping(white(), STEP, (100.0,))
    expected = erf(1 / np.sqrt(2)) / np.sqrt(variance_left(1.0))
    np.testing.assert_allclose(study.coherence[CLIPPED].value[0], expected, atol=0.01)  # 6 patches


def test_grey_leads_back_to_temperature() -> None:
    field = white(1)[0]
    study = study_clipping(white(), STEP, (1000.0,))
    found = study.ratio[GREY]  # steps of 8 µK add 5 µK² to 10 000
    assert np.all(np.abs(found.value - 1.0005) < 5 * found.error) and np.all(found.error < 3e-3)
    back = from_rgb(render(field, -1000, 1000, "grey"), -1000, 1000, "grey")
    assert np.mean((back - field) ** 2) == pytest.approx((2000 / 256) ** 2 / 12, rel=0.05)


def test_plancks_grey_hides_the_sky_and_a_filled_patch_shows_it() -> None:
    truth = white()
    filled = truth.copy()
    filled[:, 20:40, 20:40] = 0.0
    study = study_clipping(truth, STEP, (300.0,), filled_uK=filled)
    assert np.all(study.coherence[PLANCK].value < 0.4) and np.all(study.coherence[GREY].value > 0.99)
    hann = np.outer(*[np.sin(np.pi * (np.arange(64) + 0.5) / 64) ** 2] * 2)
    kept = 1 - (hann[20:40, 20:40] ** 2).sum() / (hann**2).sum()
    for name in ("temperature", GREY):
        assert study.transfer[name].value.mean() == pytest.approx(kept, abs=0.03)  # 6 patches
    rows = study.rows()
    assert len(rows) == 3 * 6 and rows[-1]["rendering"] == PLANCK
    assert rows[-1]["transfer_temperature"] == study.transfer["temperature"].value[0, -1]


def test_bad_input_is_refused() -> None:
    with pytest.raises(MapError, match="expected positive temperatures: pictures end at ±T_max"):
        study_clipping(white(), STEP, (100.0, -5.0))
    with pytest.raises(MapError, match="one patch given; errors need two or more"):
        study_clipping(white(1), STEP)
