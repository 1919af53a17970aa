"""Temperatures as the clipped pictures that the CMB is known by, and back as far as that goes.

Inputs: temperatures in µK. Outputs: tables of 256 colors, RGB pictures, their grey.
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import healpy as hp
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, Float32Array, FloatArray
from cmbinpaint.errors import MapError

LIMIT_uK = 300.0
N_COLORS = 256
LUMA = (0.2989, 0.5870, 0.1140)  # weights of R, G, B


@cache
def planck_colors() -> FloatArray:
    """(256, 3) float64 in [0, 1], read-only: Planck's color map as healpy ships it, coldest first."""
    table = np.loadtxt(Path(hp.__file__).parent / "data" / "planck_cmap.dat") / 255
    table.flags.writeable = False
    return table


def grey_colors() -> FloatArray:
    """(256, 3) float64 in [0, 1]: black to white in equal steps."""
    return np.repeat(np.linspace(0.0, 1.0, N_COLORS)[:, None], 3, axis=1)


COLOR_MAPS: dict[str, Callable[[], FloatArray]] = {"planck": planck_colors, "grey": grey_colors}


def render(field_uK: npt.ArrayLike, low_uK: float, high_uK: float, colors: str = "planck") -> Float32Array:
    """Temperatures as a picture that ends at two temperatures.

    Parameters
    ----------
    field_uK
        Any shape, finite.
    low_uK, high_uK
        What is colder or hotter gets the color at the end.
    colors
        Name of a map of 256 colors: "planck" or "grey".

    Returns
    -------
    (..., 3) float32 in [0, 1]: the range is cut into 256 equal steps, one for each color.

    Raises
    ------
    MapError
        If the range is empty or not finite, the map of colors unknown, or a temperature not finite.

    Examples
    --------
    >>> render([-500.0, 500.0], -200.0, 400.0, "grey")[:, 0].tolist()
    [0.0, 1.0]
    """
    _check_range(low_uK, high_uK)
    if colors not in COLOR_MAPS:
        near = get_close_matches(colors, COLOR_MAPS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise MapError(f"unknown color map {colors!r}; known: {', '.join(COLOR_MAPS)}{hint}")
    field = np.asarray(field_uK, dtype=np.float64)
    if not np.all(np.isfinite(field)):
        raise MapError(
            f"{np.count_nonzero(~np.isfinite(field))} temperatures are not finite; they have no color"
        )
    step = np.floor((field - low_uK) / (high_uK - low_uK) * N_COLORS)
    return COLOR_MAPS[colors]().astype(np.float32)[np.clip(step, 0, N_COLORS - 1).astype(np.int64)]


def to_rgb(field_uK: npt.ArrayLike, limit_uK: float = LIMIT_uK) -> Float32Array:
    """Temperatures as RGB of Planck's map, clipped at plus and minus a limit; see `render`.

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
    return render(field_uK, -limit_uK, limit_uK)


def from_rgb(rgb: AnyArray, low_uK: float, high_uK: float, colors: str = "planck") -> FloatArray:
    """Temperatures that a picture shows: (..., 3) to (...), the middle of the step of the nearest color.

    What was clipped stays at the ends: a picture does not say how hot it was.

    Raises
    ------
    MapError
        If the range is empty or not finite.
    """
    _check_range(low_uK, high_uK)
    nearest = cKDTree(COLOR_MAPS[colors]()).query(np.asarray(rgb, dtype=np.float64))[1]
    return low_uK + (nearest + 0.5) * ((high_uK - low_uK) / N_COLORS)


def luma(rgb: AnyArray) -> FloatArray:
    """The grey of a picture, (..., 3) to (...): 0.2989 R + 0.5870 G + 0.1140 B (ITU-R BT.601)."""
    return np.asarray(rgb, dtype=np.float64) @ np.array(LUMA)


def _check_range(low_uK: float, high_uK: float) -> None:
    if not (np.isfinite(low_uK) and np.isfinite(high_uK) and low_uK < high_uK):
        raise MapError(
            f"got colors from T_min = {low_uK:g} µK to T_max = {high_uK:g} µK; expected T_min below T_max, both finite"
        )
