"""Where drawings start and end: the package's style, new axes, files written whole.

Inputs: nothing but sizes and paths. Outputs: `new_axes`, `save_figure`, `styled`.

No pyplot: a figure belongs to its maker, needs no display and is freed when it is dropped.
"""

import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cmbinpaint._files import whole_or_nothing

P = ParamSpec("P")
T = TypeVar("T")

COLORS = {
    "target": "#222222",
    "filled": "#0072b2",
    "network": "#009e73",
    "observed": "#d55e00",
    "band": "#c9ced6",
    "hole": "#b8b8b8",
}
"""One color for each role, the same in every drawing (after Okabe and Ito, safe for color-blind readers)."""


@functools.cache
def _style() -> dict[str, Any]:
    with as_file(files("cmbinpaint.plots") / "cmbinpaint.mplstyle") as path:
        return dict(matplotlib.rc_params_from_file(path, use_default_template=False))


@contextmanager
def style() -> Iterator[None]:
    """Use the package's style inside a `with` block; the user's own settings come back after it."""
    with matplotlib.rc_context(_style()):
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Make a drawing function draw in the package's style."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return wrapper


@styled
def new_axes(width: float = 7.0, height: float = 4.0) -> Axes:
    """Return the axes of a new figure of `width` by `height` inches."""
    return Figure(figsize=(width, height)).add_subplot()


def add_legend(ax: Axes, *, beside: bool = False, **options: Any) -> None:
    """Add a legend that hides nothing: above the data in room made for it, or beside the axes.

    Call it last: it raises the upper limit of the axis. `options` are those of `Axes.legend`.
    """
    if beside:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), **options)
        return
    labels = ax.get_legend_handles_labels()[1]
    figure, box = cast(Figure, ax.figure), ax.get_position()
    columns = int(0.9 * figure.get_figwidth() * box.width / (0.5 + 0.075 * max(map(len, labels))))
    columns = min(max(columns, 1), len(labels))
    rows = -(-len(labels) // columns) + ("title" in options)
    room = min((0.1 + 0.2 * rows) / (0.8 * figure.get_figheight() * box.height), 0.6)
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_ylim()))
    ax.set_ylim(top=float(scale.inverted().transform(np.array([low + (high - low) / (1 - room)]))[0]))
    ax.legend(loc="upper center", ncols=columns, borderaxespad=0.2, **options)


def plain_ticks(axis: Axis, ticks: Sequence[float], text: Callable[[float], str] = "{:.4g}".format) -> None:
    """Put plain numbers at these places of an axis and nothing elsewhere."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())


@styled
def save_figure(drawing: Axes | Figure, path: str | os.PathLike[str], *, replace: bool = True) -> Path:
    """Write a picture beside `path`, then rename it: `path` is written atomically.

    Parameters
    ----------
    drawing
        What a function of this room returned: a figure, or axes, whose whole figure is written.
    path
        Its suffix chooses the format (png, pdf, svg).
    replace
        Whether an existing file is replaced.

    Returns
    -------
    Path
        `path`.
    """
    figure = drawing if isinstance(drawing, Figure) else drawing.figure
    path = Path(path)
    with whole_or_nothing(path, replace=replace) as stream:
        chosen = path.suffix.lstrip(".") or None  # none: matplotlib's own
        cast(Figure, figure).savefig(stream, format=chosen, bbox_inches="tight", pad_inches=0.12)
    return path


@styled
def figure_png(drawing: Axes | Figure, *, dpi: float = 160.0) -> bytes:
    """Return a picture as PNG bytes, the same for the same drawing."""
    figure = drawing if isinstance(drawing, Figure) else drawing.figure
    stream = io.BytesIO()
    # Of the figure's own size: cutting it tight would draw everything twice.
    cast(Figure, figure).savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()
