"""Which observed values each point of the sky sees: pixels, and means over coarse pixels.

Inputs: a mask, the noise variance of the pixels, points. Outputs: `Sight`, the neighbors of each point on each
resolution; `Cells`, the coarse values of a map.

A coarse value is the mean over the observed children of a coarse pixel, at the mean of their places. Coarse
pixels that hold a finer neighbor of the point are passed over: only distant cells are well described by a
smooth window, and near ones would say twice what their pixels say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.harmonics import available_cores
from cmbinpaint.sphere.holes import grow
from cmbinpaint.sphere.pixels import nest_to_ring, pixel_area, pixel_size, pixel_vectors, ring_to_nest

# Numbers in flight at a time: bounds the memory.
CHUNK_NUMBERS = 1 << 18
# A coarse value is the mean of at least this fraction of its children.
MIN_FRACTION = 0.3
# So many coarse pixels at most may hold a finer neighbor of one point and be passed over.
COVERED = 12


@dataclass(frozen=True, eq=False)
class Cells:
    """Coarse pixels as means over their observed children.

    Parameters
    ----------
    factor
        nside of the map over nside of the cells.
    pixels
        (n,) int64, NEST index of each cell at nside/factor.
    children
        (n, factor²) int32, RING index of each child in the map; -1 where it is not observed.
    """

    factor: int
    pixels: IntArray
    children: AnyArray

    def means(self, values: FloatArray) -> FloatArray:
        """(n,) float64: means of a (npix,) map over the observed children; nothing else is read."""
        out = np.empty(len(self.pixels))
        step = max(1, CHUNK_NUMBERS // self.factor**2)
        for start in range(0, len(out), step):
            children = self.children[start : start + step]
            observed = children >= 0
            gathered = np.where(observed, values[children], 0.0)
            out[start : start + step] = gathered.sum(axis=1) / observed.sum(axis=1)
        return out


@dataclass(frozen=True, eq=False)
class Level:
    """All values of one resolution that may serve as neighbors."""

    factor: int
    pixels: IntArray  # (m,) RING index for factor 1, else NEST index at nside/factor
    vectors: FloatArray  # (m, 3) unit vectors: of the pixel, or of the mean of its observed children
    noise: FloatArray  # (m,) variance of the value's noise
    smoothing: float  # variance per axis of the children about their mean, rad²


@dataclass(frozen=True, eq=False)
class Sight:
    """What each point sees: for each level the numbers of its neighbors there, and which of them count."""

    levels: list[Level]
    numbers: list[AnyArray]  # (n, k_level) int32
    present: list[BoolArray]  # (n, k_level)
    largest_chord: float  # no two neighbors of a point are farther apart


def parents(nside: int, pixels: IntArray) -> IntArray:
    """The NEST index at nside/2 of each RING pixel's parent."""
    return ring_to_nest(nside, pixels) >> 2


def near_holes(valid: BoolArray, k: int) -> IntArray:
    """The observed pixels that can be among the k nearest observed ones of a pixel in a hole.

    A neighbor at r pixels from every hole has a disc of diameter r, wholly observed, between itself and the
    target, so that it is among the k nearest only if pi r² / 4 < k. A ring of pixels is at least 0.7 wide.
    """
    nside = maps.npix_to_nside(valid.size)
    rings = int(np.ceil((np.sqrt(4 * k / np.pi) + 2) / 0.7))
    near = np.flatnonzero(grow(~valid, rings, nside) & valid)
    return near if len(near) >= k else np.flatnonzero(valid)


def depths(valid: BoolArray, pixels: IntArray) -> FloatArray:
    """(n,) float64: distance from unobserved pixels to the nearest observed one, in pixels (`nside2resol`)."""
    nside = maps.npix_to_nside(valid.size)
    near = pixel_vectors(nside, near_holes(valid, 1))
    chord = _nearest(near, pixel_vectors(nside, pixels), 1)[0][:, 0]
    return 2 * np.arcsin(chord / 2) / pixel_size(nside)


def _children(nside: int, factor: int, pixels: IntArray) -> IntArray:
    """(n, factor²) RING indices, at nside, of the children of NEST pixels of nside/factor."""
    return nest_to_ring(nside, pixels[:, None] * factor**2 + np.arange(factor**2))


