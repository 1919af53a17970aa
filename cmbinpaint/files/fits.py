"""Read HEALPix maps and masks from FITS files of any make.

Inputs: paths. Outputs: arrays in native byte order, with `MapInfo`. `write_map` is here too: one door for callers.
"""

import hashlib
import numbers
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cmbinpaint._machine import memory_of_machine
from cmbinpaint._types import AnyArray, BoolArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning, FitsError, UnitsError
from cmbinpaint.files.fits_scan import Hdu, open_fits, walk
from cmbinpaint.files.fits_table import Column, physical, read_columns, table_columns, verify_checksum
from cmbinpaint.files.fits_write import write_map
from cmbinpaint.files.healpix_header import HealpixTable
from cmbinpaint.files.map_info import ColumnInfo, MapInfo, require_same_frame
from cmbinpaint.files.stokes_columns import stokes_columns
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import UNSEEN, to_nest, to_ring
from cmbinpaint.sphere.units import known_unit, validate_unit

__all__ = ["ColumnInfo", "MapInfo", "describe", "read_map", "read_mask", "sha256_of", "write_map"]

_PATH = str | os.PathLike[str]


def sha256_of(path: _PATH) -> str:
    """Return the sha256 of a file, hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_map(
    path: _PATH,
    field: int | str | tuple[int | str, ...] | list[int | str] = 0,
    *,
    hdu: int | str = 1,
    nest: bool | None = False,
    unit: str | None = None,
    ordering: str | None = None,
    max_memory: int | None = None,
    checksum: bool = True,
    same_frame_as: MapInfo | None = None,
) -> tuple[AnyArray, MapInfo]:
    """Read one column of a HEALPix FITS file, or those of T, Q, U; full or partial sky, plain or compressed.

    Parameters
    ----------
    path
        The file; .gz, .bz2 and .xz are unpacked on the way.
    field
        The column's name (`"I_STOKES"`), or its number from 0, the column of pixel indices not counted. Several are
        read into (k, npix), for `inpaint_map`; `"TQU"` and `"QU"` mean those that have the usual names.
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
        Whether CHECKSUM and DATASUM of the table and of the primary header, if there, are verified.
    same_frame_as
        The map that this one must share its coordinates with, where both files give theirs.

    Returns
    -------
    array
        (npix,) in the file's unit and dtype, native byte order (scaled columns float64). Pixels that are
        not listed, BAD_DATA or null are UNSEEN. Of several columns (k, npix).
    MapInfo
        Where it came from; `polcconv` is what `inpaint_map` takes as `polconv`.

    Raises
    ------
    FitsError
        If the file is damaged or holds no such map.
    MapError
        If it is in other coordinates than `same_frame_as`.
    UnitsError
        If `unit` is not a unit.

    Warns
    -----
    CmbInpaintWarning
        If TUNIT is missing, or contradicts `unit`; if `ordering` contradicts the header.
    """
    path = Path(path)
    if isinstance(field, str) and field in ("TQU", "QU"):
        with open_table(path, hdu, max_memory, False) as (_, table):
            field = stokes_columns([c.name for c in table.columns], Fields(field), str(table))
    if isinstance(field, list | tuple):
        if not 2 <= len(field) <= 3:
            raise FitsError(f"{len(field)} columns were named; maps have Q, U or T, Q, U")
        read = partial(
            read_map, path, hdu=hdu, nest=nest, unit=unit, ordering=ordering, max_memory=max_memory, checksum=checksum,
            same_frame_as=same_frame_as,
        )  # fmt: skip
        return _together(read, field)
    raw = _read(path, field, hdu, ordering, max_memory, checksum, same_frame_as)
    table, values = raw.table, raw.values
    if values.dtype.kind in "iu" and (raw.bad.any() or raw.pixels is not None):
        values = values.astype(np.result_type(values.dtype, np.float32))
    if values.dtype.kind == "f":
        values[raw.bad] = UNSEEN
    array = raw.full_sky(values, UNSEEN, nest)
    info = MapInfo(
        nside=table.nside,
        nest=raw.ordering == "NESTED" if nest is None else nest,
        ordering=raw.ordering,
        unit=_column_unit(raw, unit),
        column=raw.column.name,
        hdu=table.hdu.index,
        coord=table.frame,
        polcconv=str(table.either("POLCCONV") or "").strip() or None,
        dtype=str(array.dtype),
        path=str(path),
        sha256=sha256_of(path),
        header=table.cards,
    )
    return array, info


def _together(
    read_one: Callable[[int | str], tuple[AnyArray, MapInfo]], field: Sequence[int | str]
) -> tuple[AnyArray, MapInfo]:
    """Several columns as one array; their units must be the same."""
    read = [read_one(field[0])]
    with warnings.catch_warnings():  # it was said of the first
        warnings.filterwarnings("ignore", "column .* has no TUNIT", CmbInpaintWarning)
        read += [read_one(one) for one in field[1:]]
    infos = [info for _, info in read]
    units = {info.column: info.unit for info in infos}
    if len(set(units.values())) > 1:
        raise UnitsError(f"the columns of {infos[0].path} are in units that differ: {units}")
    array = np.stack([one for one, _ in read])
    return array, replace(infos[0], columns=tuple(units), dtype=str(array.dtype))


def read_mask(
    path: _PATH,
    field: int | str = 0,
    *,
    hdu: int | str = 1,
    nest: bool | None = False,
    ordering: str | None = None,
    max_memory: int | None = None,
    checksum: bool = True,
    same_frame_as: MapInfo | None = None,
) -> AnyArray:
    """Read a mask (1 = observed) from a HEALPix FITS file, whatever its unit says.

    Parameters
    ----------
    path, field, hdu, nest, ordering, max_memory, checksum, same_frame_as
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
    raw = _read(Path(path), field, hdu, ordering, max_memory, checksum, same_frame_as)
    raw.values[raw.bad] = 0
    return raw.full_sky(raw.values, 0, nest)


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
                require_memory(path, hdu.size, max_memory)
    if not found:
        raise _no_table(path, hdus[-1])
    return found


