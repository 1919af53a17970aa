"""What the header of a HEALPix table means: nside, ordering, frame, columns, pixel indices.

Inputs: `Hdu` of a table and of its file's primary header. Outputs: `HealpixTable`, which refuses contradictions.
"""

import difflib
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import VerifyError
from astropy.io.fits.card import Undefined

from cmbinpaint._types import AnyArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning, FitsError, MapError
from cmbinpaint.files.fits_scan import Hdu, clean_text
from cmbinpaint.files.fits_table import Column, table_columns
from cmbinpaint.sphere.maps import npix_to_nside, validate_nside

_FRAMES = {"G": "G", "GAL": "G", "E": "E", "ECL": "E", "C": "C", "CEL": "C", "EQU": "C", "Q": "C", "ICR": "C"}
_PIXEL_NAMES = {"PIXEL", "PIXELS", "PIX", "PIXNUM", "IPIX", "HPXINDEX", "HPX_INDEX"}
_STRUCTURE = {
    "SIMPLE", "EXTEND", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "PCOUNT", "GCOUNT", "TFIELDS",
    "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "",
}  # fmt: skip
# Letters that a misspelled HEALPIX shares with it; no other pixelization comes near.
_LIKE_HEALPIX = 0.7


def parse_ordering(text: str) -> str:
    """Return `"RING"` or `"NESTED"` for any spelling (NEST, nested, Ring), or raise FitsError."""
    word = str(text).strip().upper()
    for ordering, canonical in (("RING", "RING"), ("NEST", "NESTED")):
        if word.startswith(ordering):
            return canonical
    raise FitsError(
        f"ORDERING is {text!r}; RING or NESTED was expected. Declare it: ordering='RING' or 'NESTED'"
    )


def list_columns(columns: list[Column]) -> str:
    """Return the columns with number and unit, for messages."""
    return ", ".join(f"{i}: {c.name} [{c.unit or 'no unit'}]" for i, c in enumerate(columns))


