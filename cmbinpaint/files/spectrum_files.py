"""Read power spectra from text and FITS files, without ever taking D_ell for C_ell or K² for µK².

Inputs: a path. Outputs: C_ell (lmax+1,), or a row for each spectrum, from ell = 0, in µK² where the file says its unit.
"""

import bz2
import gzip
import io
import itertools
import lzma
import re
import warnings
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.io import fits

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError, UnitsError
from cmbinpaint.files.fits_scan import walk
from cmbinpaint.files.fits_table import verify_checksum
from cmbinpaint.spectra.full_sky import cl_from_dl
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.power import validate_cl
from cmbinpaint.sphere.units import find_power_units, parse_power_unit, power_factor

__all__ = ["read_cl"]

# A CMB's C_ell falls by 1e4 from ell = 10 to 1000, its D_ell stays within a factor of a few.
_FALL_OF_DL = 0.05
_LONGEST = 1 << 28  # bytes: no spectrum is longer
_HIGHEST_FIRST_ELL = 100_000
_UNPACKERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_NUMPY = (b"\x93NUMPY", b"PK\x03\x04")  # .npy, .npz
_NO_UNIT = {"", "unknown", "none"}


def read_cl(
    path: str | Path,
    *,
    kind: Literal["auto", "cl", "dl"] = "auto",
    column: int | None = None,
    unit: str | None = None,
    fields: Literal["T", "QU", "TQU"] = "T",
) -> FloatArray:
    """Return the C_ell of a text or FITS file, of T or of polarization too, in µK² where the file or `unit` says so.

    Parameters
    ----------
    path
        Text: one column C_ell from ell = 0, or ell and C_ell in the first two columns. FITS: as `healpy.write_cl` makes
        it. Either may be compressed by gzip, bzip2 or xz.
    kind
        What the file holds. "auto": what its comment lines say (`D_ell`, `l(l+1)`, or CAMB's `L TT EE`, which
        is D_ell); nothing said means C_ell, unless the values have the shape of a CMB's D_ell, which is an error.
    column
        Index of the column of a text file; None: the second of several.
    unit
        Declares the unit of the file: `"uK^2"`, `"K^2"` or `"dimensionless"` (CLASS, CAMB without a unit), which is
        multiplied by (2.7255 K)². None: what TUNIT or the comment lines say; without either, the values are
        returned as they are.
    fields
        Whose spectra: `"TQU"` TT, EE, BB, TE and, if there, EB, TB; `"QU"` EE, BB and, if there, EB. The columns of
        text are found by a comment line that names them all (CAMB's, CLASS's and Planck's do); without one, and in
        FITS, they are in healpy's order.

    Returns
    -------
    cl
        (lmax+1,) float64; multipoles below the first that is listed are 0. Of polarization (n, lmax+1), as
        `inpaint_map` takes them.

    Raises
    ------
    SpectrumError
        If the file cannot be read, multipoles are missing or repeated, values are negative or not finite, or
        what it holds is ambiguous.
    UnitsError
        If the unit in the file is not a temperature squared, or contradicts `unit`.
    """
    if kind not in ("auto", "cl", "dl"):
        raise SpectrumError(f'kind is "auto", "cl" or "dl"; got {kind!r}')
    if fields not in ("T", "QU", "TQU"):
        raise SpectrumError(f'fields is "T", "QU" or "TQU"; got {fields!r}')
    path, wanted = Path(path), Fields(fields)
    content = _content(path)
    values, said, own = (
        _from_fits(path, content, wanted)
        if content[:9] == b"SIMPLE  ="
        else _from_text(path, content, column, wanted)
    )
    if wanted is Fields.T:
        values = validate_cl(values, str(path))
    else:
        named = zip(wanted.spectra, values, strict=False)
        values = np.stack([validate_cl(v, f"{path}: {name}", signed=name[0] != name[1]) for name, v in named])
    if kind == "auto":
        # The EE of a sky falls no faster than a CMB's D_ell: its shape says nothing.
        shape = values[:, 0] if wanted is Fields.QU else np.atleast_2d(values)[0]
        kind = _what_it_holds(shape, said, path)
    if unit is not None:
        declared = parse_power_unit(unit)
        if own is not None and own != declared:
            raise UnitsError(f"unit={unit!r} was declared, but {path} says {_squared(own)}: omit unit=")
        own = declared
    values = values if own is None else values * power_factor(own)
    return values if kind == "cl" else cl_from_dl(values)


