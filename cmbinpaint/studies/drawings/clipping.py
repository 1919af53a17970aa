"""Spectra of clipped pictures over those of the temperatures they show.

Inputs: a `ClippingStudy`. Outputs: the matplotlib axes drawn on.
"""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint.plots.figures import COLORS, add_legend, new_axes, plain_ticks, styled
from cmbinpaint.studies.drawings.trainings import series_look

if TYPE_CHECKING:
    from cmbinpaint.studies.clipping import ClippingStudy

GREY = "grey picture"
_TICKS = (-50, -20, -10, -5, -2, -1, -0.5, -0.2, 0, 0.2, 0.5, 1)


@styled
def draw_clipping(study: "ClippingStudy", rendering: str = GREY, *, ax: Axes | None = None) -> Axes:
    """Draw how much power pictures have over temperatures, less 1, against T_max: one curve for each band of ell.

    The dashed curve is what is left of each mode of a Gaussian field. Below a fifth of a percent the scale is linear.
    """
    ax = new_axes(6.6, 4.4) if ax is None else ax
    x, found = study.t_max_uK, study.ratio[rendering]
    ax.axhline(0.0, color=COLORS["target"], lw=0.9)
    for b, band in enumerate(study.bands):
        look = {**series_look(b), "ls": "-", "lw": 1.0}
        ax.errorbar(
            x, 100 * (found.value[:, b] - 1), 100 * found.error[:, b], label=band, capsize=2, ms=4.5, **look
        )
    ax.plot(x, 100 * (study.expected - 1), color=COLORS["target"], ls="--", lw=1.6, label=r"erf$^2$")
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=0.2, linscale=0.4)
    plain_ticks(ax.yaxis, _TICKS)
    plain_ticks(ax.xaxis, x.tolist())
    rms = study.rms_uK
    ax.set(xlabel=f"T_max of the picture  [µK]   (rms of the field: {rms:.0f} µK)",
           ylabel=r"$C_\ell$ picture / $C_\ell$ temperature − 1  [%]", title=rendering.capitalize())  # fmt: skip
    add_legend(ax, title=r"multipoles $\ell$")
    return ax


@styled
def draw_coherence(study: "ClippingStudy", t_max_uK: float = 300.0, *, ax: Axes | None = None) -> Axes:
    """Draw the correlation of a picture's modes with the temperature's against ell, at the T_max nearest to one."""
    ax = new_axes(6.6, 4.4) if ax is None else ax
    row = int(np.argmin(np.abs(study.t_max_uK - t_max_uK)))
    ell = (study.edges[:-1] + study.edges[1:]) / 2
    for i, (name, found) in enumerate(study.coherence.items()):
        ax.errorbar(ell, found.value[row], found.error[row], label=name, capsize=2, **series_look(i + 1))
    ax.set_ylim(0, 1.05)
    ax.set(xlabel=r"multipole $\ell$", ylabel="correlation with the temperature's modes")
    ax.set_title(f"What is left of the sky, pictures to ±{study.t_max_uK[row]:g} µK")
    add_legend(ax)
    return ax


@styled
def draw_clipping_figure(study: "ClippingStudy", t_max_uK: float = 300.0) -> Figure:
    """Draw `draw_clipping` of grey pictures beside `draw_coherence`."""
    figure = Figure(figsize=(12.4, 4.6))
    left, right = figure.subplots(1, 2)
    draw_clipping(study, ax=left)
    draw_coherence(study, t_max_uK, ax=right)
    return figure
