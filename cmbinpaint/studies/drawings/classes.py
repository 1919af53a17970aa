"""Drawings of classes of the spectral index: errors, spectra, how patches are classified.

Inputs: a `ClassStudy`. Outputs: the matplotlib axes drawn on.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, styled
from cmbinpaint.studies.drawings.trainings import series_look

if TYPE_CHECKING:
    from cmbinpaint.studies.classes import ClassStudy

Unit = Literal["percent", "µK"]
_MARKERS = "osD^v<>Ph*"


@styled
def draw_class_error(study: "ClassStudy", unit: Unit = "percent", *, ax: Axes | None = None) -> Axes:
    """Draw the mean absolute error in holes against n_s, with standard errors over patches."""
    ax = new_axes(6.0, 3.8) if ax is None else ax
    found = study.relative if unit == "percent" else study.error
    ax.errorbar(study.ns, found.value, found.error, capsize=3, lw=1.2, **{**series_look(1), "ls": "-"})
    label = "% of the class's rms" if unit == "percent" else "µK"
    ax.set_ylim(bottom=0)
    ax.set(xlabel="spectral index $n_s$", ylabel=f"mean |prediction − target| in holes\n[{label}]")
    return ax


@styled
def draw_class_transfer(study: "ClassStudy", kind: str = "prediction", *, ax: Axes | None = None) -> Axes:
    """Draw C_ell of filled patches over the targets' by band, a curve for each class from dark to light."""
    ax = new_axes(6.4, 4.0) if ax is None else ax
    found, n = study.transfer[kind], len(study.ns)
    ell = (study.edges[:-1] + study.edges[1:]) / 2
    ax.axhline(1.0, color=COLORS["target"], lw=1.0)
    for k, ns in enumerate(study.ns):
        shift = (k - (n - 1) / 2) * 0.04 * (ell[1] - ell[0])
        look: dict[str, Any] = {
            "color": colormaps["viridis"](0.9 * k / max(n - 1, 1)),
            "marker": _MARKERS[k % len(_MARKERS)],
        }
        ax.errorbar(
            ell + shift, found.value[k], found.error[k], capsize=1.5, lw=0.9, ms=4.5, label=f"{ns:g}", **look
        )
    ax.set(xlabel=r"multipole $\ell$", ylabel=r"$C_\ell$ filled / $C_\ell$ target", title=_title(kind))
    add_legend(ax, beside=True, title="$n_s$", fontsize=8.5)
    return ax


@styled
def draw_confusion(study: "ClassStudy", kind: str = "target", *, ax: Axes | None = None) -> Axes:
    """Draw how patches were classified: rows are true classes, shades and numbers percentages of a row."""
    ax = new_axes(4.6, 4.4) if ax is None else ax
    table = study.confusion[kind]
    percent = 100 * table / table.sum(axis=1, keepdims=True)
    ax.imshow(percent, cmap="Greys", vmin=0, vmax=100, origin="upper")
    for (row, column), value in np.ndenumerate(percent):
        if table[row, column]:
            color = "white" if value > 55 else COLORS["target"]
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=8)
    names = [f"{ns:g}" for ns in study.ns]
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    ax.set_yticks(range(len(names)), names, fontsize=8)
    ax.grid(False)
    fraction, error = study.accuracy(kind)
    ax.set(xlabel="classified as $n_s$", ylabel="true $n_s$")
    ax.set_title(f"{_title(kind)}: {100 * fraction:.0f} ± {100 * error:.0f} % right", fontsize=10)
    return ax


@styled
def draw_confusions(study: "ClassStudy") -> Figure:
    """Draw `draw_confusion` of targets, predictions and realizations."""
    kinds = list(study.confusion)
    columns = 2
    figure = Figure(figsize=(9.0, 4.5 * ((len(kinds) + 1) // columns)))
    axes = figure.subplots((len(kinds) + 1) // columns, columns, squeeze=False)
    for ax, kind in zip(axes.flat, kinds, strict=True):
        draw_confusion(study, kind, ax=ax)
    return figure


@styled
def draw_class_figure(study: "ClassStudy") -> Figure:
    """Draw errors against n_s, and transfers of predictions and realizations on one scale."""
    figure = Figure(figsize=(13.6, 4.2))
    first, second, third = figure.subplots(1, 3)
    draw_class_error(study, ax=first)
    for ax, kind in ((second, "prediction"), (third, "realization")):
        draw_class_transfer(study, kind, ax=ax)
    low = min(second.get_ylim()[0], third.get_ylim()[0])
    high = max(second.get_ylim()[1], third.get_ylim()[1])
    for ax in (second, third):
        ax.set_ylim(low, high)
    second.get_legend().remove()
    return figure


def _title(kind: str) -> str:
    return kind[:1].upper() + kind[1:].replace("n_s", "$n_s$")
