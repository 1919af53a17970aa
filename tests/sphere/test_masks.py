"""Holes, depths, neighbors and masks against brute force on all pairs of pixels."""

import time

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from cmbinpaint.errors import MaskError, UnitsError
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.pixels import pixel_neighbors

# Chords of nearby unit vectors lose half the digits of float64 in the angle.
ANGLE_ROUNDING = 1e-7


def centers(nside):
    return np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)), axis=-1)


def all_angles(nside):
    x = centers(nside)
    return 2 * np.arcsin(np.minimum(np.linalg.norm(x[:, None] - x[None], axis=-1) / 2, 1))


def flooded(valid, nside):
    """Labels by flood fill, pixel by pixel."""
    labels, n = np.zeros(valid.size, dtype=int), 0
    for seed in np.flatnonzero(~valid):
        if labels[seed]:
            continue
        n += 1
        stack = [seed]
        while stack:
            pixel = stack.pop()
            if pixel < 0 or valid[pixel] or labels[pixel]:
                continue
            labels[pixel] = n
            stack += list(hp.get_all_neighbours(nside, pixel))
    return labels


@st.composite
def valids(draw, nsides=(1, 2, 4, 8)):
    """Masks with discs, random pixels, or half the sky missing; at least one pixel observed."""
    nside = draw(st.sampled_from(nsides))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = centers(nside)
    valid = rng.random(len(x)) < draw(st.sampled_from([0.05, 0.3, 0.7, 0.95, 1.0]))
    pole = draw(st.sampled_from([(0, 0, 1), (0, 0, -1), (1, 0, 0), None]))
    center = rng.normal(size=3) if pole is None else np.array(pole, dtype=float)
    valid &= x @ center / np.linalg.norm(center) < np.cos(draw(st.floats(0, 1.6)))
    valid[rng.integers(len(x))] = True
    return nside, valid


@settings(max_examples=60, deadline=None)
@given(valids())
def test_holes_are_those_of_a_flood_fill(case):
    nside, valid = case
    labels = masks.hole_labels(valid)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, flooded(valid, nside))
    np.testing.assert_array_equal(masks.hole_sizes(labels), np.bincount(labels)[1:])


@settings(max_examples=60, deadline=None)
@given(valids(nsides=(2, 4, 8)), st.sampled_from([1, 2, 7, 16, 40]))
def test_nearest_observed_is_that_of_all_pairs(case, k):
    nside, valid = case
    k = min(k, int(valid.sum()))
    targets, pixels, angles = masks.nearest_observed(valid, k)
    np.testing.assert_array_equal(targets, np.flatnonzero(~valid))
    assert pixels.shape == angles.shape == (targets.size, k)
    assert valid[pixels].all()
    every = all_angles(nside)[targets]
    np.testing.assert_allclose(angles, np.sort(every[:, valid], axis=1)[:, :k], rtol=0, atol=ANGLE_ROUNDING)
    np.testing.assert_allclose(np.take_along_axis(every, pixels, axis=1), angles, rtol=0, atol=ANGLE_ROUNDING)
    depth = masks.depth(valid)
    assert (depth[valid] == 0).all()
    np.testing.assert_allclose(
        depth[targets], angles[:, 0] / hp.nside2resol(nside), rtol=0, atol=ANGLE_ROUNDING * nside
    )


@pytest.mark.parametrize("nside", [2, 4, 8, 32])
def test_delaunay_neighbors_are_among_the_eight(nside):
    """Why a search among pixels that touch holes finds the nearest observed one."""
    triangles = ConvexHull(centers(nside), qhull_options="Qt").simplices
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    near = pixel_neighbors(nside, np.arange(12 * nside**2))
    assert (near[pairs[:, 0]] == pairs[:, 1:]).any(axis=1).all()


def test_nearest_observed_of_given_targets():
    valid = np.ones(192, dtype=bool)
    valid[[3, 50]] = False
    targets, pixels, angles = masks.nearest_observed(valid, 2, targets=np.array([7, 3]))
    assert targets.tolist() == [7, 3] and pixels[0, 0] == 7 and angles[0, 0] == 0 and angles[1, 0] > 0
    with pytest.raises(
        MaskError, match="191 nearest observed pixels were requested; the mask has 190 observed"
    ):
        masks.nearest_observed(valid, 191)


def test_depths_of_single_pixels():
    nside = 16
    for pixel in range(0, 12 * nside**2, 37):
        valid = np.ones(12 * nside**2, dtype=bool)
        valid[pixel] = False
        assert 0.75 < masks.depth(valid)[pixel] < 1.1
    with pytest.raises(MaskError, match="all pixels are masked: nothing is observed"):
        masks.depth(np.zeros(12, dtype=bool))


