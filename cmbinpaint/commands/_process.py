"""What a command needs of its process: streams that take any text, no display, signals that are never lost.

Inputs: nothing. Outputs: contexts that put everything back; `Terminated`.
"""

import codecs
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from cmbinpaint._text import ascii_text

_PLAIN = "cmbinpaint.plain"
# Seconds until a signal that came while Python could not pass it on is sent again.
_AGAIN = 0.05


class Terminated(BaseException):
    """SIGTERM was received; unwinds like KeyboardInterrupt, so that temporary files are removed on the way."""


@contextmanager
def any_console() -> Iterator[None]:
    """Let output go wherever this process was started: no stream, an encoding without µ, a notebook's MPLBACKEND."""
    with ExitStack() as stack:
        _open_closed_descriptors()
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                stream = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                setattr(sys, name, stream)
                stack.callback(setattr, sys, name, None)
            stack.enter_context(_spelled_out(getattr(sys, name)))
        stack.enter_context(_no_display())
        yield


def _open_closed_descriptors() -> None:
    """Keep what is opened next from becoming descriptor 0, 1 or 2, which libraries take for the console's."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return ascii_text(error.object[error.start : error.end]), error.end


@contextmanager
def _spelled_out(stream: Any) -> Iterator[None]:
    """Spell out what the stream's encoding has no sign for."""
    if not hasattr(stream, "reconfigure"):
        yield
        return
    codecs.register_error(_PLAIN, _spell)
    before = stream.errors
    stream.reconfigure(errors=_PLAIN)
    try:
        yield
    finally:
        with suppress(ValueError, OSError):  # it was closed meanwhile
            stream.reconfigure(errors=before)


@contextmanager
def _no_display() -> Iterator[None]:
    """Let matplotlib draw into files: the backend that a notebook's kernel exports may not be installed here."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MPLBACKEND", None)
        else:
            os.environ["MPLBACKEND"] = before


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does (the main thread alone may receive signals).

    What either raises in a callback whose errors Python drops (a finalizer's, a weak reference's) is sent again; where
    the block ends first, it is raised then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lost: list[type[BaseException]] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated

    def again() -> None:
        if lost:
            signal.raise_signal(signal.SIGTERM if issubclass(lost[0], Terminated) else signal.SIGINT)

    def dropped(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, Terminated | KeyboardInterrupt):
            hook(unraisable)
            return
        lost.append(unraisable.exc_type)
        timer = threading.Timer(_AGAIN, again)
        timer.daemon = True
        timer.start()

    hook, sys.unraisablehook = sys.unraisablehook, dropped
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
        if lost:
            raise lost[0]
    finally:
        lost.clear()
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
