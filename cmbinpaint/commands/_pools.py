"""Workers for `batch`: processes of this machine, MPI or Dask.

Inputs: the command's options. Outputs: an executor, or None for one after the other.
"""

import argparse
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from cmbinpaint._machine import available_cores
from cmbinpaint.errors import CmbInpaintError, MissingExtraError


def threads_of(args: argparse.Namespace) -> int:
    """Threads of each worker: this machine's cores, shared out; of MPI and Dask one."""
    if args.mpi or args.dask is not None:
        return 1
    return max(1, available_cores() // (args.workers or 1))


@contextmanager
def workers(args: argparse.Namespace) -> Iterator[Executor | None]:
    """The executor that the options name; workers end with the block, at once if it fails."""
    if args.mpi:
        with _mpi() as pool:
            yield pool
    elif args.dask is not None:
        with _dask(args.dask) as pool:
            yield pool
    elif (args.workers or 1) > 1:
        with _processes(args.workers) as pool:
            yield pool
    else:
        yield None


@contextmanager
def _processes(n: int) -> Iterator[Executor]:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # what takes seconds to import is imported once
        context.set_forkserver_preload(["cmbinpaint.commands._units", "cmbinpaint.pipeline.planning"])
    pool = ProcessPoolExecutor(n, context, _start_worker)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():  # those of a pool that took its place too
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _start_worker() -> None:
    """Leave signals to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _mpi() -> Iterator[Executor]:
    try:
        from mpi4py.futures import MPIPoolExecutor
    except ImportError as error:
        raise MissingExtraError(
            f"--mpi needs mpi4py and an MPI library ({error}): pip install mpi4py mpich"
        ) from None
    with MPIPoolExecutor() as pool:
        if pool.num_workers < 1:
            raise CmbInpaintError(
                "--mpi has no workers: start it with mpiexec -n N python -m mpi4py.futures -m cmbinpaint batch ..."
            )
        yield pool


@contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(f"--dask needs distributed ({error}): pip install distributed") from None
    try:
        client = Client(address, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        raise CmbInpaintError(
            f"--dask {address} does not answer ({error}); give a scheduler's, as tcp://host:8786"
        ) from None
    with client:
        yield client.get_executor()
