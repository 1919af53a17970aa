"""Skies and patches as pictures.

Inputs: full-sky HEALPix maps, fields cut from them. Outputs: the matplotlib axes drawn on.

Colors are Planck's, on a linear scale symmetric about zero; holes are grey. Longitude grows to the left, as
seen from inside the sphere. Planck's map is dark at both ends: in black and white it loses the sign, for which
there is `colors="gray"` (dark is cold, holes hatched). Standard deviations go from 0 up, light to dark, in either.
"""

import functools
from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Literal, cast

import healpy
import numpy as np
from healpy import projector
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Ellipse

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots.figures import COLORS, new_axes, styled

Colors = Literal["planck", "gray", "deviation"]
UNIT_LABELS = {"uK_CMB": "µK", "mK_CMB": "mK", "K_CMB": "K"}


@functools.cache
def planck_colormap() -> Colormap:
    """Return Planck's color map, grey where nothing is known.

    The name "planck" works only in `healpy.projview` with matplotlib 3.11, and healpy's own constructor calls
    functions that matplotlib is about to drop, so healpy's table is read here.
    """
    with as_file(files("healpy") / "data" / "planck_cmap.dat") as path:
        table = np.loadtxt(path) / 255.0
    return ListedColormap(table, name="planck").with_extremes(bad=COLORS["hole"])


def _colormap(colors: Colors) -> Colormap:
    if colors == "planck":
        return planck_colormap()
    if colors == "gray":
        return colormaps["gray"].with_extremes(bad="#ffffff")
    if colors == "deviation":
        return colormaps["cividis_r"].with_extremes(bad=COLORS["hole"])
    raise CmbInpaintError(f"colors is {colors!r}; known: planck, gray, deviation")


def symmetric_limit(sky: AnyArray, quantile: float = 0.995) -> float:
    """Return the color limit that `quantile` of the known pixels' absolute values stay under.

    Rounded up to one or two digits (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten); 1 if nothing is
    known or everything is zero.
    """
    values = np.abs(_known(sky)).compressed()
    limit = float(np.quantile(values, quantile)) if values.size else 0.0
    if limit == 0.0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(limit))
    steps = np.array([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])
    return float(steps[np.searchsorted(steps, limit / power * (1 - 1e-9))] * power)


