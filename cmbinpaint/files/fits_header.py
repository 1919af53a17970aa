"""What a HEALPix header means: nside, ordering, frame, columns, pixel indices, bad values.

Inputs: `Hdu` of fitsscan. Outputs: `MapInfo`, `ColumnInfo` and the checks of a header against its table.
"""

import difflib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._types import AnyArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning, FitsError, MapError
from cmbinpaint.files.fits_scan import Column, Hdu, card, clean_text, whole
from cmbinpaint.sphere.maps import npix_to_nside, validate_nside

_FRAMES = {"G": "G", "GAL": "G", "E": "E", "ECL": "E", "C": "C", "CEL": "C", "EQU": "C", "Q": "C", "ICR": "C"}
_PIXEL_NAMES = {"PIXEL", "PIXELS", "PIX", "PIXNUM", "IPIX", "HPXINDEX", "HPX_INDEX"}
_STRUCTURE = {
    "SIMPLE", "EXTEND", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS",
    "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "",
}  # fmt: skip
_HISTORY_COLUMNS = 72
# How entries begin that this package writes.
_ENTRIES = ("cmbinpaint ", "sky model: ", "self-check: ", "warning: ")


@dataclass(frozen=True)
class MapInfo:
    """Where a map came from, and how the file had it.

    Attributes
    ----------
    nside
        Resolution.
    nest
        Whether the returned array is NESTED.
    ordering
        `"RING"` or `"NESTED"`: the file's.
    unit
        `"K_CMB"`, `"mK_CMB"`, `"uK_CMB"` or None: the file does not say.
    column, hdu
        TTYPE and the HDU's number.
    coord
        `"G"`, `"E"`, `"C"`, or None: the file does not say. Maps are never rotated.
    polcconv
        `"COSMO"`, `"IAU"` or None.
    dtype
        Of the array, native byte order.
    path, sha256
        Of the file.
    header
        The HDU's cards but for structure and comments, cleaned of control characters; what only the primary
        header says is in it too. HISTORY is one text with a line for each card.
    """

    nside: int
    nest: bool
    ordering: str
    unit: str | None = None
    column: str = "TEMPERATURE"
    hdu: int = 1
    coord: str | None = None
    polcconv: str | None = None
    dtype: str = "float64"
    path: str = ""
    sha256: str = ""
    header: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        validate_nside(self.nside)
        if self.ordering not in ("RING", "NESTED"):
            raise MapError(f"ordering is 'RING' or 'NESTED', got {self.ordering!r}")

    @property
    def tunit(self) -> str:
        """The unit as the file spells it, or an empty text."""
        for key, name in self.header.items():
            if key.startswith("TTYPE") and str(name).strip() == self.column:
                return str(self.header.get(f"TUNIT{key[5:]}", "")).strip()
        return ""

    @property
    def history(self) -> tuple[str, ...]:
        """The HISTORY entries, those that were cut into cards put together again."""
        entries: list[str] = []
        goes_on = False
        for line in str(self.header.get("HISTORY", "")).splitlines():
            if goes_on and not line.startswith(_ENTRIES):
                entries[-1] += line
            else:
                entries.append(line)
            # A card that ends in a blank comes back one column short.
            goes_on = len(line) >= _HISTORY_COLUMNS - 1
            entries[-1] += " " * (goes_on and len(line) < _HISTORY_COLUMNS)
        return tuple(entry.rstrip() for entry in entries)


@dataclass(frozen=True)
class ColumnInfo:
    """One column of a file, for listings: its HDU, number, name, unit as written, type and length."""

    hdu: int
    number: int
    name: str
    unit: str
    dtype: str
    length: int


def either(hdu: Hdu, primary: Hdu, keyword: str) -> Any:
    """Return a card of the table, or of the primary header where the table lacks it (WMAP's SKYCOORD)."""
    value = card(hdu.header, keyword)
    if value is None or not str(value).strip():
        value = card(primary.header, keyword)
    return None if value is None or not str(value).strip() else value


