"""The main job: from a map with holes to a full sky, and what is known of the result."""

from importlib import import_module
from typing import Any

_HOMES = {
    "InpaintInfo": "cmbinpaint.problem.result",
    "Progress": "cmbinpaint.problem.progress",
    "error_map": "cmbinpaint.pipeline.posterior",
    "inpaint_map": "cmbinpaint.pipeline.inpaint",
    "load_model": "cmbinpaint.pipeline.planning",
    "plan_inpainting": "cmbinpaint.pipeline.planning",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint.pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
