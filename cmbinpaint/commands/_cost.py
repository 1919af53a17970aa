"""What filling a map takes, roughly: said by `info` before the work.

Inputs: a mask and a model's name. Outputs: seconds and bytes.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cmbinpaint._types import BoolArray

# Measured with `benchmarks/speed.py`, one thread, on the demo's kind of sky (fsky 0.76), start included: processor time
# 3.1, 9.6 and 39 s (gaussian) at nside 128, 256 and 512; 13 and 47 s (kriging), the first as long as there are few
# pixels; 1.2 and 3.6 s (diffusive); 10 s (combine128) at 128. Peak memory 0.87 GiB at nside 512. Another processor
# may take half or twice as long.
_BASE_SECONDS = 1.0  # Python and its libraries
_SECONDS_PER_PIXEL = 1.8e-6  # the sky model
_SECONDS_PER_TARGET = {"gaussian": 37e-6, "kriging": 240e-6, "network": 190e-6, "diffusive": 10e-6}
_SECONDS_PER_STEP = (3.8e-7, 8e-10)  # conjugate gradients, times nside² and nside³
_STEPS = 18  # of the solver, in plain steps, preconditioner included
_BASE_BYTES = 350e6
_NETWORK_BYTES = 400e6  # torch, weights, a batch
_BYTES_PER_PIXEL = 190
# Of Q, U and of T, Q, U, over T's: 3.1 and 4.6 at nside 128, 4.5 and 6.8 at 256 (noise 0.3 µK a pixel in Q and U).
_FACTOR = {1: 1.0, 2: 4.0, 3: 5.5}


class Cost(NamedTuple):
    """Processor time and peak memory of one realization."""

    model: str
    seconds: float
    bytes: float


def estimate(valid: "BoolArray", model: str = "default", k: int = 1) -> Cost:
    """Estimate what one realization of k Stokes parameters takes, for (npix,) bool RING.

    `model`: a method of `pipeline.models` or a network.
    """
    import numpy as np

    from cmbinpaint.pipeline.models import METHODS
    from cmbinpaint.sphere.maps import npix_to_nside

    model = "gaussian" if model == "default" else model
    kind = model if model in METHODS else "network"
    nside, targets = npix_to_nside(valid.size), int(np.count_nonzero(~valid))
    seconds = _BASE_SECONDS + _SECONDS_PER_PIXEL * valid.size + _SECONDS_PER_TARGET[kind] * targets
    if kind in ("gaussian", "network"):  # a network's prediction is refined by the solver
        square, cube = _SECONDS_PER_STEP
        seconds += _STEPS * (square * nside**2 + cube * nside**3)
    seconds = _BASE_SECONDS + _FACTOR[k] * (seconds - _BASE_SECONDS)
    size = _BASE_BYTES + _BYTES_PER_PIXEL * k * valid.size + (_NETWORK_BYTES if kind == "network" else 0)
    return Cost(model, seconds, size)
