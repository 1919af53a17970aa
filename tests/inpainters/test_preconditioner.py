"""The preconditioner against the system it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.inpainters.preconditioner import Preconditioner
from cmbinpaint.sphere import harmonics
from cmbinpaint.sphere.harmonics import Harmonics

NSIDE, LMAX = 4, 8
SIGNAL = 1.0 / (1 + np.arange(LMAX + 1.0)) ** 2


def system(weights, alm):
    subject, root = Harmonics(NSIDE, LMAX), np.sqrt(SIGNAL)
    sky = subject.synthesis(harmonics.scale_alm(alm, root))
    return alm + harmonics.scale_alm(subject.adjoint(weights * sky), root)


def random_case(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 50, 12 * NSIDE**2) * (rng.uniform(size=12 * NSIDE**2) > 0.3)
    return weights, harmonics.draw_alm(np.ones(LMAX + 1), rng)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_a_full_block_inverts_the_system(seed):
    weights, alm = random_case(seed)
    subject = Preconditioner(Harmonics(NSIDE, LMAX), SIGNAL, weights, LMAX)
    np.testing.assert_allclose(subject.apply(system(weights, alm)), alm, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, LMAX - 1))
def test_a_block_inverts_the_system_cut_at_its_ell(seed, low_ell):
    weights, alm = random_case(seed)
    low = harmonics.alm_degrees(LMAX) <= low_ell
    subject = Preconditioner(Harmonics(NSIDE, LMAX), SIGNAL, weights, low_ell)
    image = system(weights, np.where(low, alm, 0.0))
    np.testing.assert_allclose(subject.apply(image)[low], alm[low], atol=1e-10)
    # Above it, the system's mean diagonal: with even weights that is the system itself, but for quadrature.
    expected = alm[~low] / (1 + SIGNAL * weights.sum() / (4 * np.pi))[harmonics.alm_degrees(LMAX)][~low]
    np.testing.assert_allclose(subject.apply(alm)[~low], expected, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(-1, LMAX))
def test_it_is_symmetric_and_positive(seed, low_ell):
    weights, a = random_case(seed)
    b = random_case(seed + 1)[1]
    subject = Preconditioner(Harmonics(NSIDE, LMAX), SIGNAL, weights, low_ell)
    left = harmonics.alm_dot(a, subject.apply(b), LMAX)
    assert left == pytest.approx(harmonics.alm_dot(b, subject.apply(a), LMAX), rel=1e-9, abs=1e-12)
    assert harmonics.alm_dot(a, subject.apply(a), LMAX) > 0


def test_the_block_is_at_most_the_whole():
    weights, alm = random_case(0)
    whole, more = (Preconditioner(Harmonics(NSIDE, LMAX), SIGNAL, weights, low) for low in (LMAX, 99))
    assert more.low_ell == LMAX
    np.testing.assert_array_equal(whole.apply(alm), more.apply(alm))