def _squared(unit: str) -> str:
    return unit if unit == "dimensionless" else f"{unit}^2"


def _content(path: Path) -> bytes:
    """Return a file's bytes, unpacked."""
    if not path.is_file():
        raise SpectrumError(
            f"{path}: {'a directory' if path.is_dir() else 'no such file'}; a spectrum was expected"
        )
    try:
        with path.open("rb") as plain:
            start = plain.read(6)
            plain.seek(0)
            unpack = next((u for magic, u in _UNPACKERS.items() if start.startswith(magic)), None)
            stream = plain if unpack is None else unpack(plain, "rb")
            content: bytes = stream.read(_LONGEST + 1)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise SpectrumError(f"{path} is truncated or damaged: {error}") from error
    except OSError as error:
        raise SpectrumError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > _LONGEST:
        raise SpectrumError(f"{path} holds more than {_LONGEST} bytes; a spectrum was expected")
    return content


def _from_fits(path: Path, content: bytes, fields: Fields) -> tuple[FloatArray, str, str | None]:
    """Return the columns wanted of the first table, of which the first is the temperature's, "cl" and their unit."""
    stream = io.BytesIO(content)
    try:
        primary, table = itertools.islice(walk(path, stream), 2)
        for hdu in (primary, table):
            verify_checksum(path, stream, hdu)
        written = table.text("TUNIT1")  # astropy drops a micro sign
        stream.seek(0)
        with warnings.catch_warnings(), fits.open(stream) as hdus:
            warnings.simplefilter("ignore")
            numbers = _numbers(len(hdus[1].columns), fields, f"{path} has")
            columns = [np.asarray(hdus[1].data.field(n), dtype=np.float64).reshape(-1) for n in numbers]
    except SpectrumError:
        raise
    except Exception as error:  # astropy raises many kinds for a damaged file
        raise SpectrumError(f"{path}: not a spectrum as written by healpy.write_cl: {error}") from error
    values = columns[0] if fields is Fields.T else np.stack(columns)
    if written.lower() in _NO_UNIT:
        return values, "cl", None
    try:
        return values, "cl", parse_power_unit(written)
    except UnitsError as error:
        raise UnitsError(f"{path}: TUNIT1 is {written!r}: {error}") from None


def _numbers(n: int, fields: Fields, what: str, first: int = 0) -> list[int]:
    """Which columns are wanted of n spectra in healpy's order; `first` is the number of the first."""
    if fields is Fields.T:
        return [first]
    order = Fields.TQU.spectra[: 6 if n >= 6 else 4 if n >= 4 else 0]
    if fields is Fields.QU and n in (2, 3):  # a file of E and B alone
        order = fields.spectra[:n]
    if not order:
        raise SpectrumError(
            f"{what} {n} {'spectrum' if n == 1 else 'spectra'}; {', '.join(fields.stokes)} need "
            + ("TT, EE, BB, TE, or these, EB and TB" if fields is Fields.TQU else "EE, BB, or EE, BB, EB")
            + " (in this order, or named by a comment line)"
        )
    return [first + order.index(s) for s in fields.spectra if s in order]


