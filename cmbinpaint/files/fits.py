"""Read HEALPix maps and masks from FITS files of any make; write them with their history.

Inputs: paths. Outputs: arrays in native byte order with `MapInfo`; `write_map` of fitswrite is here too.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning, FitsError, UnitsError
from cmbinpaint.files import fits_header as head
from cmbinpaint.files.fits_header import ColumnInfo, MapInfo
from cmbinpaint.files.fits_scan import Column, Hdu, card, open_fits, read_columns, table_columns, walk
from cmbinpaint.files.fits_write import write_map
from cmbinpaint.sphere.maps import UNSEEN, is_unseen, to_nest, to_ring
from cmbinpaint.sphere.units import parse_unit

__all__ = ["ColumnInfo", "MapInfo", "describe", "read_map", "read_mask", "sha256_of", "write_map"]

_PATH = str | os.PathLike[str]


def sha256_of(path: _PATH) -> str:
    """Return the sha256 of a file, hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_map(
    path: _PATH,
    field: int | str = 0,
    *,
    hdu: int | str = 1,
    nest: bool | None = False,
    unit: str | None = None,
    ordering: str | None = None,
    max_memory: int | None = None,
    checksum: bool = True,
) -> tuple[AnyArray, MapInfo]:
    """Read one column of a HEALPix FITS file, full or partial sky, plain or compressed.

    Parameters
    ----------
    path
        The file; .gz, .bz2 and .xz are unpacked on the way.
    field
        The column's name (`"I_STOKES"`), or its number from 0, the column of pixel indices not counted.
    hdu
        Number or EXTNAME of the table.
    nest
        Ordering of the array returned: False RING, True NESTED, None as in the file.
    unit
        Declares the unit where TUNIT is missing or wrong; the values are never converted.
    ordering
        Declares the file's ordering, `"RING"` or `"NESTED"`, where the header lacks it.
    max_memory
        Bytes that the map may take; None: this machine's memory.
    checksum
        Whether CHECKSUM and DATASUM, if there, are verified.

    Returns
    -------
    array
        (npix,) in the file's unit and dtype, native byte order (scaled columns float64). Pixels that are
        not listed, BAD_DATA or null are UNSEEN.
    MapInfo
        Where it came from.

    Raises
    ------
    FitsError
        If the file is damaged or holds no such map.
    UnitsError
        If TUNIT is no thermodynamic temperature and `unit` is not given.

    Warns
    -----
    CmbInpaintWarning
        If TUNIT is missing, or contradicts `unit`; if `ordering` contradicts the header.
    """
    path = Path(path)
    raw = _read(path, field, hdu, ordering, max_memory, checksum)
    values = raw.values
    if values.dtype.kind in "iu" and (raw.bad.any() or raw.pixels is not None):
        values = values.astype(np.result_type(values.dtype, np.float32))
    if values.dtype.kind == "f":
        values[raw.bad] = UNSEEN
    array = _arrange(raw, _full_sky(raw, values, UNSEEN), nest)
    info = MapInfo(
        nside=raw.nside,
        nest=raw.ordering == "NESTED" if nest is None else nest,
        ordering=raw.ordering,
        unit=_column_unit(raw, unit),
        column=raw.column.name,
        hdu=raw.hdu.index,
        coord=head.frame(raw.hdu, raw.primary),
        polcconv=_text(head.either(raw.hdu, raw.primary, "POLCCONV")),
        dtype=str(array.dtype),
        path=str(path),
        sha256=sha256_of(path),
        header=head.header_cards(raw.hdu, raw.primary),
    )
    return array, info


def read_mask(
    path: _PATH,
    field: int | str = 0,
    *,
    hdu: int | str = 1,
    nest: bool | None = False,
    ordering: str | None = None,
    max_memory: int | None = None,
    checksum: bool = True,
) -> AnyArray:
    """Read a mask (1 = observed) from a HEALPix FITS file, whatever its unit says.

    Parameters
    ----------
    path, field, hdu, nest, ordering, max_memory, checksum
        As for `read_map`.

    Returns
    -------
    array
        (npix,) in the file's dtype, native byte order. Pixels that are not listed, UNSEEN, BAD_DATA or null
        are 0: not observed.

    Raises
    ------
    FitsError
        If the file is damaged or holds no such mask.
    """
    raw = _read(Path(path), field, hdu, ordering, max_memory, checksum)
    values = raw.values
    values[raw.bad] = 0
    return _arrange(raw, _full_sky(raw, values, 0), nest)


