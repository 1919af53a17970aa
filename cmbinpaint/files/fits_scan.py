"""Walk a FITS file of doubtful origin: its headers, tables and checksums, never more memory than asked for.

Inputs: paths, plain or compressed by gzip, bzip2 or xz. Outputs: `Hdu` (cleaned header, place, size) and
`read_columns`, native arrays with the checksums verified in the same pass.

astropy parses the cards. The rest is read here since astropy stops at a control character in a card, opens
a truncated file with a warning only, and cannot bound what a compressed file unpacks to.
"""

import bz2
import gzip
import lzma
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io.fits import Header, VerifyError

from cmbinpaint._types import AnyArray
from cmbinpaint.errors import FitsError

BLOCK = 2880
_LONGEST_HEADER = 4096 * BLOCK  # 147 456 cards; an endless header is an attack or a broken file
_CHUNK_BYTES = 1 << 23
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
# FITS letter: (numpy type, bytes an element); P and Q are descriptors of variable-length arrays.
_TYPES = {
    "L": ("i1", 1), "B": ("u1", 1), "I": (">i2", 2), "J": (">i4", 4), "K": (">i8", 8), "E": (">f4", 4),
    "D": (">f8", 8), "A": ("S1", 1), "C": (">c8", 8), "M": (">c16", 16), "P": ("V8", 8), "Q": ("V16", 16),
}  # fmt: skip
_TFORM = re.compile(r"\s*(\d*)\s*([LXBIJKAEDCMPQ])")


@dataclass(frozen=True)
class Column:
    """One column of a binary table: where it lies in a row, and what its numbers mean."""

    name: str
    unit: str  # as written; "" if absent
    letter: str
    repeat: int
    offset: int
    scale: float
    zero: float
    null: int | None

    @property
    def dtype(self) -> str:
        """The stored type in numpy's words, or what is no number."""
        other = {"A": "text", "X": "bits", "P": "variable-length", "Q": "variable-length", "L": "bool"}
        return other.get(self.letter) or np.dtype(_TYPES[self.letter][0]).newbyteorder("=").name

    @property
    def scaled(self) -> bool:
        """Whether stored numbers differ from physical ones."""
        return (self.scale, self.zero) != (1.0, 0.0)


@dataclass(frozen=True, eq=False)
class Hdu:
    """One header and where its data lie."""

    index: int
    header: Header
    raw_header: bytes
    data_at: int
    size: int  # bytes of data without padding

    @property
    def name(self) -> str:
        """EXTNAME, or an empty text."""
        return str(card(self.header, "EXTNAME", "")).strip()

    @property
    def kind(self) -> str:
        """`"BINTABLE"`, `"IMAGE"`, `"TABLE"` and so on; a compressed image is an image."""
        if card(self.header, "ZIMAGE", False) is True:
            return "IMAGE"
        return str(card(self.header, "XTENSION", "IMAGE")).strip().upper()

    @property
    def rows(self) -> int:
        """Rows of a table."""
        return whole(self.header, "NAXIS2", 0)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a table."""
        return whole(self.header, "NAXIS1", 0)


def card(header: Header, keyword: str, default: Any = None) -> Any:
    """Return a card's value, or the default if it is absent, blank or unreadable."""
    try:
        value = header.get(keyword, default)
    except VerifyError:
        return default
    # astropy's Undefined stands for a card without a value.
    return default if type(value).__name__ == "Undefined" else value


