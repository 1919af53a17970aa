"""Polarization as pictures: Q, U, P, E and B before and after, and ticks along the polarization.

Inputs: full-sky HEALPix maps, by name. Outputs: matplotlib figures, or the axes drawn on.
"""

from collections.abc import Mapping

import healpy
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from cmbinpaint._types import AnyArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.plots.figures import new_axes, styled
from cmbinpaint.plots.maps import draw_patch, draw_sky, symmetric_limit

__all__ = ["draw_polarization", "draw_polarized_patch"]

_EPSILON = 1e-3  # radians: half a tick on the sphere, before it is scaled
_WIDTH = 4.2  # inches of a panel


@styled
def draw_polarization(
    rows: Mapping[str, Mapping[str, AnyArray]],
    *,
    nest: bool = False,
    unit: str | None = None,
    outline: AnyArray | None = None,
    title: str | None = None,
    pixels: int = 700,
) -> Figure:
    """Draw full skies in rows: Q, U, P, E and B, say, each before and after.

    Parameters
    ----------
    rows
        Name of the row to maps (npix,) by title, as many in every row; UNSEEN, NaN and masked entries are drawn grey.
        A row shares one scale, that of its last map; P goes from 0 up.
    nest, unit, pixels
        As in `draw_sky`.
    outline
        (npix,) map, True = observed: the edges of its holes are drawn as lines, in all columns.
    title
        Above all.

    Returns
    -------
    Figure
        The figure.

    Raises
    ------
    CmbInpaintError
        If there is nothing to draw, or rows have other numbers of maps.
    """
    numbers = {name: len(maps) for name, maps in rows.items()}
    n = max(numbers.values(), default=0)
    if not n or set(numbers.values()) != {n}:
        raise CmbInpaintError(f"rows need the same number of maps, at least one; got {numbers}")
    figure = Figure(figsize=(_WIDTH * n, 2.75 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), n, squeeze=False)
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        limit = symmetric_limit(list(maps.values())[-1])
        for ax, (column, sky) in zip(line, maps.items(), strict=True):
            draw_sky(
                sky, nest=nest, unit=unit, limit=limit, title=f"{name}, {column}", outline=outline, pixels=pixels,
                colors="deviation" if name == "P" else "planck", ax=ax,
            )  # fmt: skip
    if title:
        figure.suptitle(title)
    return figure


@styled
def draw_polarized_patch(
    sky: AnyArray,
    lon_deg: float,
    lat_deg: float,
    *,
    side_deg: float = 20.0,
    background: AnyArray | None = None,
    nest: bool = False,
    unit: str | None = None,
    limit: float | None = None,
    title: str | None = None,
    outline: AnyArray | None = None,
    ticks: int = 22,
    ax: Axes | None = None,
) -> Axes:
    """Draw the neighborhood of a direction with ticks along the polarization, as long as it is strong.

    Parameters
    ----------
    sky
        (2, npix) Q, U or (3, npix) T, Q, U, in the COSMO convention.
    background
        (npix,) the map below the ticks, T or E say; None: T, of Q and U alone the polarized intensity's.
    ticks
        How many in a row; the longest fills the distance between two.
    lon_deg, lat_deg, side_deg, nest, unit, limit, title, outline, ax
        As in `draw_patch`.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    ax = new_axes(5.2, 4.8) if ax is None else ax
    q, u = (np.ma.filled(np.ma.array(row, dtype=np.float64), np.nan) for row in sky[-2:])
    q, u = (np.where(healpy.mask_bad(row), np.nan, row) for row in (q, u))
    below = np.hypot(q, u) if background is None and len(sky) == 2 else background
    below = sky[0] if below is None else below
    draw_patch(
        below, lon_deg, lat_deg, side_deg=side_deg, nest=nest, unit=unit, limit=limit, title=title, outline=outline,
        ax=ax,
    )  # fmt: skip
    plane = TangentPlane(lon_deg, lat_deg, PatchGrid(ticks, side_deg / ticks))
    centers = plane.to_vectors(*plane.grid.rows_cols())
    pixel = healpy.vec2pix(healpy.npix2nside(q.size), *np.moveaxis(centers, -1, 0), nest=nest)
    here_q, here_u = q[pixel], u[pixel]
    angle, strength = 0.5 * np.arctan2(here_u, here_q), np.hypot(here_q, here_u)
    x, y, z = np.moveaxis(centers, -1, 0)
    ring = np.maximum(np.hypot(x, y), 1e-12)
    south = np.stack([z * x / ring, z * y / ring, -ring], axis=-1)
    east = np.stack([-y / ring, x / ring, np.zeros_like(x)], axis=-1)
    step = _EPSILON * (np.cos(angle)[..., None] * south + np.sin(angle)[..., None] * east)
    ends = [np.stack(plane.vectors_to_plane(centers + sign * step), axis=-1) for sign in (-1, 1)]
    # From pixels of the plane to degrees to the east and north, and to the length of the strength.
    half = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0], axis=-1, keepdims=True) / 2
    half *= (
        np.minimum(strength / (np.nanquantile(strength, 0.95) or 1.0), 1.0)[..., None] * plane.grid.step_rad
    )
    middle = (0.5 * (ends[0] + ends[1]) - plane.grid.center) * plane.grid.step_rad
    segments = np.degrees(np.stack([middle - half, middle + half], axis=-2))[..., ::-1] * [-1.0, 1.0]
    shown = np.isfinite(segments).all(axis=(-1, -2))
    ax.add_collection(LineCollection(list(segments[shown]), colors="#111111", linewidths=0.9))
    return ax
