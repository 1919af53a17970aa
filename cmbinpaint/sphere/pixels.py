"""Where HEALPix pixels lie. Inputs: RING indices or directions. Outputs: the other."""

import healpy as hp
import numpy as np

from cmbinpaint._types import AnyArray, FloatArray, IntArray

_CHUNK = 1 << 20


def pixel_vectors(nside: int, pixels: AnyArray | None = None, *, nest: bool = False) -> FloatArray:
    """Unit vectors (..., 3) of pixel centers; of all pixels if none are named."""
    if pixels is None:
        pixels = np.arange(12 * nside**2)
    return np.stack(hp.pix2vec(nside, pixels, nest=nest), axis=-1)


def pixel_component(nside: int, axis: int) -> FloatArray:
    """(npix,) x, y or z of the unit vectors of all pixels; never all three in memory."""
    component = np.empty(12 * nside**2)
    for start in range(0, component.size, _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, component.size))
        component[chunk] = hp.pix2vec(nside, chunk)[axis]
    return component


def pixel_angles(nside: int, pixels: AnyArray) -> tuple[FloatArray, FloatArray]:
    """Colatitude and longitude of pixel centers (RING), radians."""
    theta, phi = hp.pix2ang(nside, pixels)
    return theta, phi


def pixel_rings(nside: int, pixels: AnyArray) -> tuple[IntArray, FloatArray]:
    """The ring of each RING pixel, from 0 at the north pole, and its longitude."""
    return hp.pix2ring(nside, pixels) - 1, hp.pix2ang(nside, pixels)[1]


def pixels_at(nside: int, vectors: FloatArray) -> IntArray:
    """RING index of the pixel that each unit vector (..., 3) falls in."""
    return hp.vec2pix(nside, vectors[..., 0], vectors[..., 1], vectors[..., 2])


def pixels_at_angles(nside: int, theta: FloatArray, phi: FloatArray) -> IntArray:
    """RING indices of the pixels that hold points of colatitude theta and longitude phi, in radians."""
    return np.asarray(hp.ang2pix(nside, theta, phi), dtype=np.int64)


def ring_to_nest(nside: int, pixels: AnyArray) -> IntArray:
    """NESTED indices of pixels given by their RING indices."""
    return np.asarray(hp.ring2nest(nside, pixels), dtype=np.int64)


def nest_to_ring(nside: int, pixels: AnyArray) -> IntArray:
    """RING indices of pixels given by their NESTED indices."""
    return np.asarray(hp.nest2ring(nside, pixels), dtype=np.int64)


def nest_to_grid(nside: int, pixels: AnyArray) -> tuple[IntArray, IntArray, IntArray]:
    """Column, row and base pixel of NESTED indices, in the nside by nside grid of each base pixel."""
    x, y, face = hp.pix2xyf(nside, pixels, nest=True)
    return x, y, face


def grid_to_nest(nside: int, x: AnyArray, y: AnyArray, face: AnyArray) -> IntArray:
    """NESTED indices of columns and rows of base pixels' grids."""
    return np.asarray(hp.xyf2pix(nside, x, y, face, nest=True), dtype=np.int64)


def pixel_neighbors(nside: int, pixels: AnyArray, *, nest: bool = False) -> IntArray:
    """The 8 neighbors of each pixel, (n, 8); -1 where a pixel has only 7 (or 6)."""
    return np.ascontiguousarray(hp.get_all_neighbours(nside, pixels, nest=nest).T, dtype=np.int64)


def pixel_size(nside: int) -> float:
    """The side of a square with a pixel's area, radians."""
    return float(hp.nside2resol(nside))
