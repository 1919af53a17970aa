"""Colors as pictures: distributions, their fits over a training, patches side by side.

Inputs: a `ColorStudy`, `Panels`. Outputs: the matplotlib axes drawn on.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, styled
from cmbinpaint.plots.maps import planck_colormap, symmetric_limit
from cmbinpaint.studies.drawings.trainings import draw_over_training, step_axis, steps_of

if TYPE_CHECKING:
    from cmbinpaint.studies.colors import ColorStudy, Panels

Fit = Literal["mean", "std"]
# Each channel in its own color, of different lightness and marker.
_LOOKS: dict[str, dict[str, Any]] = {
    "red": {"color": "#d55e00", "marker": "o", "ls": "-"},
    "green": {"color": "#009e73", "marker": "s", "ls": "--"},
    "blue": {"color": "#0072b2", "marker": "^", "ls": "-."},
    "grey": {"color": "#555555", "marker": "D", "ls": ":"},
}
_CHANNELS = tuple(_LOOKS)
_WORDS = {"mean": "mean", "std": "standard deviation"}
_CURVES = 6  # most states whose distributions are drawn, spread over the training


@styled
def draw_color_distribution(
    study: "ColorStudy", channel: str = "grey", *, over: Literal["states", "masks"] = "masks", ax: Axes | None = None
) -> Axes:  # fmt: skip
    """Draw a channel's distribution over all patches: the target filled, predictions as lines.

    Lines are the masks at the last state, or up to six states from the first to the last behind the first mask.
    """
    ax = new_axes(5.4, 3.4) if ax is None else ax
    c, edges = _CHANNELS.index(channel), study.edges
    color = _LOOKS[channel]["color"]
    ax.stairs(study.target.density[:, c].mean(0), edges, fill=True, color=color, alpha=0.35, label="target")
    shown: list[tuple[str, Any]]
    if over == "masks":
        shown = [(mask, study.prediction.density[-1, m, :, c]) for m, mask in enumerate(study.masks)]
    else:
        chosen = np.unique(np.linspace(0, len(study.states) - 1, _CURVES).round().astype(int))
        shown = [(f"step {study.states[i].step}", study.prediction.density[i, 0, :, c]) for i in chosen]
    for i, (name, density) in enumerate(shown):
        shade = str(0.72 * (1 - i / max(len(shown) - 1, 1)))
        ax.stairs(density.mean(0), edges, color=shade, ls=("-", "--", "-.", ":")[i % 4], lw=1.3, label=name)
    ax.set_xlim(0, 1)
    ax.set_ylim(bottom=0)
    ax.set(xlabel=f"intensity of {channel}  [full scale]", ylabel="fraction of pixels per unit")
    add_legend(ax, fontsize=8.5)
    return ax


@styled
def draw_color_distributions(study: "ColorStudy", *, over: Literal["states", "masks"] = "masks") -> Figure:
    """Draw `draw_color_distribution` of the four channels on one scale."""
    figure = Figure(figsize=(10.4, 6.8))
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, channel in zip(axes.flat, _CHANNELS, strict=True):
        draw_color_distribution(study, channel, over=over, ax=ax)
        if ax is not axes[0, 0]:
            ax.get_legend().remove()
        ax.set_title(channel)
        ax.set_xlabel("")
    # A channel that is dark or bright over large parts has a tall bin at an end; the rest is to be seen.
    inner = [study.target.density[..., 1:-1], study.prediction.density[..., 1:-1]]
    axes[0, 0].set_ylim(0, 1.1 * max(part.mean(axis=-3).max() for part in inner))
    for ax in axes[1]:
        ax.set_xlabel("intensity  [full scale]")
    for ax in axes[:, 1]:
        ax.set_ylabel("")
    return figure


@styled
def draw_color_percent(
    study: "ColorStudy", fit: Fit = "mean", *, mask: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw how far the fits' means or standard deviations are from the target's, in percent, over the training."""
    ax = new_axes(6.4, 3.6) if ax is None else ax
    ax.axhline(0.0, color=COLORS["target"], lw=1.0)
    series = dict(zip(_CHANNELS, np.moveaxis(study.percent(fit)[:, mask], -1, 0), strict=True))
    draw_over_training(ax, study.states, series, list(_LOOKS.values()), dots=False)
    ax.set(ylabel="prediction / target − 1  [%]", title=f"{_WORDS[fit].capitalize()} of the Gaussian fit")
    add_legend(ax)
    return ax


