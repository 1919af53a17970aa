"""What this machine has, and how many threads work on it. Inputs: nothing. Outputs: bytes, cores, contexts."""

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from threadpoolctl import ThreadpoolController

_most_threads: ContextVar[int | None] = ContextVar("most_threads", default=None)
_blas_lock = threading.Lock()
# The limit that holds, and how many blocks of `one_blas_thread` asked for it.
_blas: list[Any] = []


def memory_of_machine() -> int:
    """Return the machine's memory in bytes; 16 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34


def available_cores() -> int:
    """The number of cores this process may use, or fewer within `most_threads`."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min(cores, _most_threads.get() or cores))


@contextmanager
def most_threads(n: int) -> Iterator[None]:
    """Let what this thread does use so many threads at most: workers beside one another do not fight for cores."""
    token = _most_threads.set(n)
    try:
        yield
    finally:
        _most_threads.reset(token)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread: the order of its sums depends on how many there are.

    The limit is the whole process's, so that it ends with the last of all threads' blocks.
    """
    with _blas_lock:
        _blas.append(_blas[0] if _blas else _libraries().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _blas_lock:
            limit = _blas.pop()
            if not _blas:
                limit.restore_original_limits()


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
