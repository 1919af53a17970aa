"""Power spectra as pictures: D_ell above, the difference from the reference below.

Inputs: spectra that were computed elsewhere. Outputs: the matplotlib axes drawn on.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from cmbinpaint._types import FloatArray
from cmbinpaint.pipeline.optimal_result import OptimalSpectrum
from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, plain_ticks, styled
from cmbinpaint.plots.maps import UNIT_LABELS

_MARKERS = {"target": "", "filled": "o", "observed": "s", "network": "D"}
# The role of each curve of a `SpectraComparison`.
COMPARED = {"target": "target", "filled": "filled", "decoupled (MASTER)": "observed"}
_ELL_TICKS = (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


@styled
def draw_dl(
    ell: FloatArray,
    spectra: Mapping[str, FloatArray],
    *,
    band: FloatArray | None = None,
    errors: Mapping[str, FloatArray] | None = None,
    reference: str | None = None,
    roles: Mapping[str, str] | None = None,
    unit: str | None = "µK",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw D_ell against ell.

    Parameters
    ----------
    ell
        (n,) multipoles or centers of bins.
    spectra
        Name, as in the legend, to (n,) D_ell, in unit².
    band
        (n,) fractional standard deviation (cosmic variance) drawn as a band around `reference`.
    errors
        Name in `spectra` to (n,) standard deviations, drawn as bars.
    reference
        The name in `spectra` that the band surrounds; `None`: the first.
    roles
        Name to `"target"`, `"filled"`, `"observed"` or `"network"`, which choose color and marker; `None`: in that
        order.
    unit
        Of the map; `None`: unknown.
    title
        Above the picture.
    ax
        Axes to draw on; `None`: new ones.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    ax = new_axes(7.0, 4.2) if ax is None else ax
    reference = reference or next(iter(spectra))
    if band is not None:
        low, high = spectra[reference] * (1 - band), spectra[reference] * (1 + band)
        ax.fill_between(ell, low, high, color=COLORS["band"], lw=0, alpha=0.7, label="cosmic variance")
    for name, color, marker in _styles(spectra, roles):
        ax.plot(ell, spectra[name], color=color, marker=marker, label=name, lw=1.6 if not marker else 1.0)
        if errors is not None and name in errors:
            ax.errorbar(ell, spectra[name], errors[name], fmt="none", ecolor=color, lw=1.0, capsize=2)
    squared = f" [{unit}²]" if unit else ""
    ax.set(ylabel=r"$D_\ell = \ell(\ell+1)C_\ell/2\pi$" + squared)
    # The highest value that must be seen; the band's first wide bins may leave the picture.
    ax.set_ylim(bottom=0, top=1.05 * max(float(np.nanmax(values)) for values in spectra.values()) or 1.0)
    _ell_axis(ax, ell)
    add_legend(ax)
    if title:
        ax.set_title(title)
    return ax


@styled
def draw_residual(
    ell: FloatArray,
    spectra: Mapping[str, FloatArray],
    *,
    reference: str,
    band: FloatArray | None = None,
    roles: Mapping[str, str] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each spectrum's difference from the reference, in percent of the reference.

    Parameters
    ----------
    ell, spectra, roles, ax
        As in `draw_dl`; `spectra` holds the reference too.
    reference
        The name in `spectra` to compare with.
    band
        (n,) fractional standard deviation of the reference, drawn around zero.
    limit
        The axis spans [-limit, limit] percent; what is beyond is an arrow at the border. `None`: 30.

    Returns
    -------
    Axes
        The axes drawn on.
    """
    ax = new_axes(7.0, 2.2) if ax is None else ax
    limit = 30.0 if limit is None else limit
    if band is not None:
        ax.fill_between(ell, -100 * band, 100 * band, color=COLORS["band"], lw=0, alpha=0.7)
    ax.axhline(0.0, color=COLORS["target"], lw=1.0)
    for name, color, marker in _styles(spectra, roles):
        if name == reference:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            percent = 100 * (spectra[name] / spectra[reference] - 1)
        inside = np.abs(percent) <= limit
        ax.plot(ell, percent, color=color, lw=1.0, label=name)
        ax.plot(ell[inside], percent[inside], marker or "o", color=color)
        for beyond, arrow, edge in ((percent > limit, "^", 0.93), (percent < -limit, "v", -0.93)):
            ax.plot(
                ell[beyond], np.full(beyond.sum(), edge * limit), arrow, color=color, markerfacecolor="none"
            )
    ax.set(ylim=(-limit, limit), ylabel="difference [%]")
    _ell_axis(ax, ell)
    return ax