@styled
def draw_color_fits(study: "ColorStudy", fit: Fit = "mean", *, mask: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the fits' means or standard deviations over the training, the target's as lines, means over patches."""
    ax = new_axes(6.4, 3.6) if ax is None else ax
    target, found = getattr(study.target, fit).mean(0), getattr(study.prediction, fit)[:, mask].mean(1)
    for c, (channel, look) in enumerate(_LOOKS.items()):
        ax.axhline(target[c], color=look["color"], lw=1.2, ls=look["ls"])
        ax.plot(steps_of(study.states), found[:, c], label=channel, **{**look, "ls": ""})
    step_axis(ax, study.states)
    word = _WORDS[fit]
    ax.set(ylabel=f"{word}  [full scale]", title=f"{word.capitalize()} of the Gaussian fit (lines: target)")
    add_legend(ax)
    return ax


@styled
def draw_color_figure(study: "ColorStudy") -> Figure:
    """Draw fits (left) and percentages (right) of mean and standard deviation over the training."""
    figure = Figure(figsize=(11.4, 7.0))
    axes = figure.subplots(2, 2, sharex=True)
    fits: tuple[Fit, ...] = ("mean", "std")
    for row, fit in zip(axes, fits, strict=True):
        draw_color_fits(study, fit, ax=row[0])
        draw_color_percent(study, fit, ax=row[1])
        if fit == "mean":
            for ax in row:
                ax.set_xlabel("")
    return figure


@styled
def draw_panels(panels: "Panels", *, pictures: bool = False) -> Figure:
    """Draw masked input, prediction, target and absolute difference, a row for each mask.

    As temperatures, all on one symmetric scale and all differences on another; or as the pictures that T_min and
    T_max make of them, differences being the means over R, G and B.
    """
    rows = len(panels.masks)
    figure = Figure(figsize=(10.6, 2.55 * rows + 0.95))
    axes = figure.subplots(rows, 4, sharex=True, sharey=True, squeeze=False)
    half = panels.target.shape[0] * panels.step_arcmin / 120
    placed: dict[str, Any] = {"extent": (-half, half, -half, half), "origin": "lower"}
    limit = symmetric_limit(panels.target)
    norm = Normalize(*panels.colors_uK) if pictures else Normalize(-limit, limit)
    colormap = _grey_colormap() if pictures and panels.colors == "grey" else planck_colormap()
    difference = panels.difference_rgb if pictures else panels.difference_uK
    for i, (row, mask) in enumerate(zip(axes, panels.masks, strict=True)):
        seen = np.ma.array(panels.target, mask=~panels.valid[i])
        shown = panels.drawn[i] if pictures else panels.prediction[i]
        for ax, picture in zip(row, (seen, shown, panels.target), strict=False):
            ax.imshow(picture, norm=norm, cmap=colormap, **placed)
        image = row[3].imshow(difference[i], norm=Normalize(0, difference.max()), cmap="Greys", **placed)
        for ax in (row[1], row[3]):
            ax.contour(~panels.valid[i], [0.5], colors="#111111", linewidths=0.7, **placed)
        for ax in row:
            ax.grid(False)
        row[0].set_ylabel(f"{mask}\noffset [deg]")
    titles = ("masked input", "prediction", "target", "|prediction − target|")
    for top, bottom, title in zip(axes[0], axes[-1], titles, strict=True):
        top.set_title(title)
        bottom.set_xlabel("offset [deg]")
    below: dict[str, Any] = {"orientation": "horizontal", "pad": 0.02}
    scale = ScalarMappable(norm, colormap)
    bar = figure.colorbar(scale, ax=list(axes[:, :3].flat), aspect=45, shrink=0.6, extend="both", **below)
    bar.set_label("temperature  [µK]")
    label = "mean over R, G, B  [full scale]" if pictures else "|difference|  [µK]"
    figure.colorbar(image, ax=list(axes[:, 3]), aspect=22, shrink=0.9, **below).set_label(label)
    return figure


def _grey_colormap() -> Colormap:
    """Black to white; what is not known in the color of holes."""
    return ListedColormap(np.repeat(np.linspace(0, 1, 256)[:, None], 3, 1)).with_extremes(
        bad=COLORS["observed"]
    )