@settings(max_examples=30, deadline=None)
@given(valids(), st.integers(0, 4))
def test_guard_turns_off_rings(case, rings):
    nside, valid = case
    table = pixel_neighbors(nside, np.arange(12 * nside**2))
    expected = valid.copy()
    for _ in range(rings):
        touched = np.zeros_like(valid)
        near = table[~expected]
        touched[near[near >= 0]] = True
        expected &= ~touched
    np.testing.assert_array_equal(masks.guard(valid, rings), expected)


def test_guard_refuses_negative_rings():
    with pytest.raises(MaskError, match="guard is a number of rings of pixels, 0 or more; got -1"):
        masks.guard(np.ones(12, dtype=bool), -1)


@settings(max_examples=20, deadline=None)
@given(valids(nsides=(4, 8)), st.floats(1, 60))
def test_apodized_weights_follow_the_distance_to_holes(case, radius):
    nside, valid = case
    weights, steeper = masks.apodize(valid, radius), masks.apodize(valid, radius, "C1")
    assert (weights[~valid] == 0).all() and (steeper[~valid] == 0).all()
    if valid.all():
        assert (weights == 1).all() and (steeper == 1).all()
        return
    angle = all_angles(nside)[:, ~valid].min(axis=1)
    x = np.sqrt((1 - np.cos(angle)) / (1 - np.cos(np.radians(radius))))
    np.testing.assert_allclose(
        weights, 0.5 * (1 - np.cos(np.pi * np.minimum(x, 1))), rtol=0, atol=10 * ANGLE_ROUNDING
    )
    x = np.minimum(x, 1)
    np.testing.assert_allclose(steeper, x - np.sin(2 * np.pi * x) / (2 * np.pi), atol=20 * ANGLE_ROUNDING)


def test_apodize_refuses_a_radius_that_is_none():
    with pytest.raises(MaskError, match="an apodization radius is 0 to 90 degrees; got -1"):
        masks.apodize(np.ones(12, dtype=bool), -1)
    with pytest.raises(MaskError, match="the taper of an apodization is C1 or C2; got 'C3'"):
        masks.apodize(np.ones(12, dtype=bool), 1, "C3")


def test_a_hundred_thousand_holes_of_one_pixel():
    nside = 256
    valid = np.ones(12 * nside**2, dtype=bool)
    # In NESTED order one of each four by four block: never neighbors within a base pixel or across.
    valid[hp.nest2ring(nside, np.arange(0, 12 * nside**2, 16) + 3)] = False
    valid[hp.nest2ring(nside, np.arange(0, 12 * nside**2, 16) + 12)] = False
    start = time.perf_counter()
    labels = masks.hole_labels(valid)
    assert labels.max() > 49_000 and masks.depth(valid).max() < 2
    assert time.perf_counter() - start < 30


# --- taking a user's mask ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">f4", np.float16, np.float64])
@pytest.mark.parametrize("nest", [False, True])
def test_masks_of_any_type_come_in(dtype, nest):
    valid = np.random.default_rng(3).random(768) > 0.4
    given = (hp.reorder(valid.astype(float), r2n=True) > 0.5 if nest else valid).astype(dtype)
    given.flags.writeable = False
    for shape in ((768,), (1, 768), (768, 1)):
        out = masks.validate_mask(given.reshape(shape), 8, nest=nest)
        assert out.dtype == bool
        np.testing.assert_array_equal(out, valid)
    np.testing.assert_array_equal(masks.validate_mask(given, nest=nest), valid)


@pytest.mark.parametrize(
    "kind", [np.ma.masked_array, Masked, lambda data, mask: Masked(data * u.one, mask=mask)]
)
def test_hidden_entries_are_holes_or_what_is_said(kind):
    values = kind(np.where(np.arange(12) == 7, 0.0, 1.0), mask=np.arange(12) == 4)
    assert np.flatnonzero(~masks.validate_mask(values)).tolist() == [4, 7]
    assert np.flatnonzero(~masks.validate_mask(values, hidden=True)).tolist() == [7]


def test_quantities_are_masks_if_pure_numbers():
    assert np.flatnonzero(~masks.validate_mask(np.array([100.0] * 11 + [0]) * u.percent)).tolist() == [11]
    with pytest.raises(UnitsError, match="the mask is a Quantity in 'uK'; a bare number was expected"):
        masks.validate_mask(np.ones(12) * u.uK)


def test_thresholds_cut():
    soft = np.linspace(0, 1.1, 12)
    np.testing.assert_array_equal(masks.validate_mask(soft, 1, threshold=0.5), soft >= 0.5)


ONES = np.ones(48)
MAP = np.where(np.arange(48) == 7, -120.5, 119.9 * np.sin(np.arange(48.0)))


