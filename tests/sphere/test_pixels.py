"""Pixel centers against ducc0's own geometry."""

import ducc0
import numpy as np
import pytest

from cmbinpaint.sphere.pixels import pixel_angles, pixel_size, pixel_vectors, pixels_at


@pytest.mark.parametrize("order", ["RING", "NEST"])
def test_centers_agree_with_ducc(order: str) -> None:
    base = ducc0.healpix.Healpix_Base(8, order)
    every = np.arange(768)
    vectors = pixel_vectors(8, nest=order == "NEST")
    np.testing.assert_allclose(vectors, base.pix2vec(every), atol=1e-15)
    if order == "RING":
        assert np.array_equal(pixels_at(8, vectors), every)
        np.testing.assert_allclose(np.stack(pixel_angles(8, every), axis=-1), base.pix2ang(every), atol=1e-14)


def test_size_is_the_side_of_a_square_of_equal_area() -> None:
    assert pixel_size(8) ** 2 * 768 == pytest.approx(4 * np.pi, rel=1e-14)
