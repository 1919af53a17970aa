"""What commands share: types of arguments, seeds, units, provenance, progress.

Inputs: texts of a command line. Outputs: numbers, arrays and texts.

Heavy libraries are imported inside functions, so that `--help` stays fast.
"""

import argparse
import logging
import re
import secrets
import shlex
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint import __version__
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, FitsError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, BoolArray, FloatArray
    from cmbinpaint.sphere.fields import Fields

# Kinds of masks that commands draw by themselves.
HOLES = ("planck", "round")

# Of any number: a seed has up to 128 bits, and floats far below their largest are absurd in every option.
_LARGEST = 2**128
# Seconds between two looks at a bar.
_BEAT = 0.5
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def positive_int(text: str) -> int:
    """Parse an int above 0."""
    return _number(text, int, lambda value: value > 0, "a whole number above 0")


def count(text: str) -> int:
    """Parse a number of things to be made, up to a million."""
    return _number(text, int, lambda value: 0 < value <= 10**6, "a whole number from 1 to 1000000")


def natural(text: str) -> int:
    """Parse an int that is not negative."""
    return _number(text, int, lambda value: value >= 0, "a whole number, 0 or more")


def positive_float(text: str) -> float:
    """Parse a finite number above 0."""
    return _number(text, float, lambda value: value > 0, "a number above 0")


def natural_float(text: str) -> float:
    """Parse a finite number that is not negative."""
    return _number(text, float, lambda value: value >= 0, "a number, 0 or more")


def memory_size(text: str) -> int:
    """Parse a number of bytes: `8G`, `500M`, `8589934592`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * _SIZES[match[2].upper()] if match else 0.0
    if not 1 <= size < _LARGEST:
        raise argparse.ArgumentTypeError(f"got {_shown(text)}; expected bytes, as 8G or 500M")
    return int(size)


def column(text: str) -> int | str:
    """Parse a column: its number from 0, or its name."""
    return int(text) if text.isdecimal() else text


def columns(text: str) -> tuple[int | str, ...]:
    """Parse one column or several, with commas between them."""
    return tuple(column(one.strip()) for one in text.split(","))


def levels(text: str) -> tuple[float, ...]:
    """Parse one number that is not negative, or several with commas between them."""
    return tuple(natural_float(one) for one in text.split(","))


def for_each_stokes(found: "Sequence[Any]", fields: "Fields", what: str) -> list[Any]:
    """Return one of each Stokes parameter, of one for all, of two for T and polarization, or of one each.

    Raises
    ------
    CmbInpaintError
        If their number is another.
    """
    if len(found) not in {1, len(fields.spins), fields.n}:
        raise CmbInpaintError(
            f"{what} gives {len(found)}; the map is of {', '.join(fields.stokes)}: one for all"
            + (", two for T and polarization," if fields.n == 3 else "")
            + (f" or {fields.n}, one for each" if fields.n > 1 else "")
        )
    return [found[min(i, len(found) - 1)] for i in range(fields.n)]


def _number(text: str, kind: Callable[[str], Any], fits: Callable[[Any], bool], expected: str) -> Any:
    try:
        value = kind(text)
        if abs(value) < _LARGEST and fits(value):  # false for NaN
            return value
    except (ValueError, OverflowError):
        pass
    raise argparse.ArgumentTypeError(f"got {_shown(text)}; expected {expected}")


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:20]!r}... ({len(text)} characters)"


def fresh_seed() -> int:
    """Return a new seed, short enough to copy by hand."""
    return secrets.randbits(32)


def microkelvin(what: str, unit: str | None) -> float:
    """Return the factor from `unit` to µK; an unspecified unit is taken to be µK, with a warning."""
    from cmbinpaint.sphere.units import unit_factor

    if unit is None:
        warnings.warn(
            f"{what} gives no unit: µK_CMB is assumed; --unit declares another", CmbInpaintWarning, 3
        )
        return 1.0
    return unit_factor(unit, "uK_CMB")


def scaled(sky: "AnyArray", factor: float) -> "AnyArray":
    """Return a map in another unit, float64, its UNSEEN pixels UNSEEN."""
    import numpy as np

    from cmbinpaint.sphere.maps import UNSEEN, is_unseen

    with np.errstate(over="ignore"):
        return np.where(is_unseen(sky), UNSEEN, sky.astype(np.float64) * factor)


def add_max_memory(add: Callable[..., Any]) -> None:
    """Declare `--max-memory`, for commands that read maps."""
    add("--max-memory", metavar="B", type=memory_size, help="refuse files that need more, as 8G")


def read_noise(
    text: str, fields: "Fields", read: "Callable[[Path], tuple[AnyArray, str | None]]"
) -> "float | FloatArray":
    """Return `--noise-std` in µK: of T a number or (npix,), else (k,) or (k, npix).

    `read` gives the maps (n, npix) in the file that it names, and their unit.
    """
    import numpy as np

    found: Any
    try:
        found = levels(text)
    except argparse.ArgumentTypeError as error:
        path = Path(text)
        if not path.exists():
            raise FitsError(f"--noise-std: {error} in µK, or a FITS file; there is no such file") from None
        maps, unit = read(path)
        if len(maps) == 1 and fields.n > 1:
            raise CmbInpaintError(
                f"--noise-std {path} gives one map, the map is of {', '.join(fields.stokes)}: --noise-field names its "
                "columns of T and polarization, or of each"
            ) from None
        found = scaled(maps, microkelvin(f"the noise map {path}", unit))
    each = for_each_stokes(found, fields, f"--noise-std {text}")
    return each[0] if fields.n == 1 else np.array(each)


def provenance_of(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the cards and HISTORY lines that every file of this package carries."""
    cards = {"CREATOR": (f"cmbinpaint {__version__}", "software that wrote this file")}
    return cards, [command_line(argv)]


def command_line(argv: Sequence[str]) -> str:
    """Return the command as a user can type it again."""
    return shlex.join(["cmbinpaint", *argv])


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Any]:
    """Yield a tqdm bar on stderr whose seconds pass whatever is being done; silent where stderr is no terminal."""
    from tqdm import tqdm

    options: dict[str, Any] = {} if total else {"bar_format": "{desc} {elapsed} {postfix}"}
    silent = not sys.stderr.isatty()
    with tqdm(total=total, desc=what, leave=False, disable=silent, file=sys.stderr, **options) as bar:
        done = threading.Event()

        def pass_on() -> None:
            while not done.wait(_BEAT):
                bar.refresh()

        beat = threading.Thread(target=pass_on, daemon=True)
        if not silent:
            beat.start()
        try:
            yield bar
        finally:
            done.set()
            if not silent:
                beat.join()


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Show that a stage is at work, and log the seconds it took (--verbose)."""
    start = time.perf_counter()
    with progress_bar(what):
        yield
    logging.getLogger(__name__).info("%s: %.1f s", what, time.perf_counter() - start)


def human_bytes(size: float) -> str:
    """Return a size for people: `1.5 GB`."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def count_of(n: int, what: str) -> str:
    """Return a number of things for people: `1 hole`, `2 holes`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def human_seconds(seconds: float) -> str:
    """Return a duration for people: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def drawn_mask(kind: str, nside: int) -> "BoolArray":
    """Return a mask of one of the `HOLES`, (npix,) bool RING, True = observed."""
    from cmbinpaint.sphere.planck_mask import planck_like_mask
    from cmbinpaint.sphere.round_mask import round_holes_mask

    return planck_like_mask(nside) if kind == "planck" else round_holes_mask(nside)
