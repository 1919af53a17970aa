"""Batches in order, by torch's `DataLoader`: made when asked for, or ahead by other processes.

Inputs: a stream (`batch(index, split)`, a pure function) and the batches' numbers. Outputs: the batches, in this order.

Workers run on one thread, ignore Ctrl-C (the training process decides when to stop) and leave when that process is
gone, however it ended.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from multiprocessing import connection
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cmbinpaint.errors import CmbInpaintError, RecipeError

AHEAD = 3  # batches of each worker that wait: enough to hide an unusually slow one
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class WorkerError(CmbInpaintError):
    """A process that makes batches died."""


class Stream(Protocol):
    """What training reads: any batch by its number, always the same, without state; picklable."""

    def batch(self, index: int, split: str = "train") -> Any:
        """The batch `index` of a split: a frozen dataclass of arrays, one row per patch."""
        ...


def read_batches(
    stream: Stream, indices: Sequence[int], split: str = "train", *, workers: int = 0
) -> Generator[Any, None, None]:
    """Yield the batches with these numbers, in this order; close it to end its processes.

    Parameters
    ----------
    stream
        Makes the batches.
    indices, split
        Which.
    workers
        Processes that make them ahead; 0: each is made when asked for.

    Raises
    ------
    WorkerError
        If a worker process died.
    CmbInpaintError
        If a batch cannot be made; it is named.
    """
    loader = DataLoader(
        _Batches(stream, split), batch_size=None, sampler=indices, collate_fn=_unchanged, num_workers=workers,
        prefetch_factor=AHEAD if workers else None, multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_start_worker, generator=torch.Generator(),  # else it draws from the run's own random numbers
    )  # fmt: skip
    try:
        with _worker_environment():
            batches = iter(loader)
        for batch in batches:
            if isinstance(batch, CmbInpaintError):
                raise batch
            yield batch
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise WorkerError(
            "a data worker process died (out of memory?); rerun with fewer workers, training resumes "
            "from its last checkpoint"
        ) from error


def to_tensors(batch: Any, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """A batch as the network's inputs by name, and the truth apart; images are channels-last."""
    tensors = {}
    for f in fields(batch):
        tensor = torch.from_numpy(getattr(batch, f.name)).to(device)
        tensors[f.name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    truth = tensors.pop("truth")
    return tensors, truth


@dataclass(frozen=True)
class RowsOfProcess:
    """A stream's batches, of which one of several processes keeps its rows: rank, rank + size, ..."""

    stream: Stream
    rank: int
    size: int

    def batch(self, index: int, split: str = "train") -> Any:
        """Batch `index` of the process.

        Raises
        ------
        RecipeError
            If the rows cannot be shared equally.
        """
        batch = self.stream.batch(index, split)
        arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
        rows = {len(array) for array in arrays.values()}
        if any(n % self.size for n in rows):
            raise RecipeError(
                f"a batch of {max(rows)} cannot be shared equally by {self.size} processes; make the batch a "
                "multiple of that"
            )
        return replace(
            batch, **{name: array[self.rank :: self.size].copy() for name, array in arrays.items()}
        )


@dataclass(frozen=True)
class _Batches(Dataset[Any]):
    """The batches of a split by their number; those that cannot be made are their error, named."""

    stream: Stream
    split: str

    def __getitem__(self, index: int) -> Any:
        what = f"{self.split} batch {index}"
        try:
            return self.stream.batch(index, self.split)
        except CmbInpaintError as error:  # returned: torch would wrap a worker's traceback around its text
            return type(error)(f"{what}: {error}")
        except MemoryError as error:
            return WorkerError(f"{what}: out of memory ({error}); make batches smaller, or use fewer workers")
        except Exception as error:
            error.add_note(f"while making {what}")
            raise


def _unchanged(batch: Any) -> Any:
    return batch


@contextmanager
def _worker_environment() -> Iterator[None]:
    """Processes started inside have one thread: the network has the other cores.

    torch would raise a worker's death out of a signal handler, anywhere, in the midst of an update of the weights too.
    The handler is taken back; the death is seen when the worker's batch is due.
    """
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, handler)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
