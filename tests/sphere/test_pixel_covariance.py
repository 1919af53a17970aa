"""Covariances of pixel pairs against Legendre sums, and their tables against them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.pixel_covariance import CovarianceTable, correlation

ELL = np.arange(25)
CL = np.exp(-0.02 * ELL**2) / (ELL + 2.0) ** 2
ROUNDING = 1e-13  # of the variance


def test_correlation_is_the_legendre_sum() -> None:
    theta = np.linspace(0, np.pi, 101)
    expected = legendre.legval(np.cos(theta), np.where(ELL < 2, 0, (2 * ELL + 1) / (4 * np.pi) * CL))
    np.testing.assert_allclose(correlation(CL, theta), expected, atol=ROUNDING * expected[0])
    assert correlation(CL, theta.reshape(1, 101)).shape == (1, 101)


@given(st.integers(3, 400), st.floats(0, 0.03))
@settings(max_examples=20, deadline=None)
def test_table_interpolates_the_correlation(lmax: int, beam: float) -> None:
    ell = np.arange(lmax + 1)
    cl = np.exp(-0.5 * ell * (ell + 1) * beam**2) / (ell + 1.0)
    for largest in (1.2, np.pi):
        theta = np.linspace(0, largest, 1000)
        table = CovarianceTable.from_cl(cl, 2 * np.sin(largest / 2) + 1e-9)
        error = table(4 * np.sin(theta / 2) ** 2) - correlation(cl, theta)
        assert np.abs(error).max() < 5e-9 * table.variance  # cubic at 20 nodes a radian of phase


def test_correlation_refuses_what_is_no_spectrum() -> None:
    with pytest.raises(SpectrumError, match=r"cl has shape \(2, 2\)"):
        correlation(np.ones((2, 2)), 0.1)
    with pytest.raises(SpectrumError, match=r"cl.*nan"):
        correlation(np.array([0, 0, 1, np.nan]), 0.1)