@dataclass(frozen=True, eq=False)
class RawColumn:
    """A column as read: values and bad ones in the file's order, listed pixels only if EXPLICIT."""

    table: HealpixTable
    column: Column
    ordering: str
    values: AnyArray
    bad: BoolArray
    pixels: IntArray | None

    def full_sky(self, values: AnyArray, blank: float, nest: bool | None) -> AnyArray:
        """(npix,) in the ordering wanted; None: as in the file."""
        if self.pixels is not None:
            full = np.full(self.table.npix, blank, dtype=values.dtype)
            full[self.pixels] = values
            values = full
        if nest is None or nest == (self.ordering == "NESTED"):
            return values
        return to_nest(values) if nest else to_ring(values)


def _read(
    path: Path,
    field: int | str,
    wanted: int | str,
    ordering: str | None,
    max_memory: int | None,
    checksum: bool,
    same_frame_as: MapInfo | None,
) -> RawColumn:
    with open_table(path, wanted, max_memory, checksum) as (stream, table):
        npix, pixel, column = table.npix, table.pixel_column, table.column(field)
        table.require_readable(column)
        chosen = [column] if pixel is None else [column, pixel]
        ordered = table.ordering(ordering)
        if same_frame_as is not None:
            require_same_frame(table.frame, str(path), same_frame_as)
        # Eight bytes a number are the most; the second copy is the full sky or the reordering.
        require_memory(path, 8 * (npix + sum(table.hdu.rows * c.repeat for c in chosen)), max_memory)
        arrays = read_columns(path, stream, table.hdu, chosen, checksum=checksum)
        values, bad = physical(table.hdu, column, arrays[0])
        pixels = None
        if pixel is not None:
            pixels = table.validate_pixels(physical(table.hdu, pixel, arrays[1])[0])
    return RawColumn(table, column, ordered, values, bad, pixels)


