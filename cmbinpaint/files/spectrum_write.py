"""Write power spectra as FITS files that healpy reads, atomically.

Inputs: spectra (n, lmax+1), their unit, what was done. Outputs: a FITS file for `healpy.read_cl`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from cmbinpaint._types import FloatArray
from cmbinpaint.files.fits_save import save_whole
from cmbinpaint.files.fits_write import add_provenance
from cmbinpaint.sphere.fields import Fields

_NAMES = {"TT": "TEMPERATURE", "EE": "GRADIENT", "BB": "CURL", "TE": "G-T", "EB": "C-G", "TB": "C-T"}


def write_cl(
    path: Path, cl: FloatArray, fields: Fields, *, unit: str | None, provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write the spectra of these Stokes parameters (n, lmax+1), in the order of `Fields.spectra`."""
    rows = np.atleast_2d(cl)
    squared = f"{unit}^2" if unit else None
    columns = [
        fits.Column(name=_NAMES[name], format="D", unit=squared, array=row)
        for name, row in zip(fields.spectra, rows, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["MAX-LPOL"] = (rows.shape[1] - 1, "Maximum L multipole")
    table.header["EXTNAME"] = "COMPUTED POWER SPECTRUM"
    add_provenance(table.header, provenance, ())
    save_whole([fits.PrimaryHDU(), table], path, overwrite)
    return path
