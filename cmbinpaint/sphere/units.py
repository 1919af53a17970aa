"""Which unit a CMB temperature is in: a table, since astropy cannot parse what files say.

Inputs: the text of a TUNIT, of a command line or of a Quantity's unit. Outputs: `"K_CMB"`, `"mK_CMB"` or
`"uK_CMB"`, and factors between them; the numbers of a Quantity.

Only thermodynamic temperatures are converted. A Rayleigh-Jeans temperature or a brightness differs from them by a
factor that depends on frequency: it is kept as it is where nothing has to be in µK, else refused, never guessed.
"""

import re
import unicodedata
from typing import Any

from cmbinpaint.errors import UnitsError

KELVINS = {"K_CMB": 1.0, "mK_CMB": 1e-3, "uK_CMB": 1e-6}
"""The canonical units, each with its size in kelvin."""

T_CMB_KELVIN = 2.7255
"""The mean temperature, which dimensionless spectra are divided by, squared (Fixsen 2009, ApJ 707, 916)."""

KNOWN = "K, mK, uK (µK, muK), each also as K_CMB, K(CMB), Kcmb or 'K,thermodynamic'"

# An upper-case M stays unknown: MK is a megakelvin.
_PREFIXES = {"": "K_CMB", "m": "mK_CMB", "milli": "mK_CMB", "u": "uK_CMB", "mu": "uK_CMB", "micro": "uK_CMB"}
_KELVIN = re.compile(
    r"(?P<prefix>m|u|U|mu|Mu|MU|[Mm]illi|[Mm]icro|)[ _-]?(?:[Kk]|[Kk]elvins?|KELVINS?)"
    r"[ _,(-]*(?:cmb|thermo|thermodynamic|)\)?",
)
# In running text: a k is a wave number there, and the letter before the prefix belongs to another word.
_KELVIN_SQUARED = re.compile(
    r"(?<![A-Za-z])\(?(?P<prefix>m|u|mu|Mu|[Mm]illi|[Mm]icro|)[ _-]?(?:K|[Kk]elvins?)"
    r"(?:[ _(-]*(?:CMB|cmb|thermo\w*))?\)?\s*(?:\^ ?\(?2|\*\* ?2|2(?!\d)|squared)"
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
    plain = _plain(text)
    match = _KELVIN.fullmatch(re.sub(r"(?i)cmb|thermo(dynamic)?", lambda m: m.group().lower(), plain))
    if match:
        return _PREFIXES[match["prefix"].lower()]
    kind = _kind_of_other(text)
    if kind:
        raise UnitsError(
            f"unit {text!r} is {kind}, not a CMB (thermodynamic) temperature; convert the map first. "
            f"Known: {KNOWN}"
        )
    raise UnitsError(
        f"unit {text!r} is unknown; known: {KNOWN}. "
        "If you know the unit of the values, declare it: unit='uK_CMB' (--unit uK_CMB)"
    )


def _plain(text: str) -> str:
    """The text in ASCII, without TeX's signs, brackets and quotes."""
    plain = unicodedata.normalize("NFKC", text).replace("μ", "u")
    return re.sub(r"[\\$\[\]{}'\"]", "", plain).strip()


def _kind_of_other(text: str) -> str | None:
    """What a unit is that differs from a temperature by more than a number."""
    return next((kind for p, kind in _OTHER_KINDS.items() if re.search(p, _plain(text).lower())), None)


def _is_a_unit(text: str) -> bool:
    import astropy.units as u

    try:
        return bool(str(u.Unit(text)))
    except ValueError:
        return False


def known_unit(text: str) -> str | None:
    """Return the canonical unit that a text names, or None."""
    try:
        return parse_unit(text)
    except UnitsError:
        return None


def validate_unit(text: str) -> str:
    """Return the unit that a user declares: canonical, or as it stands if it is another unit of brightness.

    Raises
    ------
    UnitsError
        If it is not a unit at all; the message lists the known ones.
    """
    try:
        return parse_unit(text)
    except UnitsError:
        if isinstance(text, str) and (_kind_of_other(text) or _is_a_unit(text)):
            return text.strip()
        raise


def parse_power_unit(text: str) -> str:
    """Return the canonical unit whose square a text names, `"dimensionless"` for spectra of ΔT/T.

    Raises
    ------
    UnitsError
        If the text names none.
    """
    found = find_power_units(text) if isinstance(text, str) else set()
    if len(found) == 1:
        return found.pop()
    raise UnitsError(
        f"{text!r} is not a unit of a power spectrum; known: the square of {KNOWN} (uK^2, K^2), or 'dimensionless'"
    )


def find_power_units(text: str) -> set[str]:
    """Return the canonical units whose squares a text speaks of (`uK^2`, `(muK)**2`, `[microK]^2`, `dimensionless`)."""
    plain = _plain(text)
    found = {_PREFIXES[match["prefix"].lower()] for match in _KELVIN_SQUARED.finditer(plain)}
    return found | ({"dimensionless"} if re.search(r"(?i)\bdimensionless\b", plain) else set())


def power_factor(unit: str, to: str = "uK_CMB") -> float:
    """Return the factor that takes a spectrum in `unit` squared (or `"dimensionless"`) to one in `to` squared."""
    if unit == "dimensionless":
        return (T_CMB_KELVIN / KELVINS[parse_unit(to)]) ** 2
    return unit_factor(unit, to) ** 2


def unit_factor(unit: str, to: str) -> float:
    """Return the factor that takes values in `unit` to values in `to` (any spelling of either).

    Raises
    ------
    UnitsError
        If they differ and one is not a thermodynamic temperature.
    """
    if unit.replace(" ", "") == to.replace(" ", ""):
        return 1.0
    return float(f"{KELVINS[parse_unit(unit)] / KELVINS[parse_unit(to)]:.0e}")


def quantity_unit(unit: Any) -> str:
    """Return the canonical unit of an astropy unit that equals K, mK or uK; another one in astropy's words."""
    import astropy.units as u

    for canonical, known in {"K_CMB": u.K, "mK_CMB": u.mK, "uK_CMB": u.uK}.items():
        if unit == known:
            return canonical
    return str(unit) or "dimensionless"


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
    """Return the unit of values that say `own` where the user declares `declared`.

    Raises
    ------
    UnitsError
        If both are given and contradict each other: `unit=` declares, it never converts.
    """
    if declared is None:
        return own
    unit = validate_unit(declared)
    if own is not None and unit != own:
        raise UnitsError(
            f"unit={declared!r} was declared, but {what} is in {own}; unit= never converts: "
            "convert the values first, or omit unit="
        )
    return unit
