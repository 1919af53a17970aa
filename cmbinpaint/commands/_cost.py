"""What filling a map takes, roughly: said by `info` before the work.

Inputs: a mask. Outputs: seconds and bytes, for the default model and for kriging.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray

# Measured on one core with `inpaint_map` on one realization of the demo's kind of sky (fsky 0.76), start included:
# processor time 7.2 and 14 s (default), 11 and 32 s (kriging), 3.1 and 6.5 s (gaussian) at nside 128 and 256; peak
# memory of the default 440 and 731 MB, 3.1 GB at nside 1024. Another processor may take half or twice as long.
_BASE_SECONDS = 3.0  # Python and its libraries
_SECONDS_PER_PIXEL = 1.8e-6  # the sky model
_SECONDS_PER_TARGET = 50e-6  # neighbor weights of a guess that is polished
_SECONDS_PER_TARGET_ALONE = 150e-6  # and of one that is not, from twice as many neighbors
_SECONDS_PER_TARGET_SOLVED = 20e-6  # of the solver's factor alone
_SECONDS_PER_PATCH_PIXEL = 0.6e-6  # cutting and network
_SECONDS_PER_STEP = (3.8e-7, 8e-10)  # conjugate gradients, times nside² and nside³
_STEPS = 6  # polishing; each costs about three plain ones, preconditioner included
_BASE_BYTES = 450e6
_BYTES_OF_PATCHES = 170e6  # cut at a time, where they have 128 px
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
    from cmbinpaint.networks.store import list_models
    from cmbinpaint.pipeline.models import DEFAULT_NETWORK, EXACT_NSIDE
    from cmbinpaint.sphere.maps import npix_to_nside

    nside, targets = npix_to_nside(valid.size), int(np.count_nonzero(~valid))
    square, cube = _SECONDS_PER_STEP
    step = square * nside**2 + cube * nside**3
    size = _BASE_BYTES + _BYTES_PER_PIXEL * valid.size + (_BYTES_OF_PATCHES if nside > 128 else 0.0)
    common = _BASE_SECONDS + _SECONDS_PER_PIXEL * valid.size
    guess = common + _SECONDS_PER_TARGET * targets
    kriging = Cost("kriging", guess if targets > MANY else common + _SECONDS_PER_TARGET_ALONE * targets, size)
    if nside <= EXACT_NSIDE:
        solved = common + _SECONDS_PER_TARGET_SOLVED * targets + 3 * _STEPS * step
        return Cost("gaussian", solved, size), kriging
    card = next(card for card in list_models() if card.name == DEFAULT_NETWORK)
    network = _SECONDS_PER_PATCH_PIXEL * _patch_pixels(valid, nside)
    return Cost(card.name, guess + network + 3 * _STEPS * step, size), kriging


def _patch_pixels(valid: "BoolArray", nside: int) -> int:
    """How many pixels the patches over the holes have together."""
    from cmbinpaint.networks.tiling import patch_side
    from cmbinpaint.sphere.maps import degrade

    side = patch_side(nside)
    _, whole = degrade(valid.astype(float), valid, max(1, nside // (side // 2)), min_fraction=1.0)
    return int((~whole).sum()) * side**2
