"""Spectra, noise levels and multipoles as users give them: converted, copied, or refused in words."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.table import Table
from astropy.utils.masked import Masked

from cmbinpaint.errors import SpectrumError, UnitsError
from cmbinpaint.sphere.harmonics import draw_alm
from cmbinpaint.sphere.power import (
    noise_power,
    pixel_variance,
    validate_cl,
    validate_lmax,
    validate_noise,
)


def test_a_spectrum_is_copied():
    given = np.arange(5, dtype=">f4")
    taken = validate_cl(given)
    taken[0] = 7.0
    assert taken.dtype == np.float64 and given[0] == 0.0
    assert validate_cl([1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    assert validate_cl([1.0, -2.0], signed=True).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("unit", ["K2", "mK2", "uK2"])
def test_a_spectrum_with_a_unit_is_converted(unit):
    factor = u.Unit(unit).to(u.uK**2)
    np.testing.assert_allclose(validate_cl([1.0, 2.0] * u.Unit(unit)), [factor, 2 * factor], rtol=1e-12)
    column = Table({"cl": [1.0, 2.0] * u.Unit(unit)})["cl"]  # a Column with a unit, no Quantity
    np.testing.assert_allclose(validate_cl(column), [factor, 2 * factor], rtol=1e-12)


@pytest.mark.parametrize(
    ("cl", "words", "error", "text"),
    [
        (
            [1.0, -1.0],
            {},
            SpectrumError,
            r"cl holds 1 negative or non-finite values, the first at ell = 1 \(-1.0\)",
        ),
        (
            [1.0, np.nan],
            {"signed": True},
            SpectrumError,
            "cl holds 1 non-finite values, the first at ell = 1",
        ),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), {}, SpectrumError, r"the first at ell = 1 \(nan\)"),
        (Masked([1.0, 2.0] * u.uK**2, mask=[0, 1]), {}, SpectrumError, r"the first at ell = 1 \(nan\)"),
        (np.ones((2, 3)), {}, SpectrumError, r"cl has shape \(2, 3\); expected one spectrum \(lmax\+1,\)"),
        ([], {}, SpectrumError, r"cl has shape \(0,\)"),
        ([1.0, 1.0], {"lmax": 4, "name": "noise"}, SpectrumError, r"noise has shape \(2,\); .* ell = 0 to 4"),
        (["a", "b"], {}, SpectrumError, "cl is not an array of numbers"),
        ([1.0 * u.K, 2.0 * u.K], {}, SpectrumError, "cl is not an array of numbers"),
        ([1.0, 2.0] * u.K, {}, UnitsError, "cl is a Quantity in 'K'; a temperature squared was expected"),
        ([1.0, 2.0] * u.one, {}, UnitsError, "cl is a Quantity in 'no unit'; a temperature squared"),
    ],
)
def test_what_is_no_spectrum_is_refused(cl, words, error, text):
    with pytest.raises(error, match=text):
        validate_cl(cl, **words)


def test_noise_with_a_unit_is_converted_and_frozen():
    assert validate_noise(3e-6 * u.K, 1) == pytest.approx(3.0, rel=1e-12)
    level = validate_noise(np.full(12, 3e-3) * u.mK, 1)
    np.testing.assert_allclose(level, 3.0, rtol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        level[0] = 1.0


@pytest.mark.parametrize(
    ("noise", "error", "text"),
    [
        (np.ones(100), SpectrumError, r"noise_std has shape \(100,\); .*\(12,\) at nside 1"),
        (-1.0, SpectrumError, r"noise_std holds 1 negative or non-finite values \(-1.0\)"),
        (np.append(np.ones(11), np.nan), SpectrumError, "the first in pixel 11"),
        (np.ma.array(np.ones(12), mask=np.arange(12) == 4), SpectrumError, "the first in pixel 4"),
        (1.0 * u.Jy, UnitsError, "noise_std is a Quantity in 'Jy'; a temperature was expected"),
        ("three", SpectrumError, "noise_std is not an array of numbers: got str"),
        ("3", SpectrumError, "noise_std is not an array of numbers: got str"),
        (3 + 0j, SpectrumError, "noise_std is not an array of numbers: got complex"),
    ],
)
def test_what_is_no_noise_is_refused(noise, error, text):
    with pytest.raises(error, match=text):
        validate_noise(noise, 1)


@pytest.mark.parametrize("lmax", [1, 8, 2.5, 3.0, True, "3", None])
def test_multipoles_out_of_range_are_refused(lmax):
    with pytest.raises(SpectrumError, match=f"lmax is {lmax!r}; expected a whole number from 2 to 7"):
        validate_lmax(lmax, 7, lowest=2)


def test_multipoles_in_range():
    assert validate_lmax(np.int32(7), 7) == 7 and type(validate_lmax(np.int32(7), 7)) is int
    with pytest.raises(SpectrumError, match="lmax is -1; expected a whole number from 0 up"):
        validate_lmax(-1)


def test_variance_and_noise_power_are_those_of_a_map():
    cl = 1.0 / (np.arange(24) + 1.0) ** 2
    rng = np.random.default_rng(3)
    maps = [hp.alm2map(draw_alm(np.where(np.arange(24) < 2, 0, cl), rng), 16, pol=False) for _ in range(40)]
    assert np.mean(np.square(maps)) == pytest.approx(pixel_variance(cl), rel=0.03)
    by_hand = sum((2 * ell + 1) * cl[ell] for ell in range(5, 24)) / (4 * np.pi)
    assert pixel_variance(cl, 5) == pytest.approx(by_hand, rel=1e-14)
    assert pixel_variance(cl, 24) == 0.0
    # White noise of 3: its spectrum summed over all modes a map holds gives 9 a pixel again.
    assert noise_power(3.0, 3072) * 3072 / (4 * np.pi) == pytest.approx(9.0, rel=1e-14)
    assert noise_power(np.array([1.0, 7.0]), 2) == pytest.approx(25 * 2 * np.pi, rel=1e-14)
