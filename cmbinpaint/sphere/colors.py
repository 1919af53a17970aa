"""Planck's color map: temperatures as the RGB pictures that the CMB is known by.

Takes: temperatures in µK. Gives: the table of 256 colors, pictures clipped at a limit. Floor: 1.
"""

from functools import cache
from pathlib import Path

import healpy as hp
import numpy as np
import numpy.typing as npt

from cmbinpaint._types import Float32Array, FloatArray
from cmbinpaint.errors import MapError

LIMIT_uK = 300.0
N_COLORS = 256


@cache
def planck_colors() -> FloatArray:
    """(256, 3) float64 in [0, 1], read-only: Planck's color map as healpy ships it, coldest first."""
    table = np.loadtxt(Path(hp.__file__).parent / "data" / "planck_cmap.dat") / 255
    table.flags.writeable = False
    return table


def to_rgb(field_uK: npt.ArrayLike, limit_uK: float = LIMIT_uK) -> Float32Array:
    """Temperatures as clipped RGB.

    Parameters
    ----------
    field_uK
        Any shape, finite.
    limit_uK
        What is beyond plus or minus this limit gets the color at the limit.

    Returns
    -------
    (..., 3) float32 in [0, 1], one of the 256 colors of `planck_colors`: the range is cut into 256 equal steps.

    Raises
    ------
    MapError
        If the limit is not positive, or a temperature not finite.

    Examples
    --------
    >>> bool(np.all(to_rgb(-1e4) == to_rgb(-300.0)))
    True
    """
    if not (np.isfinite(limit_uK) and limit_uK > 0):
        raise MapError(f"the color limit is {limit_uK} µK; give a positive number")
    field = np.asarray(field_uK, dtype=np.float64)
    if not np.all(np.isfinite(field)):
        raise MapError(
            f"{np.count_nonzero(~np.isfinite(field))} temperatures are not finite; they have no color"
        )
    step = np.floor((field / limit_uK + 1) * (N_COLORS / 2))
    return planck_colors().astype(np.float32)[np.clip(step, 0, N_COLORS - 1).astype(np.int64)]