@pytest.mark.parametrize(
    ("mask", "options", "text"),
    [
        (
            "mask.fits",
            {},
            "the mask is not an array of 0 and 1: got str of dtype <U9: is it a path. read_mask reads a file",
        ),
        (np.array([object()] * 12), {}, "got ndarray of dtype object"),
        (ONES * 1j, {}, "got ndarray of dtype complex128"),
        (1.0, {}, "the mask is no array of 12 nside..2 pixels: got float of shape .."),
        ([], {}, "got list of shape .0,."),
        (np.ones((3, 48)), {}, "the mask has shape .3, 48.; one of shape .npix,. was expected"),
        (
            np.ones(50),
            {},
            "the mask does not fit: a map of 50 pixels is not a HEALPix map .* nearest lengths are 48",
        ),
        (ONES, {"nside": 4}, "the mask has nside 2, the map nside 4; bring it to .*\n.*healpy.ud_grade"),
        (ONES, {"nside": 4, "nest": True}, 'order_in="NESTED"'),
        (
            np.where(np.arange(48) == 5, 0.5, ONES),
            {},
            "1 pixel of the mask is neither 0 nor 1, the first at index 5",
        ),
        (
            np.where(np.arange(48) == 5, 0.5, ONES),
            {},
            "if it is apodized, threshold=0.9 .--mask-threshold 0.9. sets from which value on",
        ),
        (
            np.where(np.arange(48) > 40, np.nan, ONES),
            {},
            "7 pixels of the mask are NaN, the first at index 41",
        ),
        (np.where(np.arange(48) == 5, -1, ONES), {}, "1 pixel of the mask is negative, the first at index 5"),
        *(
            (
                MAP * unit,
                {"what": what},
                f"the {what} looks like a map, not a mask: its values go from -{low:g} to",
            )
            for unit, low, what in ((1, 120.5, "mask"), (1e-6, 0.0001205, "exclude mask"))
        ),
        (
            abs(MAP),
            {},
            "looks like a map, .* to 120.5; 1 where observed .* .--mask-field names another column",
        ),
        (
            np.where(np.arange(48) == 5, hp.UNSEEN, MAP),
            {},
            "looks like a map, not a mask: its values go from -120.5 to",
        ),
        (ONES + 0.01 * np.sin(np.arange(48)), {}, "48 pixels|47 pixels of the mask are neither 0 nor 1"),
        (np.where(np.arange(48) == 5, hp.UNSEEN, ONES), {}, "UNSEEN .-1.6375e30., the first at index 5"),
        (
            ONES * 0.5,
            {"what": "exclude mask"},
            "48 pixels of the exclude mask are .* threshold=0.9 .--exclude-threshold 0.9.",
        ),
        *(
            (ONES, {"threshold": odd}, "threshold .--mask-threshold. is .*; expected a number above 0")
            for odd in ("x", [1], np.nan, 1j)
        ),
        (ONES, {"threshold": 0.0}, "threshold .--mask-threshold. is 0.0; expected a number above 0"),
    ],
)
def test_what_is_no_mask_is_refused(mask, options, text):
    with pytest.raises(MaskError, match=text):
        masks.validate_mask(mask, **options)


def test_valid_must_be_bool():
    with pytest.raises(MaskError, match=r"valid must be bool of shape .npix,., True = observed; got float64"):
        masks.hole_labels(ONES)


def test_fsky_is_the_mean_weight():
    assert masks.fsky(np.array([True, False, True, True])) == 0.75


# --- the generator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_planck_like_mask_looks_like_plancks(seed):
    drawn = {nside: masks.planck_like_mask(nside, seed=seed) for nside in (64, 128, 256)}
    for nside, valid in drawn.items():
        assert 0.74 < valid.mean() < 0.79
        np.testing.assert_array_equal(valid, masks.planck_like_mask(nside, seed=seed))
    sizes = masks.hole_sizes(masks.hole_labels(drawn[128]))
    assert 2000 < sizes.size < 4000  # Planck's at this nside: 3206 holes, the largest 28298 pixels
    assert 20_000 < sizes.max() < 40_000
    assert np.count_nonzero(sizes <= 10) > 0.8 * sizes.size
    # The same sky at each nside: nearly all of the coarse holes are holes in the fine map.
    coarse = hp.ud_grade(drawn[256].astype(float), 64)
    assert np.corrcoef(coarse, drawn[64])[0, 1] > 0.85


def test_seeds_differ_and_must_be_whole():
    assert np.mean(masks.planck_like_mask(32, seed=0) != masks.planck_like_mask(32, seed=1)) > 0.1
    assert masks.planck_like_mask(1).shape == (12,)
    with pytest.raises(MaskError, match="seed must be a whole number, 0 or more; got -1"):
        masks.planck_like_mask(16, seed=-1)


def test_a_radius_of_zero_gives_the_mask() -> None:
    valid = np.arange(192) > 30
    assert np.array_equal(masks.apodize(valid, 0), valid.astype(float))


def test_a_length_that_no_mask_has() -> None:
    with pytest.raises(MaskError, match="the mask does not fit"):
        masks.depth(np.ones(50, bool))
