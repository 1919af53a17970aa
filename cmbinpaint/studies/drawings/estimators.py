"""Estimators of bandpowers as pictures: bias, response, scatter over response, one sky's spectra, tests of pixels.

Inputs: an `EstimatorEnsemble`. Outputs: the matplotlib axes drawn on.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, plain_ticks, styled
from cmbinpaint.studies.drawings.trainings import series_look

if TYPE_CHECKING:
    from cmbinpaint.studies.estimator_performance import EstimatorEnsemble

Quantity = Literal["bias", "response", "effective"]
_LABELS = {
    "bias": "(estimate − true) / true  [%]",
    "response": r"response $dC_\mathrm{est}/dC_\mathrm{true}$",
    "effective": "(scatter / response) / limit",
}
_TITLES = {"bias": "Bias", "response": "Response", "effective": "Scatter over response, over the limit"}
# The same look in every drawing; what is not named here follows.
_ORDER = (
    "target", "masked / fsky", "MASTER", "prediction", "realization", "MASTER, apodized", "mean over realizations",
)  # fmt: skip
_RATIOS = (0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 5, 10, 20, 50)


@styled
def draw_estimator(result: "EstimatorEnsemble", figure: Quantity = "bias", *, ax: Axes | None = None) -> Axes:
    """Draw one figure of all estimators by band, side by side, with standard errors.

    "bias" in percent, linear within ±5 %; "response", 1 is best; "effective", scatter over response relative to the
    limit, 1 is the least possible.
    """
    ax = new_axes(6.4, 3.8) if ax is None else ax
    offsets = np.linspace(-0.3, 0.3, len(result.estimators))
    for i, (name, found) in enumerate(result.estimators.items()):
        value, error = getattr(found, figure)
        if figure == "bias":
            value, error = 100 * value, 100 * error
        elif figure == "effective":
            value, error = value / result.limit, error / result.limit
        look = {**_look(name), "ls": ""}
        ax.errorbar(np.arange(value.size) + offsets[i], value, error, label=name, capsize=2, ms=5, **look)
    ax.axhline(0.0 if figure == "bias" else 1.0, color=COLORS["target"], lw=1.0)
    ax.margins(y=0.1)
    if figure == "bias":
        ax.set_yscale("symlog", linthresh=5.0)
        plain_ticks(ax.yaxis, (-50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100))
    elif figure == "effective":
        ax.set_yscale("log")
        plain_ticks(ax.yaxis, _RATIOS)
    ax.set_xticks(range(len(result.bands)), result.bands)
    ax.set_xlim(-0.5, len(result.bands) - 0.5)
    ax.grid(False, axis="x")
    ax.set(xlabel=r"multipoles $\ell$", ylabel=_LABELS[figure], title=_TITLES[figure])
    add_legend(ax, fontsize=8.5)
    return ax


@styled
def draw_example(result: "EstimatorEnsemble", *, ax: Axes | None = None) -> Axes:
    """Draw one sky's D_ell: target, before, after, and the band that its realizations span."""
    ax = new_axes(7.0, 4.2) if ax is None else ax
    ell = result.centers
    factor = ell * (ell + 1) / (2 * np.pi)
    low, high = factor * result.realizations.min(0), factor * result.realizations.max(0)
    ax.fill_between(
        ell, low, high, color=COLORS["band"], lw=0, label=f"{len(result.realizations)} realizations"
    )
    for name, power in result.example.items():
        look = _look(name)
        width = 2.0 if name == "target" else 1.1
        ax.plot(ell, factor * power, label=name, lw=width, **look)
    ax.set_xscale("log")
    plain_ticks(ax.xaxis, ell.tolist(), "{:.0f}".format)
    ax.set_ylim(bottom=0)
    ax.set(ylabel=rf"$D_\ell = \ell(\ell+1)C_\ell/2\pi$  [{result.unit}²]")
    ax.set_xlabel("multipole $\\ell$\n" + result.windows)
    ax.set_title("Before and after")
    add_legend(ax, fontsize=8.5)
    return ax


@styled
def draw_ks(result: "EstimatorEnsemble", *, ax: Axes | None = None) -> Axes:
    """Draw how many skies have a KS distance of at most so much: true skies in black, filled ones, the 95 % point."""
    ax = new_axes(6.4, 3.8) if ax is None else ax
    tests = list(result.ks.items())
    series = [("true skies (null)", tests[0][1].null), *((name, test.distance) for name, test in tests)]
    for name, values in series:
        look = {**_look(name), "marker": ""}
        x = np.sort(values)
        ax.step(x, np.arange(1, x.size + 1) / x.size, where="post", label=name, lw=1.6, **look)
    ax.axvline(tests[0][1].limit, color=COLORS["target"], lw=0.9, ls=":", label="95 % of true skies")
    loss = 100 * tests[0][1].detectable
    found = (
        f"detectable loss of std: {loss:.0f} %" if np.isfinite(loss) else "no loss below 60 % is detectable"
    )
    ax.set(xlabel="KS distance of hole pixels from the model", ylabel="fraction of skies", ylim=(0, 1.02))
    ax.set_title(f"One-point distribution; {found}", fontsize=10.5)
    add_legend(ax, fontsize=8.5)
    return ax


@styled
def draw_estimators(result: "EstimatorEnsemble") -> Figure:
    """Draw bias, response and scatter over response beside the one-point test."""
    figure = Figure(figsize=(13.0, 8.0))
    axes = figure.subplots(2, 2)
    kinds: tuple[Quantity, ...] = ("bias", "response", "effective")
    for ax, kind in zip(axes.flat, kinds, strict=False):
        draw_estimator(result, kind, ax=ax)
        ax.get_legend().remove()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    draw_ks(result, ax=axes[1, 1])
    axes[1, 0].set_xlabel(rf"multipoles $\ell$   (limit: {result.limit_kind})")
    return figure


def _look(name: str) -> dict[str, Any]:
    return series_look(_ORDER.index(name) if name in _ORDER else 0)
