"""How far an iteration is from convergence, measured by what still changes in the holes.

Inputs: the steps of the hole pixels. Outputs: an estimate of what is still to change.

The residual deceives: without a good preconditioner it can be down to 1e-9 of its start while the holes are still off
by 15 % of the accuracy. What counts is measured in posterior standard deviations, apart for each depth bin: the deep
pixels must not hide those at the edges, which are known ten times better.
"""

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray

# The slowest convergence (ratio of successive changes) that the estimate of what remains assumes.
SLOWEST_RATIO = 0.95
# Changes looked back on: conjugate gradients advance in bursts.
_RECENT = 4


class Convergence:
    """Follows the prediction in the holes and estimates what is still to change.

    If steps fall off with ratio q, what remains after the last of size c is `c · q / (1 - q)`; q is the largest of
    the last ratios. The estimate is that of the worst bin.

    Parameters
    ----------
    bin_of
        (n,) int: the bin of each hole pixel.
    std
        (bins,) what the change of a bin is measured in; an empty bin may have any.
    """

    def __init__(self, bin_of: AnyArray, std: FloatArray) -> None:
        self._bin_of = bin_of
        self._count = np.bincount(bin_of, minlength=std.size)
        self._used = self._count > 0
        self._std = np.where(self._used, std, 1.0)
        self._changes: list[FloatArray] = []
        self.remaining = float("nan")

    def record(self, moved: FloatArray) -> float:
        """Take the change of the hole pixels in a step; return its largest rms over a bin's std."""
        squares = np.bincount(self._bin_of, weights=np.square(moved), minlength=self._std.size)
        rms = np.sqrt(squares / np.maximum(self._count, 1)) / self._std
        change = float(rms.max(initial=0.0))
        self._changes.append(rms[self._used])
        if change == 0.0:
            self.remaining = 0.0
        elif len(self._changes) >= 3:
            recent = np.array(self._changes[-_RECENT:])
            earlier = np.maximum(recent[:-1], np.finfo(float).tiny)
            ratio = np.minimum((recent[1:] / earlier).max(axis=0), SLOWEST_RATIO)
            self.remaining = float((recent[-1] * ratio / (1.0 - ratio)).max())
        return change


def describe_shortfall(steps: int, remaining: float, tolerance: float) -> str:
    """Say what an iteration that did not reach its tolerance lacks."""
    if np.isnan(remaining):
        rest = "too little is known to say how much is still to change in the holes"
    else:
        rest = f"an estimated {remaining:.1e} posterior standard deviations are still to change in the holes"
    return f"after {steps} steps {rest}; asked for {tolerance:.1e}. Raise max_steps, or accept a larger tolerance"
