"""The columns of a table that nobody asked for: they pass through to what is written, and are described.

Inputs: the file, column and HDU of a map. Outputs: `OtherColumn`, in the order of the file; `ColumnRange`.
"""

import os
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmbinpaint.errors import CmbInpaintWarning, FitsError
from cmbinpaint.files.fits import RawColumn, open_table, require_memory
from cmbinpaint.files.fits_table import Column, physical, read_columns
from cmbinpaint.files.healpix_header import HealpixTable
from cmbinpaint.files.map_info import OtherColumn
from cmbinpaint.sphere.maps import UNSEEN, is_unseen


def read_other_columns(
    path: str | os.PathLike[str],
    field: int | str | tuple[str, ...] = 0,
    *,
    hdu: int | str = 1,
    ordering: str | None = None,
    max_memory: int | None = None,
) -> list[OtherColumn]:
    """Read all columns of a table but one or several, and but the pixel indices, as they are in the file.

    Parameters
    ----------
    path, field, hdu, ordering, max_memory
        As for `read_map`; `field` is what is left out.

    Returns
    -------
    list of OtherColumn
        (npix,) each, in the file's ordering; pixels that a partial sky does not list are UNSEEN, 0 or False.

    Raises
    ------
    FitsError
        If the file is damaged.

    Warns
    -----
    CmbInpaintWarning
        With the names of columns that hold no number for each pixel, which are left out.
    """
    path = Path(path)
    with open_table(path, hdu, max_memory, checksum=False) as (stream, table):
        own = [table.column(one) for one in (field if isinstance(field, tuple) else (field,))]
        pixel, order, first = table.pixel_column, table.ordering(ordering), min(c.number for c in own)
        wanted = [c for c in table.columns if c not in own and c is not pixel]
        chosen = [c for c in wanted if _is_readable(table, c)]
        if left_out := [c.name for c in wanted if c not in chosen]:
            warnings.warn(
                f"columns {', '.join(left_out)} of {table} hold no number for each pixel; they are not written",
                CmbInpaintWarning,
                stacklevel=2,
            )
        if not chosen:
            return []
        require_memory(path, 8 * table.npix * (len(chosen) + 1), max_memory)
        read = chosen if pixel is None else [*chosen, pixel]
        stored = read_columns(path, stream, table.hdu, read, checksum=False)
        pixels = None if pixel is None else table.validate_pixels(physical(table.hdu, pixel, stored[-1])[0])
        found = []
        for column, array in zip(chosen, stored, strict=False):
            values, bad = physical(table.hdu, column, array)
            if values.dtype.kind == "f":
                values[bad] = UNSEEN
            raw = RawColumn(table, column, order, values, bad, pixels)
            blank = UNSEEN if values.dtype.kind == "f" else 0
            found.append(
                OtherColumn(
                    column.name, column.unit, raw.full_sky(values, blank, None), column.number < first
                )
            )
        return found


def column_names(
    path: str | os.PathLike[str], *, hdu: int | str = 1, max_memory: int | None = None
) -> list[str]:
    """The columns of a HEALPix table, that of the pixel indices left out.

    Raises
    ------
    FitsError
        If the file is damaged, or holds no HEALPix table.
    """
    with open_table(Path(path), hdu, max_memory, checksum=False) as (_, table):
        return [column.name for column in table.columns if column is not table.pixel_column]


class ColumnRange(NamedTuple):
    """The values of a column: how many are unknown, the least and the largest of the others, whether all are 0 or 1."""

    name: str
    unknown: int
    least: float | None
    largest: float | None
    mean: float | None
    is_mask: bool


def column_ranges(
    path: str | os.PathLike[str], *, hdu: int | str = 1, max_memory: int | None = None
) -> list[ColumnRange]:
    """Describe every column of a table that holds a number for each pixel, one in memory at a time.

    Raises
    ------
    FitsError
        If the file is damaged, or holds no HEALPix table.
    """
    path, found = Path(path), []
    with open_table(path, hdu, max_memory, checksum=False) as (stream, table):
        for column in table.columns:
            if column is table.pixel_column or not _is_readable(table, column):
                continue
            require_memory(path, 16 * table.hdu.rows * column.repeat, max_memory)
            stored = read_columns(path, stream, table.hdu, [column], checksum=False)[0]
            values, bad = physical(table.hdu, column, stored)
            known = values[~(bad | is_unseen(values) | ~np.isfinite(values))]
            some = known.size > 0
            found.append(
                ColumnRange(
                    column.name,
                    int(values.size - known.size),
                    float(known.min()) if some else None,
                    float(known.max()) if some else None,
                    float(known.mean(dtype=np.float64)) if some else None,
                    bool(some and np.all((known == 0) | (known == 1))),
                )
            )
    return found


def _is_readable(table: HealpixTable, column: Column) -> bool:
    try:
        table.require_readable(column)
    except FitsError:
        return False
    return True
