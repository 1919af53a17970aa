"""Round holes of CoMBInE's sizes: every width, apart from each other, the same from one seed."""

import numpy as np
import pytest

from cmbinpaint.errors import MaskError
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors
from cmbinpaint.sphere.round_mask import GAP, WIDTHS, round_holes_mask


@pytest.mark.parametrize(("nside", "widths"), [(16, WIDTHS[:1]), (64, WIDTHS[:6]), (128, WIDTHS)])
@pytest.mark.parametrize("seed", [0, 5])
def test_three_holes_of_each_width(nside: int, widths: tuple[int, ...], seed: int) -> None:
    valid = round_holes_mask(nside, seed=seed)
    labels = masks.hole_labels(valid)
    sizes = np.sort(masks.hole_sizes(labels))
    expected = np.repeat([np.pi * (w / 2) ** 2 for w in widths], 3)
    assert len(sizes) == len(expected)  # so that none touches another
    # On the sphere a disc is smaller than in the plane, by 0.6 % at most; the rest are pixels on its edge.
    np.testing.assert_allclose(sizes, expected, rtol=0.01, atol=7)
    assert np.array_equal(valid, round_holes_mask(nside, seed=seed))


def test_holes_are_round_and_have_data_around() -> None:
    nside, step = 128, float(pixel_size(128))
    valid, vectors = round_holes_mask(128), pixel_vectors(128)
    labels = masks.hole_labels(valid)
    for label in range(1, labels.max() + 1):
        hole = vectors[labels == label]
        center = hole.mean(axis=0) / np.linalg.norm(hole.mean(axis=0))
        away = np.arccos(np.clip(vectors @ center, -1, 1)) / step
        radius = away[labels == label].max()
        assert labels[away < radius - 1].min() == label  # nothing observed within
        ring = (away > radius + 1) & (away < radius + GAP - 1.5)
        assert valid[ring].all()
    assert valid.mean() == pytest.approx(0.755, abs=0.01) and nside == 128


def test_coarse_maps_are_refused() -> None:
    with pytest.raises(MaskError, match="round holes need nside 16 or more; got nside 8"):
        round_holes_mask(8)
