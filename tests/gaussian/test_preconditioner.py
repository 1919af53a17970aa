"""The preconditioner against the system it stands for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from cmbinpaint.gaussian.preconditioner import Preconditioner
from cmbinpaint.gaussian.vecchia import factor_holes
from cmbinpaint.sphere import harmonics
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics
from tests.oracles import alm_from_real

NSIDE, LMAX, NOISE = 8, 12, 0.05
SIGNAL = 1.0 / (1 + np.arange(LMAX + 1.0)) ** 2


def random_valid(seed):
    return np.random.default_rng(seed).uniform(size=12 * NSIDE**2) > 0.3


def precondition(valid):
    factor = factor_holes(valid, SIGNAL, NOISE, NOISE, threads=1)
    return conditioned_with(valid.sum() / NOISE**2, [(slice(0, 1), factor)])


def conditioned_with(weight, parts):
    signal = EllMatrix(SIGNAL)
    return Preconditioner(
        Harmonics(NSIDE, LMAX, threads=1), signal, signal.cholesky(), np.array([weight]), parts
    )


def system(valid, alm):
    subject, root = Harmonics(NSIDE, LMAX, threads=1), np.sqrt(SIGNAL)
    sky = subject.synthesis(harmonics.scale_alm(alm, root))
    return alm + harmonics.scale_alm(subject.adjoint(valid / NOISE**2 * sky), root)


def matrix(operator):
    """On real coefficients, column by column."""
    units = alm_from_real(np.eye((LMAX + 1) ** 2), LMAX)
    return harmonics.alm_to_real(np.stack([np.squeeze(operator(unit)) for unit in units]), LMAX).T


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_it_is_symmetric_and_positive(seed):
    subject, rng = precondition(random_valid(seed)), np.random.default_rng(seed)
    a, b = (harmonics.draw_alm(np.ones(LMAX + 1), rng)[None] for _ in range(2))
    left, right = harmonics.alm_dot(a, subject.apply(b), LMAX), harmonics.alm_dot(b, subject.apply(a), LMAX)
    size = np.sqrt(
        harmonics.alm_dot(a, subject.apply(a), LMAX) * harmonics.alm_dot(b, subject.apply(b), LMAX)
    )
    assert abs(left - right) < 1e-5 * size  # the factor works in single precision
    assert harmonics.alm_dot(a, subject.apply(a), LMAX) > 0


def test_it_all_but_inverts_the_system():
    valid = random_valid(1)
    exact = matrix(lambda alm: system(valid, alm))
    diagonal = conditioned_with(valid.sum() / NOISE**2, [])

    def eigenvalues(subject):
        inverse = matrix(lambda alm: subject.apply(alm[None]))
        return linalg.eigvalsh(exact, linalg.inv(0.5 * (inverse + inverse.T)))

    # What is small is found last. (The largest are of modes that a prior tells more of than the factor assumes.)
    values = eigenvalues(precondition(valid))
    assert 0.8 < values[0] < 1.01
    assert values[-1] < 4
    assert eigenvalues(diagonal)[0] < 0.4


def test_modes_given_are_solved_for_exactly():
    valid = random_valid(2)
    rng = np.random.default_rng(0)
    modes = [harmonics.draw_alm(np.ones(LMAX + 1), rng)[None] for _ in range(2)]
    images = [system(valid, mode[0])[None] for mode in modes]
    plain, subject = precondition(valid), precondition(valid)
    subject.solve_apart(modes, images)
    for mode, image in zip(modes, images, strict=True):
        assert subject.apply(image) - plain.apply(image) == pytest.approx(mode, abs=1e-9)


def test_without_a_factor_it_is_the_mean_diagonal():
    weight = 7.0 * 12 * NSIDE**2
    alm = harmonics.draw_alm(np.ones(LMAX + 1), np.random.default_rng(0))[None]
    subject = conditioned_with(weight, [])
    expected = alm / (1 + SIGNAL * weight / (4 * np.pi))[harmonics.alm_degrees(LMAX)]
    np.testing.assert_allclose(subject.apply(alm), expected, rtol=1e-13)
    out = np.empty_like(alm)
    assert subject.apply(alm, out=out) is out
    np.testing.assert_array_equal(out, subject.apply(alm))
