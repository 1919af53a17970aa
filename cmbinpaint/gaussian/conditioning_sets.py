"""On which pixels each hole pixel is conditioned, when hole pixels are taken from coarse to fine.

Inputs: a mask. Outputs: for each group of hole pixels (`ordering`) its neighbors among the data and among the hole
pixels of earlier groups.

Most pixels see their nearest neighbors only. The first, which lie far apart and deep, also see some of ever sparser
subsets of the sky: the nearest data alone would all be on one side of the hole. For a solver, which makes up for it,
pixels deep in holes share the patterns of their neighbors (`neighbor_patterns`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._machine import available_cores
from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.neighbor_patterns import Lattice, Patterns
from cmbinpaint.gaussian.ordering import coarse_to_fine
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.holes import grow
from cmbinpaint.sphere.pixels import pixel_vectors, ring_to_nest

# Neighbors of every pixel; twice as many are twice as good, and cost twice the memory.
NEAREST = 16
# Of so many nearest neighbors or more: (spacing from which on, nearest neighbors, neighbors in each sparser subset).
# What the few pixels of coarse groups miss all others inherit; a solver, whose start has few neighbors, makes up for it
# in a step. Measured by benchmarks/neighbors.py (docs/measured.md).
COARSE = {
    1: ((16, 0, 12), (4, 0, 6)),
    32: ((16, 96, 32), (8, 48, 12), (4, 0, 6)),
    64: ((16, 192, 64), (8, 96, 32), (4, 0, 8)),
}
_WIDER_FROM = 1024  # nside; beyond it a solver's spacings stay as wide on the sky
STRIDES = (4, 16, 64, 256)
# Pixels handled at a time: bounds the memory.
_PIECE = 1 << 19
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class Group:
    """Hole pixels that are predicted together: one group of the order, or a piece of it.

    Attributes
    ----------
    start, stop
        Their positions among the ordered hole pixels.
    numbers
        (n, k) int32: neighbors; below ``data.size`` a datum, from there on an ordered hole pixel, of an earlier group.
    present
        (n, k) bool: False where a neighbor is listed twice.
    reach
        Largest chord from a pixel to one of its neighbors.
    patterns
        Of the group's blocks; None: each pixel has neighbors of its own.
    pattern
        (n,) int: which of the patterns a pixel's neighbors follow, -1 for none; None without patterns.
    """

    start: int
    stop: int
    numbers: AnyArray
    present: BoolArray
    reach: float
    patterns: Patterns | None = None
    pattern: AnyArray | None = None


# From the bounds of some pixels of a group and where they are to their neighbors.
_Search = Callable[[int, int, FloatArray], Group]


class Conditioning:
    """The order of hole pixels and the search for their neighbors.

    Attributes
    ----------
    holes
        (n,) int64: RING indices of the hole pixels, ordered.
    data
        (m,) int64: RING indices of the data that can be neighbors; in no order.
    depth
        (n,) float64: chord from each hole pixel to the nearest datum; filled as groups are searched.
    """

    def __init__(self, valid: BoolArray, nearest: int = NEAREST, targets: BoolArray | None = None) -> None:
        nside = maps.npix_to_nside(valid.size)
        self.nearest = nearest
        holes = np.flatnonzero(~valid if targets is None else targets)
        nest = ring_to_nest(nside, holes)
        order, self._groups = coarse_to_fine(nside, nest)
        self.holes = holes[order]
        self._nest = nest[order]
        self._nside = nside
        quick = nearest <= NEAREST and targets is None and Lattice.has_patterns(nside, 1)
        self._lattice = Lattice(nside, self._nest) if quick else None
        self._strides = [s for s in STRIDES if s < nside]
        near = near_holes(valid, nearest)  # coarse groups too look among these only
        sparse = np.flatnonzero(valid)
        sparse = sparse[ring_to_nest(nside, sparse) % STRIDES[0] ** 2 == 0]
        self.data = np.concatenate([near, np.setdiff1d(sparse, near, assume_unique=True)])
        self.vectors = pixel_vectors(nside, np.concatenate([self.data, self.holes]))
        self.depth = np.zeros(self.holes.size)
        self._near = _Tree(self.vectors, 0, near.size)
        data_nest = ring_to_nest(nside, self.data)
        self._sparse = {
            s: _Tree.some(self.vectors, np.flatnonzero(data_nest % s**2 == 0)) for s in self._strides
        }

    def groups(self) -> Iterator[Group]:
        """Search group after group; large groups come in pieces."""
        for first, last, spacing in self._groups:
            k, sparse = neighbors_at(spacing, self.nearest, self._nside)
            if self._lattice is not None and not sparse and self._lattice.has_patterns(self._nside, spacing):
                search = self._patterned(self._lattice, first, last, spacing)
            else:
                search = self._searched(first, k, sparse)
            for start in range(first, last, _PIECE):
                stop = min(start + _PIECE, last)
                points = self.vectors[self.data.size + start : self.data.size + stop]
                self.depth[start:stop] = self._near.nearest(points)
                yield search(start, stop, points)

    def _searched(self, first: int, k: int, sparse: int) -> _Search:
        """The search for each pixel's own neighbors among data and the hole pixels before the first of its group."""
        n_data = self.data.size
        among = [self._near, _Tree(self.vectors, n_data, n_data + first)]
        subsets = [self._subset(first, stride) for stride in self._strides] if sparse else []

        def search(start: int, stop: int, points: FloatArray) -> Group:
            numbers, reach = _merged(points, among, k)
            present = np.ones(numbers.shape, dtype=bool)
            if subsets:
                found = [_merged(points, subset, sparse) for subset in subsets]
                numbers = np.concatenate([numbers, *(n for n, _ in found)], axis=1)
                present = _first_time(numbers)
                reach = max(reach, *(r for _, r in found))
            return Group(start, stop, numbers, present, reach)

        return search

    def _patterned(self, lattice: Lattice, first: int, last: int, spacing: int) -> _Search:
        """The search where pixels have the neighbors of their block's pattern, if they can, or else their own."""
        patterns = lattice.patterns(first, last, spacing, self.nearest)
        rest = lattice.candidates(first, spacing, self.depth, patterns.reach) + self.data.size
        among = [self._near, _Tree.some(self.vectors, rest)]

        def search(start: int, stop: int, points: FloatArray) -> Group:
            pattern, numbers = lattice.follow(patterns, start, stop, spacing, self.depth[start:stop])
            numbers += self.data.size
            own = np.flatnonzero(pattern < 0)
            numbers[own], reach = _merged(points[own], among, self.nearest)
            present = np.ones(numbers.shape, dtype=bool)
            return Group(start, stop, numbers, present, max(reach, patterns.reach), patterns, pattern)

        return search

    def _subset(self, before: int, stride: int) -> "list[_Tree]":
        """One datum and one of the earlier hole pixels in stride²."""
        earlier = np.flatnonzero(self._nest[:before] % stride**2 == 0) + self.data.size
        return [self._sparse[stride], _Tree.some(self.vectors, earlier)]


