"""How far an iteration is from convergence, measured by what still changes in the holes.

Inputs: the steps of the hole pixels. Outputs: an estimate of what is still to change; `Solution`, which holds it.

The residual deceives: without a good preconditioner it can be down to 1e-9 of its start while the holes are still off
by 15 % of the accuracy. What counts is measured in posterior standard deviations, apart for each depth bin: the deep
pixels must not hide those at the edges, which are known ten times better. Of Q and U also the E and B power of what is
missing counts (`missing_power`).
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray

# The slowest convergence (ratio of successive changes) that the estimate of what remains assumes.
SLOWEST_RATIO = 0.95
# What helps, of what every caller can do.
_ADVICE = (
    "Noise that is given far too small is the usual cause, or power in the map beyond the beam that is given: give "
    "noise_std as it is in the map (left out, it is estimated)"
)
# Conjugate gradients advance in bursts: the ratio is that of so many steps, or of a fraction of those taken, and the
# largest of the last few steps counts.
_WINDOW = 8
_FRACTION = 4
_LEVEL = 3


# Default accuracy of polarization: E and B power of what is still to change, over the sky's, in the worst band.
POWER_TOLERANCE = 1e-2


@dataclass(frozen=True, eq=False)
class Solution:
    """A posterior mean and how far it is converged.

    Attributes
    ----------
    mean
        (npix,) or (k, npix) float64, RING: the signal's mean everywhere; in observed pixels the Wiener filtered data.
    steps
        Conjugate-gradient steps taken.
    change
        Estimated rms of what is still to change in the holes, in posterior standard deviations, in the worst depth
        bin; NaN if too few steps were taken to tell.
    power
        Of Q and U: the E or B power of what is still to change, over the sky's, in the worst band; else 0.
    modes
        (k, size) the x of `mean = Y S^½ x`, if asked for; `S^-½ x` is `Yᵀ C⁻¹ d`, C the data's covariance.
    """

    mean: FloatArray
    steps: int
    change: float
    power: float = 0.0
    modes: ComplexArray | None = None


class Convergence:
    """Follows the prediction in the holes and estimates what is still to change.

    Attributes
    ----------
    remaining
        The estimate, in the bins' standard deviations.
    power
        Of Q and U: the largest E or B power of it over the sky's; else 0. Both are NaN while it is too early to tell.

    If steps of size c fall off with ratio q, what remains is `c · q / (1 - q)` where they add up, as they do in the
    holes, and `c · q / (1 - q²)^½` where they do not, as in the bands of E and B. q is the mean ratio of the last
    steps. The estimate is that of the worst bin or band.

    Parameters
    ----------
    bin_of
        (n,) int: the bin of each hole pixel.
    std
        (bins,) what the change of a bin is measured in; an empty bin may have any.
    power_tolerance
        Of Q and U, where `record` is given amplitudes of E and B too: how much power may remain.
    """

    def __init__(self, bin_of: AnyArray, std: FloatArray, *, power_tolerance: float | None = None) -> None:
        self._bin_of = bin_of
        self._count = np.bincount(bin_of, minlength=std.size)
        self._used = self._count > 0
        self._std = np.where(self._used, std, 1.0)
        self._changes: list[FloatArray] = []
        self._amplitudes: list[FloatArray] = []
        self.remaining = float("nan")
        self.power_tolerance = power_tolerance or 0.0
        self.power = 0.0 if power_tolerance is None else float("nan")

    def has_reached(self, tolerance: float) -> bool:
        """Whether what remains, and its power, are small enough; not while it is unknown."""
        return self.remaining <= tolerance and self.power <= self.power_tolerance

    def record(self, moved: FloatArray, amplitudes: FloatArray | None = None) -> float:
        """Take the change of the hole pixels in a step; return its largest rms over a bin's std.

        `amplitudes` are those of the change's E and B in bands, over the sky's.
        """
        squares = np.bincount(self._bin_of, weights=np.square(moved), minlength=self._std.size)
        rms = np.sqrt(squares / np.maximum(self._count, 1)) / self._std
        change = float(rms.max(initial=0.0))
        self._changes.append(rms[self._used])
        self.remaining = _still_to_come(self._changes)
        if amplitudes is not None:
            self._amplitudes.append(amplitudes)
            self.power = _still_to_come(self._amplitudes, squares=True)
        return change


def _level_and_ratio(changes: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """The size of the last changes, and the ratio by which they fall off."""
    recent = np.array(changes[-1 - max(_WINDOW, len(changes) // _FRACTION) :])
    steps = len(recent) - 1
    fallen = recent[-1] / np.maximum(recent[0], np.finfo(float).tiny)
    ratio = np.minimum(fallen ** (1 / steps), SLOWEST_RATIO)
    level = np.max([recent[-1 - i] * ratio**i for i in range(min(_LEVEL, steps + 1))], axis=0)
    return level, ratio


def _still_to_come(changes: list[FloatArray], *, squares: bool = False) -> float:
    """The sum of the changes that will follow, or of their squares, of the worst; NaN if there are too few to tell."""
    if not changes[-1].any():
        return 0.0
    if len(changes) < 3:
        return float("nan")
    level, ratio = _level_and_ratio(changes)
    if squares:
        level, ratio = np.square(level), np.square(ratio)
    return float((level * ratio / (1.0 - ratio)).max())


def describe_shortfall(steps: int, convergence: Convergence, tolerance: float) -> str:
    """Say what an iteration that did not reach its tolerances lacks."""
    remaining = convergence.remaining
    if remaining <= tolerance:
        return (
            f"after {steps} steps what is still to change in the holes has an estimated {convergence.power:.1e} of the "
            f"sky's E or B power in some band; asked for {convergence.power_tolerance:.1e}. {_ADVICE}"
        )
    if np.isnan(remaining):
        rest = "too little is known to say how much is still to change in the holes"
    else:
        rest = f"an estimated {remaining:.1e} posterior standard deviations are still to change in the holes"
    return f"after {steps} steps {rest}; asked for {tolerance:.1e}. {_ADVICE}"
