"""Checks of a recipe's entries: the errors say where, what was given, and what is known.

Inputs: a TOML file; a table's name, a key, a value. Outputs: the file's table; nothing, or `RecipeError`.
"""

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from cmbinpaint._files import read_regular
from cmbinpaint.errors import CmbInpaintError, RecipeError

T = TypeVar("T")
_LARGEST_FILE = 1 << 20
_LARGEST_INTEGER = 2**63  # what TOML, torch and numpy agree on


def read_toml(file: Path, name: str, known: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    file
        The file.
    name, known
        How the error calls it if it cannot be read, and what could be given instead.

    Raises
    ------
    RecipeError
        If it cannot be read, is not TOML, or holds an integer beyond 64 bits.
    """
    try:
        content = read_regular(file)
        if len(content) > _LARGEST_FILE:
            raise RecipeError(f"{file} has {len(content)} bytes, too many for a recipe")
        table = tomllib.loads(content.decode())
        for value in _leaves(table):
            if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
                raise RecipeError(f"{file} holds an integer of {value.bit_length()} bits; TOML allows 64")
    except OSError as error:
        raise RecipeError(
            f"cannot read {name} ({error.strerror}); give a TOML file or one of: {known}"
        ) from error
    except RecursionError as error:
        raise RecipeError(f"{file} is nested too deeply for a recipe") from error
    except RecipeError:
        raise
    except ValueError as error:
        raise RecipeError(f"{file} is not TOML: {error}") from error
    return table


def read_recipe(make: Callable[[Mapping[str, Any]], T], file: Path, name: str, known: list[str]) -> T:
    """Make a recipe of a TOML file's table; its errors name the file (see `read_toml`)."""
    table = read_toml(file, name, ", ".join(known))
    try:
        return make(table)
    except CmbInpaintError as error:
        raise RecipeError(f"{file}: {error}") from error


def check_table(what: str, table: Mapping[str, Any], known: list[str], needed: list[str]) -> None:
    """Refuse the first key of a recipe that is not known, or the first that is missing."""
    check_keys(f"{what}:", table, known)
    for key in needed:
        if key not in table:
            *most, last = needed
            raise RecipeError(f"{what}: {key} is missing; a {what} needs {', '.join(most)} and {last}")


def check_keys(where: str, table: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
    """Refuse the first key that is not known, with the nearest one that is."""
    for key in table:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise RecipeError(f"{where} unknown key {key!r}{hint} known: {', '.join(known)}")


def check_choice(where: str, key: str, value: Any, known: tuple[str, ...]) -> None:
    """Refuse a value that is none of those known."""
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"{where} {key} is {value!r}; known: {', '.join(known)}{hint}")


def check_flag(where: str, key: str, value: Any) -> None:
    """Refuse what is neither true nor false."""
    if not isinstance(value, bool):
        raise RecipeError(f"{where} {key} is {value!r}; give true or false")


def check_integer(where: str, key: str, value: Any, *, least: int, most: int = _LARGEST_INTEGER) -> None:
    """Refuse what is not a whole number, or out of its range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a whole number")
    if value < least:
        raise RecipeError(f"{where} {key} is {_shown(value)}; give {least} or more")
    if value > most:
        raise RecipeError(f"{where} {key} is {_shown(value)}; give {most} or less")


def check_number(
    where: str,
    key: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Refuse what is not a finite number, or out of its range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a number")
    rules = {
        f"above {above}": above is None or value > above,
        f"at least {least}": least is None or value >= least,
        f"at most {most}": most is None or value <= most,
        f"below {below}": below is None or value < below,
        "finite": abs(value) <= _LARGEST_INTEGER if isinstance(value, int) else math.isfinite(value),
    }
    for rule, holds in rules.items():
        if not holds:
            raise RecipeError(f"{where} {key} is {_shown(value)}; it must be {rule}")


def check_range(where: str, key: str, value: Any, **limits: float) -> tuple[float, float]:
    """Two ascending numbers; returns them as floats."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise RecipeError(f"{where} {key} is {value!r}; give two numbers, the least and the most")
    for entry in value:
        check_number(where, key, entry, **limits)
    if value[0] > value[1]:
        raise RecipeError(f"{where} {key} is {list(value)}; the least comes first")
    return float(value[0]), float(value[1])


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _shown(value: float) -> str:
    return (
        f"a number of {value.bit_length()} bits"
        if isinstance(value, int) and abs(value) > 10**40
        else str(value)
    )
