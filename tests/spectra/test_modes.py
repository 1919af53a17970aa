"""E and B as maps, against healpy, and what holes do to them."""

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import inpaint_map
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.spectra import anafast, eb_maps, map_to_alm

NSIDE, LMAX = 16, 30
SKY = simulate_sky(fiducial_spectra(47), NSIDE, fwhm=0.2, noise_std=[3.0, 0.05, 0.05], seed=3)


def test_alm_and_maps_are_healpys() -> None:
    expected = np.array(hp.map2alm(SKY, lmax=LMAX, iter=3))
    scale = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(map_to_alm(SKY, LMAX) / scale, expected / scale, atol=1e-10)
    np.testing.assert_allclose(map_to_alm(SKY[0], LMAX) / scale[0], expected[0] / scale[0], atol=1e-10)
    for found, alm in zip(eb_maps(SKY, LMAX), expected[1:], strict=True):
        np.testing.assert_allclose(found, hp.alm2map(alm, NSIDE), atol=1e-9 * found.std())
    np.testing.assert_array_equal(eb_maps(SKY[1:], LMAX), eb_maps(SKY, LMAX))
    # Their power is that of the spectra: quadrature of a band-limited map, to a percent.
    ell = np.arange(LMAX + 1)
    variance = np.sum((2 * ell + 1) * anafast(SKY, LMAX)[1:3], axis=1) / (4 * np.pi)
    np.testing.assert_allclose(eb_maps(SKY, LMAX).var(axis=1), variance, rtol=0.01)


def test_filling_keeps_e_out_of_b_where_zeros_do_not() -> None:
    e_only = simulate_sky([*fiducial_spectra(47)[1:2], np.zeros(48)], NSIDE, fwhm=0.3, noise_std=2e-3, seed=1)
    mask = np.abs(hp.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]) > 0.2
    filled = inpaint_map(
        e_only, mask, cl=[fiducial_spectra(47)[1], np.zeros(48)], fwhm=0.3, noise_std=2e-3, seed=1
    )
    zeros, kept, true = (eb_maps(sky, LMAX)[1].std() for sky in (np.where(mask, e_only, 0.0), filled, e_only))
    assert zeros > 20 * true and kept < 2 * true


def test_holes_and_temperature_are_refused() -> None:
    with pytest.raises(SpectrumError, match="the map is of T alone: E and B are of Q and U"):
        eb_maps(SKY[0])
    with pytest.raises(SpectrumError, match="1 pixels that are NaN, inf or UNSEEN, the first at 7"):
        eb_maps(np.where(np.arange(SKY.size).reshape(SKY.shape) == SKY.shape[1] + 7, np.nan, SKY))
