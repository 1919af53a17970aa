"""What this machine has, and one thread of its linear algebra. Inputs: nothing. Outputs: bytes of memory, a context."""

import functools
import os
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController


def memory_of_machine() -> int:
    """Return the machine's memory in bytes; 16 GiB where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread: the order of its sums depends on how many there are."""
    return _libraries().limit(limits=1, user_api="blas")


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
