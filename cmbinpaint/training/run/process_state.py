"""What a training run borrows from its process: random state, threads, signals.

Inputs: a recipe and a device. Outputs: contexts that put everything back.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from cmbinpaint.training.recipes.recipe import Recipe


@contextmanager
def private_torch(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Random state and number of threads are the run's own, and the caller's again afterwards."""
    threads = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(recipe.seed)
        try:
            if recipe.threads is not None:
                torch.set_num_threads(recipe.threads)
            yield
        finally:
            torch.set_num_threads(threads)


class StopSignals:
    """Remembers SIGTERM and SIGINT so that the current step is finished; a second one acts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        for each, handler in self._before.items():
            signal.signal(each, handler)
