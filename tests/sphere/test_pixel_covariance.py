"""Covariances of pixel pairs against Legendre sums, and their tables against them."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.pixel_covariance import (
    CovarianceTable,
    Frames,
    correlation,
    stokes_covariance,
    temperature_covariance,
)
from cmbinpaint.sphere.pixels import pixel_vectors

ELL = np.arange(25)
CL = np.exp(-0.02 * ELL**2) / (ELL + 2.0) ** 2
ROUNDING = 1e-13  # of the variance


def test_correlation_is_the_legendre_sum() -> None:
    theta = np.linspace(0, np.pi, 101)
    expected = legendre.legval(np.cos(theta), np.where(ELL < 2, 0, (2 * ELL + 1) / (4 * np.pi) * CL))
    np.testing.assert_allclose(correlation(CL, theta), expected, atol=ROUNDING * expected[0])
    assert correlation(CL, theta.reshape(1, 101)).shape == (1, 101)


@given(st.integers(3, 400), st.floats(0, 0.03), st.sampled_from(["TT", "xi+", "xi-", "TQ"]))
@settings(max_examples=20, deadline=None)
def test_table_interpolates_the_correlation(lmax: int, beam: float, kind) -> None:
    ell = np.arange(lmax + 1)
    cl = np.exp(-0.5 * ell * (ell + 1) * beam**2) / (ell + 1.0)
    for largest in (1.2, np.pi):
        theta = np.linspace(0, largest, 1000)
        table = CovarianceTable.from_cl(cl, 2 * np.sin(largest / 2) + 1e-9, kind)
        error = table(4 * np.sin(theta / 2) ** 2) - correlation(cl, theta, kind)
        assert np.abs(error).max() < 5e-9 * correlation(cl, 0.0)  # cubic at 20 nodes a radian of phase


def test_correlation_refuses_what_is_no_spectrum() -> None:
    with pytest.raises(SpectrumError, match=r"cl has shape \(2, 2\)"):
        correlation(np.ones((2, 2)), 0.1)
    with pytest.raises(SpectrumError, match=r"cl.*nan"):
        correlation(np.array([0, 0, 1, np.nan]), 0.1)


LMAX = 11
SPECTRA = np.array([1.0, 0.5, 0.2, 0.4])[:, None] / (1 + np.arange(LMAX + 1.0))  # TT, EE, BB, TE
SPECTRA[:, :2] = 0.0
PLUS, MINUS, CROSS = (
    CovarianceTable.from_cl(cl, 2.0, kind)
    for cl, kind in (
        (SPECTRA[1] + SPECTRA[2], "xi+"),
        (SPECTRA[1] - SPECTRA[2], "xi-"),
        (SPECTRA[3], "TQ"),
    )
)


def by_transforms(nside: int) -> np.ndarray:
    """(3, npix, 3, npix): Y S Yᵀ, column by column."""
    harmonics, signal = Harmonics(nside, LMAX), EllMatrix.from_spectra(SPECTRA)
    units = np.eye(3 * harmonics.npix).reshape(-1, 3, harmonics.npix)
    columns = [harmonics.synthesis(signal.apply(harmonics.adjoint(unit))) for unit in units]
    return np.array(columns).reshape(3, harmonics.npix, 3, harmonics.npix)


def by_tables(nside: int) -> np.ndarray:
    """The same but for TT, from tables: neighbors, antipodes and each pixel with itself among the pairs."""
    frames = Frames.at(pixel_vectors(nside).T)
    first, second = frames[:, None], frames[None, :]
    npix = 12 * nside**2
    out = np.empty((3, npix, 3, npix))
    out[1, :, 1], out[1, :, 2], out[2, :, 1], out[2, :, 2] = stokes_covariance(PLUS, MINUS, first, second)
    out[0, :, 1], out[0, :, 2] = temperature_covariance(CROSS, first, second)
    return out


@pytest.mark.parametrize("nside", [2, 4])
def test_covariance_of_stokes_parameters_is_that_of_the_harmonics(nside: int) -> None:
    ours, expected = by_tables(nside), by_transforms(nside)
    for i, j in ((1, 1), (1, 2), (2, 1), (2, 2), (0, 1), (0, 2)):
        np.testing.assert_allclose(ours[i, :, j], expected[i, :, j], rtol=0, atol=1e-9 * PLUS.variance)


def test_covariance_is_that_of_healpys_skies() -> None:
    nside, n = 2, 1500
    signal, rng = EllMatrix.from_spectra(SPECTRA), np.random.default_rng(1)
    skies = np.array([hp.alm2map(signal.draw(rng), nside, lmax=LMAX, pol=True) for _ in range(n)])[:, :, ::3]
    expected = by_tables(nside)[:, ::3, :, ::3]
    std = skies.std(axis=0)
    for i, j in ((1, 1), (1, 2), (2, 2), (0, 1), (0, 2)):
        found = np.einsum("np,nq->pq", skies[:, i], skies[:, j]) / n
        sigma = np.sqrt((np.outer(std[i], std[j]) ** 2 + expected[i, :, j] ** 2) / n)
        assert np.abs((found - expected[i, :, j]) / sigma).max() < 4.6  # 256 normal deviates, five times


def test_at_distance_zero_only_the_variance_is_left() -> None:
    variance = np.sum((2 * np.arange(LMAX + 1) + 1) / (4 * np.pi) * (SPECTRA[1] + SPECTRA[2]))
    assert correlation(SPECTRA[1] + SPECTRA[2], 0.0, "xi+") == pytest.approx(variance, rel=1e-12)
    assert correlation(SPECTRA[1], 0.0, "xi-") == pytest.approx(0.0, abs=1e-14)
    assert correlation(SPECTRA[3], 0.0, "TQ") == pytest.approx(0.0, abs=1e-14)
    assert correlation(SPECTRA[1], np.pi, "xi+") == pytest.approx(0.0, abs=1e-12)
