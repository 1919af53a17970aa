"""Open FITS files of any origin, damaged ones too, and read their headers within bounded memory.

Inputs: paths, plain or compressed by gzip, bzip2 or xz. Outputs: `Hdu`, a cleaned header and where its data lie.

astropy parses the cards. The rest is read here since astropy stops at a control character in a card, opens
a truncated file with a warning only, and cannot bound what a compressed file unpacks to.
"""

import bz2
import glob
import gzip
import lzma
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io.fits import Header, VerifyError
from astropy.io.fits.card import Undefined

from cmbinpaint._text import ascii_text
from cmbinpaint.errors import CmbInpaintWarning, FitsError

BLOCK = 2880
CHUNK_BYTES = 1 << 23
_CARD = 80
_LONGEST_HEADER = 4096 * BLOCK  # 147 456 cards; an endless header is an attack or a broken file
_LONGEST_REST = 1 << 32  # of a compressed file, beyond what is read of it
_MOST = 1 << 60  # bytes of data: files are no larger
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# Control characters are blanked; what is not ASCII must not be, or a µK with another micro sign would be read as K.
_PRINTABLE = bytes(b if 32 <= b < 127 else 32 if b < 128 else ord("?") for b in range(256))


@dataclass(frozen=True, eq=False)
class Hdu:
    """One header and where its data lie."""

    index: int
    header: Header
    raw_header: bytes
    data_at: int

    def card(self, keyword: str, default: Any = None) -> Any:
        """A card's value, or the default if it is absent or blank; its text as it stands if it cannot be parsed."""
        try:
            value = self.header.get(keyword, default)
        except VerifyError:
            cards = (c for c in _clean(self.raw_header) if c[:8].strip().upper() == keyword)
            return next((c[10:].split("/")[0].strip() for c in cards), "")
        return default if value is None or isinstance(value, Undefined) else value

    def whole(self, keyword: str, default: int | None = None) -> int:
        """A card's whole number (written as 64, 64.0 or '64'), or FitsError."""
        value = self.card(keyword, default)
        try:
            number = int(value)
            if isinstance(value, bool) or (isinstance(value, float) and number != value):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise FitsError(f"{keyword} in the header is {value!r}; a whole number was expected") from None
        return number

    def number(self, keyword: str, default: float) -> float:
        """A card's finite number, or FitsError."""
        value = self.card(keyword, default)
        try:
            number = float(value)
            if isinstance(value, bool) or not np.isfinite(number):
                raise ValueError
        except (TypeError, ValueError):
            raise FitsError(
                f"{keyword} in the header of HDU {self.index} is {value!r}; a number was expected. The values depend "
                "on it: correct it with astropy.io.fits.setval"
            ) from None
        return number

    def text(self, keyword: str) -> str:
        """A card's value as text without blanks around it; "" if it is absent."""
        return str(self.card(keyword, "")).strip()

    @property
    def name(self) -> str:
        """EXTNAME, or an empty text."""
        return self.text("EXTNAME")

    @property
    def kind(self) -> str:
        """`"BINTABLE"`, `"IMAGE"`, `"TABLE"` and so on; a compressed image is an image."""
        if self.card("ZIMAGE") is True:
            return "IMAGE"
        return self.text("XTENSION").upper() or "IMAGE"

    @property
    def rows(self) -> int:
        """Rows of a table."""
        return self.whole("NAXIS2", 0)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a table."""
        return self.whole("NAXIS1", 0)

    @cached_property
    def size(self) -> int:
        """Bytes of data, without padding."""
        axes = [self.whole(f"NAXIS{i + 1}") for i in range(self.whole("NAXIS", 0))]
        pcount, gcount = self.whole("PCOUNT", 0), self.whole("GCOUNT", 1)
        if min([*axes, pcount, gcount]) < 0:
            raise FitsError(
                f"the header declares negative sizes: NAXISn {axes}, PCOUNT {pcount}, GCOUNT {gcount}"
            )
        elements = 1
        for axis in axes:
            elements *= axis
        size = abs(self.whole("BITPIX", 8)) // 8 * gcount * (pcount + elements) if axes else 0
        if size > _MOST:
            raise FitsError(f"the header of HDU {self.index} declares {size:.3g} bytes of data")
        return size


def clean_text(text: str) -> str:
    """Return text as FITS headers may hold it: printable ASCII (`ascii_text`), control characters as blanks."""
    return "".join(c if " " <= c <= "~" else " " for c in ascii_text(text))


def _series_of(path: Path) -> str:
    """Say so where `inpaint --realizations` wrote files in place of one."""
    stem, dot, ending = path.name.partition(".fits")
    there = (p.name for p in path.parent.glob(f"{glob.escape(stem)}_*{dot}{glob.escape(ending)}"))
    numbered = sorted(n for n in there if n.removeprefix(f"{stem}_").removesuffix(dot + ending).isdecimal())
    if not numbered:
        return ""
    others = len(numbered) - 1
    return f"; {numbered[0]} does" + (f", and {others} like it" if others else "")


@contextmanager
def open_fits(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a FITS file for reading; yield (stream, whether it is compressed).

    A compressed file is read to its end after the block, so that its own checksum is verified.

    Raises
    ------
    FitsError
        If it is missing, not a regular file, empty, unreadable, damaged or not a FITS file.

    Warns
    -----
    CmbInpaintWarning
        If it does not end with a whole block.
    """
    if path.is_dir():
        raise FitsError(f"{path} is a directory; the path of a FITS file was expected")
    if not path.exists():
        raise FitsError(f"{path} does not exist (looked from {os.getcwd()}){_series_of(path)}")
    if not path.is_file():
        raise FitsError(f"{path} is not a regular file; the path of a FITS file was expected")
    try:
        with path.open("rb") as plain:
            start = plain.read(9)
            opener = next((o for magic, o in _OPENERS.items() if start.startswith(magic)), None)
            plain.seek(0)
            if not start:
                raise FitsError(f"{path} is empty (0 bytes): download or copy it again")
            if opener is None:
                _require_fits(path, start)
                yield plain, False
                _warn_of_size(path, plain.seek(0, os.SEEK_END))
                return
            with opener(plain, "rb") as stream:
                _require_fits(path, stream.read(9))
                stream.seek(0)
                yield stream, True
                _warn_of_size(path, _read_to_the_end(path, stream))
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise FitsError(
            f"{path} is truncated or damaged: its compressed data break off or fail their check ({error})"
        ) from error
    except OSError as error:
        raise FitsError(f"{path} cannot be read: {error.strerror or error}") from error


