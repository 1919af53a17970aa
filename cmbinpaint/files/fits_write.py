"""Write HEALPix maps as FITS files, atomically.

Inputs: maps in any form, `MapInfo` of the file they came from, what was done to them. Outputs: a FITS file that
healpy reads, with checksums, under its final name only when it is whole.
"""

import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from cmbinpaint._types import AnyArray, BoolArray
from cmbinpaint.errors import CmbInpaintWarning, FitsError, MapError
from cmbinpaint.files.fits_save import save_whole
from cmbinpaint.files.fits_scan import clean_text
from cmbinpaint.files.healpix_header import parse_ordering
from cmbinpaint.files.map_info import MapInfo, OtherColumn
from cmbinpaint.sphere.containers import unwrap
from cmbinpaint.sphere.maps import UNSEEN, npix_to_nside, to_nest, to_ring
from cmbinpaint.sphere.units import agree, known_unit

# numpy type of an array: (type stored, FITS letter); unsigned ones move to the next signed type.
_STORED = {
    "b1": ("b1", "L"), "u1": ("u1", "B"), "i1": ("i2", "I"), "i2": ("i2", "I"), "u2": ("i4", "J"),
    "i4": ("i4", "J"), "u4": ("i8", "K"), "i8": ("i8", "K"), "f2": ("f4", "E"), "f4": ("f4", "E"),
    "f8": ("f8", "D"), "f16": ("f8", "D"),
}  # fmt: skip
_PER_ROW = 1024
_LONGEST_TTYPE = 68
_OWN = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|[PG]COUNT|TFIELDS|T[A-Z]+\d+|PIXTYPE|DATE|THEAP|"
    r"ORDERING|NSIDE|FIRSTPIX|LASTPIX|INDXSCHM|OBJECT|BAD_DATA|CHECKSUM|DATASUM|END|COMMENT|HISTORY|CONTINUE"
)