def describe(path: _PATH, *, max_memory: int | None = None) -> list[ColumnInfo]:
    """List the columns of a file's tables, without reading data.

    Raises
    ------
    FitsError
        If it cannot be read, or has no binary table.
    """
    path, found = Path(path), []
    with open_fits(path) as (stream, compressed):
        hdus = []
        for hdu in walk(path, stream):
            hdus.append(hdu)
            if hdu.kind == "BINTABLE":
                found += [
                    ColumnInfo(hdu.index, n, c.name, c.unit, c.dtype, hdu.rows * c.repeat)
                    for n, c in enumerate(table_columns(hdu))
                ]
            if compressed:
                _require_memory(path, hdu.size, max_memory)
    if not found:
        raise _no_table(path, hdus[-1])
    return found


@dataclass(frozen=True, eq=False)
class _Raw:
    """A column as read: values and bad ones in the file's order, listed pixels only if EXPLICIT."""

    values: AnyArray
    bad: BoolArray
    pixels: IntArray | None
    nside: int
    ordering: str
    column: Column
    hdu: Hdu
    primary: Hdu
    where: str


def _read(
    path: Path,
    field: int | str,
    wanted: int | str,
    ordering: str | None,
    max_memory: int | None,
    checksum: bool,
) -> _Raw:
    with _table(path, wanted, max_memory) as (stream, hdu, primary):
        where = head.table_name(path, hdu)
        columns = table_columns(hdu)
        if not columns:
            raise FitsError(f"{where} has no columns")
        nside = head.file_nside(where, hdu, primary)
        npix = 12 * nside * nside
        explicit = head.is_explicit(hdu, columns, npix)
        pixel = head.pixel_column(columns) if explicit else None
        column = head.find_column(where, [c for c in columns if c is not pixel], field)
        chosen = [column] if pixel is None else [column, pixel]
        for each in chosen:
            head.check_readable(where, each)
        ordered = head.file_ordering(where, hdu, primary, ordering)
        if pixel is None:
            head.check_length(where, column, hdu.rows * column.repeat, nside)
        # Eight bytes a number are the most; the second copy is the full sky or the reordering.
        _require_memory(path, 8 * (npix + sum(hdu.rows * c.repeat for c in chosen)), max_memory)
        arrays = read_columns(path, stream, hdu, chosen, checksum=checksum)
    values, bad = _physical(where, hdu, column, arrays[0])
    pixels = None
    if pixel is not None:
        listed = _physical(where, hdu, pixel, arrays[1])[0]
        if listed.size != values.size:
            raise FitsError(f"{where} lists {listed.size} pixels for {values.size} values")
        pixels = head.check_pixels(where, listed, nside)
    return _Raw(values, bad, pixels, nside, ordered, column, hdu, primary, where)


def _physical(where: str, hdu: Hdu, column: Column, stored: AnyArray) -> tuple[AnyArray, BoolArray]:
    """Return a column's values after TSCAL and TZERO, and where they are null, BAD_DATA or UNSEEN."""
    bad = np.zeros(stored.shape, dtype=bool)
    if column.null is not None and stored.dtype.kind in "iu":
        bad |= stored == column.null
    values = stored * column.scale + column.zero if column.scaled and stored.dtype.kind != "b" else stored
    marker = head.bad_value(where, hdu)
    if marker is not None and values.dtype.kind != "b":
        bad |= np.abs(values - marker) <= 1e-5 * abs(marker)  # as wide as healpy's test
    if values.dtype.kind == "f":
        bad |= is_unseen(values)
    return values, bad


def _full_sky(raw: _Raw, values: AnyArray, blank: float) -> AnyArray:
    if raw.pixels is None:
        return values
    full = np.full(12 * raw.nside**2, blank, dtype=values.dtype)
    full[raw.pixels] = values
    return full


