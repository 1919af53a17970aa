"""Simulated skies have the spectrum, beam and noise asked for, whatever the threads."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import sims
from cmbinpaint.errors import CmbInpaintError, SpectrumError
from cmbinpaint.sims import fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.sphere.windows import pixel_window

NSIDE = 16
CL = fiducial_cl(47)


@given(seed=st.integers(0, 2**63 - 1))
@settings(max_examples=10, deadline=None)
def test_a_seed_is_a_sky(seed: int) -> None:
    sky = simulate_sky(CL, NSIDE, noise_std=5.0, seed=seed)
    np.testing.assert_array_equal(sky, simulate_sky(CL, NSIDE, noise_std=5.0, seed=seed))
    np.testing.assert_array_equal(
        sky, simulate_sky(CL, NSIDE, noise_std=5.0, seed=np.random.default_rng(seed))
    )
    assert not np.array_equal(sky, simulate_sky(CL, NSIDE, noise_std=5.0, seed=seed + 1))


def test_zero_is_a_seed_and_none_is_fresh() -> None:
    np.testing.assert_array_equal(simulate_sky(CL, NSIDE, seed=0), simulate_sky(CL, NSIDE, seed=0))
    assert not np.array_equal(simulate_sky(CL, NSIDE), simulate_sky(CL, NSIDE))


def test_draws_do_not_depend_on_threads() -> None:
    one, one_parts = simulate_sky(CL, NSIDE, noise_std=5.0, seed=4, threads=1, return_parts=True)
    two, two_parts = simulate_sky(CL, NSIDE, noise_std=5.0, seed=4, threads=2, return_parts=True)
    np.testing.assert_array_equal(one_parts.alm, two_parts.alm)
    np.testing.assert_array_equal(one_parts.noise, two_parts.noise)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-9)  # sums of 1e3 terms of 100 µK in another order


def test_the_parts_are_the_sky_as_healpy_makes_it() -> None:
    fwhm = 0.1
    sky, parts = simulate_sky(CL, NSIDE, fwhm=fwhm, noise_std=2.0, pixwin=True, seed=1, return_parts=True)
    np.testing.assert_array_equal(sky, parts.signal + parts.noise)
    np.testing.assert_allclose(hp.alm2map(parts.alm, NSIDE, pol=False), parts.signal, rtol=0, atol=1e-9)
    bare = simulate_sky(CL, NSIDE, seed=1, return_parts=True)[1].alm
    window = hp.gauss_beam(fwhm, 47) * pixel_window(NSIDE, 47)
    np.testing.assert_allclose(hp.almxfl(bare, window), parts.alm, rtol=1e-9, atol=1e-12)


def test_the_spectrum_is_the_one_given() -> None:
    rng = np.random.default_rng(7)
    ratio = np.mean(
        [hp.alm2cl(simulate_sky(CL, NSIDE, seed=rng, return_parts=True)[1].alm) for _ in range(60)], 0
    )
    ell = np.arange(2, 48)
    sigma = np.sqrt(2 / (2 * ell + 1) / 60)
    deviation = (ratio[2:] / CL[2:] - 1) / sigma
    assert np.abs(deviation).max() < 4.0  # of 46 nearly normal numbers
    assert 0.6 < np.mean(deviation**2) < 1.6
    assert ratio[0] == ratio[1] == 0.0


def test_noise_is_white_and_follows_its_map() -> None:
    npix = 12 * NSIDE**2
    level = np.where(np.arange(npix) < npix // 2, 1.0, 10.0)
    noise = np.stack(
        [simulate_sky(CL, NSIDE, noise_std=level, seed=s, return_parts=True)[1].noise for s in range(8)]
    )
    # 12 288 draws in each half: 0.6 %.
    assert np.std(noise[:, : npix // 2]) == pytest.approx(1.0, rel=0.03)
    assert np.std(noise[:, npix // 2 :]) == pytest.approx(10.0, rel=0.03)
    assert np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1] == pytest.approx(0.0, abs=0.03)


def test_lengths_are_fitted_and_one_seed_is_one_sky_under_any_beam() -> None:
    alm = simulate_sky(CL[:21], NSIDE, seed=2, return_parts=True)[1].alm
    cl = hp.alm2cl(alm)
    assert cl.size == 48
    assert not cl[21:].any()
    full = simulate_sky(CL, NSIDE, seed=2, return_parts=True)[1].alm
    known = hp.Alm.getlm(47)[0] <= 20
    np.testing.assert_array_equal(alm[known], full[known])
    assert hp.alm2cl(simulate_sky(CL, NSIDE, lmax=30, return_parts=True)[1].alm).size == 31


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": -1}, "seed is -1; give a whole number, 0 or more, a SeedSequence, a Generator, or None"),
        ({"seed": "abc"}, "seed is 'abc'; give a whole number"),
        ({"noise_std": -1.0}, "noise_std holds 1 negative"),
        ({"fwhm": 5.0}, r"did you mean np.radians\(5/60\)\?"),
        ({"lmax": 1}, "lmax is 1; expected a whole number from 2 to 63"),
    ],
)
def test_refusals(changes: dict, text: str) -> None:
    with pytest.raises(CmbInpaintError, match=text):
        simulate_sky(CL, NSIDE, **changes)


def test_t_q_u_are_those_of_healpy_with_the_spectra_asked_for():
    """Behind beam and pixels, TE included; white noise of each Stokes parameter's level."""
    nside, lmax = 32, 95
    cl = fiducial_spectra(lmax)
    sky, parts = simulate_sky(
        cl, nside, fwhm=0.05, noise_std=[3.0, 0.2, 0.4], pixwin=True, seed=3, return_parts=True
    )
    assert sky.shape == (3, 12 * nside**2) and np.array_equal(sky, parts.signal + parts.noise)
    np.testing.assert_allclose(parts.signal, hp.alm2map(parts.alm, nside, lmax=lmax), atol=1e-9)
    np.testing.assert_allclose(parts.noise.std(axis=1), [3.0, 0.2, 0.4], rtol=0.02)
    ell = np.arange(lmax + 1)
    window = np.stack([hp.gauss_beam(0.05, lmax, pol=True)[:, i] * pixel_window(nside, lmax, spin=s) for i, s in
                       ((0, 0), (1, 2), (2, 2))])  # fmt: skip
    found = hp.alm2cl(list(parts.alm), lmax=lmax)
    auto = found[:3] / np.maximum(cl[:3] * window**2, 1e-30)
    for one in auto[:, 30:]:  # of 8000 modes each
        assert np.average(one, weights=2 * ell[30:] + 1) == pytest.approx(1.0, abs=4 * np.sqrt(2 / 8000))
    rho = found[3, 30:] / np.sqrt(found[0] * found[1])[30:]
    expected = (cl[3] / np.sqrt(np.maximum(cl[0] * cl[1], 1e-30)))[30:]
    assert np.mean(rho * expected) == pytest.approx(np.mean(expected**2), rel=0.1)
    assert simulate_sky(cl[1:3], nside, fwhm=0.05, noise_std=0.2, seed=3).shape == (2, 12 * nside**2)
    with pytest.raises(SpectrumError, match=r"noise_std has shape \(2,\); expected a number, one for each"):
        simulate_sky(cl, nside, noise_std=[1.0, 2.0])


def test_what_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'cmbinpaint.sims' has no attribute 'simulate_skies'"):
        sims.simulate_skies  # noqa: B018
    assert "simulate_sky" in dir(sims)