@dataclass(frozen=True, eq=False)
class HealpixTable:
    """A table that claims to hold HEALPix maps, and the primary header of its file.

    Raises
    ------
    FitsError
        From each property and method, if the header lacks what is needed or contradicts itself.
    """

    path: Path
    hdu: Hdu
    primary: Hdu

    def __str__(self) -> str:
        return f"HDU {self.hdu.index} of {self.path}"

    def either(self, keyword: str) -> Any:
        """A card of the table, or of the primary header where the table lacks it (WMAP's SKYCOORD); None if none."""
        for hdu in (self.hdu, self.primary):
            if hdu.text(keyword):
                return hdu.card(keyword)
        return None

    @cached_property
    def cards(self) -> dict[str, Any]:
        """The readable cards of both headers, the table's before the primary's."""
        cards: dict[str, Any] = {}
        for hdu in (self.hdu, self.primary):
            for card in hdu.header.cards:
                try:
                    value = card.value
                except VerifyError:
                    continue
                if card.keyword not in _STRUCTURE and value is not None and not isinstance(value, Undefined):
                    cards.setdefault(card.keyword, value)
        if "HISTORY" in self.hdu.header:
            cards["HISTORY"] = "\n".join(map(clean_text, map(str, self.hdu.header["HISTORY"])))
        return cards

    @cached_property
    def columns(self) -> list[Column]:
        """All columns of the table."""
        columns = table_columns(self.hdu)
        if self.hdu.card("ZTABLE") is True:
            raise FitsError(f"{self} is a compressed table (ZTABLE); unpack it first with funpack")
        if not columns:
            raise FitsError(f"{self} has no columns")
        return columns

    @property
    def frame(self) -> str | None:
        """`"G"`, `"E"`, `"C"`, the header's own word if unknown, or None if it has none."""
        for keyword in ("COORDSYS", "SKYCOORD", "COORD"):
            value = self.either(keyword)
            if value is not None:
                word = str(value).strip().upper()
                return _FRAMES.get(word, _FRAMES.get(word[:3], str(value).strip()))
        return None

    @cached_property
    def nside(self) -> int:
        """The header's NSIDE."""
        if str(self.either("ORDERING")).strip().upper() == "NUNIQ" or self.columns[0].name.upper() == "UNIQ":
            raise FitsError(
                f"{self} is a multi-order (multi-resolution, NUNIQ) map; put it on one nside first, with "
                "ligo.skymap.bayestar.rasterize or mhealpy"
            )
        pixtype = str(self.either("PIXTYPE") or "HEALPIX").strip().upper()
        if difflib.SequenceMatcher(None, pixtype, "HEALPIX").ratio() < _LIKE_HEALPIX:
            raise FitsError(f"{self} has PIXTYPE={pixtype!r}; HEALPIX was expected")
        if self.either("NSIDE") is None:
            raise FitsError(f"{self} has no NSIDE: it is not a HEALPix map, or its header is damaged")
        holder = self.hdu if self.hdu.text("NSIDE") else self.primary
        try:
            return validate_nside(holder.whole("NSIDE"))
        except (FitsError, MapError) as error:
            raise FitsError(f"{self}: {error}") from None

    @property
    def npix(self) -> int:
        """Pixels of a full sky of this nside."""
        return 12 * self.nside**2

    def ordering(self, declared: str | None) -> str:
        """The ordering that the header, or the user where it has none, says; a guess could scramble the map."""
        written = self.either("ORDERING")
        if declared is None:
            if written is None:
                raise FitsError(
                    f"{self} has no ORDERING: declare it, ordering='RING' or ordering='NESTED' "
                    "(--ordering); guessing wrong would scramble the map"
                )
            return parse_ordering(written)
        ordering = parse_ordering(declared)
        if written is not None and not str(written).strip().upper().startswith(ordering[:4]):
            warnings.warn(
                f"{self} says ORDERING={written!r}; it is read as {ordering}, as declared",
                CmbInpaintWarning,
                stacklevel=4,
            )
        return ordering

    @cached_property
    def pixel_column(self) -> Column | None:
        """The column of pixel indices where the table lists its pixels (EXPLICIT), or None.

        INDXSCHM decides, then OBJECT, then the columns. A full sky that says EXPLICIT and lists no pixels is
        taken as the full sky it is.
        """
        scheme, first = self.hdu.text("INDXSCHM").upper(), self.columns[0]
        if scheme not in ("", "EXPLICIT", "IMPLICIT"):
            raise FitsError(f"{self} has INDXSCHM={scheme!r}; EXPLICIT or IMPLICIT was expected")
        full = self.hdu.rows * first.repeat == self.npix
        partial = self.hdu.text("OBJECT").upper() == "PARTIAL"
        named = next((c for c in self.columns if c.name.upper() in _PIXEL_NAMES), None)
        explicit = scheme == "EXPLICIT" or (not scheme and (partial or (named is first and not full)))
        if not explicit:
            return None
        column = named or (first if first.letter in "BIJK" or "PIX" in first.name.upper() else None)
        if column is None and not full:
            raise FitsError(
                f"{self} is EXPLICIT, which needs a column of pixel indices; it has {list_columns(self.columns)}"
            )
        if column is not None and self.hdu.whole("GRAIN", 1) not in (0, 1):
            raise FitsError(
                f"{self} has GRAIN={self.hdu.card('GRAIN')}: an index that stands for several pixels is not read; "
                "write the map with GRAIN = 1 or as a full sky"
            )
        return column

    def column(self, wanted: Any) -> Column:
        """The column that a name (in any case) or a number from 0 means, the pixels' not counted."""
        columns = [c for c in self.columns if c is not self.pixel_column]
        if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
            if 0 <= wanted < len(columns):
                return columns[int(wanted)]
            raise FitsError(f"{self} has no field {wanted}; it has {list_columns(columns)}")
        if not isinstance(wanted, str):
            raise FitsError(
                f"field is one column's name or number, or several in a tuple, got {type(wanted).__name__} {wanted!r}"
            )
        for same in (str, str.upper):
            found = [c for c in columns if same(c.name) == same(wanted.strip())]
            if len(found) > 1:
                raise FitsError(
                    f"{self} has {len(found)} columns {wanted!r}: give a number; it has {list_columns(columns)}"
                )
            if found:
                return found[0]
        if wanted.strip().isdecimal():
            return self.column(int(wanted))
        names = {c.name.upper(): c.name for c in columns}
        near = difflib.get_close_matches(wanted.strip().upper(), names, n=1, cutoff=0.4)
        hint = f"; did you mean {names[near[0]]!r}?" if near else ""
        raise FitsError(f"{self} has no column {wanted!r}; it has {list_columns(columns)}{hint}")

    def require_readable(self, column: Column) -> None:
        """Refuse a column that holds anything but one real number per pixel."""
        if column.letter in "PQ":
            raise FitsError(
                f"column {column.name!r} of {self} is variable-length (TFORM {column.letter}), which HEALPix "
                "maps never are; write it with a fixed length"
            )
        kinds = {"A": "text", "X": "bits", "C": "complex numbers", "M": "complex numbers"}
        if column.letter in kinds:
            raise FitsError(
                f"column {column.name!r} of {self} holds {kinds[column.letter]}; real numbers were expected"
            )
        pixel, length = self.pixel_column, self.hdu.rows * column.repeat
        if pixel is not None and pixel.repeat != column.repeat:
            raise FitsError(
                f"{self} lists {self.hdu.rows * pixel.repeat} pixels for {length} values of column {column.name!r} "
                f"({column.repeat} a row): one value a pixel was expected"
            )
        if pixel is None and length != self.npix:
            raise FitsError(
                f"NSIDE of {self} is inconsistent: it says {self.nside}, {self.npix} pixels, but column "
                f"{column.name!r} holds {length}, which is {_what_has(length, column.repeat, self.npix)}"
            )

    def validate_pixels(self, pixels: AnyArray) -> IntArray:
        """The pixel indices of an EXPLICIT table as int64, refused if negative, out of range, listed twice or not whole
        numbers."""
        if pixels.dtype.kind == "f" and not np.all(pixels == np.floor(pixels)):
            raise FitsError(f"{self}: some pixel indices are not whole numbers")
        for bad, what in (
            (pixels < 0, "negative"),
            (pixels >= self.npix, f"out of range (nside {self.nside} has {self.npix} pixels)"),
        ):
            if bad.any():
                first = pixels[int(np.argmax(bad))]
                raise FitsError(f"{self}: {int(bad.sum())} pixel indices are {what}, the first {first}")
        index = pixels.astype(np.int64)
        ordered = np.sort(index)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if twice.size:
            raise FitsError(f"{self}: {twice.size} pixel indices are duplicates, the first {twice[0]}")
        return index


def _what_has(length: int, repeat: int, npix: int) -> str:
    """What a column of this length may be instead of a full sky of npix pixels."""
    if length == repeat * npix:
        return f"{repeat} values for each pixel: give each a column of its own"
    try:
        return f"nside {npix_to_nside(length)}"
    except MapError:
        return "no full sky; a partial one needs INDXSCHM='EXPLICIT' and a column of pixels"