def near_holes(valid: BoolArray, k: int) -> IntArray:
    """The observed pixels that can be among the k nearest observed ones of a pixel in a hole.

    A neighbor at r pixels from every hole has a disc of diameter r, wholly observed, between itself and the
    target, so that it is among the k nearest only if pi r² / 4 < k. A ring of pixels is at least 0.7 wide.
    """
    nside = maps.npix_to_nside(valid.size)
    rings = int(np.ceil((np.sqrt(4 * k / np.pi) + 2) / 0.7))
    near = np.flatnonzero(grow(~valid, rings, nside) & valid)
    return near if len(near) >= k else np.flatnonzero(valid)


def neighbors_at(spacing: int, nearest: int, nside: int) -> tuple[int, int]:
    """How many nearest neighbors, and how many in each sparser subset, a pixel of a group that far apart has."""
    wider = max(nside // _WIDER_FROM, 1) if nearest <= NEAREST else 1
    table = COARSE[max(least for least in COARSE if least <= nearest)]
    for least, k, sparse in table:
        if spacing >= least * wider:
            return max(k, nearest), sparse
    return nearest, 0


class _Tree:
    """Some of the vectors, by their numbers, in a tree: from `start` to `stop`, without a copy, or any."""

    def __init__(self, vectors: FloatArray, start: int, stop: int, numbers: AnyArray | None = None) -> None:
        self._start, self._numbers = start, numbers
        chosen = vectors[start:stop]
        self.size = len(chosen)
        self._tree = cKDTree(chosen, balanced_tree=False, compact_nodes=False) if self.size else None

    @classmethod
    def some(cls, vectors: FloatArray, numbers: AnyArray) -> "_Tree":
        """Those of the numbers given."""
        return cls(vectors[numbers], 0, numbers.size, numbers.astype(np.int32))

    def query(self, points: FloatArray, k: int) -> tuple[FloatArray, AnyArray]:
        """(n, k) chords and numbers of the nearest, fewer columns if there are fewer."""
        if self._tree is None:
            return np.empty((len(points), 0)), np.empty((len(points), 0), dtype=np.int32)
        ranks = np.arange(1, min(k, self.size) + 1)
        chords, found = self._tree.query(points, ranks, workers=available_cores())
        return chords, (found + self._start).astype(np.int32) if self._numbers is None else self._numbers[
            found
        ]

    def nearest(self, points: FloatArray) -> FloatArray:
        """(n,) chord to the nearest."""
        return self.query(points, 1)[0][:, 0]


def _merged(points: FloatArray, among: list[_Tree], k: int) -> tuple[AnyArray, float]:
    """(n, k) numbers of the nearest in any of the trees, and the largest chord to one of them."""
    total = min(k, sum(tree.size for tree in among))
    reach = 0.0
    numbers = np.empty((len(points), total), dtype=np.int32)
    for first in range(0, len(points), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        found = [tree.query(points[chunk], k) for tree in among]
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
