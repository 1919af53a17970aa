"""Write power spectra and a_lm as FITS files that healpy reads, atomically.

Inputs: spectra (n, lmax+1), a_lm (k, size), their unit, what was done. Outputs: files for `healpy.read_cl`, `read_alm`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from cmbinpaint._types import ComplexArray, FloatArray
from cmbinpaint.errors import FitsError
from cmbinpaint.files.fits_save import save_whole
from cmbinpaint.files.fits_write import add_provenance
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import alm_degrees, alm_lmax

_CL_NAMES = {"TT": "TEMPERATURE", "EE": "GRADIENT", "BB": "CURL", "TE": "G-T", "EB": "C-G", "TB": "C-T"}


def write_cl(
    path: Path, cl: FloatArray, fields: Fields, *, unit: str | None, provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write the spectra of these Stokes parameters (n, lmax+1), in the order of `Fields.spectra`."""
    rows = np.atleast_2d(cl)
    squared = f"{unit}^2" if unit else None
    columns = [
        fits.Column(name=_CL_NAMES[name], format="D", unit=squared, array=row)
        for name, row in zip(fields.spectra, rows, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["CREATOR"] = "cmbinpaint"
    table.header["MAX-LPOL"] = (rows.shape[1] - 1, "Maximum L multipole")
    table.header["EXTNAME"] = "COMPUTED POWER SPECTRUM"
    return _written(path, [table], provenance, overwrite)


def write_alm(
    path: Path, alm: ComplexArray, fields: Fields, *, unit: str | None, provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write a_lm (size,) or (k, size), of T, E, B one table each."""
    tables = []
    for mode, row in zip(fields.modes, np.atleast_2d(alm), strict=True):
        lmax = alm_lmax(row.size)
        ell = alm_degrees(lmax)
        m = np.repeat(np.arange(lmax + 1), np.arange(lmax + 1, 0, -1))
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column(name="index", format="J" if lmax < 46000 else "K", array=ell**2 + ell + m + 1),
                fits.Column(name="real", format="D", unit=unit, array=row.real),
                fits.Column(name="imag", format="D", unit=unit, array=row.imag),
            ]
        )
        table.header["MAX-LPOL"] = (lmax, "Maximum L multipole")
        table.header["MAX-MPOL"] = (lmax, "Maximum m multipole")
        table.header["EXTNAME"] = f"ALM {mode}"
        tables.append(table)
    return _written(path, tables, provenance, overwrite)


def _written(path: Path, tables: Sequence[Any], provenance: Mapping[str, Any], overwrite: bool) -> Path:
    if path.suffix != ".fits":
        raise FitsError(f"{path}: spectra and a_lm are written to .fits files")
    for table in tables:
        add_provenance(table.header, provenance, ())
    return save_whole(path, fits.HDUList([fits.PrimaryHDU(), *tables]), overwrite, None)
