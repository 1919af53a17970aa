"""The figures of a report, each small enough to be read on a phone.

Inputs: a `MapReport`. Outputs: the matplotlib axes drawn on.
"""

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, styled
from cmbinpaint.plots.maps import Colors, draw_field, draw_sky, symmetric_limit
from cmbinpaint.plots.polarization import draw_polarization
from cmbinpaint.plots.spectra import COMPARED, draw_dl, draw_residual
from cmbinpaint.plots.spectra import draw_spectra as draw_panels

if TYPE_CHECKING:  # drawing needs none of what makes the numbers
    from cmbinpaint.report.contents import MapReport
    from cmbinpaint.report.fields import CloseUp, Panorama

Shown = Literal["before", "filled", "target", "error"]
_ZERO, _MODEL = "#8a8a8a", "#7b3f98"
_UNITS = {"uK_CMB": "µK", "mK_CMB": "mK", "K_CMB": "K"}
_RESIDUAL_LIMIT = 30.0


def unit_words(unit: str | None) -> str:
    """Return a unit as people write it; unspecified ones as such."""
    return "map units" if unit is None else _UNITS.get(unit, unit)


def shared_limit(report: "MapReport") -> float:
    """Return the color limit of all maps of temperature in a report: that of the observed sky."""
    return symmetric_limit(report.panorama.before)


def error_limit(report: "MapReport") -> float:
    """Return the color limit of all maps of the error."""
    sky = report.panorama.error
    return 1.0 if sky is None else symmetric_limit(sky)


@styled
def draw_panorama(
    report: "MapReport", shown: Shown, *, colors: Colors = "planck", ax: Axes | None = None
) -> Axes:
    """Draw a full sky: `"before"`, `"filled"` or `"target"` on one scale, or the `"error"`.

    Outlines of large holes are drawn on the first two.
    """
    sky, limit, colors = _chosen(report, report.panorama, shown, colors)
    return draw_sky(
        sky,
        unit=unit_words(report.unit),
        limit=limit,
        outline=report.panorama.outline if shown in ("before", "filled") else None,
        colors=colors,
        pixels=1000,
        ax=new_axes(5.0, 2.95) if ax is None else ax,
    )


@styled
def draw_close_up(
    report: "MapReport", index: int, shown: Shown, *, colors: Colors = "planck", ax: Axes | None = None
) -> Axes:
    """Draw the neighborhood of a hole, `report.close_ups[index]`, with the outlines of all holes in it."""
    close_up = report.close_ups[index]
    sky, limit, colors = _chosen(report, close_up, shown, colors)
    return draw_field(
        sky,
        side_deg=close_up.side_deg,
        unit=unit_words(report.unit),
        limit=limit,
        outline=close_up.observed,
        colors=colors,
        ax=new_axes(4.2, 3.35) if ax is None else ax,
    )


def _chosen(
    report: "MapReport", place: "Panorama | CloseUp", shown: Shown, colors: Colors
) -> tuple[FloatArray, float, Colors]:
    """Return what is shown of a place, its color limit, and the colors: an error has its own."""
    if shown not in get_args(Shown):
        raise CmbInpaintError(f"shown is {shown!r}; known: {', '.join(get_args(Shown))}")
    sky = getattr(place, shown)
    if sky is None:
        raise CmbInpaintError(f"the report holds no {shown} map; it can be drawn only if one was given")
    return (
        (sky, error_limit(report), "deviation") if shown == "error" else (sky, shared_limit(report), colors)
    )


