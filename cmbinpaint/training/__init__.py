"""Training: recipes, data streams, the loop, checkpoints.

Names are loaded when asked for: torch is slow to import.
"""

from importlib import import_module
from typing import Any

from cmbinpaint.errors import requires

_HOMES = {
    "Recipe": "recipes.recipe",
    "OptimizerRecipe": "recipes.recipe_sections",
    "StageRecipe": "recipes.recipe_sections",
    "list_recipes": "recipes.recipe",
    "TrainResult": "run.train",
    "train": "run.train",
    "export_weights": "run.export",
    "final_weights": "run.resume",
    "Checkpoint": "run.checkpoint",
    "StoredSkies": "data.reader",
    "build_stream": "data.build",
    "load_latest": "run.checkpoint",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name].startswith("run."):
        requires("network")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
