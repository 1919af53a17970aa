"""Theory spectra, simulated skies, and models of what is in a map."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Cosmology": "cmbinpaint.sims.theory",
    "theory_cl": "cmbinpaint.sims.theory",
    "theory_spectra": "cmbinpaint.sims.theory",
    "fiducial_cl": "cmbinpaint.sims.theory",
    "fiducial_spectra": "cmbinpaint.sims.theory",
    "simulate_sky": "cmbinpaint.sims.skies",
    "SkyModel": "cmbinpaint.sims.sky_model",
    "estimate_sky_model": "cmbinpaint.sims.estimate",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint.sims' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
