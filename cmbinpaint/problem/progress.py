"""How far the work is.

Inputs: the ticks of the stages. Outputs: `Progress`, handed to the user's callable; wall times.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cmbinpaint._ticks import heard_by

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What is being done, and how much of it is done.

    Attributes
    ----------
    stage
        ``"sky model"`` (counts spectra that are measured), ``"plan"`` (counts hole pixels; of T, Q, U those of T,
        then those of Q and U besides), ``"fill"`` (counts maps), within a fill ``"solve"`` (counts the steps of
        conjugate gradients); studies and trainings have stages of their own.
    done, total
        In units of the stage; `total` is 0 where it is not known beforehand (a solve to convergence).
    change
        Of a solve: the rms change in the holes in this step, in posterior standard deviations, of the depth bin that
        changed most; else None.
    remaining
        Of a solve: an estimate of what is still to change, in the same unit, NaN while it is unknown; else None.
    power
        Of a solve with Q and U: an estimate of the E and B power of what is still to change, over the sky's, in the
        worst band; 0 of T alone, else None.

    Examples
    --------
    >>> str(Progress("fill", 1, 3))
    'fill 1/3'
    >>> str(Progress("solve", 20, 0, 0.0123))
    'solve 20, change 1.2e-02'
    """

    stage: str
    done: int
    total: int
    change: float | None = None
    remaining: float | None = None
    power: float | None = None

    def __str__(self) -> str:
        of = f"/{self.total}" if self.total else ""
        change = "" if self.change is None else f", change {self.change:.1e}"
        return f"{self.stage} {self.done}{of}{change}"


# What follows the work: called with its progress.
Watch = Callable[[Progress], None]


@dataclass
class Clock:
    """Takes the wall time of each stage and reports its beginning and end to the user's callable."""

    watch: Watch | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time a stage that is not reported."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
        _log.info("%s: %.1f s", stage, self.seconds[stage])

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """Time a stage, and report its beginning, how far it is, and its end."""
        self.report(Progress(stage, 0, 1))
        with heard_by(lambda done, total: self.report(Progress(stage, done, total))), self.timed(stage):
            yield
        self.report(Progress(stage, 1, 1))

    def report(self, progress: Progress) -> None:
        """Report how far a stage is."""
        if self.watch is not None:
            self.watch(progress)
