"""Gross differences as pictures: over a training, by depth, by the size of the mask.

Inputs: a `DifferenceStudy`. Outputs: the matplotlib axes drawn on.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint._types import FloatArray
from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, styled
from cmbinpaint.studies.drawings.trainings import (
    draw_means,
    draw_over_training,
    series_look,
    step_axis,
    steps_of,
)

if TYPE_CHECKING:
    from cmbinpaint.studies.differences import DifferenceStudy

Kind = Literal["temperature", "rgb"]
Quantity = Literal["mean", "std", "percent"]
_UNITS = {"temperature": "µK", "rgb": "fraction of full scale"}
_PERCENT_OF = {"temperature": "% of the field's rms", "rgb": "% of the mean color"}
_WORDS = {
    "mean": "mean of |prediction − target|",
    "std": "std of |prediction − target|",
    "percent": "mean difference",
}
_REGIONS = ("holes", "all, as drawn", "all, observed kept")
_NAMES = {"temperature": "Temperatures", "rgb": "RGB pictures"}


@styled
def draw_difference_history(
    study: "DifferenceStudy", kind: Kind = "temperature", *, region: str = "all, as drawn", mask: int = 0,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw mean and standard deviation of the absolute difference over the training, as CoMBInE does.

    Points are means over patches, bars the standard deviation over patches, dots single patches.
    """
    ax = new_axes(6.4, 4.0) if ax is None else ax
    where, found = study.regions.index(region), study.kind(kind)
    series = {"mean": found.mean, "standard deviation": found.std}
    draw_over_training(ax, study.states, {name: v[:, mask, :, where] for name, v in series.items()})
    ax.set_ylim(bottom=0)
    ax.set(ylabel=f"|prediction − target|  [{_UNITS[kind]}]", title=f"{_NAMES[kind]}, {region}")
    add_legend(ax)
    return ax


