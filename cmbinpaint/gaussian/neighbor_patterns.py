"""Neighbors of pixels deep in holes, which lie alike all over a small piece of the sphere: found and weighed once.

Inputs: the ordered hole pixels. Outputs: for a group of them, the patterns of their neighbors.

HEALPix pixels are squares of a base pixel's grid, which the sphere bends slowly: within a block of the grid the nearest
of the pixels taken before lie at the same places of the grid, and their weights hardly change. Which pixels are taken
before follows from places in the grid alone (`ordering`), as long as all around are hole pixels.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.ordering import earlier_children
from cmbinpaint.sphere.pixels import grid_to_nest, nest_to_grid, pixel_vectors

# Blocks along the side of a base pixel; with 16 the solver may take a step more.
_BLOCKS = 32
# A block is at least so many spacings of a group wide, and neighbors are looked for so many spacings away along either
# axis, for which that is enough: of 16 in a quarter of the pixels the farthest is 4.5 spacings away on a square grid.
_WIDTH, _REACH = 16, 6
# Data are so much farther away than a pattern reaches, for it is a little wider elsewhere in its block.
_MARGIN = 1.2


@dataclass(frozen=True, eq=False)
class Patterns:
    """The neighbors of a pixel in the middle of each block, and the pixels that have theirs in the same places.

    Attributes
    ----------
    points
        (n, 3) unit vectors of the pixels in the middle.
    neighbors
        (n, k, 3) unit vectors of their neighbors.
    chord
        (n,) to the farthest of them.
    steps
        (n, k) from a pixel's number in the grids to those of its neighbors.
    of_block
        (n_blocks,) which of the patterns each block has.
    """

    points: FloatArray
    neighbors: FloatArray
    chord: FloatArray
    steps: AnyArray
    of_block: AnyArray

    @property
    def reach(self) -> float:
        """Largest chord to a neighbor."""
        return float(self.chord.max())


class Lattice:
    """Hole pixels in the grids of the base pixels.

    Parameters
    ----------
    nside
        Of the map.
    nest
        (n,) NEST numbers of the hole pixels, ordered.
    """

    def __init__(self, nside: int, nest: IntArray) -> None:
        self._nside = nside
        x, y, self._face = (place.astype(np.int16) for place in nest_to_grid(nside, nest))
        self._x, self._y = x, y
        self._cell = (self._face.astype(np.int32) * nside + y) * nside + x
        self._position = np.full(12 * nside**2, -1, dtype=np.int32)
        self._position[self._cell] = np.arange(nest.size, dtype=np.int32)

    @staticmethod
    def has_patterns(nside: int, spacing: int) -> bool:
        """Whether blocks are wide enough for groups of such a spacing."""
        return nside >= _BLOCKS * _WIDTH * spacing

    def patterns(self, start: int, stop: int, spacing: int, k: int) -> Patterns:
        """The k nearest neighbors in each block where the group from `start` to `stop` has pixels."""
        side = self._nside // _BLOCKS
        used = np.unique(self._blocks(start, stop))
        face, (row, column) = used // _BLOCKS**2, np.divmod(used % _BLOCKS**2, _BLOCKS)
        child_x, child_y = int(self._x[start]) // spacing % 2, int(self._y[start]) // spacing % 2
        x = column * side + side // 2 + child_x * spacing
        y = row * side + side // 2 + child_y * spacing
        dx, dy = _places_before(child_x, child_y, spacing)
        points = self._vectors(x, y, face)
        around = self._vectors(x[:, None] + dx, y[:, None] + dy, face[:, None])
        chords = np.linalg.norm(around - points[:, None], axis=-1)
        nearest = np.argsort(chords, axis=1, kind="stable")[:, :k]
        of_block = np.zeros(12 * _BLOCKS**2, dtype=np.int32)
        of_block[used] = np.arange(used.size)
        return Patterns(
            points,
            np.take_along_axis(around, nearest[..., None], axis=1),
            np.take_along_axis(chords, nearest[:, -1:], axis=1)[:, 0],
            (dy * self._nside + dx).astype(np.int32)[nearest],
            of_block,
        )

    def follow(
        self, patterns: Patterns, start: int, stop: int, spacing: int, depth: FloatArray
    ) -> tuple[AnyArray, AnyArray]:
        """The pattern of each pixel from `start` to `stop`, -1 for those that have none, and (n, k) their neighbors.

        Parameters
        ----------
        patterns
            Of the pixels' group.
        start, stop, spacing
            Which pixels, and how far apart they lie.
        depth
            (n,) chord from each to the nearest datum.
        """
        pattern = patterns.of_block[self._blocks(start, stop)]
        inside = depth > _MARGIN * patterns.chord[pattern]
        inside &= self._off_the_edges(start, stop, _REACH * spacing)
        chosen = np.flatnonzero(inside)
        places = self._cell[start:stop][chosen, None] + patterns.steps[pattern[chosen]]
        found = self._position[places]
        whole = found.min(axis=1, initial=0) >= 0  # not so where a datum is, after all
        followers = chosen[whole]
        numbers = np.zeros((stop - start, found.shape[1]), dtype=np.int32)
        numbers[followers] = found[whole]
        of_each = np.full(stop - start, -1, dtype=np.int32)
        of_each[followers] = pattern[followers]
        return of_each, numbers

    def candidates(self, stop: int, spacing: int, depth: FloatArray, reach: float) -> IntArray:
        """Which of the first pixels can be neighbors of a later one without a pattern.

        Such a pixel is near data or near the edge of a base pixel, and so are its neighbors.
        """
        near = ~self._off_the_edges(0, stop, 2 * _REACH * spacing)
        near |= depth[:stop] < (_MARGIN + 2) * reach
        return np.flatnonzero(near)

    def _blocks(self, start: int, stop: int) -> AnyArray:
        """The number of the block that each of the pixels is in."""
        side = self._nside // _BLOCKS
        row, column = self._y[start:stop] // side, self._x[start:stop] // side
        return (self._face[start:stop].astype(np.int32) * _BLOCKS + row) * _BLOCKS + column

    def _off_the_edges(self, start: int, stop: int, margin: int) -> BoolArray:
        """Whether the pixels are that far from the edges of their base pixels."""
        inside = np.ones(stop - start, dtype=bool)
        for place in (self._x[start:stop], self._y[start:stop]):
            inside &= (place >= margin) & (place < self._nside - margin)
        return inside

    def _vectors(self, x: AnyArray, y: AnyArray, face: AnyArray) -> FloatArray:
        return pixel_vectors(self._nside, grid_to_nest(self._nside, x, y, face), nest=True)


def _places_before(child_x: int, child_y: int, spacing: int) -> tuple[IntArray, IntArray]:
    """Steps along columns and rows to the places around a pixel that are taken before it."""
    steps = np.arange(-_REACH, _REACH + 1)
    i, j = (grid.ravel() for grid in np.meshgrid(steps, steps))
    child = (i + child_x) % 2 + 2 * ((j + child_y) % 2)
    before = np.isin(child, earlier_children(child_x + 2 * child_y))
    return i[before] * spacing, j[before] * spacing