def header_cards(hdu: Hdu, primary: Hdu) -> dict[str, Any]:
    """Return the readable cards of both headers as a dict, the table's before the primary's."""
    cards: dict[str, Any] = {}
    for header in (primary.header, hdu.header):
        for keyword in dict.fromkeys(header.keys()):
            value = card(header, keyword)
            if keyword not in _STRUCTURE and value is not None:
                cards[keyword] = value
    if "HISTORY" in hdu.header:
        cards["HISTORY"] = "\n".join(map(clean_text, map(str, hdu.header["HISTORY"])))
    return cards


def parse_ordering(text: str) -> str:
    """Return `"RING"` or `"NESTED"` for any spelling (NEST, nested, Ring), or raise FitsError."""
    word = str(text).strip().upper()
    for ordering in ("RING", "NEST"):
        if word.startswith(ordering):
            return {"NEST": "NESTED"}.get(ordering, ordering)
    hint = "; a multi-resolution (NUNIQ) map has to be regridded first" if word == "NUNIQ" else ""
    raise FitsError(
        f"ORDERING is {text!r}; RING or NESTED was expected{hint}. Say ordering='RING' or 'NESTED'"
    )


def file_ordering(where: str, hdu: Hdu, primary: Hdu, declared: str | None) -> str:
    """Return the ordering that the header, or the user where it has none, says.

    Raises
    ------
    FitsError
        If neither says it: a guess could scramble the map.
    """
    written = either(hdu, primary, "ORDERING")
    if declared is None:
        if written is None:
            raise FitsError(
                f"{where} has no ORDERING: say which it is, ordering='RING' or ordering='NESTED' "
                "(--ordering); a wrong guess scrambles the map"
            )
        return parse_ordering(written)
    ordering = parse_ordering(declared)
    if written is not None and not str(written).strip().upper().startswith(ordering[:4]):
        warnings.warn(
            f"{where} says ORDERING={written!r}; it is read as {ordering}, as declared",
            CmbInpaintWarning,
            stacklevel=4,
        )
    return ordering


def frame(hdu: Hdu, primary: Hdu) -> str | None:
    """Return the frame: `"G"`, `"E"`, `"C"`, the header's own word if unknown, or None if it has none."""
    for keyword in ("COORDSYS", "SKYCOORD", "COORD"):
        value = either(hdu, primary, keyword)
        if value is not None:
            word = str(value).strip().upper()
            return _FRAMES.get(word, _FRAMES.get(word[:3], str(value).strip()))
    return None


def file_nside(where: str, hdu: Hdu, primary: Hdu) -> int:
    """Return the header's NSIDE.

    Raises
    ------
    FitsError
        If there is none, or it is no power of two, or the table is no HEALPix map.
    """
    pixtype = either(hdu, primary, "PIXTYPE")
    if pixtype is not None and str(pixtype).strip().upper() != "HEALPIX":
        raise FitsError(f"{where} has PIXTYPE={pixtype!r}; HEALPIX was expected")
    if either(hdu, primary, "NSIDE") is None:
        raise FitsError(f"{where} has no NSIDE: it is no HEALPix map, or its header is damaged")
    holder = hdu if card(hdu.header, "NSIDE") is not None else primary
    try:
        return validate_nside(whole(holder.header, "NSIDE"))
    except (FitsError, MapError) as error:
        raise FitsError(f"{where}: {error}") from None


def is_explicit(hdu: Hdu, columns: list[Column], npix: int) -> bool:
    """Return whether the table lists its pixels; INDXSCHM decides, then OBJECT, then the columns."""
    scheme = str(card(hdu.header, "INDXSCHM", "")).strip().upper()
    if scheme in ("EXPLICIT", "IMPLICIT"):
        return scheme == "EXPLICIT"
    if str(card(hdu.header, "OBJECT", "")).strip().upper() == "PARTIAL":
        return True
    return columns[0].name.upper() in _PIXEL_NAMES and hdu.rows * columns[0].repeat != npix


def pixel_column(columns: list[Column]) -> Column:
    """Return the column of pixel indices of an EXPLICIT table: by name, else the first."""
    return next((c for c in columns if c.name.upper() in _PIXEL_NAMES), columns[0])


