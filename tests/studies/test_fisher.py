"""The Fisher limit: mode counting on a full sky, harmonic space by dense algebra on a cut one."""

import numpy as np
import pytest

from cmbinpaint.errors import MaskError
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.studies.fisher import fisher_scatter, mode_scatter
from tests.validation.worlds import setup_at, valid_at

BANDS = Bandpowers(np.array([2, 4, 8]))


def model(nside: int) -> SkyModel:
    return setup_at(nside).sky_model


def test_a_full_sky_has_its_modes() -> None:
    full = np.ones(12 * 8**2, bool)
    found = fisher_scatter(full, model(8), BANDS)
    # mode by mode: C_l signal and total power, not their band means
    sky, expected = model(8), []
    for low, high in ((2, 4), (4, 8)):
        ell = np.arange(low, high)
        share = sky.signal_cl[low:high] / sky.total_cl[low:high]
        expected.append(np.sqrt(2 / np.sum((2 * ell + 1) * share**2)))
    np.testing.assert_allclose(found, expected, rtol=5e-3)  # pixels of nside 8 are nearly a quadrature
    np.testing.assert_allclose(mode_scatter(full, sky, BANDS), expected, rtol=2e-2)


def test_a_cut_sky_tells_less_and_more_than_its_share_of_modes() -> None:
    valid = valid_at(8)
    whole, cut = (fisher_scatter(v, model(8), BANDS) for v in (np.ones_like(valid), valid))
    assert np.all(cut > whole)
    # the red spectrum is smooth: hidden pixels are partly known from their neighbors
    assert cut[-1] < whole[-1] / np.sqrt(valid.mean()) * 1.05


def test_the_information_is_that_of_dense_harmonics() -> None:
    """Tr[(C^-1 C_b)²] / 2 from Monte Carlo derivatives of the likelihood: the score's variance is the information."""
    valid, sky = valid_at(8), model(8)
    pixels = np.flatnonzero(valid)
    rng = np.random.default_rng(0)
    from cmbinpaint.sphere.harmonics import Harmonics, draw_alm

    harmonics = Harmonics(8, sky.lmax)
    signal = np.array([harmonics.synthesis(draw_alm(sky.signal_cl, rng))[pixels] for _ in range(6000)])
    part = np.where((np.arange(sky.lmax + 1) >= 2) & (np.arange(sky.lmax + 1) < 4), sky.signal_cl, 0)
    band = np.array([harmonics.synthesis(draw_alm(part, rng))[pixels] for _ in range(6000)])
    noise = np.eye(pixels.size) * float(np.mean(np.square(sky.noise_std)))
    inverse = np.linalg.inv(signal.T @ signal / 6000 + noise)
    product = inverse @ (band.T @ band / 6000)
    rough = 1 / np.sqrt(0.5 * np.sum(product * product.T))
    found = fisher_scatter(valid, sky, BANDS)[0]
    # sampled covariances of 6000 draws bias the trace by pixels / draws, about a tenth; the monopole is told here
    assert found == pytest.approx(rough, rel=0.2)


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(
        MaskError, match="12288 pixels are observed; the exact limit is computed for at most 3000"
    ):
        fisher_scatter(np.ones(12 * 32**2, bool), model(8), BANDS)