@styled
def draw_comparison(
    ell: FloatArray,
    spectra: Mapping[str, FloatArray],
    *,
    reference: str | None = None,
    band: FloatArray | None = None,
    errors: Mapping[str, FloatArray] | None = None,
    roles: Mapping[str, str] | None = None,
    limit: float | None = None,
    unit: str | None = "µK",
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw D_ell with a panel of differences below it.

    Parameters are those of `draw_dl` and `draw_residual`; `note` is small print under the axis, the place to
    say whether beam, pixel window and noise are in the spectra. A single spectrum has no lower panel.

    Returns
    -------
    Figure
        One or two panels sharing their multipoles.
    """
    reference = reference or next(iter(spectra))
    figure = Figure(figsize=(7.4, 5.6 if len(spectra) > 1 else 4.2))
    if len(spectra) > 1:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        draw_residual(ell, spectra, reference=reference, band=band, roles=roles, limit=limit, ax=lower)
        upper.tick_params(labelbottom=False)
    else:
        upper = lower = figure.subplots()
    draw_dl(
        ell,
        spectra,
        band=band,
        errors=errors,
        reference=reference,
        roles=roles,
        unit=unit,
        title=title,
        ax=upper,
    )
    upper.set_xlabel("")
    lower.set_xlabel(r"multipole $\ell$" + (f"\n{note}" if note else ""))
    return figure


def _styles(spectra: Mapping[str, FloatArray], roles: Mapping[str, str] | None) -> list[tuple[str, str, str]]:
    """Return (name, color, marker) of each spectrum."""
    order = list(_MARKERS)
    chosen = roles or {name: order[i % len(order)] for i, name in enumerate(spectra)}
    return [(name, COLORS[chosen[name]], _MARKERS[chosen[name]]) for name in spectra]


def _ell_axis(ax: Axes, ell: FloatArray) -> None:
    ax.set_xscale("log")
    ax.set_xlim(0.93 * float(ell[0]), 1.05 * float(ell[-1]))
    plain_ticks(ax.xaxis, [tick for tick in _ELL_TICKS if ell[0] <= tick <= ell[-1]])
    ax.set_xlabel(r"multipole $\ell$")


@styled
def draw_spectra(
    ell: FloatArray,
    spectra: Mapping[str, Mapping[str, FloatArray]],
    *,
    bands: Mapping[str, FloatArray] | None = None,
    errors: Mapping[str, Mapping[str, FloatArray]] | None = None,
    roles: Mapping[str, str] | None = None,
    unit: str | None = "µK",
    title: str | None = None,
    note: str | None = None,
) -> Figure:
    """Draw D_ell of several spectra, a panel each: TT, EE, BB, TE, EB, TB.

    The first curve of a panel and the cosmic variance around it, or its errors, choose its limits; what else is beyond
    is cut off. TT, EE and BB are on a logarithmic scale, the others on one that is linear around zero.

    Parameters
    ----------
    ell
        (n,) multipoles or centers of bins.
    spectra
        Name of the panel to curves, as in `draw_dl`.
    bands
        Name of the panel to the (n,) fractional standard deviation of its first curve.
    errors
        Name of the panel to curves' standard deviations, as in `draw_dl`.
    roles, unit, title
        As in `draw_dl`.
    note
        Below the panels.

    Returns
    -------
    Figure
        The figure.
    """
    columns = min(3, len(spectra))
    rows = -(-len(spectra) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.9 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (name, curves) in zip(panels, spectra.items(), strict=False):
        band = None if bands is None else bands.get(name)
        bars = None if errors is None else errors.get(name)
        draw_dl(ell, curves, band=band, errors=bars, roles=roles, unit=unit, title=name, ax=ax)
        reference, first = next(iter(curves.items()))
        scatter = np.zeros_like(first) if bars is None else bars.get(reference, np.zeros_like(first))
        scatter = scatter if band is None else np.abs(band * first)
        _dl_scale(ax, first, scatter, signed=name[0] != name[-1])
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
        ax.set(xlabel="", ylabel="")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), title=title)
    figure.supxlabel(r"multipole $\ell$" + (f"\n{note}" if note else ""), fontsize="medium")
    figure.supylabel(
        r"$D_\ell = \ell(\ell+1)C_\ell/2\pi$" + (f" [{unit}²]" if unit else ""), fontsize="medium"
    )
    return figure


def _dl_scale(ax: Axes, first: FloatArray, scatter: FloatArray, *, signed: bool) -> None:
    """Choose the scale of D_ell: logarithmic where it is positive, linear around zero for cross spectra."""
    low, high = float(np.nanmin(first - scatter)), float(np.nanmax(first + scatter))
    if not signed and np.nanmin(first) > 0:
        ax.set_yscale("log")
        ax.set_ylim(float(np.nanmin(first)) / 3, 2 * high)
        return
    largest = max(abs(low), abs(high)) or 1.0
    linear = 0.05 * largest
    ax.set_yscale("symlog", linthresh=linear)
    decades = 10.0 ** np.arange(np.ceil(np.log10(linear)), np.log10(2 * largest))
    ax.yaxis.set_major_locator(FixedLocator([*-decades[::-1], 0.0, *decades]))  # its own crowd about zero
    ax.set_ylim(-2 * abs(low) if low < 0 else -0.05 * largest, 2 * abs(high) if high > 0 else 0.05 * largest)
    ax.axhline(0.0, color=COLORS["target"], lw=0.6)


def draw_bandpowers(
    best: OptimalSpectrum, cl: FloatArray | None = None, *, title: str | None = None
) -> Figure:
    """Draw the bandpowers of `optimal_spectrum` as D_ell with their errors, a panel for each spectrum.

    Parameters
    ----------
    best
        The bandpowers.
    cl
        Theory to compare with: what is expected of the bandpowers for it (`OptimalSpectrum.expected`).
    title
        Above the panels.

    Returns
    -------
    Figure
        The figure.
    """
    ell, power, error = (np.atleast_2d(row) for row in best.to_dl())
    factor = ell[0] * (ell[0] + 1) / (2 * np.pi)
    theory = None if cl is None else np.atleast_2d(factor * best.expected(cl))
    panels = {}
    for i, name in enumerate(best.spectra):
        panels[name] = {"optimal": power[i]} | ({} if theory is None else {"theory": theory[i]})
    return draw_spectra(
        ell[0],
        panels,
        errors={name: {"optimal": row} for name, row in zip(best.spectra, error, strict=True)},
        roles={"theory": "target", "optimal": "filled"},
        unit=UNIT_LABELS.get(best.unit or "", best.unit),
        title=title,
        note="beam and pixel window "
        + ("divided out" if best.beam_divided else "included")
        + ", noise bias subtracted",
    )