def list_columns(columns: list[Column]) -> str:
    """Return the columns with number and unit, for messages."""
    return ", ".join(f"{i}: {c.name} [{c.unit or 'no unit'}]" for i, c in enumerate(columns))


def find_column(where: str, columns: list[Column], wanted: Any) -> Column:
    """Return the column that a name (in any case) or a number from 0 means.

    Raises
    ------
    FitsError
        If there is none; the message lists them with units and suggests the nearest.
    """
    if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
        if 0 <= wanted < len(columns):
            return columns[int(wanted)]
        raise FitsError(f"{where} has no field {wanted}; it has {list_columns(columns)}")
    if not isinstance(wanted, str):
        raise FitsError(
            f"field is one column's name or number, got {type(wanted).__name__} {wanted!r}: "
            "temperature only, one column at a time"
        )
    for same in (str, str.upper):
        for column in columns:
            if same(column.name) == same(wanted.strip()):
                return column
    if wanted.strip().isdigit():
        return find_column(where, columns, int(wanted))
    names = {c.name.upper(): c.name for c in columns}
    near = difflib.get_close_matches(wanted.strip().upper(), names, n=1, cutoff=0.4)
    hint = f"; did you mean {names[near[0]]!r}?" if near else ""
    raise FitsError(f"{where} has no column {wanted!r}; it has {list_columns(columns)}{hint}")


def check_readable(where: str, column: Column) -> None:
    """Raise FitsError if a column holds anything but one real number per pixel."""
    if column.letter in "PQ":
        raise FitsError(
            f"column {column.name!r} of {where} is variable-length (TFORM {column.letter}): no HEALPix map "
            "has such; write it with a fixed length"
        )
    kinds = {"A": "text", "X": "bits", "C": "complex numbers", "M": "complex numbers"}
    if column.letter in kinds:
        raise FitsError(
            f"column {column.name!r} of {where} holds {kinds[column.letter]}; real numbers were expected"
        )


def check_length(where: str, column: Column, length: int, nside: int) -> None:
    """Raise FitsError if an IMPLICIT column's length is not that of its NSIDE."""
    if length == 12 * nside * nside:
        return
    try:
        really = f"nside {npix_to_nside(length)}"
    except MapError:
        really = "no full sky; a partial one needs INDXSCHM='EXPLICIT' and a column of pixels"
    raise FitsError(
        f"NSIDE of {where} lies: it says {nside}, {12 * nside * nside} pixels, but column {column.name!r} "
        f"holds {length}, which is {really}"
    )


def check_pixels(where: str, pixels: AnyArray, nside: int) -> IntArray:
    """Return the pixel indices of an EXPLICIT table as int64.

    Raises
    ------
    FitsError
        If one is negative, out of range, listed twice or no whole number.
    """
    npix = 12 * nside * nside
    if pixels.dtype.kind == "f" and not np.all(pixels == np.floor(pixels)):
        raise FitsError(f"{where}: some pixel indices are no whole numbers")
    for bad, what in (
        (pixels < 0, "negative"),
        (pixels >= npix, f"out of range (nside {nside} has {npix} pixels)"),
    ):
        if bad.any():
            first = pixels[int(np.argmax(bad))]
            raise FitsError(f"{where}: {int(bad.sum())} pixel indices are {what}, the first {first}")
    index = pixels.astype(np.int64)
    ordered = np.sort(index)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        raise FitsError(
            f"{where}: {twice.size} pixel indices are duplicates, the first {twice[0]}: which one counts?"
        )
    return index


def bad_value(where: str, hdu: Hdu) -> float | None:
    """Return BAD_DATA, the value of unobserved pixels, or None."""
    value = card(hdu.header, "BAD_DATA")
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        warnings.warn(f"{where}: BAD_DATA={value!r} is no number; ignored", CmbInpaintWarning, stacklevel=4)
        return None


def table_name(path: Path, hdu: Hdu) -> str:
    """Return how messages name a table."""
    return f"HDU {hdu.index} of {path}"
