"""What filling a map takes, roughly: said by `info` before the work.

Inputs: a mask. Outputs: seconds and bytes, for the default model and for kriging.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray

# Measured on one core with `inpaint_map` on one realization of the demo's kind of sky (fsky 0.76), start included:
# processor time 3.1 and 6.5 s (default), 11 and 32 s (kriging) at nside 128 and 256; peak memory 1.1 GiB at nside
# 512. Another processor may take half or twice as long.
_BASE_SECONDS = 3.0  # Python and its libraries
_SECONDS_PER_PIXEL = 1.8e-6  # the sky model
_SECONDS_PER_TARGET = 150e-6  # kriging's neighbor weights
_SECONDS_PER_TARGET_OF_MANY = 50e-6  # from half as many neighbors
_SECONDS_PER_TARGET_SOLVED = 20e-6  # of the solver's factor
_SECONDS_PER_STEP = (3.8e-7, 8e-10)  # conjugate gradients, times nside² and nside³
_STEPS = 6  # each costs about three plain ones, preconditioner included
_BASE_BYTES = 450e6
_BYTES_PER_PIXEL = 145


class Cost(NamedTuple):
    """Processor time and peak memory of one realization."""

    model: str
    seconds: float
    bytes: float


def estimate(valid: "BoolArray") -> tuple[Cost, Cost]:
    """Estimate what one realization takes: (the default model, kriging), for (npix,) bool RING."""
    import numpy as np

    from cmbinpaint.gaussian.coarse_to_fine import MANY
    from cmbinpaint.sphere.maps import npix_to_nside

    nside, targets = npix_to_nside(valid.size), int(np.count_nonzero(~valid))
    square, cube = _SECONDS_PER_STEP
    step = square * nside**2 + cube * nside**3
    size = _BASE_BYTES + _BYTES_PER_PIXEL * valid.size
    common = _BASE_SECONDS + _SECONDS_PER_PIXEL * valid.size
    a_target = _SECONDS_PER_TARGET_OF_MANY if targets > MANY else _SECONDS_PER_TARGET
    kriging = Cost("kriging", common + a_target * targets, size)
    solved = common + _SECONDS_PER_TARGET_SOLVED * targets + 3 * _STEPS * step
    return Cost("gaussian", solved, size), kriging
