"""Spectra of polarization from the map alone: near the truth, always those of some sky."""

import warnings

import numpy as np
import pytest

from cmbinpaint import inpaint_map
from cmbinpaint.errors import CmbInpaintWarning, MapError
from cmbinpaint.sims import SkyModel, fiducial_spectra, simulate_sky
from cmbinpaint.sims.estimate_polarization import estimate_polarized_model
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.planck_mask import planck_like_mask

NSIDE = 32
CL, FWHM, NOISE = fiducial_spectra(3 * NSIDE - 1), 3.0 / NSIDE, [3.0, 0.05, 0.05]
MASK = planck_like_mask(NSIDE, seed=0)
VALID = np.stack([MASK, np.roll(MASK, 40), np.roll(MASK, 40)])
TRUE = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, lmax=3 * NSIDE - 1)


def sky_of(seed: int = 1) -> np.ndarray:
    return simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, pixwin=True, seed=seed)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("given", [False, True])
def test_spectra_and_noise_are_near_the_truth(k: int, given: bool) -> None:
    """Within what one sky scatters: 4 % of EE in a hundred multipoles' modes, and twice that."""
    noise = np.array(NOISE)[3 - k :] if given else None
    found = estimate_polarized_model(sky_of()[3 - k :], VALID[3 - k :], nside=NSIDE, noise_std=noise)
    np.testing.assert_allclose(found.noise_std[-2:], NOISE[1:], rtol=0.05)
    ell = np.arange(30, 48)
    expected = TRUE.only(Fields.QU).signal_cl if k == 2 else TRUE.signal_cl
    for i, j in [(-2, -2), (-1, -1)] + [(0, 1)] * (k == 3):
        ratio = found.signal_cl[i, j, ell].sum() / expected[i, j, ell].sum()
        assert ratio == pytest.approx(1.0, abs=0.12), (i, j)
    assert found.lmax == pytest.approx(
        np.flatnonzero(expected[-2, -2] > 0.0025 * 4 * np.pi / 12288).max(), abs=25
    )
    assert not found.signal_cl[-1, -2].any() and ("T estimated" in found.source) == (k == 3)
    assert "lensing BB" in found.source


@pytest.mark.parametrize("k", [2, 3])
def test_the_unit_of_the_map_is_that_of_the_model_and_holes_are_not_read(k: int) -> None:
    sky, valid = sky_of()[3 - k :], VALID[3 - k :]
    base = estimate_polarized_model(sky, valid, nside=NSIDE)
    spoiled = np.where(valid, 1e-6 * sky, np.nan)
    scaled = estimate_polarized_model(spoiled, valid, nside=NSIDE)
    np.testing.assert_allclose(
        scaled.signal_cl[..., 2:], 1e-12 * base.signal_cl[..., 2:], rtol=1e-6, atol=1e-30
    )
    np.testing.assert_allclose(scaled.noise_std, 1e-6 * np.asarray(base.noise_std), rtol=1e-6)


@pytest.mark.parametrize("kind", ["noise alone", "B alone", "Q alone", "steep", "T and its opposite"])
def test_they_are_always_those_of_some_sky(kind: str) -> None:
    rng, sky = np.random.default_rng(0), sky_of()
    sky = {
        "noise alone": lambda: rng.standard_normal(sky.shape),
        "B alone": lambda: np.stack([sky[0], -sky[2], sky[1]]),
        "Q alone": lambda: sky * np.array([[1.0], [1.0], [0.0]]),
        "steep": lambda: sky + 100 * np.cos(np.arange(sky.shape[1]) / 500),
        "T and its opposite": lambda: np.stack([sky[0], sky[0], -sky[0]]),
    }[kind]()
    found = estimate_polarized_model(sky, VALID, nside=NSIDE)
    found.signal.cholesky()
    power = found.signal_cl
    assert np.isfinite(power).all() and np.all(power[0, 1] ** 2 <= power[0, 0] * power[1, 1])
    assert np.all(np.asarray(found.noise_std) > 0)


def test_maps_are_filled_from_themselves() -> None:
    """And the model of one call serves the next, bit for bit."""
    sky = sky_of(2)
    filled, info = inpaint_map(sky, VALID, unit="uK", seed=1, return_info=True)
    assert info.sky_model.fields is Fields.TQU and np.array_equal(filled[VALID], sky[VALID])
    again = inpaint_map(sky, VALID, sky_model=info.sky_model, unit="uK", seed=1)
    assert np.array_equal(filled, again)
    left = (filled - sky)[1:, ~VALID[1]].std()
    assert left < 0.9 * np.sqrt(2) * sky[1:, ~VALID[1]].std()  # less than another sky's would be
    two = inpaint_map(sky[1:], VALID[1:], unit="uK", noise_std=0.05, seed=1)
    assert np.array_equal(two[VALID[1:]], sky[1:][VALID[1:]])
    cov = np.zeros((3, MASK.size))
    cov[[0, 2]] = 0.05**2
    same = inpaint_map(sky[1:], VALID[1:], unit="uK", noise_cov=cov, seed=1)
    np.testing.assert_allclose(same, two, atol=1e-3)


def test_too_little_is_refused() -> None:
    sky, few = sky_of(), np.arange(MASK.size) < 20
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        with pytest.raises(
            MapError, match="only 20 pixels of nside 32 of them are observed; spectra are estimated"
        ):
            inpaint_map(sky, np.stack([MASK, few]), unit="uK")
        with pytest.raises(MapError, match="Q and U are zero, or only"):
            inpaint_map(sky * np.array([[1.0], [0.0], [0.0]]), MASK, unit="uK")
