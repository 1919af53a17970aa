"""Fill masked pixels of HEALPix CMB maps, with power spectra you can trust.

    from cmbinpaint import inpaint_map
    filled = inpaint_map(sky, mask)      # one constrained realization; observed pixels bit for bit

What is public is what this module, `cmbinpaint.sims`, `.spectra`, `.nn`, `.training` and `.plots` list in ``__all__``;
everything else may change without notice.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# PEP 562: nothing heavy is imported until it is used, so that `import cmbinpaint` stays fast.
_HOMES = {
    "CmbInpaintError": "cmbinpaint.errors",
    "CmbInpaintWarning": "cmbinpaint.errors",
    "Draws": "cmbinpaint.problem.draws",
    "FilledMap": "cmbinpaint.pipeline.inpaint_maps",
    "InpaintInfo": "cmbinpaint.problem.result",
    "Inpainter": "cmbinpaint.problem.model",
    "InpaintingPlan": "cmbinpaint.problem.plan",
    "MapInfo": "cmbinpaint.files.fits",
    "OptimalSpectrum": "cmbinpaint.pipeline.optimal_spectrum",
    "Predictor": "cmbinpaint.problem.model",
    "Progress": "cmbinpaint.problem.progress",
    "SkyModel": "cmbinpaint.sims.sky_model",
    "compare_spectra": "cmbinpaint.pipeline.compare_spectra",
    "error_map": "cmbinpaint.pipeline.posterior",
    "inpaint_map": "cmbinpaint.pipeline.inpaint",
    "inpaint_maps": "cmbinpaint.pipeline.inpaint_maps",
    "inpaint_splits": "cmbinpaint.pipeline.inpaint_splits",
    "list_models": "cmbinpaint.networks.store",
    "load_plan": "cmbinpaint.pipeline.planning",
    "load_model": "cmbinpaint.pipeline.models",
    "noise_of_splits": "cmbinpaint.pipeline.noise_of_splits",
    "optimal_spectrum": "cmbinpaint.pipeline.optimal_spectrum",
    "plan_inpainting": "cmbinpaint.pipeline.planning",
    "read_map": "cmbinpaint.files.fits",
    "read_mask": "cmbinpaint.files.fits",
    "self_check": "cmbinpaint.validation.self_check",
    "write_map": "cmbinpaint.files.fits",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
