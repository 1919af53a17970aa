"""On which pixels each hole pixel is conditioned, when hole pixels are taken from coarse to fine.

Takes: a mask. Gives: for each group of hole pixels (`ordering`) its neighbors among the data and among the hole
pixels of earlier groups. Floor: 1.

Most pixels see their nearest neighbors only. The first, which lie far apart and deep, also see some of ever sparser
subsets of the sky: the nearest data alone would all lie on one piece of the rim.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import healpy as hp
import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.harmonics import available_cores
from cmbinpaint.sphere.neighbors import near_holes
from cmbinpaint.sphere.ordering import coarse_to_fine
from cmbinpaint.sphere.pixels import pixel_vectors

# Neighbors of every pixel, and neighbors in each sparser subset, of one pixel in 4², 16², ..., for pixels of groups
# that are SPARSE_FROM pixels apart at least. Measured at nside 128 (Planck-like mask, beam 3 px, noise 3 µK), error
# over the exact mean's at the start and steps to 1e-3 posterior standard deviations: 16 and none 1.041, 9; 16 and 6
# from 4 px 1.020, 9; from 2 px 1.020, 9 (for a seventh more neighbors); 24 and 6 1.012, 7; 12 and 6 1.022, 9.
NEAREST = 16
SPARSE = 6
STRIDES = (4, 16, 64, 256)
SPARSE_FROM = 4
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Group:
    """Hole pixels that are predicted together.

    Attributes
    ----------
    start, stop
        Their places among the ordered hole pixels.
    numbers
        (n, k) int32: neighbors; below ``data.size`` a datum, from there on an ordered hole pixel, of an earlier group.
    present
        (n, k) bool: False where a neighbor stands twice.
    reach
        Largest chord from a pixel to one of its neighbors.
    """

    start: int
    stop: int
    numbers: AnyArray
    present: BoolArray
    reach: float


class Conditioning:
    """The order of hole pixels and the search for their neighbors.

    Attributes
    ----------
    holes
        (n,) int64: RING indices of the hole pixels, ordered.
    data
        (m,) int64: RING indices of the data that can be neighbors.
    depth
        (n,) float64: chord from each hole pixel to the nearest datum; filled as groups are searched.
    """

    def __init__(self, valid: BoolArray) -> None:
        nside = maps.npix_to_nside(valid.size)
        holes = np.flatnonzero(~valid)
        nest = np.asarray(hp.ring2nest(nside, holes))
        order, self._groups = coarse_to_fine(nside, nest)
        self.holes = holes[order]
        self._nest = nest[order]
        self._strides = [s for s in STRIDES if s < nside]
        sparse = np.flatnonzero(valid)
        sparse_nest = np.asarray(hp.ring2nest(nside, sparse))
        on_grid = sparse_nest % STRIDES[0] ** 2 == 0
        sparse, sparse_nest = sparse[on_grid], sparse_nest[on_grid]
        near = near_holes(valid, NEAREST)
        self.data = np.union1d(near, sparse)
        self.vectors = pixel_vectors(nside, np.concatenate([self.data, self.holes]))
        self.depth = np.zeros(self.holes.size)
        self._near = _Searched(self.vectors, np.searchsorted(self.data, near))
        sparse_numbers = np.searchsorted(self.data, sparse)
        self._sparse = {
            s: _Searched(self.vectors, sparse_numbers[sparse_nest % s**2 == 0]) for s in self._strides
        }

    def groups(self) -> Iterator[Group]:
        """Search group after group."""
        for start, stop, spacing in self._groups:
            numbers, reach = self._nearest(start, stop)
            present = np.ones(numbers.shape, dtype=bool)
            if spacing >= SPARSE_FROM and self._strides:
                found = [self._in_subset(start, stop, s) for s in self._strides]
                numbers = np.concatenate([numbers, *(n for n, _ in found)], axis=1)
                present = _first_time(numbers)
                reach = max(reach, *(r for _, r in found))
            yield Group(start, stop, numbers, present, reach)

    def _nearest(self, start: int, stop: int) -> tuple[AnyArray, float]:
        points = self.vectors[self.data.size + start : self.data.size + stop]
        earlier = _Searched(self.vectors, self.data.size + np.arange(start))
        self.depth[start:stop] = self._near.nearest(points)
        return _merged(points, [self._near, earlier], NEAREST)

    def _in_subset(self, start: int, stop: int, stride: int) -> tuple[AnyArray, float]:
        points = self.vectors[self.data.size + start : self.data.size + stop]
        earlier = np.flatnonzero(self._nest[:start] % stride**2 == 0) + self.data.size
        return _merged(points, [self._sparse[stride], _Searched(self.vectors, earlier)], SPARSE)


class _Searched:
    """Some of the vectors, by their numbers, in a tree."""

    def __init__(self, vectors: FloatArray, numbers: AnyArray) -> None:
        self.numbers = numbers.astype(np.int32)
        self._tree = (
            cKDTree(vectors[numbers], balanced_tree=False, compact_nodes=False) if numbers.size else None
        )

    def query(self, points: FloatArray, k: int) -> tuple[FloatArray, AnyArray]:
        """(n, k) chords and numbers of the nearest, fewer columns if there are fewer."""
        if self._tree is None:
            return np.empty((len(points), 0)), np.empty((len(points), 0), dtype=np.int32)
        ranks = np.arange(1, min(k, self.numbers.size) + 1)
        chords, places = self._tree.query(points, ranks, workers=available_cores())
        return chords, self.numbers[places]

    def nearest(self, points: FloatArray) -> FloatArray:
        """(n,) chord to the nearest."""
        return self.query(points, 1)[0][:, 0]


def _merged(points: FloatArray, among: list[_Searched], k: int) -> tuple[AnyArray, float]:
    """(n, k) numbers of the nearest in any of the trees, and the largest chord to one of them."""
    total = min(k, sum(searched.numbers.size for searched in among))
    reach = 0.0
    numbers = np.empty((len(points), total), dtype=np.int32)
    for first in range(0, len(points), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        found = [searched.query(points[chunk], k) for searched in among]
        chord = np.concatenate([c for c, _ in found], axis=1)
        order = np.argsort(chord, axis=1, kind="stable")[:, :total]
        reach = max(reach, float(np.take_along_axis(chord, order, axis=1).max(initial=0.0)))
        numbers[chunk] = np.take_along_axis(np.concatenate([n for _, n in found], axis=1), order, axis=1)
    return numbers, reach


def _first_time(numbers: AnyArray) -> BoolArray:
    """False where a number stood in its row before."""
    order = np.argsort(numbers, axis=1, kind="stable")
    ordered = np.take_along_axis(numbers, order, axis=1)
    again = np.zeros(numbers.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return ~again
