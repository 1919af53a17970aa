"""A validation as pictures: several models side by side, each figure on its own axes.

Inputs: a `Validation` or a `Misspecified`. Outputs: the matplotlib axes drawn on.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, plain_ticks, styled
from cmbinpaint.validation.jackknife import Estimate

if TYPE_CHECKING:  # drawing needs none of what makes the figures
    from cmbinpaint.sphere.fields import Fields
    from cmbinpaint.validation.calibration import ModelCalibration
    from cmbinpaint.validation.misspecified import Misspecified
    from cmbinpaint.validation.validation import Validation

# After Okabe and Ito; the order of models is that of the validation.
_MODEL_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a")
_MARKERS = "os^Dvp*"
_RATIO_TICKS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0)
_WIDE = 1.5  # largest over smallest ratio from which their scale is logarithmic
_FEWEST_PIXELS = 50
_EXCESS_TICKS = (1.001, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)
_FLOOR = 1e-3  # of logarithmic scales


class _Kind(NamedTuple):
    """One kind of drawing: what it shows of a model, in words, and its axis."""

    title: str
    label: str
    series: "Callable[[ModelCalibration], Estimate]"
    categories: "Callable[[Validation], Sequence[str]]"
    below: str
    best: float | None = None  # a line; None: none
    factor: float = 1.0
    of_each: "Callable[[Fields], Sequence[str]]" = lambda fields: fields.stokes  # what has figures of its own


def _spectra(fields: "Fields") -> Sequence[str]:
    return fields.spectra


_DEPTHS = "hole depth [pixels]"
_KINDS = {
    "excess": _Kind("Excess: error in the holes over the least possible", "rms error / exact mean's",
                    lambda m: m.excess, lambda v: v.depths, f"{_DEPTHS}; hollow: 1.001 or less"),
    "distance": _Kind("Distance from the exact mean", "rms(prediction − exact) / posterior std",
                      lambda m: m.distance, lambda v: v.depths, f"{_DEPTHS}; hollow: 0.001 or less"),
    "sharpness": _Kind("Sharpness: width of realizations, mean over pixels", "width / exact posterior's",
                       lambda m: m.sharpness, lambda v: v.depths, _DEPTHS, best=1.0),
    "bias": _Kind(r"Realizations: bias of $C_\ell$ by $2\,C_\ell(F, F-M)$", "bias [%]",
                  lambda m: m.bias.reduced, lambda v: v.band_labels, r"multipoles $\ell$", 0.0, 100.0, _spectra),
    "bias_raw": _Kind(r"Realizations: bias of $C_\ell$ by $-2\,C_\ell(F, R)$", "bias [%]",
                      lambda m: m.bias.raw, lambda v: v.band_labels, r"multipoles $\ell$", 0.0, 100.0, _spectra),
    "ratio_realization": _Kind(r"Realizations: $C_\ell$ filled over true, less 1", "bias [%]",
                               lambda m: m.bias.realization, lambda v: v.band_labels, r"multipoles $\ell$", 0.0, 100.0,
                               _spectra),
    "ratio_prediction": _Kind(r"Predictions: $C_\ell$ filled over true, less 1", "bias [%]",
                              lambda m: m.bias.prediction, lambda v: v.band_labels, r"multipoles $\ell$", 0.0, 100.0,
                              _spectra),
    "low_multipoles": _Kind(r"Low multipoles of the prediction-filled map", r"rms error / rms of $a_{\ell m}$ [%]",
                            lambda m: m.alm_error, lambda v: [str(ell) for ell in v.multipoles],
                            r"multipole $\ell$", None, 100.0, lambda fields: fields.modes),
    "jumps": _Kind("Jumps across the edges of holes, realizations", "mean square jump / true",
                   lambda m: m.jumps, lambda v: v.edges, "", best=1.0),
    "one_point": _Kind("Distribution of hole pixels, realizations", "KS distance / true skies'",
                       lambda m: m.one_point, lambda v: v.one_point_labels, _DEPTHS, best=1.0),
}  # fmt: skip
VALIDATION_FIGURES = tuple(_KINDS)
"""What `draw_validation` draws."""


@styled
def draw_validation(
    result: "Validation", figure: str = "excess", *, ax: Axes | None = None, of: str | None = None
) -> Axes | Figure:
    """Draw one figure of all models side by side, with standard errors.

    Of several Stokes parameters it is a figure with a panel for each; of modes and spectra likewise.

    Parameters
    ----------
    result
        The validation.
    figure
        `"excess"` (less 1, on a logarithmic scale from 0.1 %), `"distance"` or `"sharpness"` against hole depth;
        `"bias"`, `"bias_raw"`, `"ratio_realization"` or `"ratio_prediction"` in percent by band; `"low_multipoles"`
        (each sky a small point); `"jumps"` by hole width; `"one_point"`.
    ax
        Axes to draw on; `None`: new ones.
    of
        The Stokes parameter, mode or spectrum to draw alone (Q, E, EE).

    Raises
    ------
    CmbInpaintError
        If there is no such figure.
    """
    if figure not in _KINDS:
        raise CmbInpaintError(f"figure is {figure!r}; known: {', '.join(_KINDS)}")
    kind = _KINDS[figure]
    names = list(kind.of_each(result.fields))
    if of is None and len(names) > 1:
        panels = Figure(figsize=(13.0, 3.6 * -(-len(names) // 2)))
        for i, name in enumerate(names):
            draw_validation(result, figure, ax=panels.add_subplot(-(-len(names) // 2), 2, i + 1), of=name)
        return panels
    if of is not None and of not in names:
        raise CmbInpaintError(f"of is {of!r}; known: {', '.join(names)}")
    ax = new_axes(7.0, 4.0) if ax is None else ax
    labels = kind.categories(result)
    n = len(labels) // len(names)
    first = 0 if of is None else n * names.index(of)
    here = slice(first, first + n)
    series = {
        name: Estimate(*(part[here] for part in kind.series(model))) for name, model in result.models.items()
    }
    if kind.best is not None:
        ax.axhline(kind.best, color=COLORS["target"], lw=1.0)
    if figure in ("excess", "distance"):
        _draw_above_floor(ax, series, less=1.0 if figure == "excess" else 0.0)
    else:
        _draw_points(ax, series, factor=kind.factor)
    if kind.best == 1.0:
        _ratio_axis(ax)
    _add_reference(ax, result, figure, series, here)
    ax.set(ylabel=kind.label, title=kind.title if len(names) == 1 else f"{kind.title}: {of}")
    shown = [label.removeprefix(of or "").lstrip(", ") for label in labels[here]]
    _categories(ax, shown, kind.below)
    add_legend(ax)
    return ax


def _add_reference(
    ax: Axes, result: "Validation", figure: str, series: dict[str, Estimate], here: slice
) -> None:
    """What a figure shows beside the models."""
    if figure == "distance":
        ax.axhline(0.1, color=COLORS["target"], lw=0.8, ls=":", label="0.1")
    elif figure == "bias":
        ax.axhspan(-0.5, 0.5, color=COLORS["band"], lw=0, alpha=0.5, zorder=0, label="±0.5 %")
    elif figure == "ratio_prediction":
        low, high = ax.get_ylim()
        ax.plot(
            100 * result.zero.value[here], color=COLORS["target"], ls=":", lw=1.2, label="zeros in the holes"
        )
        ax.set_ylim(min(low, -45.0), max(high, 5.0))
    elif figure == "low_multipoles":
        exact = 100 * result.exact_alm_error.value[here]
        ax.plot(exact, color=COLORS["target"], lw=1.2, label="exact mean", zorder=1)
        for (_, color, _, offset), model in zip(_looks(series), result.models.values(), strict=True):
            for row in model.alm_error_by_sky[:, here]:
                ax.plot(np.arange(row.size) + offset, 100 * row, ".", color=color, ms=4, alpha=0.4, mew=0)
        ax.set_ylim(bottom=0)


@styled
def draw_coverage(result: "Validation") -> Figure:
    """Draw the coverage of 68 and 95 % intervals by quintile of the prediction, a panel for each depth bin.

    Of several Stokes parameters a row for each.

    Depths with fewer than 50 pixels are left out: their quintiles say little.
    """
    shown = [i for i, count in enumerate(result.counts) if count >= _FEWEST_PIXELS]
    rows = result.fields.n
    columns = -(-len(shown) // rows)
    figure = Figure(figsize=(2.6 * columns + 0.6, 3.9 * rows))
    axes = np.ravel(figure.subplots(rows, columns, sharey=True))
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    axes = axes[: len(shown)]
    for ax, depth in zip(axes, shown, strict=True):
        for i, level in enumerate(result.levels):
            ax.axhline(100 * level, color=COLORS["target"], lw=1.0)
            series = {
                name: Estimate(*(part[i, depth] for part in model.pixels.conditional))
                for name, model in result.models.items()
            }
            _draw_points(ax, series, factor=100.0)
        ax.set(ylim=(50, 100), title=f"depth {result.depths[depth]} px")
        _categories(ax, list("12345"), "")
    axes[0].set_ylabel("true values inside [%]")
    figure.supxlabel("quintile of the prediction", fontsize=10.5)
    handles, labels = axes[0].get_legend_handles_labels()
    n = len(result.models)
    figure.legend(handles[:n], labels[:n], loc="outside upper left", ncols=n)
    return figure


@styled
def draw_leakage(result: "Validation", *, ax: Axes | None = None) -> Axes:
    """Draw how much E leaks into B by band: B of filled E-only skies over the sky's own B.

    Raises
    ------
    CmbInpaintError
        If the validation is of T alone.
    """
    if result.leakage is None:
        raise CmbInpaintError("the validation has no leakage: it is of skies with Q and U")
    ax = new_axes(7.0, 4.0) if ax is None else ax
    series = {f"model {kind}" if "B" in kind else kind: one.over_b for kind, one in result.leakage.items()}
    _draw_points(ax, series)
    ax.axhline(0.01, color=COLORS["target"], lw=0.8, ls=":", label="1 %")
    ax.set_yscale("log")
    ax.set(ylabel="B power / the sky's B", title="E-only skies, filled by the mean: what is B in them")
    _categories(ax, result.bands_of_one, r"multipoles $\ell$")
    add_legend(ax)
    return ax


@styled
def draw_misspecified(result: "Misspecified", bands: Sequence[str]) -> Figure:
    """Draw tables of what wrong sky models do: shift of C_ell by band and rms error by depth, in percent.

    Rows are scenarios, with the fixed wrong model above and with one estimated from the map below; `bands` are
    the bands' labels. Numbers smaller than twice their standard error are grey, without a color.
    """
    parts = (("given a fixed model", result.fixed), ("model estimated from the map", result.estimated))
    figure = Figure(figsize=(13.0, 1.8 + 0.32 * sum(len(part) for _, part in parts)))
    axes = figure.subplots(
        2, 2, height_ratios=[len(part) for _, part in parts], width_ratios=[len(bands), len(result.depths)]
    )
    for row, (title, part) in zip(axes, parts, strict=True):
        shifts = [effect.shift for effect in part.values()]
        excess = [Estimate(e.excess.value - 1, e.excess.error) for e in part.values()]
        _table(row[0], shifts, list(part), bands, f"Shift of realizations' $C_\\ell$ [%], {title}")
        _table(row[1], excess, None, result.depths, "Rise of rms error [%]")
    axes[1, 0].set_xlabel(r"multipoles $\ell$   (grey: less than two standard errors)")
    axes[1, 1].set_xlabel(_DEPTHS)
    return figure


def _table(
    ax: Axes, rows: Sequence[Estimate], names: Sequence[str] | None, columns: Sequence[str], title: str
) -> None:
    """Percentages as colored cells with their numbers."""
    values = 100 * np.array([row.value for row in rows])
    errors = 100 * np.array([row.error for row in rows])
    significant = ~(np.abs(values) < 2 * errors)
    # Signed root: a shift of 0.5 % is to be seen beside one of 20 %.
    shade = np.where(significant, np.sign(values) * np.sqrt(np.abs(values)), 0.0)
    ax.imshow(shade, cmap="RdBu_r", vmin=-4, vmax=4, aspect="auto", origin="upper")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = "#888888" if not significant[i, j] else "white" if abs(value) > 7 else COLORS["target"]
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


def _draw_points(ax: Axes, series: dict[str, Estimate], *, factor: float = 1.0) -> None:
    """Draw models side by side with error bars."""
    for name, color, marker, offset in _looks(series):
        value, error = (factor * np.asarray(part, dtype=np.float64) for part in series[name])
        x = np.arange(value.size) + offset
        ax.errorbar(x, value, error, fmt=marker, color=color, ms=5, lw=1.2, capsize=2, label=name)


def _draw_above_floor(ax: Axes, series: dict[str, Estimate], *, less: float) -> None:
    """The same, less a number, on a logarithmic scale; values at or below its floor are hollow arrows on it."""
    for name, color, marker, offset in _looks(series):
        value, error = series[name].value - less, series[name].error
        x, low = np.arange(value.size) + offset, value <= _FLOOR
        ax.plot(x[low], np.full(int(low.sum()), 1.15 * _FLOOR), "v", color=color, mfc="none", ms=6)
        bars = np.stack([np.minimum(error, np.maximum(value - 0.8 * _FLOOR, 0.0)), error])[:, ~low]
        ax.errorbar(x[~low], value[~low], bars, fmt=marker, color=color, ms=5, lw=1.2, capsize=2, label=name)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.8 * _FLOOR)
    if less:
        plain_ticks(ax.yaxis, [tick - less for tick in _EXCESS_TICKS], lambda y: f"{less + y:.4g}")


def _ratio_axis(ax: Axes) -> None:
    """A logarithmic scale with round ticks where ratios are far from 1."""
    low, high = ax.get_ylim()
    if low > 0 and high / low > _WIDE:
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        plain_ticks(ax.yaxis, [tick for tick in _RATIO_TICKS if low <= tick <= high])


def _categories(ax: Axes, labels: Sequence[str], title: str) -> None:
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.grid(False, axis="x")
    ax.set_xlabel(title)
