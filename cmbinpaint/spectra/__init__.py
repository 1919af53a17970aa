"""Power spectra: full-sky and cut-sky estimates, bandpowers, E and B, beams and windows; arrays in, arrays out."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Bandpowers": "cmbinpaint.spectra.bandpowers",
    "anafast": "cmbinpaint.spectra.full_sky",
    "cl_from_dl": "cmbinpaint.spectra.full_sky",
    "coupling_matrix": "cmbinpaint.spectra.mode_coupling",
    "decouple": "cmbinpaint.spectra.mode_coupling",
    "dl_from_cl": "cmbinpaint.spectra.full_sky",
    "eb_maps": "cmbinpaint.spectra.modes",
    "gaussian_beam": "cmbinpaint.sphere.windows",
    "log_bands": "cmbinpaint.spectra.bandpowers",
    "map_to_alm": "cmbinpaint.spectra.modes",
    "master": "cmbinpaint.spectra.mode_coupling",
    "narrowest_band": "cmbinpaint.spectra.mode_coupling",
    "pixel_window": "cmbinpaint.sphere.windows",
    "pseudo_cl": "cmbinpaint.spectra.mode_coupling",
    "read_cl": "cmbinpaint.files.spectrum_files",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint.spectra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
