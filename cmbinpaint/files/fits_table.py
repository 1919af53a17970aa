"""Read columns of a FITS table as they are stored, and verify the file's checksums in the same pass.

Inputs: an open file and `Hdu`. Outputs: `Column`, native arrays.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray
from cmbinpaint.errors import FitsError
from cmbinpaint.files.fits_scan import CHUNK_BYTES, Hdu
from cmbinpaint.sphere.maps import UNSEEN, is_unseen

# FITS letter: (numpy type, bytes an element); P and Q are descriptors of variable-length arrays.
_TYPES = {
    "L": ("i1", 1), "B": ("u1", 1), "I": (">i2", 2), "J": (">i4", 4), "K": (">i8", 8), "E": (">f4", 4),
    "D": (">f8", 8), "A": ("S1", 1), "C": (">c8", 8), "M": (">c16", 16), "P": ("V8", 8), "Q": ("V16", 16),
}  # fmt: skip
_TFORM = re.compile(r"\s*(\d*)\s*([LXBIJKAEDCMPQ])")


@dataclass(frozen=True)
class Column:
    """One column of a binary table: where it lies in a row."""

    number: int  # as in TTYPEn, from 1
    name: str
    unit: str  # as written; "" if absent
    letter: str
    repeat: int
    offset: int

    @property
    def dtype(self) -> str:
        """The stored type by numpy's name, or what is not a number."""
        other = {"A": "text", "X": "bits", "P": "variable-length", "Q": "variable-length", "L": "bool"}
        return other.get(self.letter) or np.dtype(_TYPES[self.letter][0]).newbyteorder("=").name


def table_columns(hdu: Hdu) -> list[Column]:
    """Return the columns of a binary table.

    Raises
    ------
    FitsError
        If the header's columns cannot be read, or do not add up to a row.
    """
    columns, offset = [], 0
    for n in range(1, hdu.whole("TFIELDS", 0) + 1):
        form = _TFORM.match(hdu.text(f"TFORM{n}"))
        if not form:
            raise FitsError(f"TFORM{n} is {hdu.card(f'TFORM{n}')!r}: the table's columns cannot be read")
        repeat, letter = int(form[1] or 1), form[2]
        name = hdu.text(f"TTYPE{n}") or f"COLUMN_{n}"
        columns.append(Column(n, name, hdu.text(f"TUNIT{n}"), letter, repeat, offset))
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
        If the data break off, or a CHECKSUM or DATASUM is wrong.
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
    total, step = _Sum32(), max(1, CHUNK_BYTES // max(width, 1))
    stream.seek(hdu.data_at)
    for row in range(0, rows, step):
        n = min(step, rows - row)
        chunk = _exactly(path, stream, hdu, row * width, n * width)
        total.add(chunk)
        table = np.frombuffer(chunk, dtype=layout)
        for name, column, array in zip(names, columns, out, strict=True):
            array[row * column.repeat : (row + n) * column.repeat] = table[name].reshape(-1)
    if checksum:
        _verify(path, stream, hdu, total, rows * width)
    return [a == ord("T") if c.letter == "L" else a for a, c in zip(out, columns, strict=True)]


def verify_checksum(path: Path, stream: BinaryIO, hdu: Hdu) -> None:
    """Raise FitsError if a CHECKSUM or DATASUM of an HDU is wrong."""
    stream.seek(hdu.data_at)
    _verify(path, stream, hdu, _Sum32(), 0)


def physical(hdu: Hdu, column: Column, stored: AnyArray) -> tuple[AnyArray, BoolArray]:
    """Return a column's values after TSCAL and TZERO, and where they are null, BAD_DATA or UNSEEN.

    Raises
    ------
    FitsError
        If one of these cards holds no number.
    """
    bad = np.zeros(stored.shape, dtype=bool)
    if stored.dtype.kind == "b":
        return stored, bad
    null = hdu.card(f"TNULL{column.number}")
    if null is not None and stored.dtype.kind in "iu":
        bad |= stored == hdu.whole(f"TNULL{column.number}")
    scale, zero = hdu.number(f"TSCAL{column.number}", 1.0), hdu.number(f"TZERO{column.number}", 0.0)
    values = stored if (scale, zero) == (1.0, 0.0) else stored.astype(np.float64) * scale + zero
    if hdu.card("BAD_DATA") is not None:
        marker = hdu.number("BAD_DATA", UNSEEN)
        with np.errstate(invalid="ignore"):
            bad |= np.abs(values - marker) <= 1e-5 * abs(marker)  # as wide as healpy's test
    if values.dtype.kind == "f":
        bad |= is_unseen(values)
    return values, bad


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


def _verify(path: Path, stream: BinaryIO, hdu: Hdu, data: _Sum32, done: int) -> None:
    """Add what is left of the data to their sum, and compare."""
    while done < hdu.size:
        chunk = _exactly(path, stream, hdu, done, min(CHUNK_BYTES, hdu.size - done))
        data.add(chunk)
        done += len(chunk)
    wrong = []
    declared = hdu.text("DATASUM")
    if declared and (not declared.isdigit() or int(declared) != data.value()):
        wrong.append(f"DATASUM is {declared}, the data sum to {data.value()}")
    if hdu.text("CHECKSUM"):
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
