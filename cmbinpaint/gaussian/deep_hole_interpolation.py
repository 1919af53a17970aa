"""Deep in a hole a prediction is smooth: it is computed at coarser places and interpolated.

Inputs: a mask and the pixels to predict. Outputs: the places to predict at, and `Interpolation`, which leads from
there to the pixels.

A pixel at a depth of d pixels sees data through an opening d wide, and what can be predicted varies as slowly.
Places are centers of coarser pixels, of a side of at most a quarter of the depth, and the interpolation is
HEALPix's bilinear one. It evens out the small steps where a new neighbor comes into sight, so that the error
does not grow.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.neighbors import CHUNK_NUMBERS, depths
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.pixels import bilinear_weights, pixel_angles, pixel_vectors

# Depth over the side of the pixels to interpolate between, at least.
DEPTH_PER_STEP = 4.0


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The last targets as means of four predictions each.

    Parameters
    ----------
    direct
        How many targets, the first, are predicted themselves.
    places
        (n, 4) int32: rows of the predictions that each other target is interpolated from.
    weights
        (n, 4) float32, the bilinear weights.
    """

    direct: int
    places: AnyArray
    weights: AnyArray

    def apply(self, predictions: FloatArray) -> FloatArray:
        """(direct + n,) float64 from all predictions."""
        out = np.empty(self.direct + len(self.places))
        out[: self.direct] = predictions[: self.direct]
        deep = out[self.direct :]
        for start in range(0, len(deep), CHUNK_NUMBERS):
            chunk = slice(start, start + CHUNK_NUMBERS)
            around = predictions[self.places[chunk]]
            first = around[:, 0].copy()
            around -= first[:, None]  # a large constant goes through whole
            deep[chunk] = np.einsum("nk,nk->n", self.weights[chunk], around) + first
        return out


def thin_out(valid: BoolArray, targets: IntArray) -> tuple[IntArray, FloatArray, Interpolation | None]:
    """Choose where to predict.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where observed.
    targets
        (n,) int64, RING indices of unobserved pixels.

    Returns
    -------
    targets
        (n,) int64, in a new order: direct ones first.
    points
        (m, 3) float64 unit vectors to predict at: of the direct targets, then of the coarser places.
    interpolation
        From the predictions at the points to those at the targets; None if all are direct.
    """
    nside = maps.npix_to_nside(valid.size)
    ratio = depths(valid, targets) / DEPTH_PER_STEP
    factor = np.where(ratio < 2, 1, 1 << np.log2(np.maximum(ratio, 1)).astype(np.int64))
    factor = np.minimum(factor, nside)
    order, points = [targets[factor == 1]], [pixel_vectors(nside, targets[factor == 1])]
    places: list[AnyArray] = []
    weights: list[AnyArray] = []
    start = direct = len(order[0])
    for step in np.unique(factor[factor > 1]).tolist():
        own = targets[factor == step]
        around, weight = _bilinear(nside, own, nside // step)
        centers, place = np.unique(around, return_inverse=True)
        order.append(own)
        points.append(pixel_vectors(nside // step, centers))
        places.append((place.reshape(around.shape) + start).astype(np.int32))
        weights.append(weight)
        start += len(centers)
    if not places:
        return order[0], points[0], None
    interpolation = Interpolation(direct, np.concatenate(places), np.concatenate(weights))
    return np.concatenate(order), np.concatenate(points), interpolation


def _bilinear(nside: int, pixels: IntArray, nside_coarse: int) -> tuple[AnyArray, AnyArray]:
    """(n, 4) RING pixels of the coarser nside around each pixel's center, and their weights."""
    around = np.empty((len(pixels), 4), dtype=np.int32)
    weights = np.empty((len(pixels), 4), dtype=np.float32)
    for start in range(0, len(pixels), CHUNK_NUMBERS):
        chunk = slice(start, start + CHUNK_NUMBERS)
        around[chunk], weights[chunk] = bilinear_weights(nside_coarse, *pixel_angles(nside, pixels[chunk]))
    return around, weights
