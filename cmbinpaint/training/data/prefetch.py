"""Batches made ahead by other processes.

Inputs: a stream (`batch(index, split)`, a pure function) and a number of workers. Outputs: batches in order.

Workers import numpy but not torch, run on one thread, ignore Ctrl-C (the training process decides when to
stop) and leave when that process is gone, however it ended.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Protocol

from cmbinpaint.errors import CmbInpaintError

AHEAD = 2  # batches waiting for each worker: enough to hide an unusually slow one
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_stream: Any = None  # of a worker process, set once when it starts


class WorkerError(CmbInpaintError):
    """A process that makes batches died."""


class Stream(Protocol):
    """What training reads: any batch by its number, always the same, without state."""

    def batch(self, index: int, split: str = "train") -> Any:
        """The batch `index` of a split: a frozen dataclass of float32 arrays (see `datasets.PatchBatch`)."""
        ...


class Prefetcher:
    """Gives batches in order; use as a context manager, so that its processes end.

    Parameters
    ----------
    stream
        Where batches come from; picklable when there are workers.
    workers
        Number of processes; 0: batches are made when asked for.
    """

    def __init__(self, stream: Stream, workers: int) -> None:
        self._stream = stream
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Prefetcher":
        if self._workers:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(self._stream,),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def batches(self, indices: Sequence[int], split: str = "train") -> Iterator[Any]:
        """Yield the batches with these numbers, in this order.

        Raises
        ------
        WorkerError
            If a worker process died.
        """
        if self._pool is None:
            for index in indices:
                yield self._stream.batch(index, split)
            return
        waiting: deque[Future[Any]] = deque()
        ahead = self._workers * (1 + AHEAD)
        try:
            with _single_threaded():
                waiting.extend(self._pool.submit(_make, index, split) for index in indices[:ahead])
            for position in range(len(indices)):
                batch = waiting.popleft().result()
                if position + ahead < len(indices):
                    waiting.append(self._pool.submit(_make, indices[position + ahead], split))
                yield batch
        except BrokenProcessPool as error:
            raise WorkerError(
                "a data worker process died (out of memory?); rerun with fewer workers, training resumes "
                "from its last checkpoint"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started inside see one thread: the network has the other cores."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(stream: Stream) -> None:
    global _stream
    _stream = stream
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _make(index: int, split: str) -> Any:
    return _stream.batch(index, split)
