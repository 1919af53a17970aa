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
    levels = int(nside).bit_length() - 1
    last = 11 + 3 * levels
    spacings = dict.fromkeys(range(12), nside)
    rank = np.empty(nest.size, dtype=np.int8)
    left = np.arange(nest.size)  # first children on all finer levels
    for level in range(levels):
        child = nest[left] >> 2 * level & 3
        for number, first in enumerate(_CHILDREN):
            rank[left[child == first]] = last - 3 * level - 2 + number
            spacings[last - 3 * level - 2 + number] = 1 << level
        left = left[child == 0]
    rank[left] = nest[left] // nside**2  # the corners, one by one
    order = np.argsort(rank * np.int64(12 * nside**2) + nest)
    stops = np.cumsum(np.bincount(rank, minlength=last + 1))
    starts = np.concatenate([[0], stops[:-1]])
    groups = [
        (int(a), int(b), spacings[i]) for i, (a, b) in enumerate(zip(starts, stops, strict=True)) if b > a
    ]
    return order, groups
