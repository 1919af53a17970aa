"""How far the work is.

Inputs: the ticks of the stages. Outputs: `Progress`, handed to the user's callable; wall times.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["sky model", "plan", "fill", "solve"]


@dataclass(frozen=True)
class Progress:
    """What is being done, and how much of it is done.

    Attributes
    ----------
    stage
        ``"sky model"``, ``"plan"`` (weights, patches), ``"fill"`` (counts maps), and within a fill ``"solve"``
        (counts the steps of conjugate gradients, every tenth is told).
    done, total
        In units of the stage; `total` is 0 where it is not known beforehand (a solve to convergence).
    change
        Of a solve: the rms change in the holes in a step, in posterior standard deviations, of the class of depth
        that changed most; else None.

    Examples
    --------
    >>> str(Progress("fill", 1, 3))
    'fill 1/3'
    >>> str(Progress("solve", 20, 0, 0.0123))
    'solve 20, change 1.2e-02'
    """

    stage: Stage
    done: int
    total: int
    change: float | None = None

    def __str__(self) -> str:
        of = f"/{self.total}" if self.total else ""
        change = "" if self.change is None else f", change {self.change:.1e}"
        return f"{self.stage} {self.done}{of}{change}"


@dataclass
class Clock:
    """Takes the wall time of each stage and tells the user's callable when it begins and ends."""

    tell: Callable[[Progress], None] | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Time a stage that is not told."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage, and tell its beginning and its end."""
        self.say(stage, 0, 1)
        with self.timed(stage):
            yield
        self.say(stage, 1, 1)

    def say(self, stage: Stage, done: int, total: int, change: float | None = None) -> None:
        """Tell how far a stage is."""
        if self.tell is not None:
            self.tell(Progress(stage, done, total, change))

    def watch(self, steps: int) -> Callable[[int, float], None]:
        """What the solver calls; `steps` is 0 where it runs to convergence."""
        return lambda step, change: self.say("solve", step, steps, change)