def _coarse_level(valid: BoolArray, noise: FloatArray, factor: int) -> Level:
    """The coarse pixels of which enough children are observed, at the mean of these children's places."""
    nside = maps.npix_to_nside(valid.size)
    parts: list[tuple[IntArray, FloatArray, FloatArray, FloatArray]] = []
    step = max(1, CHUNK_NUMBERS // factor**2)
    for start in range(0, valid.size // factor**2, step):
        pixels = np.arange(start, min(start + step, valid.size // factor**2))
        children = _children(nside, factor, pixels)
        observed = valid[children]
        count = observed.sum(axis=1)
        enough = count >= max(1.0, MIN_FRACTION * factor**2)
        pixels, children, observed, count = pixels[enough], children[enough], observed[enough], count[enough]
        vectors = np.where(observed[..., None], pixel_vectors(nside, children), 0.0)
        mean = vectors.sum(axis=1) / count[:, None]
        length = np.linalg.norm(mean, axis=1)
        # |v - mean|² averaged is 1 - |mean|² for unit vectors; half of it lies along each axis.
        spread = np.where(count == factor**2, (1 - length**2) / 2, np.nan)
        variance = np.where(observed, noise[children], 0.0).sum(axis=1) / count**2
        parts.append((pixels, mean / length[:, None], variance, spread))
    pixels, vectors, variance, spread = (np.concatenate(column) for column in zip(*parts, strict=True))
    whole = spread[np.isfinite(spread)]
    smoothing = float(whole.mean()) if whole.size else pixel_area(nside // factor) / 12
    return Level(factor, pixels, vectors, variance, smoothing)


def look(
    valid: BoolArray,
    noise: FloatArray,
    points: FloatArray,
    counts: Sequence[int],
    factors: Sequence[int],
    nearby: bool,
) -> Sight:
    """Find the neighbors of every point on every level."""
    nside = maps.npix_to_nside(valid.size)
    pixels = near_holes(valid, counts[0]) if nearby else np.flatnonzero(valid)
    level = Level(1, pixels, pixel_vectors(nside, pixels), noise[pixels], 0.0)
    chord, number = _nearest(level.vectors, points, counts[0])
    levels, numbers, present = [level], [number], [np.ones(number.shape, dtype=bool)]
    largest = chord[:, -1].max(initial=0.0)
    used = ring_to_nest(nside, pixels)[number]  # what is used already, as pixels of the level at hand
    for finer, factor, k in zip(factors, factors[1:], counts[1:], strict=False):
        level = _coarse_level(valid, noise, factor)
        if not len(level.pixels):
            break
        used //= (factor // finer) ** 2
        chord, number = _nearest(level.vectors, points, k + COVERED)
        own = level.pixels[number]
        covered = np.zeros(number.shape, dtype=bool)
        for column in used.T:
            covered |= own == column[:, None]
        first = np.argsort(covered, axis=1, kind="stable")[:, :k]
        levels.append(level)
        numbers.append(np.take_along_axis(number, first, axis=1))
        present.append(~np.take_along_axis(covered, first, axis=1))
        largest = max(largest, np.take_along_axis(chord, first, axis=1).max(initial=0.0))
        used = np.concatenate([used, np.take_along_axis(own, first, axis=1)], axis=1)
    return Sight(levels, numbers, present, float(2 * largest))


def _nearest(vectors: FloatArray, points: FloatArray, k: int) -> tuple[FloatArray, AnyArray]:
    """(n, k) chords and numbers of the k nearest vectors, all of them if there are fewer."""
    ranks = np.arange(1, min(k, len(vectors)) + 1)
    chord, number = cKDTree(vectors, balanced_tree=False).query(points, ranks, workers=available_cores())
    return chord, number.astype(np.int32)


def number_neighbors(valid: BoolArray, sight: Sight) -> tuple[AnyArray, tuple[Cells, ...]]:
    """Neighbors as indices into (map, means of the cells in use), and these cells with their children."""
    nside = maps.npix_to_nside(valid.size)
    columns = [sight.levels[0].pixels[sight.numbers[0]].astype(np.int32)]
    cells: list[Cells] = []
    start = valid.size
    for level, number in zip(sight.levels[1:], sight.numbers[1:], strict=True):
        used, place = np.unique(number, return_inverse=True)
        children = _children(nside, level.factor, level.pixels[used])
        children = np.where(valid[children], children, -1).astype(np.int32)
        cells.append(Cells(level.factor, level.pixels[used], children))
        columns.append((place.reshape(number.shape) + start).astype(np.int32))
        start += len(used)
    return np.concatenate(columns, axis=1), tuple(cells)
