"""Which way the rows and columns of a patch run on the sky: the drawing of docs/conventions.md.

    python benchmarks/patch_orientation.py -o docs/figures/patch_orientation.svg

Every point is where `TangentPlane` puts it; no coordinate is written down here.
"""

import argparse
import os
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.plots.figures import COLORS, save_figure, style

GRID = PatchGrid(side=8, step_deg=2.0)
LON_DEG, LAT_DEG = 40.0, 30.0
TAIL = 1.5  # row and column where both arrows begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    # Text stays text: the file is small and the page's fonts draw it. No date of today and no random names: a
    # rerun gives the same bytes.
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "cmbinpaint"}
    with style():
        figure = Figure(figsize=(9.2, 4.6), layout="constrained")
        for ax, turn in zip(figure.subplots(1, 2), (0.0, 30.0), strict=True):
            draw_plane(ax, TangentPlane(LON_DEG, LAT_DEG, GRID, rotation_deg=turn))
        save_figure(figure, args.output)


def draw_plane(ax: Axes, plane: TangentPlane) -> None:
    """The pixels' outlines, three of them named, and the way that rows and columns grow."""
    edges = np.arange(GRID.side + 1) - 0.5
    along = np.linspace(edges[0], edges[-1], 13)
    for edge in edges:
        for row, col in ((np.full_like(along, edge), along), (along, np.full_like(along, edge))):
            ax.plot(*place(plane, row, col), color=COLORS["band"], lw=0.8)
    last = GRID.side - 1
    for row, col in ((0, 0), (0, last), (last, 0)):
        ax.annotate(f"[{row}, {col}]", place(plane, row, col), ha="center", va="center", fontsize=7.5)
    center = (GRID.side - 1) / 2
    ax.plot(*place(plane, center, center), "+", color=COLORS["target"], ms=9)
    ax.annotate("tangent point", place(plane, center - 0.6, center), ha="center", va="center", fontsize=8)
    for (row, col), word, color in (((1, 0), "row", COLORS["filled"]), ((0, 1), "col", COLORS["observed"])):
        head = (TAIL + 3.5 * row, TAIL + 3.5 * col)
        arrow = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", place(plane, *head), place(plane, TAIL, TAIL), arrowprops=arrow)
        beyond = (head[0] + 0.8 * row, head[1] + 0.8 * col)
        ax.annotate(word, place(plane, *beyond), color=color, ha="center", va="center", weight="bold")
    turned = f", rotation_deg={plane.rotation_deg:g}" if plane.rotation_deg else ""
    ax.set(
        title=f"TangentPlane({LON_DEG:g}, {LAT_DEG:g}, grid{turned})",
        xlabel="longitude [deg], east to the left",
        ylabel="latitude [deg], north up",
        aspect=1 / np.cos(np.radians(LAT_DEG)),
    )
    ax.invert_xaxis()


def place(plane: TangentPlane, row: float | np.ndarray, col: float | np.ndarray) -> tuple:
    """Longitude and latitude, in degrees, of a place on the patch."""
    theta, phi = plane.to_sky(row, col)
    return np.degrees(phi), 90 - np.degrees(theta)


if __name__ == "__main__":
    main()
