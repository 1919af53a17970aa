"""Pixel centers, orders and neighbors against ducc0's own geometry."""

import ducc0
import numpy as np
import pytest

from cmbinpaint.sphere.pixels import (
    nest_to_ring,
    pixel_angles,
    pixel_neighbors,
    pixel_size,
    pixel_vectors,
    pixels_at,
    ring_to_nest,
)

EVERY = np.arange(768)


@pytest.mark.parametrize("order", ["RING", "NEST"])
def test_centers_agree_with_ducc(order: str) -> None:
    base = ducc0.healpix.Healpix_Base(8, order)
    vectors = pixel_vectors(8, nest=order == "NEST")
    np.testing.assert_allclose(vectors, base.pix2vec(EVERY), atol=1e-15)
    if order == "RING":
        assert np.array_equal(pixels_at(8, vectors), EVERY)
        np.testing.assert_allclose(np.stack(pixel_angles(8, EVERY), axis=-1), base.pix2ang(EVERY), atol=1e-14)


def test_orders_are_ducc_s_and_each_other_s_inverse() -> None:
    assert np.array_equal(ring_to_nest(8, EVERY), ducc0.healpix.Healpix_Base(8, "RING").ring2nest(EVERY))
    assert np.array_equal(nest_to_ring(8, ring_to_nest(8, EVERY)), EVERY)


def test_neighbors_touch_and_are_eight_but_for_the_corners() -> None:
    near = pixel_neighbors(8, EVERY)
    assert near.shape == (768, 8) and near.dtype == np.int64
    assert np.count_nonzero((near < 0).any(axis=1)) == 24  # the pixels with seven neighbors
    assert all(pixel in near[other] for pixel, row in enumerate(near) for other in row[row >= 0])
    vectors = pixel_vectors(8)
    apart = np.linalg.norm(vectors[near] - vectors[:, None], axis=-1)
    assert apart[near >= 0].max() < 2.2 * pixel_size(8)
    nested = pixel_neighbors(8, ring_to_nest(8, EVERY), nest=True)
    assert np.array_equal(np.where(nested < 0, -1, nest_to_ring(8, np.maximum(nested, 0))), near)


def test_size_is_the_side_of_a_square_of_equal_area() -> None:
    assert pixel_size(8) ** 2 * 768 == pytest.approx(4 * np.pi, rel=1e-14)
