"""The columns of a table that nobody asked for: they pass through to what is written.

Inputs: the file, column and HDU of a map. Outputs: `OtherColumn`, in the order of the file.
"""

import os
import warnings
from pathlib import Path

from cmbinpaint.errors import CmbInpaintWarning, FitsError
from cmbinpaint.files.fits import RawColumn, open_table, require_memory
from cmbinpaint.files.fits_table import Column, physical, read_columns
from cmbinpaint.files.healpix_header import HealpixTable
from cmbinpaint.files.map_info import OtherColumn
from cmbinpaint.sphere.maps import UNSEEN


def read_other_columns(
    path: str | os.PathLike[str],
    field: int | str = 0,
    *,
    hdu: int | str = 1,
    ordering: str | None = None,
    max_memory: int | None = None,
) -> list[OtherColumn]:
    """Read all columns of a table but one, and but the pixel indices, as they are in the file.

    Parameters
    ----------
    path, field, hdu, ordering, max_memory
        As for `read_map`; `field` is the column that is left out.

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
        own, pixel, order = table.column(field), table.pixel_column, table.ordering(ordering)
        wanted = [c for c in table.columns if c is not own and c is not pixel]
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
                    column.name, column.unit, raw.full_sky(values, blank, None), column.number < own.number
                )
            )
        return found


def _is_readable(table: HealpixTable, column: Column) -> bool:
    try:
        table.require_readable(column)
    except FitsError:
        return False
    return True
