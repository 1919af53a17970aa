"""What drawings of a training share: its steps as an axis, colors and markers that black and white can distinguish.

Inputs: states of a training, series over them. Outputs: axes drawn on.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cmbinpaint._types import FloatArray
from cmbinpaint.plots.figures import COLORS

if TYPE_CHECKING:
    from cmbinpaint.training.run.checkpoint_models import State

# After Okabe and Ito, from dark to light, so that their order is kept in grey.
SERIES_COLORS = ("#222222", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a")
SERIES_MARKERS = "os^Dv<>P"
SERIES_LINES = ("-", "--", "-.", ":")


def series_look(i: int) -> dict[str, Any]:
    """Color, marker and line of the i-th of several curves."""
    return {
        "color": SERIES_COLORS[i % len(SERIES_COLORS)],
        "marker": SERIES_MARKERS[i % len(SERIES_MARKERS)],
        "ls": SERIES_LINES[i % len(SERIES_LINES)],
    }


def steps_of(states: "Sequence[State]") -> FloatArray:
    """(n,) the optimizer steps of states."""
    return np.array([state.step for state in states], dtype=np.float64)


def step_axis(ax: Axes, states: "Sequence[State]") -> None:
    """Label the axis of steps; a dotted line where a stage began."""
    steps = steps_of(states)
    for before, after in pairwise(states):
        if after.stage != before.stage:
            ax.axvline(before.step, color=COLORS["target"], lw=0.9, ls=":", zorder=1)
    if steps.size > 1:
        room = 0.04 * (steps[-1] - steps[0])
        ax.set_xlim(steps[0] - room, steps[-1] + room)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        ax.set_xticks(steps)
    ax.set_xlabel("optimizer steps")


def draw_means(
    ax: Axes, x: FloatArray, values: FloatArray, label: str, look: dict[str, Any], *, dots: bool = True
) -> None:
    """Draw (n, patches) values: means over patches with their standard deviation as bars, each patch as a dot."""
    if dots and values.shape[1] > 1:
        ax.plot(x, values, ".", color=look["color"], ms=3.5, alpha=0.3, mew=0, zorder=1.5)
    ax.errorbar(x, values.mean(1), values.std(1) if values.shape[1] > 1 else None, label=label, capsize=2.5,
                elinewidth=1.0, lw=1.2, ms=5, **look)  # fmt: skip


def draw_over_training(
    ax: Axes, states: "Sequence[State]", series: Mapping[str, FloatArray], looks: Sequence[dict[str, Any]] = (), *,
    dots: bool = True,
) -> None:  # fmt: skip
    """Draw (states, patches) series by `draw_means`; without looks those of `series_look` from 1 on."""
    for i, (label, values) in enumerate(series.items()):
        draw_means(ax, steps_of(states), values, label, looks[i] if looks else series_look(i + 1), dots=dots)
    step_axis(ax, states)