def _require_fits(path: Path, start: bytes) -> None:
    if start != b"SIMPLE  =":
        raise FitsError(f"{path} is not a FITS file: it starts with {start!r}, not with 'SIMPLE  ='")


def _read_to_the_end(path: Path, stream: BinaryIO) -> int:
    """Read what is left of a compressed file and return its whole size; the last read verifies the checksum."""
    began = stream.tell()
    while stream.read(CHUNK_BYTES):
        if stream.tell() - began > _LONGEST_REST:
            raise FitsError(f"{path} unpacks to more than {_LONGEST_REST} bytes beyond what is read of it")
    return stream.tell()


def _warn_of_size(path: Path, size: int) -> None:
    if size % BLOCK:
        warnings.warn(
            f"{path} is {size} bytes long, not a multiple of {BLOCK}: its end is missing or something was appended. "
            "The data that were read are complete",
            CmbInpaintWarning,
            stacklevel=5,
        )


def walk(path: Path, stream: BinaryIO) -> Iterator[Hdu]:
    """Yield the HDUs of an open file one by one, without reading any data.

    Raises
    ------
    FitsError
        If a header breaks off or contradicts itself.
    """
    at = 0
    for index in range(1_000_000):
        stream.seek(at)
        raw = _raw_header(path, stream, index)
        if raw is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hdu = Hdu(index, Header.fromstring("".join(_clean(raw))), raw, at + len(raw))
            size = hdu.size
        yield hdu
        at = hdu.data_at + -(-size // BLOCK) * BLOCK


def _raw_header(path: Path, stream: BinaryIO, index: int) -> bytes | None:
    raw = bytearray()
    while True:
        block = stream.read(BLOCK)
        # What follows the last HDU is padding or a special record, not for us.
        if index and not raw and not block.startswith(b"XTENSION"):
            return None
        raw += block
        if len(block) < BLOCK:
            raise FitsError(
                f"{path} is truncated: the header of HDU {index} breaks off after {len(raw)} "
                "bytes, without END: download or copy it again"
            )
        if any(block[i : i + _CARD].rstrip() == b"END" for i in range(0, BLOCK, _CARD)):
            return bytes(raw)
        if len(raw) >= _LONGEST_HEADER:
            raise FitsError(f"{path}: the header of HDU {index} is longer than {_LONGEST_HEADER} bytes")


def _clean(raw: bytes) -> list[str]:
    """Return the cards as printable ASCII, micro signs in UTF-8 and Latin-1 as u."""
    cards = []
    for at in range(0, len(raw), _CARD):
        card = raw[at : at + _CARD]
        for sign in () if card.isascii() else (b"\xc2\xb5", b"\xce\xbc", b"\xb5"):
            card = card.replace(sign, b"u")
        cards.append(card.translate(_PRINTABLE).decode("ascii").ljust(_CARD))
    return cards
