"""How far the present stage is: counted by loops that know, far below whoever follows the work.

Inputs: counts. Outputs: calls of a listener, if there is one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class _Stage:
    """A listener, called with how much is done and how much there is."""

    listener: Callable[[int, int], None]
    done: int = 0
    total: int = 0


_present: ContextVar[_Stage | None] = ContextVar("_present", default=None)


@contextmanager
def heard_by(listener: Callable[[int, int], None]) -> Iterator[None]:
    """What is counted in this block is told to the listener."""
    token = _present.set(_Stage(listener))
    try:
        yield
    finally:
        _present.reset(token)


def expect(count: int) -> None:
    """Say that so much more is to be done."""
    if (stage := _present.get()) is not None:
        stage.total += count


def advance(count: int = 1) -> None:
    """Say that so much more is done; what was not expected is not told."""
    if (stage := _present.get()) is not None:
        stage.done += count
        if stage.done < stage.total:
            stage.listener(stage.done, stage.total)
