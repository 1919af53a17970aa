"""How the gallery finds the figures of its examples; `docs/conf.py` names the function, the gallery imports it."""

from typing import Any
from weakref import WeakSet

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

_shown: WeakSet[Figure] = WeakSet()


def show_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save every figure that a block leaves in a variable, once, and return the text that shows it.

    The package's drawings belong to no pyplot, so that the gallery's own scraper does not see them.
    """
    paths = []
    for value in list(block_vars["example_globals"].values()):
        figure = value.figure if isinstance(value, Axes) else value
        if isinstance(figure, Figure) and figure not in _shown:
            _shown.add(figure)
            path = next(block_vars["image_path_iterator"])
            figure.savefig(path, dpi=110, bbox_inches="tight", pad_inches=0.12)
            paths.append(path)
    return str(figure_rst(paths, gallery_conf["src_dir"])) if paths else ""
