"""Masks of studies: CoMBInE's thirteen circles and one of shapes, and depth by brute force."""

import re

import numpy as np
import pytest

from cmbinpaint.errors import MaskError
from cmbinpaint.studies.patch_study import (
    check_masks,
    circles,
    depth_regions,
    patch_depth,
    random_mask,
)


def test_combine_s_masks() -> None:
    masks = circles(128)
    assert len(masks) == 13 and list(masks)[:2] == ["r = 5 px", "r = 10 px"]
    shares = [np.mean(~valid) for valid in masks.values()]
    assert shares[0] == pytest.approx(np.pi * 25 / 128**2, rel=0.05)
    assert np.all(np.diff(shares) > 0) and shares[12] < 1
    assert not np.array_equal(random_mask(128, 0), random_mask(128, 1))
    # half the side, half the radius: the same share
    assert np.mean(~circles(64)["r = 25 px"]) == pytest.approx(shares[9], rel=0.02)


def test_depth_is_the_distance_to_the_nearest_observed_pixel() -> None:
    valid = random_mask(24, 3)
    seen = np.argwhere(valid)
    depth = patch_depth(valid)
    for place in np.argwhere(~valid)[::5]:
        assert depth[tuple(place)] == pytest.approx(np.sqrt(((seen - place) ** 2).sum(1)).min())
    assert np.all(depth[valid] == 0)
    regions = depth_regions(valid)
    np.testing.assert_array_equal(np.sum(list(regions.values()), axis=0), ~valid)  # each hole pixel in one
    assert list(regions) == [f"depth {x} px" for x in ("0-1.3", "1.3-2.3", "2.3-4.3", "4.3-8.3", "> 8.3")]


def test_masks_that_leave_nothing_to_do_are_refused() -> None:
    everything = np.ones((8, 8), bool)
    with pytest.raises(
        MaskError, match=re.escape("mask 'all' hides all pixels of the patch: nothing is observed")
    ):
        check_masks({"all": ~everything})
    with pytest.raises(MaskError, match="mask 'none' has no hole: there is nothing to fill"):
        check_masks({"none": everything})
