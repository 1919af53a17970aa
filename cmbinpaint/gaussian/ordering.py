"""Hole pixels from coarse to fine: the order in which each is predicted from those before it.

Inputs: pixels in NEST numbers. Outputs: groups of them.

First come the first corners of the twelve base pixels, one by one (four of them meet at a pole); each finer spacing
then adds three groups, the other three children. Pixels of one group lie at least one spacing apart and are not
conditioned on one another, so that a group is one sparse product: some forty groups in all, whatever the number of
pixels.
"""

import numpy as np

from cmbinpaint._types import IntArray

# Of the four children of a pixel the first is taken with the coarser spacing; then the one diagonally across, so that
# the last two find neighbors on all sides.
_CHILDREN = (3, 1, 2)


def earlier_children(child: int) -> tuple[int, ...]:
    """Which of the four children of a pixel are taken before one of them (bit 0 its column, bit 1 its row)."""
    return (0, *_CHILDREN[: _CHILDREN.index(child)])


def coarse_to_fine(nside: int, nest: IntArray) -> tuple[IntArray, list[tuple[int, int, int]]]:
    """Sort pixels into groups.

    Parameters
    ----------
    nside
        Of the map.
    nest
        (n,) distinct NEST numbers.

    Returns
    -------
    order
        (n,) int64: places in `nest`, group after group, each in NEST order.
    groups
        ``(start, stop, spacing)``: a group's places in `order`, and how many pixels apart its members lie at least.
        Empty groups are left out.
    """
    rank = (nest // nside**2).astype(np.int8)  # of the corners; the rest follows
    spacings = dict.fromkeys(range(12), nside)
    last = 11
    for level in range(int(nside).bit_length() - 2, -1, -1):
        on_grid = nest % 4**level == 0
        child = nest // 4**level % 4
        for number in _CHILDREN:
            last += 1
            rank[on_grid & (child == number)] = last
            spacings[last] = 1 << level
    order = np.lexsort((nest, rank)).astype(np.int64)
    stops = np.cumsum(np.bincount(rank, minlength=last + 1))
    starts = np.concatenate([[0], stops[:-1]])
    groups = [
        (int(a), int(b), spacings[i]) for i, (a, b) in enumerate(zip(starts, stops, strict=True)) if b > a
    ]
    return order, groups
