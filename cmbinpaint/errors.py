"""Every error and warning the package raises on purpose.

Inputs: nothing. Outputs: exception classes; `requires`, which asks for libraries that not everyone installs.

All derive from `CmbInpaintError`, itself a `ValueError`, so that `except ValueError` catches a bad
argument and `except CmbInpaintError` tells it from a bug. A message says what was given, what was
expected and what to do.
"""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, NamedTuple

# What the extras of the package bring; the core does without.
EXTRAS = {"network": ("torch", "safetensors", "PIL"), "theory": ("camb",), "sacc": ("sacc",)}


class CmbInpaintError(ValueError):
    """Base of all errors that cmbinpaint raises on purpose."""


class MapError(CmbInpaintError):
    """A map that is not a HEALPix map, or holds values no sky has."""


class MaskError(CmbInpaintError):
    """A mask that does not fit its map, or is not a mask."""


class PlanError(CmbInpaintError):
    """A plan's file that is damaged, of another version, or for another mask or sky model."""


class UnitsError(CmbInpaintError):
    """A unit that is unknown, or not a thermodynamic temperature."""


class FitsError(CmbInpaintError):
    """A FITS file that cannot be read or written as a HEALPix map."""


class OutputError(CmbInpaintError):
    """An output that cannot be written, or would replace what must stay."""


class SpectrumError(CmbInpaintError):
    """A power spectrum, beam or binning that cannot be used."""


class RecipeError(CmbInpaintError):
    """A training recipe that contradicts itself or names unknown keys."""


class DataSetError(CmbInpaintError):
    """A stored data set that is damaged, unfinished, or none at all."""


class WeightsError(CmbInpaintError):
    """Network weights that are damaged, unsafe, or do not fit the architecture."""


class CheckpointError(CmbInpaintError):
    """A training checkpoint that cannot be resumed from."""


class DeviceError(CmbInpaintError):
    """A compute device that was asked for and is not available."""


class ConvergenceError(CmbInpaintError):
    """An iterative solution that did not reach the accuracy asked for."""


class MissingExtraError(CmbInpaintError, ImportError):
    """A library that an optional part of the package needs is not installed."""


class CmbInpaintWarning(UserWarning):
    """Something the user should know; the result is valid all the same."""


def requires(extra: str) -> None:
    """Import the libraries of an extra, so that one that is not installed is asked for in one line.

    Raises
    ------
    MissingExtraError
        At the first that is not installed, with the command that brings it.
    """
    for library in EXTRAS[extra]:
        try:
            import_module(library)
        except ModuleNotFoundError as error:
            if error.name != library:  # it is installed, and what it imports is not
                raise
            raise MissingExtraError(
                f"this needs {library}, which is not installed: pip install 'cmbinpaint[{extra}]'"
            ) from None


class _Warned(NamedTuple):
    """A warning, and where it is said to come from."""

    message: Warning | str
    category: type[Warning]
    file: str
    line: int


class _Listeners:
    """What listens to warnings: each thread's innermost list. Python's own filters are the whole process's."""

    def __init__(self) -> None:
        self._lock, self._lists = threading.Lock(), dict[int, list[list[_Warned]]]()
        self._left: list[_Warned] = []  # by threads that ended while others listen

    def open(self) -> list[_Warned]:
        """A list that takes what this thread warns of from now on."""
        with self._lock:
            if not self._lists:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                self._show = warnings.showwarning
                warnings.simplefilter("always")
                warnings.showwarning = self._take  # type: ignore[assignment]
            caught: list[_Warned] = []
            self._lists.setdefault(threading.get_ident(), []).append(caught)
        return caught

    def close(self, passed_on: list[_Warned]) -> list[_Warned]:
        """End this thread's innermost list; what is to be warned of now, by Python's filters."""
        with self._lock:
            own = self._lists[threading.get_ident()]
            own.pop()
            if own:
                own[-1] += passed_on
                return []
            del self._lists[threading.get_ident()]
            self._left += passed_on
            if self._lists:
                return []
            self._before.__exit__(None, None, None)
            left, self._left = self._left, []
        return left

    def _take(
        self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any
    ) -> None:
        own = self._lists.get(threading.get_ident())
        if own:
            own[-1].append(_Warned(message, category, filename, lineno))
        else:
            self._show(message, category, filename, lineno, *rest)


_listeners = _Listeners()


@contextmanager
def kept_warnings(*, silent: bool = False) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the texts of the package's warnings of this thread.

    They are given all the same unless `silent`; those of a thread when no other listens any more.
    """
    kept: list[str] = []
    caught = _listeners.open()
    try:
        yield kept
    finally:
        kept += dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, CmbInpaintWarning))
        place = _callers_place()
        if place is not None:
            caught = [
                w._replace(file=place[0], line=place[1]) if issubclass(w.category, CmbInpaintWarning) else w
                for w in caught
            ]
        for w in _listeners.close([] if silent else caught):
            warnings.warn_explicit(w.message, w.category, w.file, w.line)


def _callers_place() -> tuple[str, int] | None:
    """Return file and line of whoever called the package; None if it calls itself, from the command line."""
    frame: FrameType | None = sys._getframe()
    outermost = frame
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
            outermost = frame
        frame = frame.f_back
    caller = None if outermost is None else outermost.f_back
    return None if caller is None else (caller.f_code.co_filename, caller.f_lineno)