@styled
def draw_spectra(report: "MapReport") -> Figure:
    """Draw D_ell before and after, with the target and the sky model where they are known, and the differences.

    Before are two curves: zeros in the holes, over the sky fraction, and the observed part decoupled (MASTER) with
    its error bars. The band is cosmic variance, of the target or else of the filled map.
    """
    found = report.spectra
    ell = found.bands.centers
    factor, spectra, band = ell * (ell + 1) / (2 * np.pi), found.d_ell, found.cosmic_fraction
    reference = "target" if "target" in spectra else "filled"
    figure = Figure(figsize=(6.2, 7.0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    unit = _UNITS.get(report.unit or "", report.unit)
    draw_dl(
        ell,
        spectra,
        band=band,
        errors=found.d_ell_std,
        reference=reference,
        roles=COMPARED,
        unit=unit,
        ax=upper,
    )
    draw_residual(
        ell, spectra, reference=reference, band=band, roles=COMPARED, limit=_RESIDUAL_LIMIT, ax=lower
    )
    _draw_before(report, factor, spectra[reference], upper, lower)
    if report.model_ell is not None and report.model_dl is not None:
        shown = (report.model_ell >= ell[0]) & (report.model_ell <= ell[-1])
        upper.plot(report.model_ell[shown], report.model_dl[shown], color=_MODEL, ls="--", lw=1.2,
                   zorder=1.5, label="sky model, noise in")  # fmt: skip
    if report.mean_dl is not None and report.std_dl is not None:
        upper.errorbar(ell, report.mean_dl, report.std_dl, fmt="none", ecolor=COLORS["filled"], lw=1.2,
                       capsize=2.5, label=f"standard deviation of {report.n_maps} fills")  # fmt: skip
    upper.tick_params(labelbottom=False)
    upper.set_xlabel("")
    upper.get_legend().remove()
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    lower.set_ylabel(f"difference from\n{reference} [%]")
    return figure


@styled
def draw_polarization_of(report: "MapReport") -> Figure:
    """Draw Q, U, P, E and B before and after."""
    found = report.polarization
    if found is None:
        raise CmbInpaintError("the report holds no polarization; it is of T alone")
    return draw_polarization(found.rows, unit=unit_words(report.unit), pixels=500)


@styled
def draw_six_spectra(report: "MapReport") -> Figure:
    """Draw all spectra before and after, with the target where it is known."""
    found = report.polarization
    if found is None:
        raise CmbInpaintError("the report holds no polarization; it is of T alone")
    curves = {name: one.d_ell for name, one in found.spectra.items()}
    bands = {name: one.cosmic_fraction for name, one in found.spectra.items()}
    unit = _UNITS.get(report.unit or "", report.unit)
    errors = {name: one.d_ell_std for name, one in found.spectra.items()}
    ell = report.spectra.bands.centers
    return draw_panels(ell, curves, bands=bands, errors=errors, roles=COMPARED, unit=unit)


def _draw_before(
    report: "MapReport", factor: FloatArray, reference: FloatArray, upper: Axes, lower: Axes
) -> None:
    """The map before it is filled, with zeros in the holes."""
    found = report.spectra
    ell = found.bands.centers
    if found.observed_over_fsky is not None:
        zeros = found.observed_over_fsky * factor
        upper.plot(ell, zeros, "x:", color=_ZERO, lw=1.0, ms=4, label=r"holes = 0, over $f_{\rm sky}$")
        percent = 100 * (zeros / reference - 1)
        inside = np.abs(percent) <= _RESIDUAL_LIMIT
        lower.plot(ell, np.where(inside, percent, np.nan), "x:", color=_ZERO, lw=1.0, ms=4)


@styled
def draw_one_point_of(report: "MapReport", *, ax: Axes | None = None) -> Axes:
    """Draw the distribution of T, or of Q: observed, filled, and the target in the same holes where it is known."""
    ax = new_axes(5.6, 3.8) if ax is None else ax
    found = report.one_point
    styles = {
        "observed": ("observed pixels", COLORS["observed"], "-", 1.2),
        "target": ("target in the holes", COLORS["target"], ":", 1.6),
        "filled": ("filled pixels", COLORS["filled"], "-", 2.0),
    }
    centers = 0.5 * (found.edges[1:] + found.edges[:-1])
    ax.fill_between(
        centers, found.gaussian, color=COLORS["band"], lw=0, alpha=0.7, label="Gaussian, as wide as observed"
    )
    for name, (label, color, line, width) in styles.items():
        if name in found.densities:
            ax.stairs(found.densities[name], found.edges, color=color, ls=line, lw=width, label=label)
    words = unit_words(report.unit)
    ax.set(
        xlabel=f"{report.shown} less the observed mean [{words}]", ylabel=f"probability density [1/{words}]"
    )
    ax.set_xlim(found.edges[0], found.edges[-1])
    ax.set_ylim(0, 1.05 * max(float(d.max()) for d in [found.gaussian, *found.densities.values()]))
    add_legend(ax, fontsize=9)
    return ax
