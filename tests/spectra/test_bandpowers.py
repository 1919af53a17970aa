"""Bandpowers are means over modes, in bands that cover their range."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import spectra
from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra.bandpowers import log_bands


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True), st.integers(0, 99))
def test_bandpowers_are_means_over_modes(edges, seed):
    edges = sorted(edges)
    bands = spectra.Bandpowers(edges)
    cl = np.random.default_rng(seed).random((2, 70))
    assert bands.n == len(edges) - 1 and bands.lmax == edges[-1] - 1
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        weights = np.array([2 * ell + 1 for ell in range(low, high)], dtype=float)
        expected = (cl[:, low:high] * weights).sum(axis=1) / weights.sum()
        np.testing.assert_allclose(bands.bin(cl)[:, i], expected, rtol=1e-12)
        assert low <= bands.centers[i] < high
        assert bands.n_modes[i] == weights.sum() and bands.widths[i] == high - low


@given(st.integers(0, 30), st.integers(0, 2000), st.integers(1, 30), st.integers(1, 4))
def test_log_bands_cover_their_range(lmin, extra, n, width):
    lmax = lmin + extra
    if lmax + 1 - lmin < n * width:
        with pytest.raises(
            SpectrumError, match=f"{n} bands of at least {width} do not fit into ell = {lmin}"
        ):
            spectra.log_bands(lmin, lmax, n, min_width=width)
        return
    bands = spectra.log_bands(lmin, lmax, n, min_width=width)
    assert bands.n == n and bands.edges[0] == lmin and bands.lmax == lmax and bands.widths.min() >= width


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        ([2, 8, 5], "bands overlap: edge 5 follows 8"),
        ([2, 2], "bands overlap: edge 2 follows 2"),
        ([2.5, 8], "band edges are whole numbers from 0"),
        ([-1, 8], "band edges are whole numbers from 0"),
        ([2], "band edges are 2 or more multipoles in ascending order"),
        (["a", "b"], "band edges are 2 or more multipoles"),
    ],
)
def test_bands_that_are_none_are_refused(edges, text):
    with pytest.raises(SpectrumError, match=text):
        spectra.Bandpowers(edges)


def test_bands_beyond_the_spectrum_are_refused():
    with pytest.raises(
        SpectrumError, match=r"the bands reach ell = 9, the spectrum has shape .5,.: it must have"
    ):
        spectra.Bandpowers([2, 10]).bin(np.ones(5))
    with pytest.raises(ValueError, match="read-only"):
        spectra.Bandpowers([2, 10]).edges[0] = 1


@pytest.mark.parametrize(
    ("lmin", "lmax", "n", "width"), [(5, 4, 1, 1), (2, 9, 0, 1), (2, 9, 2, 0), (-1, 9, 2, 1)]
)
def test_bands_that_cannot_be_made_are_refused(lmin, lmax, n, width):
    with pytest.raises(
        SpectrumError, match=f"cannot make {n} bands of at least {width} multipoles from ell = {lmin} to"
    ):
        log_bands(lmin, lmax, n, min_width=width)
