"""The noise that blocks of pixels show: the level it was made with, the maximum of a likelihood written out in full."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import eval_legendre

from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.sims.block_noise import block_noise
from cmbinpaint.sphere.planck_mask import planck_like_mask

NSIDE = 32  # 192 blocks: all of them are used
LMAX, NPIX, FWHM = 3 * NSIDE - 1, 12 * NSIDE**2, 3 * hp.nside2resol(NSIDE)
CL, MASK = fiducial_spectra(LMAX), planck_like_mask(NSIDE)
SIGNAL = CL * np.square(hp.gauss_beam(FWHM, LMAX))
POLARIZED = CL[1:3] * np.square(hp.gauss_beam(FWHM, LMAX, pol=True)[:, 1])  # E and B


def sky_of(noise: float, seed: int = 1) -> np.ndarray:
    """(3, npix) T, Q, U without monopole and dipole."""
    levels = (noise, noise, noise)
    return simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=levels, seed=seed)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0, 30.0, 1000.0])
def test_of_t_is_what_it_was_made_with(noise: float) -> None:
    """10 000 pixels: 0.7 % where noise dominates in all, and twice that where it does in a quarter of the modes."""
    found = [block_noise(sky_of(noise, seed)[0], MASK, SIGNAL[0]) for seed in range(3)]
    np.testing.assert_allclose(found, noise, rtol=0.045)
    assert np.mean(found) == pytest.approx(noise, rel=0.02)


@pytest.mark.parametrize("noise", [0.03, 0.3, 30.0])
def test_of_q_and_u_is_what_it_was_made_with(noise: float) -> None:
    found = [block_noise(sky_of(noise, seed)[1:], MASK, POLARIZED) for seed in range(3)]
    np.testing.assert_allclose(found, noise, rtol=0.04)
    assert np.mean(found) == pytest.approx(noise, rel=0.015)


def test_the_prior_of_monopole_and_dipole_is_not_used() -> None:
    broad = SIGNAL[0] + np.where(np.arange(LMAX + 1) < 2, 1e6, 0.0)
    sky = sky_of(3.0)[0]
    assert block_noise(sky, MASK, broad) == block_noise(sky, MASK, SIGNAL[0])


def test_a_map_without_noise_has_almost_none() -> None:
    """A thousandth of its rms, where a plateau of what holes leak would pass for fifty times that."""
    sky = sky_of(0.0)
    assert block_noise(sky[0], MASK, SIGNAL[0]) < 1e-3 * sky[0].std()
    assert block_noise(np.zeros(NPIX), MASK, SIGNAL[0]) == 0.0


def most_likely(
    sky: np.ndarray, valid: np.ndarray, covariance: np.ndarray, nside: int, noise: float
) -> float:
    """The noise at which ln L of all blocks of 64 pixels is largest, each by the values that are observed in it."""
    blocks = hp.nest2ring(nside, np.arange(12 * nside**2)).reshape(-1, 64)
    stokes = np.arange(sky.size // valid.size)[:, None] * valid.size
    values = [(stokes + block[valid[block]]).ravel() for block in blocks]

    def cost(log_v: float) -> float:
        total = 0.0
        for at in filter(len, values):
            matrix = covariance[np.ix_(at, at)] + np.exp(log_v) * np.eye(at.size)
            total -= stats.multivariate_normal(cov=matrix).logpdf(sky.ravel()[at])
        return total

    start = 2 * np.log(noise)
    found = minimize_scalar(cost, bracket=(start - 0.1, start + 0.1), options={"xtol": 1e-8})
    return float(np.exp(found.x / 2))


@pytest.mark.parametrize("noise", [2.0, 40.0])
def test_it_is_the_maximum_of_the_likelihood(noise: float) -> None:
    """The covariance of T from Legendre sums."""
    nside = 8
    cl = CL[0] * hp.gauss_beam(3 * hp.nside2resol(nside), LMAX) ** 2
    cl, valid = cl[: 3 * nside], planck_like_mask(nside)
    vectors = np.array(hp.pix2vec(nside, np.arange(valid.size)))
    cosines, covariance = np.clip(vectors.T @ vectors, -1, 1), 0.0
    for ell in range(2, cl.size):
        covariance += (2 * ell + 1) / (4 * np.pi) * cl[ell] * eval_legendre(ell, cosines)
    sky = simulate_sky(cl, nside, noise_std=noise, seed=3)
    expected = most_likely(sky, valid, covariance, nside, noise)
    assert block_noise(sky, valid, cl) == pytest.approx(expected, rel=1e-6)


def test_it_is_the_maximum_of_the_likelihood_of_q_and_u() -> None:
    """Their covariance from healpy's transforms: EE of one shape, BB of another."""
    nside, lmax, rng = 8, 23, np.random.default_rng(2)
    ell, valid = np.arange(lmax + 1), np.random.default_rng(3).random(768) < 0.8
    power = np.stack([np.exp(-((ell / 9.0) ** 2)), 0.3 * np.exp(-((ell / 14.0) ** 2))])
    power[:, :2] = 0.0
    modes = []
    for which in (0, 1):
        for m in range(lmax + 1):
            for degree in range(max(2, m), lmax + 1):
                for unit in (1.0,) if m == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                    alm = np.zeros((2, hp.Alm.getsize(lmax)), dtype=complex)
                    alm[which, hp.Alm.getidx(lmax, degree, m)] = unit * np.sqrt(power[which, degree])
                    modes.append(np.concatenate(hp.alm2map_spin(alm, nside, 2, lmax)))
    modes = np.array(modes)
    noise = 0.2 * np.sqrt(np.mean(np.square(modes).sum(axis=0)))
    sky = rng.standard_normal(len(modes)) @ modes + noise * rng.standard_normal(1536)
    expected = most_likely(sky, valid, modes.T @ modes, nside, noise)
    assert block_noise(sky.reshape(2, -1), valid, power) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(
    factor=st.floats(1e-6, 1e6), junk=st.sampled_from([np.nan, 1e30, hp.UNSEEN]), turns=st.integers(0, 3),
    k=st.sampled_from([1, 2]),
)  # fmt: skip
def test_unit_sign_junk_and_quarter_turns(factor: float, junk: float, turns: int, k: int) -> None:
    """A quarter turn of the sphere takes blocks to blocks."""
    sky, signal = (sky_of(1.0)[0], SIGNAL[0]) if k == 1 else (sky_of(1.0)[1:], POLARIZED)
    expected = block_noise(sky, MASK, signal)
    theta, phi = hp.pix2ang(NSIDE, np.arange(NPIX))
    turned = hp.ang2pix(NSIDE, theta, phi + turns * np.pi / 2)
    mask = MASK[turned]
    spoiled = np.where(mask, -factor * sky[..., turned], junk)
    assert block_noise(spoiled, mask, factor**2 * signal) == pytest.approx(factor * expected, rel=1e-7)


def test_pixels_are_worth_the_same_wherever_they_are_missing() -> None:
    """Half of the pixels at random, or a cap: the level scatters more, and is no other."""
    sky, rng = sky_of(3.0, 5)[0], np.random.default_rng(0)
    cap = hp.pix2ang(NSIDE, np.arange(NPIX))[0] < 1.0
    for valid in (rng.random(NPIX) < 0.5, cap, MASK & (rng.random(NPIX) < 0.7)):
        assert block_noise(sky, valid, SIGNAL[0]) == pytest.approx(3.0, rel=0.06)


@pytest.mark.parametrize("nside", [1, 2, 4, 128])
def test_any_nside(nside: int) -> None:
    rng = np.random.default_rng(nside)
    sky = 7.0 * rng.standard_normal(12 * nside**2)
    found = block_noise(sky, np.ones(sky.size, dtype=bool), np.full(3 * nside, 1e-9))
    used = min(sky.size, 1 << 14)
    assert found == pytest.approx(7.0, rel=4 / np.sqrt(2 * used))