def write_map(
    path: str | os.PathLike[str],
    sky: Any,
    *,
    info: MapInfo | None = None,
    others: Sequence[OtherColumn] = (),
    nest: bool | None = None,
    unit: str | Mapping[str, str] | None = None,
    column: str | Sequence[str] | None = None,
    overwrite: bool = False,
    ordering: str | None = None,
    coord: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    history: str | Iterable[str] = (),
    only: BoolArray | None = None,
) -> Path:
    """Write one map, or several as the columns of one table.

    Parameters
    ----------
    path
        The file; `.gz` is compressed. Nothing is under this name until everything is written.
    sky
        (npix,) array, masked array (its masked entries become UNSEEN) or Quantity; or a mapping of column
        names to such; or (k, npix) of Q, U or T, Q, U, in columns named as `info` says. The dtype is kept:
        float16 becomes float32, unsigned integers the next signed type.
    info
        Of the file that the map came from: its TTYPE, TUNIT, COORDSYS, ORDERING and POLCCONV are kept, and the cards
        that describe the sky or the instrument.
    others
        Columns of that file to be written beside the map, from `read_other_columns`.
    nest
        Whether the arrays are NESTED; None: as `info` says of its array, else RING.
    unit
        Of the values, in any spelling; for several columns a mapping of their names.
    column
        TTYPE of a map, of several Stokes parameters one for each; None: as `info` says, else healpy's.
    overwrite
        Whether an existing file is replaced. The file of `info` never is.
    ordering
        Of the file, `"RING"` or `"NESTED"`; None: as `info` says, else as the arrays.
    coord
        `"G"`, `"E"` or `"C"`, written as COORDSYS; None: as `info` says.
    provenance
        keyword -> value or (value, comment): what was done to the map.
    history
        HISTORY lines.
    only
        (npix,) bool, in the ordering of the map: writes these pixels alone, with their numbers (a partial-sky file).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FitsError
        If the file is there already, is the input, or cannot be written; no temporary file stays behind.
    MapError
        If an array is not a HEALPix map.
    UnitsError
        If a unit is unknown or contradicts a Quantity's or the input's.
    """
    target = Path(path)
    nested = bool(info.nest if info is not None else False) if nest is None else bool(nest)
    columns = _columns(sky, info, unit, column, nested)
    nside = npix_to_nside(columns[0][1].size)
    own = info.ordering if info is not None else ("NESTED" if nested else "RING")
    file_order = own if ordering is None else parse_ordering(ordering)
    reorder = {("RING", True): to_ring, ("NESTED", False): to_nest}.get((file_order, nested), np.asarray)
    beside = {("RING", "NESTED"): to_nest, ("NESTED", "RING"): to_ring}.get((own, file_order), np.asarray)
    rest = [(o.first, _fits_column(_short(o.name), beside(_stored(o)), clean_text(o.unit))) for o in others]
    filled = [_fits_column(n, reorder(a), u) for n, a, u in columns]
    if only is not None:
        pixels = np.flatnonzero(reorder(only))
        kind = "J" if pixels.max(initial=0) < 1 << 31 else "K"
        filled = [
            fits.Column(name="PIXEL", format=kind, array=pixels),
            *(
                fits.Column(name=c.name, format=c.format[-1], unit=c.unit, array=np.ravel(c.array)[pixels])
                for c in filled
            ),
        ]
    table = fits.BinTableHDU.from_columns(
        [*(c for first, c in rest if first), *filled, *(c for first, c in rest if not first)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # a comment too long for its card is cut
        _fill_header(table.header, nside, file_order, info, coord)
        if only is not None:
            table.header["INDXSCHM"] = "EXPLICIT"
            table.header["OBJECT"] = "PARTIAL"
            del table.header["FIRSTPIX"], table.header["LASTPIX"]
        add_provenance(table.header, provenance or {}, [history] if isinstance(history, str) else history)
        save_whole([fits.PrimaryHDU(), table], target, overwrite, info)
    return target


# healpy's names of T, Q, U.
_STOKES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


def _columns(
    sky: Any,
    info: MapInfo | None,
    unit: str | Mapping[str, str] | None,
    column: str | Sequence[str] | None,
    nested: bool,
) -> list[tuple[str, AnyArray, str]]:
    """Return (name, array, TUNIT) of each column."""
    if isinstance(sky, Mapping):
        if not sky or column is not None or isinstance(unit, str):
            raise MapError(
                "several columns are given as {name: array}, at least one, their units as {name: unit}; "
                f"got {len(sky)} columns, column={column!r}, unit={unit!r}"
            )
        units = dict(unit or {})
        unknown = sorted(set(units) - set(sky))
        if unknown:
            raise MapError(f"units are given for {unknown}, which are not columns; columns: {sorted(sky)}")
        columns = [(str(name), *_array(name, sky[name], units.get(name), None)) for name in sky]
    elif np.ndim(sky) == 2 and len(sky) in (2, 3) and not isinstance(unit, Mapping):
        own = info.columns if info is not None and len(info.columns) == len(sky) else _STOKES[-len(sky) :]
        names = own if column is None else tuple(column)
        if isinstance(column, str) or len(names) != len(sky):
            raise MapError(f"column={column!r} names the columns of {len(sky)} maps; give one name for each")
        columns = [
            (name, *_array(name, row, unit, None if info is None else replace(info, column=one)))
            for name, one, row in zip(names, own, sky, strict=True)
        ]
    else:
        if isinstance(unit, Mapping):
            raise MapError("unit is one text for a single map; a mapping goes with several columns")
        if column is not None and not isinstance(column, str):
            raise MapError(f"column={column!r} is the name of a single map: a text was expected")
        name = column or (info.column if info is not None else "TEMPERATURE")
        columns = [(name, *_array(name, sky, unit, info))]
    columns = [(_short(name), array, text) for name, array, text in columns]
    sizes = {name: array.size for name, array, _ in columns}
    if len(set(sizes.values())) > 1:
        raise MapError(f"columns of one file must be of one length, got {sizes}")
    return columns


def _stored(other: OtherColumn) -> AnyArray:
    """Return a column's values in a type that FITS has."""
    kind = f"{other.values.dtype.kind}{other.values.dtype.itemsize}"
    return other.values.astype(_STORED[kind][0], copy=False)


def _short(name: str) -> str:
    """Return a column's name as a card holds it."""
    clean = clean_text(name)
    if len(clean) > _LONGEST_TTYPE:
        warnings.warn(
            f"the column name {clean[:20]}... has {len(clean)} characters; a FITS card holds {_LONGEST_TTYPE}, and the "
            "rest is cut off",
            CmbInpaintWarning,
            stacklevel=4,
        )
    return clean[:_LONGEST_TTYPE]


def _array(name: str, sky: Any, unit: str | None, info: MapInfo | None) -> tuple[AnyArray, str]:
    """Return a map as a plain array of a type that FITS has, and its TUNIT."""
    data, mask, own, _ = unwrap(sky)
    array = np.asarray(data)
    kind = f"{array.dtype.kind}{array.dtype.itemsize}"
    if kind not in _STORED and not (kind == "u8" and array.max(initial=0) < 1 << 63):
        raise MapError(f"column {name!r} holds {array.dtype}; real numbers or booleans were expected")
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise MapError(
            f"column {name!r} has shape {array.shape}; one map of shape (npix,) was expected: give several "
            "as {name: array}"
        )
    stored = np.dtype(_STORED.get(kind, ("i8", "K"))[0])
    if mask is not None and np.any(mask):
        if stored.kind in "iu":
            stored = np.dtype("f8")
        array = np.where(
            np.broadcast_to(mask, np.shape(data)).reshape(-1), UNSEEN if stored.kind == "f" else 0, array
        )
    source = info.unit if info is not None and own is None else own
    canonical = agree(
        unit, source, what="the map" if own is not None else f"the map read from {info and info.path}"
    )
    if info is not None and own is not None and info.unit is not None:
        agree(info.unit, own, what="the map to be written")
    text = info.tunit if info is not None and info.unit is not None else ""
    kept = bool(text) and (known_unit(text) or text) == canonical
    return array.astype(stored), clean_text(text if kept else canonical or "")


def _fits_column(name: str, array: AnyArray, unit: str) -> fits.Column:
    letter = _STORED[f"{array.dtype.kind}{array.dtype.itemsize}"][1]
    if array.size > _PER_ROW:
        return fits.Column(
            name=name,
            format=f"{_PER_ROW}{letter}",
            unit=unit or None,
            array=array.reshape(-1, _PER_ROW),
        )
    return fits.Column(name=name, format=letter, unit=unit or None, array=array)


def _fill_header(header: Any, nside: int, ordering: str, info: MapInfo | None, coord: str | None) -> None:
    header["PIXTYPE"] = ("HEALPIX", "HEALPIX pixelisation")
    header["ORDERING"] = (ordering, "Pixel ordering scheme, either RING or NESTED")
    kept = dict(info.header) if info is not None else {}
    frame = coord or kept.get("COORDSYS") or (info.coord if info is not None else None)
    for key, value in kept.items():
        if re.fullmatch(r"[A-Z0-9_-]{1,8}", key) and not _OWN.fullmatch(key):
            header[key] = _header_value(value)
    if frame:
        header["COORDSYS"] = (clean_text(str(frame)).strip(), "Ecliptic, Galactic or Celestial (equatorial)")
    if info is not None and info.polcconv:
        header["POLCCONV"] = (clean_text(info.polcconv), "Polarization convention")
    header["EXTNAME"] = (
        clean_text(str(kept.get("EXTNAME", "xtension"))),
        "name of this binary table extension",
    )
    header["NSIDE"] = (nside, "Resolution parameter of HEALPIX")
    header["FIRSTPIX"] = (0, "First pixel # (0 based)")
    header["LASTPIX"] = (12 * nside * nside - 1, "Last pixel # (0 based)")
    header["INDXSCHM"] = ("IMPLICIT", "Indexing: IMPLICIT or EXPLICIT")
    header["OBJECT"] = ("FULLSKY", "Sky coverage, either FULLSKY or PARTIAL")
    header["BAD_DATA"] = (UNSEEN, "Value of unobserved pixels")


def add_provenance(header: Any, provenance: Mapping[str, Any], history: Iterable[str]) -> None:
    """Put cards and HISTORY into a header."""
    for key, entry in provenance.items():
        keyword = str(key).strip().upper()
        if not re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword) or _OWN.fullmatch(keyword):
            raise FitsError(
                f"provenance keyword {key!r} cannot be used: it needs up to 8 of A-Z, 0-9, - and _, and must not "
                "describe the table"
            )
        value, comment = entry if isinstance(entry, tuple) else (entry, "")
        header[keyword] = (_header_value(value), clean_text(str(comment)))
    for entry in history:
        for line in str(entry).splitlines():
            header.add_history(clean_text(line))


def _header_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and np.isfinite(value)):
        return value
    return clean_text(str(value))
