"""What filling a map takes, roughly: said by `info` before the work.

Takes: a resolution. Gives: seconds and bytes. Floor: 7.
"""

from typing import NamedTuple

# Measured with `inpaint --model kriging` on one realization of the demo's sky, one thread: 4.8, 9.0 and 19.7 s
# of processor time, 186, 238 and 430 MB at nside 64, 128 and 256. Networks and refining come on top.
_SECONDS_PER_PIXEL = 2.0e-5
_BYTES_PER_PIXEL = 340
_BASE_BYTES = 170e6  # Python and its libraries
_BASE_SECONDS = 4.5


class Cost(NamedTuple):
    """Processor time and peak memory."""

    seconds: float
    bytes: float


def estimate(nside: int) -> Cost:
    """Estimate what one realization takes at least: that of kriging, the quickest model worth using."""
    npix = 12 * nside**2
    return Cost(_BASE_SECONDS + _SECONDS_PER_PIXEL * npix, _BASE_BYTES + _BYTES_PER_PIXEL * npix)
