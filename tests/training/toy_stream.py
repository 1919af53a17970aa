"""Streams small enough for a test; worker processes import this module, which needs no torch."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ToyBatch:
    x: np.ndarray
    valid: np.ndarray
    spread: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class ToyStream:
    """Half of the truth is given away in the holes; a network learns to double it."""

    seed: int = 0
    nan_at: int = -1
    pause: float = 0.0

    def batch(self, index: int, split: str = "train") -> ToyBatch:
        time.sleep(self.pause)
        key = {"train": 0, "validation": 1}[split]
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(key, index)))
        side = 8 if index % 2 else 6  # batches differ in size
        truth = rng.standard_normal((3, 2, side, side)).astype(np.float32)
        valid = (rng.random((3, 1, side, side)) > 0.4).astype(np.float32)
        x = np.where(valid > 0, truth, 0.5 * truth).astype(np.float32)
        if index == self.nan_at and split == "train":
            x[0, 0, 0, 0] = np.nan
        spread = np.where(valid > 0, 0, 0.5).astype(np.float32)
        return ToyBatch(x, valid, spread, truth)


class SignalledStream(ToyStream):
    """Ends its process and tells the parent to stop, as a signal to the whole group does."""

    def batch(self, index: int, split: str = "train") -> ToyBatch:
        if index == 7 and split == "train":
            os.kill(os.getppid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(index, split)


class DeadlyStream(ToyStream):
    """Ends the worker process that reads it, as a shortage of memory would."""

    def batch(self, index: int, split: str = "train") -> ToyBatch:
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return super().batch(index, split)
