"""A validation as pictures: several models side by side, each figure on its own axes.

Inputs: a `Validation` or a `Misspecified`. Outputs: the matplotlib axes drawn on.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cmbinpaint._types import FloatArray
from cmbinpaint.plots.figures import COLORS, new_axes, styled
from cmbinpaint.validation.jackknife import Estimate

if TYPE_CHECKING:  # drawing needs none of what makes the figures
    from cmbinpaint.validation.misspecified import Misspecified
    from cmbinpaint.validation.validation import Validation

BiasKind = Literal["reduced", "raw", "realization", "prediction"]
# After Okabe and Ito; the order of models is that of the validation.
_MODEL_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a")
_MARKERS = "os^Dvp*"
_BIAS_TITLES = {
    "reduced": r"Realizations: bias of $C_\ell$ by $2\,C_\ell(F, F-M)$",
    "raw": r"Realizations: bias of $C_\ell$ by $-2\,C_\ell(F, R)$",
    "realization": r"Realizations: $C_\ell$ filled over true, less 1",
    "prediction": r"Predictions: $C_\ell$ filled over true, less 1",
}
_RATIO_TICKS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0)
_WIDE = 1.5  # largest over smallest from which a scale of ratios is logarithmic
_FEWEST_PIXELS = 50
_EXCESS_TICKS = (1.0, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)


@styled
def draw_excess(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw the rms error over the exact mean's, less 1, against hole depth, on a logarithmic scale from 0.1 %."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    _points(ax, result, {name: model.excess for name, model in result.models.items()}, log=1.0)
    ticks = [tick for tick in _EXCESS_TICKS if tick > 1.0]
    ax.yaxis.set_major_locator(FixedLocator([0.001, *(tick - 1 for tick in ticks)]))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{1 + y:.4g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set(ylabel="rms error / exact mean's", title="Excess: error in the holes over the least possible")
    _depth_axis(ax, result.depths, "; hollow: 1.001 or less")
    return ax


@styled
def draw_distance(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw the rms distance from the exact mean in posterior standard deviations against hole depth."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    _points(ax, result, {name: model.distance for name, model in result.models.items()}, log=0.0)
    ax.axhline(0.1, color=COLORS["truth"], lw=0.8, ls=":", label="0.1")
    ax.legend(loc="best")
    ax.set(ylabel="rms(prediction - exact) / posterior std", title="Distance from the exact mean")
    _depth_axis(ax, result.depths, "; hollow: 0.001 or less")
    return ax


@styled
def draw_sharpness(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw the width of realizations over the exact posterior's against hole depth; 1 is best."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    _points(ax, result, {name: model.sharpness for name, model in result.models.items()})
    _ratio_axis(ax)
    ax.set(ylabel="width / exact posterior's", title="Sharpness: width of realizations, mean over pixels")
    _depth_axis(ax, result.depths)
    return ax


@styled
def draw_bias(result: "Validation", kind: BiasKind = "reduced", *, ax: Axes | None = None) -> Axes:
    """Draw the relative bias of the spectrum by band, in percent; one of the four estimates of `Bias`.

    `"prediction"` has the map with zeros in its holes beside, where it does not leave the picture.
    """
    ax = new_axes(7.0, 4.0) if ax is None else ax
    series = {name: getattr(model.bias, kind) for name, model in result.models.items()}
    ax.axhline(0.0, color=COLORS["truth"], lw=1.0)
    _points(ax, result, series, factor=100.0)
    if kind == "prediction":
        low, high = ax.get_ylim()
        ax.plot(100 * result.zero.value, color=COLORS["truth"], ls=":", lw=1.2, label="zeros in the holes")
        ax.set_ylim(min(low, -45.0), max(high, 5.0))
        ax.legend(loc="lower right", ncols=2)
    elif kind == "reduced":
        ax.axhspan(-0.5, 0.5, color=COLORS["band"], lw=0, alpha=0.5, zorder=0, label="±0.5 %")
        ax.legend(loc="best")
    ax.set(ylabel="bias [%]", title=_BIAS_TITLES[kind])
    _categories(ax, result.band_labels, r"multipoles $\ell$")
    return ax


@styled
def draw_coverage(result: "Validation", depth: int, *, ax: Axes | None = None) -> Axes:
    """Draw the coverage of 68 and 95 % intervals by quintile of the prediction, for pixels of one depth bin."""
    ax = new_axes(4.0, 3.4) if ax is None else ax
    for i, level in enumerate(result.levels):
        ax.axhline(100 * level, color=COLORS["truth"], lw=1.0)
        series = {
            name: Estimate(*(part[i, depth] for part in model.pixels.conditional))
            for name, model in result.models.items()
        }
        _points(ax, result, series, factor=100.0, legend=i == 0)
    ax.set(ylim=(50, 100), title=f"depth {result.depths[depth]} px")
    _categories(ax, list("12345"), "quintile of the prediction")
    return ax


@styled
def draw_coverages(result: "Validation") -> Figure:
    """Draw `draw_coverage` in a row, for all depths that hold pixels enough (50) to be told by quintiles."""
    shown = [i for i, count in enumerate(result.counts) if count >= _FEWEST_PIXELS]
    figure = Figure(figsize=(2.6 * len(shown) + 0.6, 3.6))
    for ax, depth in zip(np.ravel(figure.subplots(1, len(shown), sharey=True)), shown, strict=True):
        draw_coverage(result, depth, ax=ax)
        ax.set_xlabel("")
        if depth != shown[0]:
            ax.get_legend().remove()
    figure.axes[0].set_ylabel("truths inside [%]")
    figure.supxlabel("quintile of the prediction", fontsize=10.5)
    return figure


@styled
def draw_low_multipoles(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw rms errors of a_lm over the true rms against ell: all skies with errors, each sky as a small point."""
    ax = new_axes(7.0, 4.0) if ax is None else ax
    exact = result.exact_alm_error
    ax.plot(100 * exact.value, color=COLORS["truth"], lw=1.2, label="exact mean", zorder=1)
    series = {name: model.alm_error for name, model in result.models.items()}
    for (_, color, _, offset), model in zip(_looks(series), result.models.values(), strict=True):
        for row in model.alm_error_by_sky:
            ax.plot(np.arange(row.size) + offset, 100 * row, ".", color=color, ms=4, alpha=0.4, mew=0)
    _points(ax, result, series, factor=100.0)
    ax.set_ylim(bottom=0)
    ax.set(
        ylabel=r"rms error / rms of $a_{\ell m}$ [%]", title=r"Low multipoles of the prediction-filled map"
    )
    _categories(ax, [str(ell) for ell in result.multipoles], r"multipole $\ell$")
    return ax