def _column_unit(raw: RawColumn, declared: str | None) -> str | None:
    written, name = raw.column.unit, f"column {raw.column.name!r} of {raw.table}"
    if declared is None and not written:
        warnings.warn(
            f"{name} has no TUNIT: assumed unit-free, or µK_CMB where a spectrum or noise level is given; declare it "
            "with unit= (--unit)",
            CmbInpaintWarning,
            stacklevel=3,
        )
    if declared is None:
        return known_unit(written) or written or None
    unit = validate_unit(declared)
    if written and (known_unit(written) or written) != unit:
        warnings.warn(
            f"{name} says TUNIT={written!r}; it is read as {unit}, as declared",
            CmbInpaintWarning,
            stacklevel=3,
        )
    return unit


@contextmanager
def open_table(
    path: Path, wanted: int | str, max_memory: int | None, checksum: bool
) -> Iterator[tuple[BinaryIO, HealpixTable]]:
    """Open a file; yield (stream, the table wanted)."""
    if isinstance(wanted, bool) or not isinstance(wanted, (int, str, np.integer)):
        raise FitsError(f"hdu is a number from 0 or an EXTNAME, got {type(wanted).__name__} {wanted!r}")
    number = int(wanted) if str(wanted).isdecimal() else None
    with open_fits(path) as (stream, compressed):
        hdus: list[Hdu] = []
        for hdu in walk(path, stream):
            hdus.append(hdu)
            if compressed:
                require_memory(path, hdu.size, max_memory)
            if hdu.index == number or (number is None and hdu.name.upper() == str(wanted).strip().upper()):
                break
            if checksum and hdu.index == 0:
                verify_checksum(path, stream, hdu)
        else:
            if number == 1:  # the default, so the user never asked for a table that does not exist
                raise _no_table(path, hdus[0], last=True)
            listed = ", ".join(f"{h.index}: {h.name or 'unnamed'} ({h.kind.lower()})" for h in hdus)
            raise FitsError(f"{path} has no HDU {wanted!r}; it has {listed}")
        if hdus[-1].kind != "BINTABLE":
            raise _no_table(path, hdus[-1])
        yield stream, HealpixTable(path, hdus[-1], hdus[0])


def _no_table(path: Path, hdu: Hdu, *, last: bool = False) -> FitsError:
    """Return the error for an HDU that is not a binary table; an image is perhaps a CAR map."""
    if last and hdu.card("EXTEND", False) and not hdu.card("NAXIS", 0):
        return FitsError(
            f"{path} ends after the header of HDU 0, which announces extensions: it was truncated there, or "
            "never held a table; download or copy it again"
        )
    if hdu.kind != "IMAGE" or not hdu.card("NAXIS", 0):
        what = "without data" if hdu.kind == "IMAGE" else f"of type {hdu.kind}"
        return FitsError(
            f"HDU {hdu.index} of {path} is {what}, not a binary table, which HEALPix maps are stored in, "
            "usually HDU 1: cmbinpaint info lists them"
        )
    shape = tuple(hdu.card(f"NAXIS{i}") for i in range(hdu.whole("NAXIS"), 0, -1))
    projection = hdu.text("CTYPE1")
    return FitsError(
        f"HDU {hdu.index} of {path} is an image of shape {shape}{f' ({projection})' if projection else ''}, "
        "not a HEALPix table; reproject a CAR map first, with pixell.reproject.map2healpix or "
        "reproject.reproject_to_healpix, and its mask alike"
    )


def require_memory(path: Path, needed: int, max_memory: int | None) -> None:
    """Refuse data of more bytes than are allowed."""
    if max_memory is not None and not (isinstance(max_memory, numbers.Real) and max_memory > 0):
        raise FitsError(f"max_memory is a number of bytes above 0, got {max_memory!r}")
    limit = memory_of_machine() if max_memory is None else max_memory
    if needed > limit:
        raise FitsError(
            f"{path} declares data that need {needed} bytes of memory; {limit} are allowed: raise max_memory "
            "(--max-memory) if you trust the file"
        )
