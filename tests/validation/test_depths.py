"""Depth bins: every target in one bin, means as a loop over pixels finds them."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint.errors import MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.validation.depths import DEPTH_EDGES, HOLE_WIDTHS, DepthBins, hole_width_classes

PLAN = InpaintingPlan.from_valid(planck_like_mask(16, seed=0))


@given(st.lists(st.floats(0.5, 6.0), min_size=0, max_size=5, unique=True).map(sorted))
def test_bins_share_out_the_targets_by_depth(edges: list[float]) -> None:
    bins = DepthBins.of(PLAN, edges)
    np.testing.assert_array_equal(bins.pixels, np.flatnonzero(PLAN.targets))
    limits = [0.0, *edges, np.inf]
    for i in range(bins.n):
        depth = PLAN.depth[bins.pixels[bins.bin_of == i]]
        assert np.all((limits[i] < depth) & (depth <= limits[i + 1]))
    assert bins.counts.sum() == PLAN.targets.sum() and len(bins.labels) == bins.n


def test_mean_squares_are_those_of_the_pixels() -> None:
    sky = np.random.default_rng(0).standard_normal(PLAN.valid.size)
    bins = DepthBins.of(PLAN, (1.3, 2.3))
    found = bins.mean_square(sky)
    for i, value in enumerate(found):
        squares = [sky[p] ** 2 for p, b in zip(bins.pixels, bins.bin_of, strict=True) if b == i]
        assert value == pytest.approx(sum(squares) / len(squares), rel=1e-12)


def test_an_edge_belongs_to_the_bin_below() -> None:
    depth = float(PLAN.depth[PLAN.targets].min())
    bins = DepthBins.of(PLAN, (depth,))
    assert bins.counts[0] == np.count_nonzero(PLAN.depth == depth) > 0


def test_a_region_may_be_left_out_and_an_empty_bin_has_no_mean() -> None:
    bins = DepthBins.of(PLAN, (*DEPTH_EDGES, 1000.0), within=np.arange(PLAN.valid.size) < 1500)
    assert bins.pixels.max() < 1500
    assert np.isnan(bins.mean_square(np.ones(PLAN.valid.size))[-1])


def test_holes_are_sorted_by_the_disc_of_their_area() -> None:
    """Of known radii: a pixel, discs of 3 and of 20 pixels' radius, and a band; what is excluded has no class."""
    nside, step = 64, float(hp.nside2resol(64))
    valid = np.ones(12 * nside**2, bool)
    places = {0: [hp.ang2pix(nside, 10, 60, lonlat=True)]}
    for number, (lon, radius) in enumerate(((100, 3.0), (190, 20.0)), 1):
        places[number] = hp.query_disc(nside, hp.ang2vec(lon, 50, lonlat=True), radius * step)
    places[3] = hp.query_strip(nside, np.radians(100), np.radians(130))
    for pixels in places.values():
        valid[pixels] = False
    excluded = np.zeros(valid.size, bool)
    excluded[hp.query_disc(nside, [0, 0, -1.0], 5 * step)] = True
    classes = hole_width_classes(InpaintingPlan.from_valid(valid, exclude=excluded))
    for number, pixels in places.items():
        assert np.all(classes[pixels] == number), HOLE_WIDTHS[number]
    assert np.all(classes[valid] == -1) and np.count_nonzero(classes >= 0) == np.count_nonzero(~valid)


def test_what_cannot_be_bins() -> None:
    with pytest.raises(MaskError, match=r"got depth edges \(2.3, 1.3\); expected pixels in ascending order"):
        DepthBins.of(PLAN, (2.3, 1.3))
    with pytest.raises(MaskError, match=r"got \(2,\) pixels and \(1,\) bins"):
        DepthBins(np.arange(2), np.zeros(1, int))
    with pytest.raises(MaskError, match="the bins go beyond 0 to 4"):
        DepthBins(np.arange(2), np.array([0, 5]))
