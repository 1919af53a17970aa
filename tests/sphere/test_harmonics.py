"""Harmonics against healpy, scipy's Legendre functions and their own algebra."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre
from scipy.special import sph_harm_y

from cmbinpaint._machine import available_cores
from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.sphere import harmonics
from cmbinpaint.sphere.harmonics import Harmonics
from tests.oracles import alm_from_real

ROUNDING = 1e-11  # relative; sums of up to 1e4 terms of float64
EVALUATION = 1e-9  # relative to the rms; EVALUATION_EPSILON with a margin for the extreme point

seeds = st.integers(0, 2**31)
shapes = st.sampled_from([(1, 2), (2, 7), (4, 8), (8, 16), (8, 23)])
few = settings(max_examples=25, deadline=None)


def random_alm(lmax: int, seed: int) -> np.ndarray:
    return harmonics.draw_alm(np.ones(lmax + 1), np.random.default_rng(seed))


@few
@given(shapes, seeds)
def test_synthesis_equals_healpy(shape, seed):
    nside, lmax = shape
    alm = random_alm(lmax, seed)
    expected = hp.alm2map(alm, nside, lmax=lmax)
    got = Harmonics(nside, lmax).synthesis(alm)
    np.testing.assert_allclose(got, expected, atol=ROUNDING * np.std(expected))


@few
@given(shapes, seeds)
def test_adjoint_is_the_transpose(shape, seed):
    nside, lmax = shape
    subject = Harmonics(nside, lmax)
    alm = random_alm(lmax, seed)
    sky = np.random.default_rng(seed + 1).standard_normal(subject.npix)
    left = float(np.dot(sky, subject.synthesis(alm)))
    right = harmonics.alm_dot(subject.adjoint(sky), alm, lmax)
    assert left == pytest.approx(right, rel=ROUNDING, abs=ROUNDING * subject.npix)


@few
@given(shapes, seeds, st.integers(0, 4))
def test_analysis_equals_healpy(shape, seed, iterations):
    nside, lmax = shape
    sky = np.random.default_rng(seed).standard_normal(12 * nside**2)
    expected = hp.map2alm(sky, lmax=lmax, iter=iterations, pol=False)
    got = Harmonics(nside, lmax).analysis(sky, iterations)
    np.testing.assert_allclose(got, expected, atol=1e-9)  # 2^iterations amplifies rounding for lmax ~ 3 nside


@few
@given(seeds)
def test_evaluate_equals_explicit_sum(seed):
    lmax, rng = 12, np.random.default_rng(seed)
    alm = random_alm(lmax, seed)
    theta = np.concatenate([[0.0, np.pi], np.arccos(rng.uniform(-1, 1, 8))])
    phi = rng.uniform(-7.0, 7.0, theta.size)
    expected = np.zeros(theta.size)
    for m in range(lmax + 1):
        for ell in range(m, lmax + 1):
            term = alm[hp.Alm.getidx(lmax, ell, m)] * sph_harm_y(ell, m, theta, phi)
            expected += (2 if m else 1) * term.real
    got = harmonics.evaluate(alm, lmax, theta, phi)
    np.testing.assert_allclose(got, expected, atol=EVALUATION * np.sqrt(np.sum(2 * np.arange(lmax + 1) + 1)))


def test_evaluate_at_pixel_centers_is_synthesis():
    nside, lmax = 8, 16
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    alm = random_alm(lmax, 3)
    sky = Harmonics(nside, lmax).synthesis(alm)
    shaped = harmonics.evaluate(alm, lmax, theta.reshape(12, -1), phi.reshape(12, -1))
    np.testing.assert_allclose(shaped.ravel(), sky, atol=EVALUATION * sky.std())


def test_zonal_field_is_a_legendre_series():
    lmax, nside = 6, 4
    coefficients = np.array([0.3, -1.0, 0.2, 0.7, 0.0, 2.0, -0.4])
    alm = np.zeros(harmonics.alm_size(lmax), dtype=complex)
    alm[: lmax + 1] = coefficients * np.sqrt(4 * np.pi / (2 * np.arange(lmax + 1) + 1))
    z = np.cos(hp.pix2ang(nside, np.arange(12 * nside**2))[0])
    np.testing.assert_allclose(
        Harmonics(nside, lmax).synthesis(alm), legendre.legval(z, coefficients), atol=1e-12
    )


@few
@given(st.integers(0, 40), seeds)
def test_spectrum_and_dot_agree_with_healpy(lmax, seed):
    a, b = random_alm(lmax, seed), random_alm(lmax, seed + 1)
    np.testing.assert_allclose(harmonics.alm_to_cl(a, lmax), hp.alm2cl(a), atol=1e-13)
    np.testing.assert_allclose(harmonics.alm_to_cl(a, lmax, b), hp.alm2cl(a, b), atol=1e-13)
    total = np.sum((2 * np.arange(lmax + 1) + 1) * hp.alm2cl(a, b))
    assert harmonics.alm_dot(a, b, lmax) == pytest.approx(total, abs=1e-10)


@few
@given(st.integers(0, 12), st.integers(0, 12), seeds)
def test_resize_equals_healpy(lmax_in, lmax_out, seed):
    alm = random_alm(lmax_in, seed)
    np.testing.assert_array_equal(
        harmonics.resize_alm(alm, lmax_in, lmax_out), hp.resize_alm(alm, lmax_in, lmax_in, lmax_out, lmax_out)
    )


@few
@given(st.integers(0, 30), seeds)
def test_scale_equals_almxfl(lmax, seed):
    alm = random_alm(lmax, seed)
    factor = np.random.default_rng(seed).standard_normal(lmax + 1)
    np.testing.assert_allclose(harmonics.scale_alm(alm, factor), hp.almxfl(alm, factor), rtol=1e-14)


@few
@given(shapes, seeds)
def test_real_coefficients_are_orthonormal(shape, seed):
    lmax = shape[1]
    a, b = random_alm(lmax, seed), random_alm(lmax, seed + 1)
    real_a, real_b = harmonics.alm_to_real(a, lmax), harmonics.alm_to_real(b, lmax)
    assert real_a.shape == ((lmax + 1) ** 2,)
    assert float(real_a @ real_b) == pytest.approx(harmonics.alm_dot(a, b, lmax), abs=1e-11)
    np.testing.assert_allclose(alm_from_real(real_a, lmax), a, atol=1e-15)


def test_degrees_and_sizes():
    for lmax in (0, 1, 5, 33, 1025):
        ell = harmonics.alm_degrees(lmax)
        np.testing.assert_array_equal(ell, hp.Alm.getlm(lmax)[0])
        assert ell.size == harmonics.alm_size(lmax) == hp.Alm.getsize(lmax)
        assert harmonics.alm_lmax(ell.size) == lmax


def test_draws_have_the_spectrum_and_are_real():
    lmax, n = 24, 400
    cl = 1.0 / (1 + np.arange(lmax + 1.0)) ** 2
    rng = np.random.default_rng(5)
    spectra = np.mean([harmonics.alm_to_cl(harmonics.draw_alm(cl, rng), lmax) for _ in range(n)], axis=0)
    sigma = cl * np.sqrt(2 / (2 * np.arange(lmax + 1) + 1) / n)
    assert np.max(np.abs(spectra - cl) / sigma) < 4.0  # 25 normal deviates
    alm = harmonics.draw_alm(cl, rng)
    assert np.all(alm.imag[: lmax + 1] == 0)
    # Real and imaginary parts share the power of m > 0.
    alms = np.array([harmonics.draw_alm(np.ones(3), rng)[3:] for _ in range(4000)])
    np.testing.assert_allclose(np.mean(alms.real**2, axis=0), 0.5, atol=4 * 0.5 * np.sqrt(2 / 4000))


def test_draws_depend_on_the_generator_alone():
    cl = np.arange(9.0)
    first = harmonics.draw_alm(cl, np.random.default_rng(0))
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    np.testing.assert_array_equal(first, harmonics.draw_alm(cl, np.random.default_rng(0)))
    assert np.any(first != harmonics.draw_alm(cl, np.random.default_rng(1)))
    assert np.all(harmonics.draw_alm(np.zeros(4), np.random.default_rng(0)) == 0)


def test_threads_change_nothing():
    alm = random_alm(32, 0)
    one, two = Harmonics(16, 32, threads=1), Harmonics(16, 32, threads=2)
    np.testing.assert_allclose(one.synthesis(alm), two.synthesis(alm), atol=1e-12)
    assert one.threads == 1
    assert Harmonics(16, 32).threads == available_cores() >= 1


def test_out_arrays_are_filled():
    subject = Harmonics(4, 8)
    alm, sky, back = random_alm(8, 0), np.empty(192), np.empty(45, dtype=complex)
    subject.synthesis(alm, out=sky)
    subject.adjoint(sky, out=back)
    np.testing.assert_array_equal(sky, subject.synthesis(alm))
    np.testing.assert_array_equal(back, subject.adjoint(sky))


def test_errors_say_what_came():
    subject = Harmonics(4, 8)
    with pytest.raises(SpectrumError, match=r"alm has shape \(44,\); lmax 8 needs \(45,\)"):
        subject.synthesis(np.zeros(44, dtype=complex))
    with pytest.raises(MapError, match=r"the map has shape \(48,\); nside 4 needs \(192,\)"):
        subject.adjoint(np.zeros(48))
    with pytest.raises(SpectrumError, match="cl holds 1 negative or non-finite values, the first at ell = 2"):
        harmonics.draw_alm(np.array([0.0, 1.0, -1.0]), np.random.default_rng(0))
    with pytest.raises(SpectrumError, match=r"cl has shape \(2, 2\); expected one spectrum \(lmax\+1,\)"):
        harmonics.draw_alm(np.ones((2, 2)), np.random.default_rng(0))
    with pytest.raises(SpectrumError, match="44 is not the number of a_lm"):
        harmonics.alm_lmax(44)
    with pytest.raises(SpectrumError, match="lmax is -1; it must be 0 or more"):
        harmonics.alm_size(-1)
    with pytest.raises(SpectrumError, match=r"alm has shape \(44,\); lmax 8 needs \(45,\)"):
        harmonics.evaluate(np.zeros(44, dtype=complex), 8, np.zeros(1), np.zeros(1))
    with pytest.raises(SpectrumError, match=r"factor has shape \(8,\); alm of lmax 8 needs \(9,\)"):
        harmonics.scale_alm(np.zeros(45, dtype=complex), np.ones(8))
    with pytest.raises(SpectrumError, match="alm of sizes 45 and 45; lmax 7 needs 36"):
        harmonics.alm_to_cl(np.zeros(45, dtype=complex), 7)
    with pytest.raises(SpectrumError, match="alm has size 45; lmax 7 needs 36"):
        harmonics.resize_alm(np.zeros(45, dtype=complex), 7, 8)


def test_single_precision_gives_the_same_to_seven_digits() -> None:
    alm = harmonics.draw_alm(np.ones(25), np.random.default_rng(0))
    double, single = Harmonics(16, 24), Harmonics(16, 24, single=True)
    sky = double.synthesis(alm)
    found = single.analysis(sky.astype(np.float32), iterations=1)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, double.analysis(sky, iterations=1), atol=1e-5)
    theta, phi = np.array([0.3, 2.0]), np.array([1.0, 6.0])
    values = harmonics.evaluate(found, 24, theta, phi, epsilon=1e-5)
    assert values.dtype == np.float32
    expected = harmonics.evaluate(found.astype(complex), 24, theta, phi)
    np.testing.assert_allclose(values, expected, atol=1e-3)  # of a field of rms 7


def random_eb(lmax: int, seed: int, k: int) -> np.ndarray:
    """(k, size) coefficients of T, E, B, without what E and B do not have at ell = 0 and 1."""
    alm = np.stack([random_alm(lmax, seed + i) for i in range(k)])
    alm[k - 2 :, harmonics.alm_degrees(lmax) < 2] = 0
    return alm


@few
@given(shapes, seeds, st.sampled_from([2, 3]))
def test_polarization_equals_healpy(shape, seed, k):
    nside, lmax = shape
    alm = random_eb(lmax, seed, k)
    everything = np.concatenate([np.zeros((3 - k, alm.shape[1])), alm])
    expected = np.array(hp.alm2map(everything, nside, lmax=lmax, pol=True))[3 - k :]
    subject = Harmonics(nside, lmax)
    got = subject.synthesis(alm)
    np.testing.assert_allclose(got, expected, atol=ROUNDING * np.std(expected))
    out = np.full_like(got, 7.0)
    assert subject.synthesis(alm, out=out) is out and np.array_equal(out, got)
    sky = np.concatenate([np.zeros((3 - k, subject.npix)), got])
    analyzed = np.array(hp.map2alm(sky, lmax=lmax, iter=3, pol=True))[3 - k :]
    np.testing.assert_allclose(subject.analysis(got), analyzed, atol=1e-9)


@few
@given(shapes, seeds, st.sampled_from([1, 2, 3]))
def test_adjoint_is_the_transpose_for_all_fields(shape, seed, k):
    nside, lmax = shape
    subject, alm = Harmonics(nside, lmax), random_eb(lmax, seed, k)
    sky = np.random.default_rng(seed + 9).standard_normal((k, subject.npix))
    back = subject.adjoint(sky, out=np.full((k, subject.size), 1j))
    left, right = float(np.sum(sky * subject.synthesis(alm))), harmonics.alm_dot(back, alm, lmax)
    assert left == pytest.approx(right, rel=ROUNDING, abs=10 * ROUNDING * subject.npix)
    assert not back[max(0, k - 2) if k > 1 else 1 :, harmonics.alm_degrees(lmax) < 2].any()


@pytest.mark.parametrize("k", [1, 3])
def test_temperature_is_the_same_alone_and_with_others(k):
    subject, alm = Harmonics(8, 16), random_eb(16, 0, 3)
    np.testing.assert_array_equal(subject.synthesis(alm[:k])[0], subject.synthesis(alm[0]))
    sky = subject.synthesis(alm)
    np.testing.assert_array_equal(subject.adjoint(sky[:k])[0], subject.adjoint(sky[0]))


def test_four_maps_are_refused():
    with pytest.raises(MapError, match=r"the map has shape \(4, 192\); nside 4 needs \(192,\)"):
        Harmonics(4, 8).adjoint(np.zeros((4, 192)))


@pytest.mark.parametrize("fields", [1, 2, 3])
def test_transforms_are_the_same_bits_for_any_number_of_threads(fields: int) -> None:
    rng = np.random.default_rng(fields)
    sky = rng.standard_normal((fields, 12 * 32**2))
    alm = Harmonics(32, 130, threads=1).adjoint(sky)
    expected = Harmonics(32, 130, threads=1).synthesis(alm)
    for threads in (2, 3, 5):
        harmonics = Harmonics(32, 130, threads=threads)
        for _ in range(20):
            np.testing.assert_array_equal(harmonics.adjoint(sky), alm)
            np.testing.assert_array_equal(harmonics.synthesis(alm), expected)
