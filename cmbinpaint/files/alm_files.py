"""Write spherical harmonic coefficients as FITS files that healpy reads, atomically.

Inputs: a_lm in healpy's order. Outputs: a FITS file, one table for each mode.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from cmbinpaint._types import ComplexArray
from cmbinpaint.files.fits_save import save_whole
from cmbinpaint.files.fits_scan import clean_text
from cmbinpaint.sphere.harmonics import alm_degrees, alm_lmax


def write_alm(
    path: str | os.PathLike[str],
    alm: ComplexArray,
    modes: Sequence[str],
    *,
    unit: str = "",
    cards: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a_lm, (k, size) in healpy's order, as `healpy.read_alm(path, hdu=(1, 2, 3))` reads them.

    Parameters
    ----------
    path
        The file. Nothing is under this name until everything is written.
    alm, modes
        The coefficients, a row for each mode, and the modes' names: T, E, B.
    unit
        Of the coefficients, written as TUNIT.
    cards
        keyword -> (value, comment) for the primary header.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    FitsError
        If the file is there already, or cannot be written; no temporary file stays behind.
    """
    lmax = alm_lmax(alm.shape[1])
    ell = alm_degrees(lmax).astype(np.int64)
    order = np.repeat(np.arange(lmax + 1), np.arange(lmax + 1, 0, -1))
    index = (ell**2 + ell + order + 1).astype(np.int32)  # m >= 0: below 2**31 to lmax = 46339
    primary = fits.PrimaryHDU()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # a comment too long for its card is cut
        for key, value in (cards or {}).items():
            primary.header[key] = tuple(clean_text(one) if isinstance(one, str) else one for one in value)
    tables = [primary]
    for row, mode in zip(alm, modes, strict=True):
        columns = [fits.Column("INDEX", "J", array=index)]
        columns += [
            fits.Column(name, "D", unit=unit, array=np.ascontiguousarray(part))
            for name, part in (("REAL", row.real), ("IMAG", row.imag))
        ]
        table = fits.BinTableHDU.from_columns(columns, name=f"ALM_{mode}")
        table.header["MAX-LPOL"] = (lmax, "largest l")
        table.header["MAX-MPOL"] = (lmax, "largest m")
        tables.append(table)
    save_whole(tables, Path(path), overwrite)
    return Path(path)