def whole(header: Header, keyword: str, default: int | None = None) -> int:
    """Return a card's whole number (written as 64, 64.0 or '64'), or raise FitsError."""
    value = card(header, keyword, default)
    try:
        number = int(value)
        if isinstance(value, bool) or (isinstance(value, float) and number != value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise FitsError(f"{keyword} in the header is {value!r}; a whole number was expected") from None
    return number


def clean_text(text: str) -> str:
    """Return text as FITS headers may hold it: printable ASCII, µ as u, anything else as '?' or a blank."""
    for sign, spelled in (("µ", "u"), ("μ", "u"), ("±", "+-"), ("∞", "inf")):
        text = text.replace(sign, spelled)
    return "".join(c if " " <= c <= "~" else (" " if c.isspace() or ord(c) < 32 else "?") for c in text)


@contextmanager
def open_fits(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """Open a FITS file for reading; yield (stream, whether it is compressed).

    Raises
    ------
    FitsError
        If it is missing, no regular file, empty, unreadable, damaged or no FITS file.
    """
    if path.is_dir():
        raise FitsError(f"{path} is a directory; the path of a FITS file was expected")
    if not path.exists():
        raise FitsError(f"{path} does not exist (looked from {os.getcwd()})")
    if not path.is_file():
        raise FitsError(f"{path} is no regular file; the path of a FITS file was expected")
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
                return
            with opener(plain, "rb") as stream:
                _require_fits(path, stream.read(9))
                stream.seek(0)
                yield stream, True
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise FitsError(f"{path} is truncated or damaged: its compressed data break off ({error})") from error
    except OSError as error:
        raise FitsError(f"{path} cannot be read: {error.strerror or error}") from error


def _require_fits(path: Path, start: bytes) -> None:
    if start != b"SIMPLE  =":
        raise FitsError(f"{path} is not a FITS file: it starts with {start!r}, not with 'SIMPLE  ='")


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
        text = "".join(chr(b) if 32 <= b < 127 else " " for b in raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = Header.fromstring(text)
            hdu = Hdu(index, header, raw, at + len(raw), _data_size(header))
        yield hdu
        at = hdu.data_at + -(-hdu.size // BLOCK) * BLOCK


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
        if any(block[i : i + 80].rstrip() == b"END" for i in range(0, BLOCK, 80)):
            return bytes(raw)
        if len(raw) >= _LONGEST_HEADER:
            raise FitsError(f"{path}: the header of HDU {index} is longer than {_LONGEST_HEADER} bytes")


def _data_size(header: Header) -> int:
    axes = [whole(header, f"NAXIS{i + 1}") for i in range(whole(header, "NAXIS", 0))]
    pcount, gcount = whole(header, "PCOUNT", 0), whole(header, "GCOUNT", 1)
    if min([*axes, pcount, gcount]) < 0:
        raise FitsError(
            f"the header declares negative sizes: NAXISn {axes}, PCOUNT {pcount}, GCOUNT {gcount}"
        )
    elements = 1
    for axis in axes:
        elements *= axis
    return abs(whole(header, "BITPIX", 8)) // 8 * gcount * (pcount + elements) if axes else 0


def table_columns(hdu: Hdu) -> list[Column]:
    """Return the columns of a binary table.

    Raises
    ------
    FitsError
        If the header's columns cannot be read, or do not add up to a row.
    """
    header, columns, offset = hdu.header, [], 0
    for n in range(1, whole(header, "TFIELDS", 0) + 1):
        form = _TFORM.match(str(card(header, f"TFORM{n}", "")))
        if not form:
            raise FitsError(f"TFORM{n} is {card(header, f'TFORM{n}')!r}: the table's columns cannot be read")
        repeat, letter = int(form[1] or 1), form[2]
        null = card(header, f"TNULL{n}")
        columns.append(
            Column(
                name=str(card(header, f"TTYPE{n}", "")).strip() or f"COLUMN_{n}",
                unit=str(card(header, f"TUNIT{n}", "")).strip(),
                letter=letter,
                repeat=repeat,
                offset=offset,
                scale=float(card(header, f"TSCAL{n}", 1.0)),
                zero=float(card(header, f"TZERO{n}", 0.0)),
                null=None if null is None else whole(header, f"TNULL{n}"),
            )
        )
        offset += -(-repeat // 8) if letter == "X" else repeat * _TYPES[letter][1]
    if offset != hdu.row_bytes:
        raise FitsError(
            f"the columns of HDU {hdu.index} add up to {offset} bytes a row, NAXIS1 says {hdu.row_bytes}"
        )
    return columns


def read_columns(
    path: Path, stream: BinaryIO, hdu: Hdu, columns: list[Column], *, checksum: bool = True
) -> list[AnyArray]:
    """Read columns of a table as they are stored, flat and in native byte order; logicals as bool.

    Raises
    ------
    FitsError
        If the data break off, or CHECKSUM or DATASUM is there and wrong.
    """
    rows, width = hdu.rows, hdu.row_bytes
    names = [f"f{i}" for i in range(len(columns))]
    layout = np.dtype(
        {
            "names": names,
            "formats": [(_TYPES[c.letter][0], (c.repeat,)) for c in columns],
            "offsets": [c.offset for c in columns],
            "itemsize": width,
        }
    )
    out = [np.empty(rows * c.repeat, np.dtype(_TYPES[c.letter][0]).newbyteorder("=")) for c in columns]
    total, step = _Sum32(), max(1, _CHUNK_BYTES // max(width, 1))
    stream.seek(hdu.data_at)
    for row in range(0, rows, step):
        n = min(step, rows - row)
        chunk = _exactly(path, stream, hdu, row * width, n * width)
        total.add(chunk)
        table = np.frombuffer(chunk, dtype=layout)
        for name, column, array in zip(names, columns, out, strict=True):
            array[row * column.repeat : (row + n) * column.repeat] = table[name].reshape(-1)
    if checksum:
        done = rows * width
        while done < hdu.size:
            chunk = _exactly(path, stream, hdu, done, min(_CHUNK_BYTES, hdu.size - done))
            total.add(chunk)
            done += len(chunk)
        _verify(path, hdu, total)
    return [a == ord("T") if c.letter == "L" else a for a, c in zip(out, columns, strict=True)]


def _exactly(path: Path, stream: BinaryIO, hdu: Hdu, done: int, wanted: int) -> bytes:
    try:
        chunk = stream.read(wanted)
    except EOFError:  # gzip, where the rest of the chunk is lost
        chunk = b""
    if len(chunk) < wanted:
        found, expected = hdu.data_at + done + len(chunk), hdu.data_at + hdu.size
        raise FitsError(
            f"{path} is truncated: {found} bytes found, {expected} expected up to the end of HDU {hdu.index}"
            ": download or copy it again"
        )
    return chunk


class _Sum32:
    """The 32-bit ones' complement sum of FITS checksums (FITS standard 4.0, appendix J)."""

    def __init__(self) -> None:
        self.total = 0
        self._rest = b""

    def add(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        even = len(data) // 4 * 4
        self._rest = data[even:]
        self.total += int(np.frombuffer(data[:even], ">u4").sum(dtype=np.uint64))

    def value(self) -> int:
        total = self.total + int.from_bytes(self._rest.ljust(4, b"\0"), "big")
        while total >> 32:
            total = (total & 0xFFFFFFFF) + (total >> 32)
        return total


def _verify(path: Path, hdu: Hdu, data: _Sum32) -> None:
    wrong = []
    declared = str(card(hdu.header, "DATASUM", "")).strip()
    if declared and (not declared.isdigit() or int(declared) != data.value()):
        wrong.append(f"DATASUM is {declared}, the data sum to {data.value()}")
    if str(card(hdu.header, "CHECKSUM", "")).strip():
        both = _Sum32()
        both.add(hdu.raw_header)
        both.total += data.value()
        # A sum of all ones is zero in ones' complement: nothing was changed.
        if both.value() not in (0, 0xFFFFFFFF):
            wrong.append("CHECKSUM does not agree with header and data")
    if wrong:
        raise FitsError(
            f"{path} is damaged or was edited: in HDU {hdu.index} {' and '.join(wrong)}. Download or copy it "
            "again; if you trust it as it is, checksum=False reads it"
        )