def _arrange(raw: _Raw, full: AnyArray, nest: bool | None) -> AnyArray:
    if nest is None or nest == (raw.ordering == "NESTED"):
        return full
    return to_nest(full) if nest else to_ring(full)


def _column_unit(raw: _Raw, declared: str | None) -> str | None:
    written = raw.column.unit
    if declared is None and not written:
        warnings.warn(
            f"column {raw.column.name!r} of {raw.where} has no TUNIT: assumed unit-free, or µK_CMB where a "
            "spectrum or noise level is given; declare it with unit= (--unit)",
            CmbInpaintWarning,
            stacklevel=3,
        )
        return None
    if declared is None:
        try:
            return parse_unit(written)
        except UnitsError as error:
            raise UnitsError(f"column {raw.column.name!r} of {raw.where}: {error}") from None
    unit = parse_unit(declared)
    if written and _or_none(written) != unit:
        warnings.warn(
            f"column {raw.column.name!r} of {raw.where} says TUNIT={written!r}; it is read as {unit}, "
            "as declared",
            CmbInpaintWarning,
            stacklevel=3,
        )
    return unit


def _or_none(text: str) -> str | None:
    try:
        return parse_unit(text)
    except UnitsError:
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip()


@contextmanager
def _table(path: Path, wanted: int | str, max_memory: int | None) -> Iterator[tuple[BinaryIO, Hdu, Hdu]]:
    """Open a file; yield (stream, the table wanted, primary HDU)."""
    if isinstance(wanted, bool) or not isinstance(wanted, (int, str, np.integer)):
        raise FitsError(f"hdu is a number from 0 or an EXTNAME, got {type(wanted).__name__} {wanted!r}")
    number = int(wanted) if str(wanted).isdigit() else None
    with open_fits(path) as (stream, compressed):
        hdus: list[Hdu] = []
        for hdu in walk(path, stream):
            hdus.append(hdu)
            if compressed:
                _require_memory(path, hdu.size, max_memory)
            if hdu.index == number or (number is None and hdu.name.upper() == str(wanted).strip().upper()):
                break
        else:
            if number == 1:  # the default, so the user never asked for a table that is not there
                raise _no_table(path, hdus[0], last=True)
            listed = ", ".join(f"{h.index}: {h.name or 'unnamed'} ({h.kind.lower()})" for h in hdus)
            raise FitsError(f"{path} has no HDU {wanted!r}; it has {listed}")
        if hdus[-1].kind != "BINTABLE":
            raise _no_table(path, hdus[-1])
        yield stream, hdus[-1], hdus[0]


def _no_table(path: Path, hdu: Hdu, *, last: bool = False) -> FitsError:
    """Return the error for an HDU that is no binary table; an image is perhaps a CAR map."""
    if last and card(hdu.header, "EXTEND", False) and not card(hdu.header, "NAXIS", 0):
        return FitsError(
            f"{path} ends after the header of HDU 0, which announces extensions: it was truncated there, or "
            "never held a table; download or copy it again"
        )
    if hdu.kind != "IMAGE" or not card(hdu.header, "NAXIS", 0):
        what = "without data" if hdu.kind == "IMAGE" else f"of type {hdu.kind}"
        return FitsError(
            f"HDU {hdu.index} of {path} is {what}, no binary table; HEALPix maps are in such, usually "
            "HDU 1: cmbinpaint info lists them"
        )
    shape = tuple(card(hdu.header, f"NAXIS{i}") for i in range(int(card(hdu.header, "NAXIS")), 0, -1))
    projection = str(card(hdu.header, "CTYPE1", "")).strip()
    return FitsError(
        f"HDU {hdu.index} of {path} is an image of shape {shape}{f' ({projection})' if projection else ''}, "
        "not a HEALPix table; reproject a CAR map first, with pixell.reproject.map2healpix or "
        "reproject.reproject_to_healpix, and its mask alike"
    )


def _require_memory(path: Path, needed: int, max_memory: int | None) -> None:
    limit = _memory_of_machine() if max_memory is None else int(max_memory)
    if needed > limit:
        raise FitsError(
            f"{path} declares data that need {needed} bytes of memory; {limit} are allowed: raise max_memory "
            "(--max-memory) if you trust the file"
        )


def _memory_of_machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 1 << 34
