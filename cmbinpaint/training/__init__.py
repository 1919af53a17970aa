"""Training: recipes, data streams, the loop, checkpoints.

Names are loaded when asked for: torch is slow to import.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Recipe": "recipe",
    "OptimizerRecipe": "parts",
    "StageRecipe": "parts",
    "list_recipes": "recipe",
    "TrainResult": "loop",
    "train": "loop",
    "export_weights": "export",
    "final_weights": "resume",
    "Checkpoint": "checkpoint",
    "load_latest": "checkpoint",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
