"""Whole numbers that users give: seeds, counts, rings.

Inputs: values of any type. Outputs: ints, or errors that say what was given.
"""

from typing import Any

import numpy as np

from cmbinpaint._machine import memory_of_machine
from cmbinpaint.errors import CmbInpaintError, MaskError


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number of at least `least`."""
    if isinstance(value, bool | np.bool_):
        return False
    try:
        return bool(int(value) == value and value >= least)
    except (TypeError, ValueError, OverflowError):
        return False


def validate_guard(guard: int) -> int:
    """A number of rings, or an error."""
    if not is_whole(guard, 0):
        raise MaskError(f"guard is {guard!r}; give a number of rings of pixels, 0 or more")
    return int(guard)


def validate_seed(seed: int | np.random.Generator | None) -> int:
    """The seed as a number: a fresh one for None, one drawn from a generator."""
    if seed is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if not is_whole(seed, 0):
        raise CmbInpaintError(
            f"seed is {seed!r}; give a whole number, 0 or more, a numpy Generator, or None for a fresh one"
        )
    return int(seed)


def validate_count(n: int | None, nside: int, k: int = 1) -> int:
    """How many maps of k Stokes parameters are made; refused if they cannot be held in memory together."""
    total = 1 if n is None else int(n)
    size = total * 8 * k * 12 * nside**2
    if n is not None and size > memory_of_machine():
        raise CmbInpaintError(
            f"n_realizations is {str(n)[:20]}: so many maps of nside {nside} take {size >> 30} GiB, more than this "
            "machine has; make them a few at a time with draws=Draws(first=...)"
        )
    return total
