"""What a case of the fuzzer is, and what its parts share.

A case reads something damaged and returns None if what was read is what others read of the same bytes (astropy and
healpy of maps, numpy of spectra, `json`, `tomllib` and `numpy.frombuffer` of the rest), `UNCHECKED` where no other
reads it, and else in what the values differ. Errors pass through.
"""

import contextlib
import io
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

UNCHECKED = "no other program reads it"
Case = Callable[[], str | None]
# Of what is kept between cases, a generator and a scratch folder.
Maker = Callable[[dict[str, Any], np.random.Generator, Path], Case]


class Late(BaseException):
    """Another program took too long; not an `Exception`, which it might catch."""


def once(state: dict[str, Any], make: Callable[..., Any], *args: Any) -> Any:
    """What `make` makes, kept for the next case."""
    if make.__name__ not in state:
        state[make.__name__] = make(*args)
    return state[make.__name__]


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Other programs without their warnings, and for three seconds at most: astropy never ends with some files."""

    def stop(*_: Any) -> None:
        raise Late

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(3)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