def _from_text(
    path: Path, content: bytes, column: int | None, fields: Fields
) -> tuple[FloatArray, str, str | None]:
    """Return values from ell = 0, what the comments say they are ("cl", "dl", "") and their unit."""
    if b"\0" in content:
        numpys = ", but a file of numpy" if content.startswith(_NUMPY) else ""
        raise SpectrumError(
            f"{path} is neither text nor FITS{numpys}; text, one column of C_ell or ell and C_ell, or what "
            'healpy.write_cl writes is read: numpy.savetxt("cl.txt", cl, header="C_ell in uK^2") makes one of an array'
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # never fails; what is not a number is refused below
    rows = [line.split("#")[0] for line in text.splitlines()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file is refused below, in our words
            table = np.loadtxt(rows, ndmin=2, delimiter="," if any("," in row for row in rows) else None)
    except ValueError as error:
        raise SpectrumError(f"{path}: not a table of numbers with # comments: {error}") from error
    if table.size == 0:
        raise SpectrumError(f"{path}: the file is empty; ell and C_ell in two columns were expected")
    comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    if fields is Fields.T:
        values = _columns(path, table, 1 if column is None else column)
    else:
        values = _columns(path, table, _named(path, table.shape[1], comments, fields)).T
    return values, _said(comments), _unit_said(path, comments)


def _named(path: Path, n: int, comments: str, fields: Fields) -> list[int]:
    """Which columns are wanted: by the comment line that names all n, or in healpy's order after ell."""
    for line in comments.splitlines():
        names = [re.sub(r"^\d+:", "", word).upper() for word in re.split(r"[#,\s]+", line) if word]
        if len(names) == n and {"EE", "BB"} <= set(names):
            spectra = [s for s in fields.spectra if s in names]
            if fields is Fields.QU or {"TT", "TE"} <= set(names):
                return [names.index(s) for s in spectra]
    if n == 1:  # without ell
        return _numbers(1, fields, f"{path} has", first=0)
    return _numbers(n - 1, fields, f"{path}: beside ell it has", first=1)


def _columns(path: Path, table: FloatArray, wanted: int | list[int]) -> FloatArray:
    """Return columns of a table from ell = 0 on."""
    if table.shape[1] == 1:
        return table[:, 0]
    if not 0 <= np.max(wanted) < table.shape[1]:
        raise SpectrumError(
            f"{path}: there is no column {wanted}; the file has {table.shape[1]} columns, from 0"
        )
    ell = table[:, 0]
    if not 0 <= ell[0] <= _HIGHEST_FIRST_ELL or not np.array_equal(ell, np.arange(ell.size) + int(ell[0])):
        raise SpectrumError(
            f"{path}: the first column must be ell = 0, 1, 2 and so on without gaps (or start at 2); "
            f"it begins {ell[:4].tolist()}"
        )
    chosen = table[:, wanted]
    return np.concatenate([np.zeros((int(ell[0]), *chosen.shape[1:])), chosen])


def _unit_said(path: Path, comments: str) -> str | None:
    found = find_power_units(comments)
    if len(found) > 1:
        raise UnitsError(
            f"{path}: its comment lines mention {' and '.join(map(_squared, sorted(found)))}; keep one of them"
        )
    return found.pop() if found else None


def _said(comments: str) -> str:
    if re.search(r"\bD_?(ell|l)\b|\bD_?\{?\\?ell|[lL]\s*\(\s*[lL]\s*\+\s*1\s*\)|\bell\s*\(\s*ell", comments):
        return "dl"
    if re.search(r"\bC_?(ell|l)\b", comments, re.IGNORECASE):
        return "cl"
    # CAMB's and the Planck archive's own tables: D_ell with this line and no word about it.
    return "dl" if re.search(r"^#\s*L\s+TT\b", comments, re.MULTILINE) else ""


def _what_it_holds(values: FloatArray, said: str, path: Path) -> Literal["cl", "dl"]:
    if said == "dl":
        return "dl"
    if not said and values.size > 200:
        early = float(np.mean(values[8:13]))
        late = float(np.mean(values[min(1000, values.size - 5) - 5 :][:10]))
        fall = (min(1000, values.size - 5) / 10) ** -2
        if late > early * max(_FALL_OF_DL, 5 * fall):
            raise SpectrumError(
                f"{path}: it does not say whether it holds C_ell or D_ell, and its shape is that of D_ell; give "
                'kind="dl" or kind="cl", or put a line "# ell C_ell" at its head'
            )
    return "cl"
