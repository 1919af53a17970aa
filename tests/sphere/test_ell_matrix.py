"""Algebra per multipole against numpy's on one ell at a time, and draws against their spectra."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.sphere import ell_matrix
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import alm_degrees, alm_size, alm_to_cl, draw_alm

ROUNDING = 1e-12
seeds, sizes = st.integers(0, 2**31), st.sampled_from([1, 2, 3])
few = settings(max_examples=15, deadline=None)


def random_matrix(k, lmax, seed, symmetric=True):
    values = np.random.default_rng(seed).standard_normal((k, k, lmax + 1))
    return EllMatrix(np.einsum("ikl,jkl->ijl", values, values) if symmetric else values)


def random_alm(k, lmax, seed):
    rng = np.random.default_rng(seed)
    return np.stack([draw_alm(np.ones(lmax + 1), rng) for _ in range(k)])


@few
@given(sizes, seeds)
def test_algebra_is_that_of_each_ell(k, seed):
    a, b = random_matrix(k, 9, seed), random_matrix(k, 9, seed + 1, symmetric=False)
    for ell in range(10):
        one, other = a.values[..., ell], b.values[..., ell]
        np.testing.assert_allclose((a @ b).values[..., ell], one @ other, atol=ROUNDING)
        np.testing.assert_array_equal(b.transposed.values[..., ell], other.T)
        np.testing.assert_allclose(a.inverse().values[..., ell] @ one, np.eye(k), atol=1e-6)
        np.testing.assert_allclose(a.cholesky().values[..., ell], np.linalg.cholesky(one), atol=1e-9)


@few
@given(sizes, seeds)
def test_it_acts_on_each_coefficient(k, seed):
    lmax = 7
    matrix, alm = random_matrix(k, lmax, seed, symmetric=False), random_alm(k, lmax, seed)
    expected = np.einsum("ijn,jn->in", matrix.values[..., alm_degrees(lmax)], alm)
    np.testing.assert_allclose(matrix.apply(alm), expected, rtol=0, atol=ROUNDING)
    assert matrix.apply(alm, out=alm) is alm  # in place too
    np.testing.assert_allclose(alm, expected, rtol=0, atol=ROUNDING)


def test_of_one_field_it_takes_a_row_and_multiplies_exactly():
    cl, alm = np.random.default_rng(0).uniform(size=9), random_alm(1, 8, 0)[0]
    np.testing.assert_array_equal(EllMatrix(cl).apply(alm), alm * cl[alm_degrees(8)])


def test_long_alm_are_handled_m_by_m(monkeypatch):
    matrix, alm = random_matrix(3, 20, 0), random_alm(3, 20, 1)
    expected = matrix.apply(alm)
    monkeypatch.setattr(ell_matrix, "CACHED_LMAX", 3)
    np.testing.assert_array_equal(matrix.apply(alm), expected)


def test_spectra_go_in_and_come_out_in_healpys_order():
    tt, ee, bb, te, eb, tb = np.arange(6.0)[:, None] * np.ones(4)
    values = EllMatrix.from_spectra([tt, ee, bb, te, eb, tb]).values[..., 2]
    np.testing.assert_array_equal(values, [[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    np.testing.assert_array_equal(
        EllMatrix.from_spectra([tt, ee, bb, te]).values[..., 1], [[0, 3, 0], [3, 1, 0], [0, 0, 2]]
    )
    np.testing.assert_array_equal(EllMatrix.from_spectra([ee, bb, eb]).values[..., 3], [[1, 4], [4, 2]])
    np.testing.assert_array_equal(EllMatrix.from_spectra(ee).values, ee[None, None])
    rows = np.random.default_rng(0).uniform(size=(6, 5))
    np.testing.assert_array_equal(EllMatrix.from_spectra(rows).spectra, rows)


def test_draws_have_all_spectra():
    lmax, n = 16, 400
    ell = np.arange(lmax + 1.0)
    rows = np.stack(
        [4 / (ell + 1), 1 / (ell + 1), 0.2 / (ell + 1), 1.2 / (ell + 1), 0.1 / (ell + 1), -0.2 / (ell + 1)]
    )
    signal, rng = EllMatrix.from_spectra(rows), np.random.default_rng(2)
    total = np.zeros((6, lmax + 1))
    for _ in range(n):
        alm = signal.draw(rng)
        total += [alm_to_cl(alm[i], lmax, alm[j]) for i, j in Fields.TQU.pairs]
        # healpy agrees on what the order of the spectra is
    np.testing.assert_allclose(hp.alm2cl(alm)[3], alm_to_cl(alm[0], lmax, alm[1]), rtol=1e-12)
    power = [rows[i] * rows[j] for i, j in Fields.TQU.pairs]
    sigma = np.sqrt((np.array(power) + rows**2) / (2 * ell + 1) / n)
    assert np.max(np.abs(total / n - rows) / sigma) < 4.3  # 102 normal deviates


def test_a_draw_of_one_field_is_draw_alm():
    cl = 1 / (1 + np.arange(9.0))
    np.testing.assert_array_equal(
        EllMatrix(cl).draw(np.random.default_rng(3))[0], draw_alm(cl, np.random.default_rng(3))
    )


def test_modes_without_power_get_a_root_of_zeros():
    rows = np.array([[1.0, 1, 1], [0, 1, 1], [0, 0, 0.5], [0, 1, 0.3]])  # E is T at ell = 1
    root = EllMatrix.from_spectra(rows).cholesky()
    np.testing.assert_allclose((root @ root.transposed).spectra[:4], rows, atol=ROUNDING)
    assert root.values[1, 1, 1] == 0 and not root.values[2, :, 1].any()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0, 1], [1, 1], [0, 0], [0, 1.1]], r"at ell = 1: TT = 1, EE = 1, BB = 0, TE = 1.1.*TE² <= TT·EE"),
        ([[1.0, 1], [0, 1], [0, 0], [0.1, 0]], "at ell = 0: TT = 1, EE = 0, BB = 0, TE = 0.1"),
        ([[1.0, 1], [1, -1]], "at ell = 1: EE = 1, BB = -1"),
    ],
)
def test_what_no_sky_can_have_is_refused(rows, words):
    with pytest.raises(SpectrumError, match=words):
        EllMatrix.from_spectra(np.array(rows)).cholesky()


def test_errors_say_what_came():
    with pytest.raises(SpectrumError, match=r"the spectra have shape \(5, 3\); expected"):
        EllMatrix.from_spectra(np.ones((5, 3)))
    with pytest.raises(
        SpectrumError, match=r"the spectra have shape \(2, 3, 4\); expected \(k, k, lmax \+ 1\)"
    ):
        EllMatrix(np.ones((2, 3, 4)))
    with pytest.raises(MapError, match=r"1 \(T\), 2 \(Q, U\) or 3 \(T, Q, U\) Stokes parameters; got 4"):
        Fields.of(4)


def test_sizes():
    for k in (1, 2, 3):
        matrix = random_matrix(k, 5, 0)
        assert (matrix.k, matrix.lmax, matrix.fields.n) == (k, 5, k)
        assert matrix.draw(np.random.default_rng(0)).shape == (k, alm_size(5))
