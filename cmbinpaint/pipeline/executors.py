"""Work for any `concurrent.futures.Executor`: what comes back as it comes, and what died.

Inputs: a function, what to call it with, an executor or None. Outputs: results or errors, one for each.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from cmbinpaint.errors import CmbInpaintError

_Item = TypeVar("_Item")
# Pieces that are given out for each worker, so that none waits for its next; results that nobody took yet count.
_AHEAD = 2
# Workers that an executor is taken to have which does not say.
_WORKERS = 64


class WorkerDiedError(CmbInpaintError):
    """A process ended while it was at work: killed, or out of memory."""


def run_all(
    task: Callable[[_Item], Any],
    items: Iterable[_Item],
    executor: Executor | None,
    *,
    ordered: bool = False,
    stop: Callable[[], bool] = bool,
) -> Iterator[tuple[_Item, Any]]:
    """Call a function with each item; yield (item, result), or the exception that it raised in the result's place.

    Parameters
    ----------
    task
        For other processes: pickled with every item.
    items
        Taken as they are needed.
    executor
        None: one after the other, here. A process pool in which a process dies is replaced by one like it; what it was
        at is done again, one at a time, and what kills its process again gets a `WorkerDiedError`.
    ordered
        Whether results come in the order of the items, not as they are ready.
    stop
        Says when to end: what no worker has begun is then left.

    Raises
    ------
    CmbInpaintError
        If the executor takes no work.
    """
    if executor is None:
        for item in items:
            try:
                result = task(item)
            except Exception as error:
                result = error
            yield item, result
        return
    pool, queue, lost = _Pool(executor), iter(items), list[_Item]()
    pending: dict[Future[Any], _Item] = {}
    ahead = _AHEAD * _workers(executor)
    try:
        while True:
            while not lost and len(pending) < ahead:
                for item in queue:
                    pending[pool.submit(task, item)] = item
                    break
                else:
                    break
            if stop():
                pending = {future: item for future, item in pending.items() if not future.cancel()}
            if not pending:
                break
            waiting = [next(iter(pending))] if ordered else list(pending)
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                item = pending.pop(future)
                result = _result(future)
                if isinstance(result, BrokenExecutor):
                    lost.append(item)
                else:
                    yield item, result
            if lost and not pending:
                for item in lost:
                    yield item, pool.again(task, item)
                lost = []
    finally:
        for future in pending:
            future.cancel()
        pool.close()


def refuse_closed(executor: Executor) -> None:
    """Refuse, before the work, an executor that takes none; its processes start meanwhile.

    Raises
    ------
    CmbInpaintError
        If it is closed or broken.
    """
    try:
        executor.submit(int)
    except Exception as error:
        raise CmbInpaintError(
            f"the executor takes no work ({error}); is it closed? Make a new one"
        ) from error


def refuse_unpicklable(function: Any, executor: Executor | None, what: str) -> None:
    """Refuse, before the work, a function that cannot be sent to processes.

    Raises
    ------
    CmbInpaintError
        If it is a lambda, or defined in another function.
    """
    if not isinstance(executor, ProcessPoolExecutor):
        return
    try:
        pickle.dumps(function)
    except Exception as error:
        raise CmbInpaintError(
            f"{what} cannot be sent to processes ({error}); define it at the top of a module"
        ) from None


class _Pool:
    """An executor, or what took its place when it broke."""

    def __init__(self, executor: Executor) -> None:
        self._now, self._own = executor, False

    def submit(self, task: Callable[[_Item], Any], item: _Item) -> Future[Any]:
        try:
            return self._now.submit(task, item)
        except BrokenExecutor as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken
        except Exception as error:
            raise CmbInpaintError(
                f"the executor takes no work ({error}); is it closed? Make a new one"
            ) from error

    def again(self, task: Callable[[_Item], Any], item: _Item) -> Any:
        """The result of what was lost, tried alone; who dies again is named."""
        if self._replaced():
            result = _result(self.submit(task, item))
            if not isinstance(result, BrokenExecutor):
                return result
            self._replaced()
        return WorkerDiedError("the process that filled it died: it was killed, or memory ran out")

    def close(self) -> None:
        """End what was made here."""
        if self._own:
            self._now.shutdown(wait=False, cancel_futures=True)

    def _replaced(self) -> bool:
        """Whether there is a pool that works, a new one if need be."""
        pool = self._now
        if not isinstance(pool, ProcessPoolExecutor):
            return False
        if pool._broken:
            self.close()
            like = [
                getattr(pool, name) for name in ("_max_workers", "_mp_context", "_initializer", "_initargs")
            ]
            self._now = ProcessPoolExecutor(*like)
            self._own = True
        return True


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except Exception as error:
        return error


def _workers(executor: Any) -> int:
    """How many workers an executor has."""
    for name in ("_max_workers", "num_workers"):
        number = getattr(executor, name, None)
        if isinstance(number, int):
            return max(1, number)
    return _WORKERS
