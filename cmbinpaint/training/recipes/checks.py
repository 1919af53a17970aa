"""Checks of a recipe's entries: the errors say where, what came, and what is known.

Inputs: a table's name, a key, a value. Outputs: nothing, or `RecipeError`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from cmbinpaint.errors import RecipeError


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


def check_integer(where: str, key: str, value: Any, *, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a whole number")
    if value < least:
        raise RecipeError(f"{where} {key} is {value}; give {least} or more")


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
    """Refuse what is no finite number, or out of its range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a number")
    rules = {
        f"above {above}": above is None or value > above,
        f"at least {least}": least is None or value >= least,
        f"at most {most}": most is None or value <= most,
        f"below {below}": below is None or value < below,
        "finite": abs(value) < float("inf"),
    }
    for rule, holds in rules.items():
        if not holds:
            raise RecipeError(f"{where} {key} is {value}; it must be {rule}")
