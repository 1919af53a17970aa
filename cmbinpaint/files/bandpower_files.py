"""Write bandpowers as FITS files, atomically.

Inputs: columns, matrices, what was done. Outputs: a FITS file with a table and images.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.files.fits_save import save_whole
from cmbinpaint.files.fits_write import add_provenance

_FORMATS = {"U": "2A", "i": "J", "f": "D"}


def write_bandpowers(
    path: Path, columns: Mapping[str, AnyArray], images: Mapping[str, FloatArray], *, unit: str | None,
    provenance: Mapping[str, Any], overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write a table BANDPOWERS, a row a band of a spectrum, and images by their names.

    Parameters
    ----------
    path
        The file; nothing is under this name until all is written.
    columns
        Names of spectra, multipoles and powers, which are in the square of `unit`.
    images
        Matrices whose first axis is that of the table's rows.
    unit, provenance, overwrite
        Of the map; keyword -> value, or value and comment; whether an existing file is replaced.
    """
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(
                name=name,
                format=_FORMATS[values.dtype.kind],
                unit=f"{unit}^2" if unit and name.startswith(("CL", "NOISE")) else None,
                array=values,
            )
            for name, values in columns.items()
        ],
        name="BANDPOWERS",
    )
    add_provenance(table.header, provenance, ())
    pictures = [fits.ImageHDU(np.asarray(image), name=name) for name, image in images.items()]
    save_whole([fits.PrimaryHDU(), table, *pictures], path, overwrite)
    return path
