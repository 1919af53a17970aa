"""Noise maps that say nothing where nothing was observed."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.problem.noise import noise_cov_of, noise_of
from cmbinpaint.problem.plan import InpaintingPlan

NSIDE = 4
NPIX = 12 * NSIDE**2
VALID = np.arange(NPIX) >= 50
EXCLUDED = np.arange(NPIX) < 20
PLAN = InpaintingPlan.from_valid(VALID, exclude=EXCLUDED)
LEVELS = np.where(np.arange(NPIX) % 3 == 0, 4.0, 1.0)  # the median of the data's is 1


@pytest.mark.parametrize("unknown", [np.nan, np.inf, hp.UNSEEN, float(np.float32(hp.UNSEEN))])
@pytest.mark.parametrize("nest", [False, True])
def test_a_level_is_assumed_in_holes_and_said(unknown: float, nest: bool) -> None:
    std = np.where(VALID, LEVELS, unknown)
    given = hp.reorder(std, r2n=True) if nest else std
    before = given.copy()
    with pytest.warns(CmbInpaintWarning, match=r"no value in 30 pixels .*; 1 is assumed there, the median"):
        found = noise_of(given, PLAN, nest=nest)
    np.testing.assert_array_equal(found, np.where(VALID, LEVELS, 1.0))
    np.testing.assert_array_equal(given, before)


def test_the_level_is_that_of_the_data_whatever_is_known_elsewhere() -> None:
    pixels = np.arange(NPIX)
    plan = InpaintingPlan.from_valid(pixels >= 150, exclude=pixels < 20)
    with pytest.warns(CmbInpaintWarning, match="; 1 is assumed there"):
        found = noise_of(np.where(pixels < 40, np.nan, np.where(plan.valid, LEVELS, 100.0)), plan)
    np.testing.assert_array_equal(found[:40], 1.0)
    np.testing.assert_array_equal(found[40:150], 100.0)


def test_nothing_is_said_of_excluded_pixels_alone() -> None:
    found = noise_of(np.where(EXCLUDED, np.nan, LEVELS), PLAN)
    np.testing.assert_array_equal(found, np.where(EXCLUDED, 1.0, LEVELS))


def test_hidden_entries_are_unknown() -> None:
    with pytest.warns(CmbInpaintWarning, match="in 30 pixels"):
        found = noise_of(np.ma.array(LEVELS, mask=~VALID), PLAN)
    np.testing.assert_array_equal(found, np.where(VALID, LEVELS, 1.0))


def test_what_is_known_everywhere_is_taken_as_it_is() -> None:
    np.testing.assert_array_equal(noise_of(LEVELS, PLAN), LEVELS)
    assert noise_of(2, PLAN) == 2.0
    assert noise_of(3e-6 * u.K, PLAN) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("std", "text"),
    [
        (
            np.where(np.arange(NPIX) == 70, np.inf, LEVELS),
            r"no value \(NaN, infinite, UNSEEN\) in 1 pixels that are data, the first at RING index 70: give",
        ),
        (np.where(np.arange(NPIX) == 70, -1.0, LEVELS), "1 negative or non-finite values, the first in pixel 70"),
        (np.ones(7), r"noise_std has shape \(7,\); expected a number, or one value per pixel"),
        ("x", "noise_std is not an array of numbers"),
        (10**400, "noise_std is not an array of numbers: int too large"),
        (np.nan, r"1 negative or non-finite values \(nan\)"),
    ],
)  # fmt: skip
def test_what_is_no_noise_is_refused(std: object, text: str) -> None:
    with pytest.raises(SpectrumError, match=text):
        noise_of(std, PLAN)


def test_a_covariance_in_nested_order() -> None:
    cov = np.stack([LEVELS, 0.1 * LEVELS, 2 * LEVELS])
    plan = InpaintingPlan.from_valid(np.stack([VALID] * 2))
    nested = hp.reorder(cov, r2n=True)
    np.testing.assert_array_equal(noise_cov_of(nested, plan, nest=True), cov)