@styled
def draw_jumps(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw the mean square jump over hole rims over the true one, of realizations."""
    ax = new_axes(7.0, 3.4) if ax is None else ax
    _points(ax, result, {name: model.jumps for name, model in result.models.items()})
    _ratio_axis(ax)
    ax.set(ylabel="mean square jump / true", title="Jumps over the rims of holes, realizations")
    _categories(ax, list(result.hole_sizes), "")
    return ax


@styled
def draw_one_point(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw Kolmogorov-Smirnov distances of hole pixels over those of true skies, of realizations."""
    ax = new_axes(7.0, 3.4) if ax is None else ax
    _points(ax, result, {name: model.one_point for name, model in result.models.items()})
    _ratio_axis(ax)
    ax.set(ylabel="KS distance / true skies'", title="Distribution of hole pixels, realizations")
    _categories(ax, ["all", *result.depths], "hole depth [pixels]")
    return ax


@styled
def draw_misspecified(result: "Misspecified", bands: Sequence[str]) -> Figure:
    """Draw tables of what wrong sky models do: shift of C_ell by band and rms error by depth, in percent.

    Rows are scenarios, with the fixed wrong model above and with one estimated from the map below; `bands` are
    the bands' labels. Numbers smaller than twice their standard error are grey and stand on no color.
    """
    parts = (("told a fixed model", result.fixed), ("model estimated from the map", result.estimated))
    figure = Figure(figsize=(13.0, 1.8 + 0.32 * sum(len(part) for _, part in parts)))
    axes = figure.subplots(
        2, 2, height_ratios=[len(part) for _, part in parts], width_ratios=[len(bands), len(result.depths)]
    )
    for row, (title, part) in zip(axes, parts, strict=True):
        names = list(part)
        shifts = [effect.shift for effect in part.values()]
        excess = [Estimate(e.excess.value - 1, e.excess.error) for e in part.values()]
        _table(row[0], shifts, names, bands, f"Shift of realizations' $C_\\ell$ [%], {title}")
        _table(row[1], excess, None, result.depths, "Rise of rms error [%]")
    axes[1, 0].set_xlabel(r"multipoles $\ell$   (grey: less than two standard errors)")
    axes[1, 1].set_xlabel("hole depth [pixels]")
    return figure


def _table(
    ax: Axes, rows: Sequence[Estimate], names: Sequence[str] | None, columns: Sequence[str], title: str
) -> None:
    """Percentages as colored cells with their numbers."""
    values = 100 * np.array([row.value for row in rows])
    errors = 100 * np.array([row.error for row in rows])
    sure = ~(np.abs(values) < 2 * errors)
    # Signed root: a shift of 0.5 % is to be seen beside one of 20 %.
    shade = np.where(sure, np.sign(values) * np.sqrt(np.abs(values)), 0.0)
    ax.imshow(shade, cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto", origin="upper")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "#888888" if not sure[i, j] else "white" if abs(value) > 7 else COLORS["truth"]
            ax.text(j, i, f"{value:+.2f}" if abs(value) < 9.995 else f"{value:+.0f}", ha="center", va="center",
                    color=color, fontsize=8)  # fmt: skip
    ax.set_xticks(range(len(columns)), columns, fontsize=8.5)
    words = ["" for _ in rows] if names is None else [_in_math(name) for name in names]
    ax.set_yticks(range(len(rows)), words, fontsize=9)
    ax.set_title(title, fontsize=10.5)
    ax.grid(False)
    ax.tick_params(length=0)


def _in_math(name: str) -> str:
    return name.replace("C_ell", r"$C_\ell$").replace("n_s", "$n_s$")


def _looks(series: dict[str, Estimate]) -> Iterator[tuple[str, str, str, float]]:
    """Name, color, marker and horizontal offset of each model."""
    offsets = np.linspace(-0.24, 0.24, len(series)) if len(series) > 1 else np.zeros(1)
    for i, (name, offset) in enumerate(zip(series, offsets, strict=True)):
        yield name, _MODEL_COLORS[i % len(_MODEL_COLORS)], _MARKERS[i % len(_MARKERS)], float(offset)


def _points(
    ax: Axes,
    result: "Validation",
    series: dict[str, Estimate],
    *,
    factor: float = 1.0,
    log: float | None = None,
    legend: bool = True,
) -> None:
    """Draw models side by side with error bars; with `log`, what exceeds it on a logarithmic scale.

    Values at or below the floor of a logarithmic scale are hollow arrows on it.
    """
    floor = 1e-3
    for name, color, marker, offset in _looks(series):
        value, error = (factor * np.asarray(part, dtype=np.float64) for part in series[name])
        x = np.arange(value.size) + offset
        if log is not None:
            value = value - log
            low = value <= floor
            ax.plot(x[low], np.full(int(low.sum()), 1.15 * floor), "v", color=color, mfc="none", ms=6)
            x, value, error = x[~low], value[~low], error[~low]
            error = _capped(value, error, floor)
        ax.errorbar(x, value, error, fmt=marker, color=color, ms=5, lw=1.2, capsize=2, label=name)
    if log is not None:
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.8 * floor)
    if legend:
        ax.legend(loc="best")


def _capped(value: FloatArray, error: FloatArray, floor: float) -> FloatArray:
    """(2, n) error bars that stay above the floor of a logarithmic scale."""
    return np.stack([np.minimum(error, np.maximum(value - 0.8 * floor, 0.0)), error])


def _depth_axis(ax: Axes, labels: Sequence[str], note: str = "") -> None:
    _categories(ax, labels, f"hole depth [pixels]{note}")


def _ratio_axis(ax: Axes) -> None:
    """A line at 1, and a logarithmic scale with round ticks where ratios are far from it."""
    ax.axhline(1.0, color=COLORS["truth"], lw=1.0)
    low, high = ax.get_ylim()
    if low > 0 and high / low > _WIDE:
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        ax.yaxis.set_major_locator(FixedLocator([tick for tick in _RATIO_TICKS if low <= tick <= high]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.4g}"))
        ax.yaxis.set_minor_locator(NullLocator())


def _categories(ax: Axes, labels: Sequence[str], title: str) -> None:
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.grid(False, axis="x")
    ax.set_xlabel(title)
