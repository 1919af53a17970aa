"""Skies of a setup: each from its number alone, of the model's statistics, never those of realizations."""

import numpy as np
import pytest

from cmbinpaint.errors import MaskError, SpectrumError
from cmbinpaint.pipeline.filler import draw_observation, realization_rng
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.validation.simulation_setup import SimulationSetup, sky_rng
from tests.validation.worlds import setup_at, valid_at

SETUP = setup_at(16)


def test_a_sky_follows_from_its_number() -> None:
    first, again = SETUP.sky(2), setup_at(16).sky(2)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.allclose(first[0], SETUP.sky(1)[0])


def test_skies_have_the_power_and_noise_of_the_model() -> None:
    skies = [SETUP.sky(i) for i in range(30)]
    noise = np.array([observed - signal for observed, signal in skies])
    signal = np.array([signal for _, signal in skies])
    assert noise.std() == pytest.approx(SETUP.noise_std, rel=0.01)
    # the lowest multipoles make the variance of 30 skies scatter by some percent
    assert signal.std() == pytest.approx(SETUP.sky_model.rms, rel=0.1)


def test_no_realization_draws_the_true_sky() -> None:
    observed, _ = SETUP.sky(0)
    drawn = sum(draw_observation(SETUP.sky_model, realization_rng(SETUP.seed, 0)))
    assert abs(np.corrcoef(observed, drawn)[0, 1]) < 0.6
    same = sum(draw_observation(SETUP.sky_model, sky_rng(SETUP.seed, 0)))
    np.testing.assert_allclose(observed, same, atol=1e-9)  # with its own generator it would


def test_another_truth_comes_from_the_same_numbers() -> None:
    louder = SETUP.varied(cl=4 * SETUP.cl, lmax=SETUP.sky_model.lmax)
    np.testing.assert_allclose(louder.sky(1)[1], 2 * SETUP.sky(1)[1], rtol=1e-9, atol=1e-9)
    assert louder.digest != SETUP.digest


@pytest.mark.parametrize("change", [{"noise_std": 4.0}, {"fwhm": 0.1}, {"seed": 4}, {"depth_edges": (2.0,)}])
def test_the_digest_holds_all_that_decides_a_record(change) -> None:
    assert SETUP.varied(**change).digest != SETUP.digest == setup_at(16).digest


def test_what_is_no_setting() -> None:
    with pytest.raises(MaskError, match="the mask has no holes"):
        SimulationSetup.standard(np.ones(12 * 16**2, bool))
    with pytest.raises(SpectrumError, match="the bands reach ell = 99, the skies ell ="):
        SETUP.varied(bands=Bandpowers(np.array([2, 100])))


def test_the_standard_setting_has_ten_bands_and_three_microkelvin() -> None:
    standard = SimulationSetup.standard(valid_at(16))
    assert (standard.bands.n, standard.noise_std, standard.bands.lmax) == (10, 3.0, 24)


def test_beam_and_noise_may_be_others_and_bands_end_with_the_sky() -> None:
    fwhm = np.radians(20.0)
    wide = SimulationSetup.standard(valid_at(16), fwhm=fwhm, noise_std=10.0)
    assert (wide.fwhm, wide.noise_std) == (fwhm, 10.0)
    assert wide.bands.lmax == wide.sky_model.lmax < 24
    assert wide.digest != SimulationSetup.standard(valid_at(16)).digest