@styled
def draw_difference_percent(
    study: "DifferenceStudy", kind: Kind = "temperature", *, mask: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the mean difference in percent over the training, on the network's own picture and in the holes."""
    ax = new_axes(6.4, 4.0) if ax is None else ax
    draw_over_training(ax, study.states, _percent(study, kind, _REGIONS, mask))
    _percent_axis(ax, kind, _NAMES[kind])
    add_legend(ax)
    return ax


@styled
def draw_difference_depths(
    study: "DifferenceStudy", kind: Kind = "temperature", *, mask: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the mean difference in percent over the training by hole depth, bars over patches."""
    ax = new_axes(6.4, 4.0) if ax is None else ax
    depths = [
        r for r in study.regions if r.startswith("depth") and study.pixels[mask, study.regions.index(r)]
    ]
    series = {name.removeprefix("depth "): v for name, v in _percent(study, kind, depths, mask).items()}
    looks = [series_look(i) for i in range(len(series))]
    draw_over_training(ax, study.states, series, looks, dots=False)
    _percent_axis(ax, kind, f"{_NAMES[kind]}, by hole depth")
    add_legend(ax, title="depth")
    return ax


@styled
def draw_difference_figure(study: "DifferenceStudy") -> Figure:
    """Draw `draw_difference_history` and `draw_difference_percent` of temperatures (left) and pictures (right)."""
    figure = Figure(figsize=(11.0, 7.6))
    axes = figure.subplots(2, 2, sharex=True)
    kinds: tuple[Kind, ...] = ("temperature", "rgb")
    for column, kind in zip(axes.T, kinds, strict=True):
        draw_difference_history(study, kind, ax=column[0])
        draw_difference_percent(study, kind, ax=column[1])
        column[0].set_xlabel("")
    return figure


@styled
def draw_mask_size_history(
    study: "DifferenceStudy", kind: Kind = "temperature", quantity: Quantity = "percent", *,
    region: str = "all, as drawn", ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw one curve for each mask over the training: circles from dark (small) to light, the last mask dashed."""
    ax = new_axes(7.0, 4.4) if ax is None else ax
    where, x = study.regions.index(region), steps_of(study.states)
    values = getattr(study.kind(kind), quantity)[..., where].mean(axis=2)
    for i, (mask, look) in enumerate(zip(study.masks, _mask_looks(len(study.masks)), strict=True)):
        ax.plot(x, values[:, i], label=mask, **look)
    step_axis(ax, study.states)
    ax.set_ylim(bottom=0)
    unit = _PERCENT_OF[kind] if quantity == "percent" else _UNITS[kind]
    ax.set(ylabel=f"{_WORDS[quantity]}\n[{unit}]", title=f"{_NAMES[kind]}, {region}")
    add_legend(ax, beside=True, fontsize=8.5)
    return ax


@styled
def draw_mask_size_figure(study: "DifferenceStudy", kind: Kind = "temperature") -> Figure:
    """Draw mean, standard deviation and percentage by mask over the training, one above the other."""
    figure = Figure(figsize=(8.2, 9.6))
    axes = figure.subplots(3, 1, sharex=True)
    quantities: tuple[Quantity, ...] = ("mean", "std", "percent")
    for ax, quantity in zip(axes, quantities, strict=True):
        draw_mask_size_history(study, kind, quantity, ax=ax)
        if ax is not axes[0]:
            ax.set_title("")
        if ax is not axes[1]:
            ax.get_legend().remove()
        if ax is not axes[2]:
            ax.set_xlabel("")
    return figure


@styled
def draw_mask_size(study: "DifferenceStudy", kind: Kind = "temperature", *, ax: Axes | None = None) -> Axes:
    """Draw the mean difference at the last state against the fraction of the patch in holes.

    The last mask is that of random shapes, drawn hollow.
    """
    ax = new_axes(6.4, 4.2) if ax is None else ax
    fraction, found = 100 * study.hole_fraction, study.kind(kind).percent[-1]
    for i, region in enumerate(_REGIONS):
        values, look = found[..., study.regions.index(region)], series_look(i + 1)
        draw_means(ax, fraction[:-1], values[:-1], region, look, dots=False)
        error = values[-1].std() if study.patches > 1 else None
        hollow = {**look, "ls": "", "mfc": "white", "ms": 7.5, "mew": 1.6}
        ax.errorbar(fraction[-1:], values[-1:].mean(1), error, capsize=2.5, elinewidth=1.0, **hollow)
    _percent_axis(ax, kind, f"{_NAMES[kind]}: circles, and {study.masks[-1]} (hollow)")
    ax.set_xlabel("hole pixels  [% of the patch]")
    add_legend(ax)
    return ax


def _percent(
    study: "DifferenceStudy", kind: Kind, regions: Sequence[str], mask: int
) -> dict[str, FloatArray]:
    """Region to (states, patches) percentages."""
    found = study.kind(kind).percent[:, mask]
    return {region: found[..., study.regions.index(region)] for region in regions}


def _percent_axis(ax: Axes, kind: Kind, title: str) -> None:
    ax.set_ylim(bottom=0)
    ax.set(ylabel=f"mean difference  [{_PERCENT_OF[kind]}]", title=title)


def _mask_looks(n: int) -> list[dict[str, Any]]:
    """Circles by size along a map of colors that grows lighter; the last mask dashed in black."""
    shades: FloatArray = np.linspace(0.0, 0.9, max(n - 1, 1))
    markers = "osD^v<>Ph*Xdp"
    looks: list[dict[str, Any]] = [
        {"color": colormaps["viridis"](shade), "marker": markers[i % len(markers)], "lw": 1.0, "ms": 4.5}
        for i, shade in enumerate(shades[: n - 1])
    ]
    return [*looks, {"color": COLORS["target"], "marker": "o", "lw": 2.0, "ms": 5, "ls": "--"}]
