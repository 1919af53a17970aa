"""How far an iteration is from its end, told by what still moves in the holes.

Takes: the changes of the hole pixels between checks. Gives: an estimate of what is still to change. Floor: 3.

The residual deceives: a cold start is at 1e-9 of its residual while the holes still lack 15 % of the accuracy.
"""

import itertools

import numpy as np

from cmbinpaint._types import FloatArray

# The slowest convergence (ratio of successive changes) that the estimate of what remains reckons with.
SLOWEST_RATIO = 0.98


class Convergence:
    """Follows the prediction in the holes and estimates what is still to change.

    If the changes between checks fall off with ratio q, what remains is `change · q / (1 - q)`. Conjugate
    gradients advance in bursts, so q is the largest of the last five ratios.
    """

    def __init__(self, rms: float) -> None:
        self._rms = rms
        self._changes: list[float] = []
        self.remaining = float("nan")

    def record(self, moved: FloatArray) -> float:
        """Take the change of the hole pixels since the last check; return its rms over the signal's."""
        change = float(np.sqrt(np.mean(np.square(moved)))) / self._rms
        self._changes.append(change)
        recent = self._changes[-6:]
        if change == 0.0:
            self.remaining = 0.0
        elif len(recent) >= 3:
            ratios = [b / a for a, b in itertools.pairwise(recent)]
            q = min(max(ratios), SLOWEST_RATIO)
            self.remaining = change * q / (1.0 - q)
        return change


def how_far(steps: int, remaining: float, tolerance: float) -> str:
    """Say how far an iteration came that did not reach its tolerance."""
    if np.isnan(remaining):
        told = "it cannot be told how much is still to change in the holes"
    else:
        told = f"an estimated {remaining:.1e} of the signal's rms is still to change in the holes"
    return (
        f"after {steps} steps {told}; asked for {tolerance:.1e}. Start from a fill, raise max_steps, "
        "or accept a larger tolerance"
    )
