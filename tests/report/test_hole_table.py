"""Holes one by one and by size, against holes that were planted."""

import healpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MaskError
from cmbinpaint.report import hole_table as subject
from cmbinpaint.sphere import masks

NSIDE = 32
NPIX = 12 * NSIDE**2
PIXEL_DEG = float(np.degrees(healpy.nside2resol(NSIDE)))


def planted(*discs: tuple[float, float, float]) -> np.ndarray:
    """True in discs of (lon, lat, radius) in degrees."""
    region = np.zeros(NPIX, bool)
    for lon, lat, radius in discs:
        region[healpy.query_disc(NSIDE, healpy.ang2vec(lon, lat, lonlat=True), np.radians(radius))] = True
    return region


def test_discs_are_found_where_they_were_planted() -> None:
    discs = [(40.0, 50.0, 20.0), (200.0, -30.0, 12.0), (300.0, 0.0, 8.0)]
    region = planted(*discs)
    table = subject.hole_table(region, masks.depth(~region))
    assert table.n_holes == 3 and table.n_pixels == region.sum()
    for hole, (lon, lat, radius) in zip(table.largest, discs, strict=True):
        center = healpy.ang2vec(lon, lat, lonlat=True)
        found = healpy.ang2vec(hole.lon_deg, hole.lat_deg, lonlat=True)
        # The deepest pixel of a disc lies within a pixel or so of its center, in a pixelized rim's play.
        assert np.degrees(np.arccos(min(1.0, center @ found))) < 1.5 * PIXEL_DEG
        assert hole.n_pixels == planted((lon, lat, radius)).sum()
        assert hole.area_deg2 == pytest.approx(hole.n_pixels * healpy.nside2pixarea(NSIDE, degrees=True))
        assert hole.radius_deg == pytest.approx(radius, abs=2 * PIXEL_DEG)
        assert hole.depth * PIXEL_DEG == pytest.approx(radius, abs=2 * PIXEL_DEG)


def test_a_hole_around_the_sky_reaches_the_other_side() -> None:
    theta, _ = healpy.pix2ang(NSIDE, np.arange(NPIX))
    region = np.abs(theta - np.pi / 2) < 0.2
    (hole,) = subject.hole_table(region, masks.depth(~region)).largest
    assert 165 < hole.radius_deg <= 180 and abs(hole.lat_deg) < 2 * PIXEL_DEG


@given(st.lists(st.integers(0, NPIX - 1), min_size=2, max_size=60, unique=True), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_typical_hole_splits_the_pixels_outside_the_largest(seeds: list[int], seed: int) -> None:
    region = np.zeros(NPIX, bool)
    region[seeds] = True
    grown = np.random.default_rng(seed).choice(seeds, len(seeds) // 2, replace=False)
    near = healpy.get_all_neighbours(NSIDE, grown)
    region[near[near >= 0]] = True
    table = subject.hole_table(region, masks.depth(~region), most=3)
    sizes = np.sort(masks.hole_sizes(masks.hole_labels(~region)))[::-1]
    assert [hole.n_pixels for hole in table.largest] == sizes[:3].tolist()
    assert sum(c.holes for c in table.classes) == sizes.size == table.n_holes
    assert sum(c.pixels for c in table.classes) == sizes.sum() == table.n_pixels
    if sizes.size == 1:
        assert table.typical is None
        return
    assert table.typical is not None
    others, size = sizes[1:], table.typical.n_pixels
    assert size in others
    assert others[others < size].sum() < others.sum() / 2 <= others[others <= size].sum()


def test_the_typical_hole_is_weighted_by_pixels() -> None:
    """Five single pixels and two holes of three: half of the eleven pixels lie in holes of more than one."""
    lonely = [healpy.ang2pix(NSIDE, lon, 60.0, lonlat=True) for lon in (0, 50, 100, 150, 200)]
    region = planted((0.0, -60.0, 15.0))
    region[lonely] = True
    for lon in (100.0, 200.0):
        start = healpy.ang2pix(NSIDE, lon, 0.0, lonlat=True)
        region[[start, start + 1, start + 2]] = True
    table = subject.hole_table(region, masks.depth(~region))
    assert table.typical is not None and table.typical.n_pixels == 3


def test_the_typical_hole_keeps_away_from_the_largest_one() -> None:
    """Of equal single pixels, the one at median distance."""
    single = [healpy.ang2pix(NSIDE, 0.0, lat, lonlat=True) for lat in (28.0, 45.0, 70.0, 80.0, 88.0)]
    region = planted((0.0, 0.0, 25.0))
    region[single] = True
    table = subject.hole_table(region, masks.depth(~region))
    assert table.typical is not None and table.typical.n_pixels == 1
    assert table.typical.lat_deg == pytest.approx(70.0, abs=PIXEL_DEG)


def test_every_hole_is_in_one_class() -> None:
    edges = [edge for low, high in subject.SIZE_CLASSES for edge in (low, high)]
    assert edges[0] == 1 and edges[-1] is None
    assert all(b == a + 1 for a, b in zip(edges[1:-1:2], edges[2::2], strict=True))


def test_no_hole_is_an_error() -> None:
    with pytest.raises(MaskError, match="no holes, so there are none to describe; give the mask"):
        subject.hole_table(np.zeros(NPIX, bool), np.zeros(NPIX))
