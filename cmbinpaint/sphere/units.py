"""Which unit a CMB temperature is in: a table, since astropy cannot parse what files say.

Inputs: the text of a TUNIT, of a command line or of a Quantity's unit. Outputs: `"K_CMB"`, `"mK_CMB"` or
`"uK_CMB"`, and factors between them.

Only thermodynamic temperatures are known. A Rayleigh-Jeans temperature or a brightness differs from
them by a factor that depends on frequency, so it is refused, never guessed.
"""

import re
import unicodedata
from typing import Any

from cmbinpaint.errors import UnitsError

KELVINS = {"K_CMB": 1.0, "mK_CMB": 1e-3, "uK_CMB": 1e-6}
"""The canonical units, each with its size in kelvin."""

KNOWN = "K, mK, uK (µK, muK), each also as K_CMB, K(CMB), Kcmb or 'K,thermodynamic'"

# An upper-case M stays unknown: MK is a megakelvin.
_PREFIXES = {"": "K_CMB", "m": "mK_CMB", "milli": "mK_CMB", "u": "uK_CMB", "mu": "uK_CMB", "micro": "uK_CMB"}
_KELVIN = re.compile(
    r"(?P<prefix>m|u|U|mu|Mu|MU|[Mm]illi|[Mm]icro|)[ _-]?(?:[Kk]|[Kk]elvins?|KELVINS?)"
    r"[ _,(-]*(?:cmb|thermo|thermodynamic|)\)?",
)
_OTHER_KINDS = {
    r"rj|antenna|rayleigh|_ra$": "a Rayleigh-Jeans (antenna) temperature",
    r"jy": "a brightness",
    r"\^ *2|\*\* *2|2$|squared": "a variance",
}


def parse_unit(text: str) -> str:
    """Return the canonical unit that a text names.

    Parameters
    ----------
    text
        Any spelling in use: `K_CMB`, `Kcmb`, `K(CMB)`, `muK`, `µK`, `mK,thermodynamic`, `uK_CMB`.

    Returns
    -------
    str
        `"K_CMB"`, `"mK_CMB"` or `"uK_CMB"`.

    Raises
    ------
    UnitsError
        If the text names no thermodynamic temperature; the message lists the known units.
    """
    if not isinstance(text, str):
        raise UnitsError(f"a unit is a text, got {type(text).__name__} {text!r}; known: {KNOWN}")
    plain = unicodedata.normalize("NFKC", text).replace("μ", "u")
    plain = re.sub(r"[\\$\[\]{}'\"]", "", plain).strip()
    match = _KELVIN.fullmatch(re.sub(r"(?i)cmb|thermo(dynamic)?", lambda m: m.group().lower(), plain))
    if match:
        return _PREFIXES[match["prefix"].lower()]
    for pattern, kind in _OTHER_KINDS.items():
        if re.search(pattern, plain.lower()):
            raise UnitsError(
                f"unit {text!r} is {kind}, not a CMB (thermodynamic) temperature; convert the map first. "
                f"Known: {KNOWN}"
            )
    raise UnitsError(
        f"unit {text!r} is unknown; known: {KNOWN}. "
        "If you know the unit of the values, declare it: unit='uK_CMB' (--unit uK_CMB)"
    )


def unit_factor(unit: str, to: str) -> float:
    """Return the factor that takes values in `unit` to values in `to` (any spelling of either).

    Raises
    ------
    UnitsError
        If either is unknown.
    """
    return float(f"{KELVINS[parse_unit(unit)] / KELVINS[parse_unit(to)]:.0e}")


def quantity_unit(unit: Any) -> str:
    """Return the canonical unit of an astropy unit that equals K, mK or uK.

    Raises
    ------
    UnitsError
        If it is another unit.
    """
    import astropy.units as u

    for canonical, known in {"K_CMB": u.K, "mK_CMB": u.mK, "uK_CMB": u.uK}.items():
        if unit == known:
            return canonical
    raise UnitsError(
        f"the map is a Quantity in {str(unit) or 'no unit'!r}; a temperature in K, mK or uK (thermodynamic) "
        "was expected: convert it with .to(astropy.units.uK), or pass .value and declare unit='uK_CMB'"
    )


_EXPECTED = {"uK": "a temperature", "uK2": "a temperature squared", "rad": "an angle", "": "a bare number"}


def in_unit(value: Any, unit: str, name: str) -> Any:
    """Return the numbers of a Quantity (or a table's column with a unit) in `unit`; anything else as it is.

    Parameters
    ----------
    value
        Of any type; `name` is what messages call it.
    unit
        `"uK"`, `"uK2"`, `"rad"` or `""`, a pure number.

    Raises
    ------
    UnitsError
        If its unit cannot be converted.
    """
    if getattr(value, "unit", None) is None:
        return value
    import astropy.units as u

    quantity = value if isinstance(value, u.Quantity) else u.Quantity(value)
    try:
        return quantity.to_value(u.Unit(unit))
    except u.UnitConversionError:
        raise UnitsError(
            f"{name} is a Quantity in {str(quantity.unit) or 'no unit'!r}; {_EXPECTED[unit]} was expected"
        ) from None


def agree(declared: str | None, own: str | None, *, what: str) -> str | None:
    """Return the unit of values that say `own` (canonical) where the user declares `declared`.

    Raises
    ------
    UnitsError
        If both are given and contradict each other: `unit=` declares, it never converts.
    """
    if declared is None:
        return own
    canonical = parse_unit(declared)
    if own is not None and canonical != own:
        raise UnitsError(
            f"unit={declared!r} was declared, but {what} is in {own}; unit= never converts: "
            "convert the values first, or leave unit= away"
        )
    return canonical
