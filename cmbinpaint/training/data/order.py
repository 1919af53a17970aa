"""Which patches a batch holds: without repetition until all were seen, with every class in a batch if asked.

Inputs: counts or labels, a seed, a split, a batch's number. Outputs: the patches' numbers.

Nothing is remembered between calls: the k-th patch of a run is found from k alone, so that any worker makes any
batch, and a resumed run sees what it would have seen.
"""

from functools import lru_cache

import numpy as np

from cmbinpaint._types import IntArray
from cmbinpaint.errors import RecipeError

_ALL = 0  # the stream of all patches; that of class c is 2 + c
_EXTRAS = 1


def plain_order(n: int, size: int, index: int, key: tuple[int, int]) -> IntArray:
    """(size,) numbers below n of batch `index`.

    Patches come in random order, each once before any comes again. `key` is the seed and the split's number.
    """
    return np.array([_pick(key, _ALL, n, place) for place in range(index * size, (index + 1) * size)])


def balanced_order(labels: IntArray, size: int, index: int, key: tuple[int, int]) -> IntArray:
    """(size,) numbers of batch `index` that hold every class.

    Each class fills one place of a batch; the places left over go around the classes in random order, each once
    before any comes again. Within a class patches come as in `plain_order`.

    Raises
    ------
    RecipeError
        If the batch has fewer places than there are classes.
    """
    starts, counts = _class_ranges(labels.tobytes())
    n_classes = len(counts)
    if size < n_classes:
        raise RecipeError(
            f"[data] batch_size is {size} and there are {n_classes} classes; a balanced batch holds every class: "
            "give a larger one, or balanced = false"
        )
    extra = size - n_classes
    used = [index + _extras_before(key, label, n_classes, index * extra) for label in range(n_classes)]
    chosen = []
    for label in [
        *range(n_classes),
        *(_pick(key, _EXTRAS, n_classes, index * extra + e) for e in range(extra)),
    ]:
        chosen.append(starts[label] + _pick(key, 2 + label, counts[label], used[label]))
        used[label] += 1
    return np.array(chosen)


def _extras_before(key: tuple[int, int], label: int, n_classes: int, place: int) -> int:
    """How many of the first `place` extras were of a class."""
    rounds, rest = divmod(place, n_classes)
    return rounds + int(label in _permutation(key, _EXTRAS, n_classes, rounds)[:rest])


def _pick(key: tuple[int, int], stream: int, n: int, place: int) -> int:
    """The `place`-th number of an endless sequence of permutations of n."""
    epoch, rest = divmod(place, n)
    return int(_permutation(key, stream, n, epoch)[rest])


@lru_cache(maxsize=64)
def _permutation(key: tuple[int, int], stream: int, n: int, epoch: int) -> IntArray:
    seed, split = key
    sequence = np.random.SeedSequence(seed, spawn_key=(split, stream, n, epoch))
    return np.random.default_rng(sequence).permutation(n)


@lru_cache(maxsize=8)
def _class_ranges(labels: bytes) -> tuple[IntArray, IntArray]:
    """First number and count of each class; patches of a class have consecutive numbers."""
    values = np.frombuffer(labels, dtype=np.int64)
    _, starts, counts = np.unique(values, return_index=True, return_counts=True)
    return starts, counts
