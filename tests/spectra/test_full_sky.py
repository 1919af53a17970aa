"""Spectra of full skies against sums over a_lm by hand."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint import spectra
from cmbinpaint.errors import MapError, SpectrumError


@given(st.lists(st.floats(1e-100, 1e6) | st.just(0.0), min_size=1, max_size=50))
def test_dl_and_cl_are_inverse(values):
    cl = np.array(values)
    dl = spectra.dl_from_cl(cl)
    for ell, value in enumerate(values):
        assert dl[ell] == pytest.approx(ell * (ell + 1) * value / (2 * np.pi))
    back = spectra.cl_from_dl(dl)
    assert back[0] == 0
    np.testing.assert_allclose(back[1:], cl[1:], rtol=1e-14)


def test_anafast_recovers_power_and_keeps_the_monopole():
    rng = np.random.default_rng(0)
    ell, m = hp.Alm.getlm(16)
    alm = rng.normal(size=ell.size) + 1j * (m > 0) * rng.normal(size=ell.size)
    sky = hp.alm2map(alm, 16, lmax=16)
    by_hand = [sum(abs(alm[hp.Alm.getidx(16, i, k)]) ** 2 * (2 if k else 1) for k in range(i + 1)) / (2 * i + 1)
               for i in range(17)]  # fmt: skip
    np.testing.assert_allclose(spectra.anafast(sky, 16), by_hand, rtol=1e-4)
    assert spectra.anafast(sky).size == 48


@pytest.mark.parametrize("value", [np.nan, np.inf, hp.UNSEEN])
def test_anafast_refuses_holes(value):
    sky = np.zeros(192)
    sky[7] = value
    with pytest.raises(
        SpectrumError, match=r"the map has 1 pixels that are NaN, inf or UNSEEN, the first at 7"
    ):
        spectra.anafast(sky)
    with pytest.raises(MapError, match="not a HEALPix map"):
        spectra.anafast(np.zeros(100))


def test_names_of_the_package_stay_functions_whatever_modules_are_loaded():
    import cmbinpaint.pipeline.compare_spectra  # noqa: F401

    assert callable(spectra.anafast) and callable(spectra.pseudo_cl)


def test_one_map_is_expected():
    with pytest.raises(SpectrumError, match=r"has shape \(4, 48\); one RING map \(npix,\) or"):
        spectra.anafast(np.ones((4, 48)))