@styled
def draw_sky(
    sky: AnyArray,
    *,
    nest: bool = False,
    unit: str | None = None,
    limit: float | None = None,
    title: str | None = None,
    outline: AnyArray | None = None,
    colors: Colors = "planck",
    pixels: int = 1200,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a full sky in Mollweide's projection.

    Parameters
    ----------
    sky
        (npix,) map; UNSEEN, NaN and masked entries are drawn grey.
    nest
        Ordering of `sky`.
    unit
        Shown at the color bar: `"uK_CMB"`, `"mK_CMB"`, `"K_CMB"` or any text.
    limit
        Colors span [-limit, limit]; `None`: `symmetric_limit(sky)`.
    title
        Above the picture.
    outline
        (npix,) map, True = observed: the edges of its holes are drawn as lines.
    colors
        `"planck"`, `"gray"` for black and white, or `"deviation"` for what is not negative: from 0 to `limit`.
    pixels
        Width of the picture; twice this at most is worth printing.
    colorbar
        Whether to add one below.
    ax
        Axes to draw on; `None`: new ones.

    Returns
    -------
    Axes
        The axes drawn on; `ax.figure` is the figure.
    """
    ax = new_axes(8.0, 4.8) if ax is None else ax
    known = _known(sky)
    projection = projector.MollweideProj(xsize=pixels, flipconv="astro")
    nside = healpy.get_nside(known)
    picture = projection.projmap(
        np.arange(known.size), lambda x, y, z: healpy.vec2pix(nside, x, y, z, nest=nest)
    )
    extent = projection.get_extent()
    image = _show(ax, _look_up(known, picture), extent, limit or symmetric_limit(sky), colors)
    border = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor="#555555", linewidth=0.8)
    ax.add_patch(border)
    image.set_clip_path(border)
    if colors == "gray":
        _hatch(ax, image).set_clip_path(border)
    if outline is not None:
        _outline(ax, _look_up(np.ma.array(np.asarray(outline, dtype=float)), picture), extent, 0.45)
    ax.set(xlim=(-2.02, 2.02), ylim=(-1.02, 1.02))
    return _finish(ax, image, title, unit, colorbar)


@styled
def draw_patch(
    sky: AnyArray,
    lon_deg: float,
    lat_deg: float,
    *,
    side_deg: float = 20.0,
    nest: bool = False,
    unit: str | None = None,
    limit: float | None = None,
    title: str | None = None,
    outline: AnyArray | None = None,
    pixels: int = 500,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw the neighborhood of a direction on its tangent plane (gnomonic projection).

    Parameters
    ----------
    sky
        (npix,) map; UNSEEN, NaN and masked entries are drawn grey.
    lon_deg, lat_deg
        The center, in degrees of the map's own coordinates.
    side_deg
        Side of the square, in degrees along its middle.
    nest
        Ordering of `sky` (and `outline`).
    unit, limit, title, pixels, colorbar, ax
        As in `draw_sky`.
    outline
        (npix,) map, True = observed: the edges of its holes are drawn as lines.

    Returns
    -------
    Axes
        The axes drawn on; its coordinates are degrees from the center, east to the left, north up.
    """
    ax = new_axes(5.2, 4.8) if ax is None else ax
    known = _known(sky)
    nside = healpy.get_nside(known)
    projection = projector.GnomonicProj(
        rot=(lon_deg, lat_deg), xsize=pixels, reso=60 * side_deg / pixels, flipconv="astro"
    )
    picture = projection.projmap(
        np.arange(known.size), lambda x, y, z: healpy.vec2pix(nside, x, y, z, nest=nest)
    )
    observed = None if outline is None else _look_up(np.ma.array(np.asarray(outline, dtype=float)), picture)
    return draw_field(
        _look_up(known, picture), side_deg=side_deg, unit=unit, limit=limit or symmetric_limit(sky), title=title,
        outline=observed, colorbar=colorbar, ax=ax,
    )  # fmt: skip


@styled
def draw_field(
    field: AnyArray,
    *,
    side_deg: float,
    unit: str | None = None,
    limit: float | None = None,
    title: str | None = None,
    outline: AnyArray | None = None,
    colors: Colors = "planck",
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a square field that was cut from a sky.

    Parameters
    ----------
    field
        (side, side) values, rows growing north and columns west; UNSEEN, NaN and masked entries are drawn grey.
    side_deg
        Its side, in degrees along its middle.
    unit, limit, title, colors, colorbar, ax
        As in `draw_sky`.
    outline
        (side, side), True = observed: the edges of its holes are drawn as lines.

    Returns
    -------
    Axes
        The axes drawn on; its coordinates are degrees from the center, east to the left, north up.
    """
    ax = new_axes(5.2, 4.8) if ax is None else ax
    half = side_deg / 2
    extent = (half, -half, -half, half)
    image = _show(ax, _known(field), extent, limit or symmetric_limit(field), colors)
    if colors == "gray":
        _hatch(ax, image)
    if outline is not None:
        _outline(ax, np.ma.array(np.asarray(outline, dtype=float)), extent, 0.7)
    ax.set_axis_on()
    ax.set(xlabel="offset to the east [deg]", ylabel="offset to the north [deg]")
    ax.grid(False)
    return _finish(ax, image, title, unit, colorbar, axis=True)


@styled
def draw_before_after(
    before: AnyArray,
    after: AnyArray | Mapping[str, AnyArray],
    lon_deg: float,
    lat_deg: float,
    *,
    target: AnyArray | None = None,
    side_deg: float = 20.0,
    nest: bool = False,
    unit: str | None = None,
    limit: float | None = None,
) -> Figure:
    """Draw one patch side by side: with its holes, filled, and the target where it is known.

    Parameters are those of `draw_patch`; `after` is one map or several by name. All share one color scale. The edges
    of the holes of `before` are drawn on the others.

    Returns
    -------
    Figure
        Two patches or more in a row, one color bar.
    """
    filled = dict(after) if isinstance(after, Mapping) else {"filled": after}
    panels = [("with holes", before), *filled.items()]
    panels += [("target", target)] if target is not None else []
    limit = limit or symmetric_limit(next(iter(filled.values())))
    observed = ~np.ma.getmaskarray(_known(before))
    figure = Figure(figsize=(3.7 * len(panels) + 0.8, 4.1))
    axes = figure.subplots(1, len(panels), sharey=True)
    for ax, (title, sky) in zip(axes, panels, strict=True):
        outline = None if sky is before else observed
        draw_patch(
            sky, lon_deg, lat_deg, side_deg=side_deg, nest=nest, limit=limit, title=title, outline=outline,
            colorbar=False, ax=ax,
        )  # fmt: skip
        if ax is not axes[0]:
            ax.set_ylabel("")
        if ax is not axes[len(panels) // 2]:
            ax.set_xlabel("")
    bar = figure.colorbar(axes[0].images[0], ax=list(axes), shrink=0.8, pad=0.015, aspect=28)
    _label_bar(bar, unit)
    return figure


def _known(sky: AnyArray) -> np.ma.MaskedArray:
    """Return the map with everything that is not a temperature masked."""
    values = np.ma.getdata(sky).astype(np.float64)
    unknown = np.ma.getmaskarray(sky) | ~np.isfinite(values) | healpy.mask_bad(values)
    return np.ma.array(values, mask=unknown)


def _look_up(values: np.ma.MaskedArray, picture: FloatArray) -> np.ma.MaskedArray:
    """Turn a picture of pixel numbers (-inf outside the sphere) into one of values."""
    on_sky = np.isfinite(picture)
    pixel = np.where(on_sky, picture, 0).astype(np.int64)
    return np.ma.array(values[pixel], mask=np.ma.getmaskarray(values)[pixel] | ~on_sky)


def _show(
    ax: Axes,
    picture: np.ma.MaskedArray,
    extent: tuple[float, float, float, float],
    limit: float,
    colors: Colors,
) -> AxesImage:
    scale = Normalize(0.0 if colors == "deviation" else -limit, limit)
    return ax.imshow(picture, extent=extent, cmap=_colormap(colors), norm=scale, aspect="equal")


def _hatch(ax: Axes, image: AxesImage) -> ContourSet:
    """Hatch what is not known: in gray it needs a sign of its own."""
    unknown = np.ma.getmaskarray(np.ma.asarray(image.get_array())).astype(float)
    drawn = ax.contourf(
        unknown, levels=[0.5, 1.5], colors="none", hatches=["/////"], extent=image.get_extent()
    )
    drawn.set(edgecolor="#9a9a9a", linewidth=0)
    return drawn


def _outline(
    ax: Axes, observed: np.ma.MaskedArray, extent: tuple[float, float, float, float], width: float
) -> None:
    """Draw the edges of holes; a contour of nothing but holes, or of none, would warn."""
    if 0 < observed.mean() < 1:
        ax.contour(observed, levels=[0.5], colors="#111111", linewidths=width, extent=extent)


def _finish(
    ax: Axes, image: AxesImage, title: str | None, unit: str | None, colorbar: bool, axis: bool = False
) -> Axes:
    if not axis:
        ax.set_axis_off()
    if title:
        ax.set_title(title)
    if colorbar:
        figure = cast(Figure, ax.figure)
        where = (
            {"shrink": 0.85, "pad": 0.02}
            if axis
            else {"orientation": "horizontal", "shrink": 0.5, "pad": 0.03}
        )
        _label_bar(figure.colorbar(image, ax=ax, aspect=28, **where), unit)
    return ax


def _label_bar(bar: object, unit: str | None) -> None:
    bar.outline.set_linewidth(0.6)  # type: ignore[attr-defined]
    if unit:
        bar.set_label(UNIT_LABELS.get(unit, unit))  # type: ignore[attr-defined]
