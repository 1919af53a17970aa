"""Fill the holes of HEALPix CMB temperature maps, with power spectra you can trust.

    from cmbinpaint import inpaint_map
    filled = inpaint_map(sky, mask)      # one constrained realization; observed pixels bit for bit

How the data go:

    Cosmology --theory_cl--> cl --simulate_sky--> sky (npix,) µK          mask (npix,) True = observed
                                                    |                        |
                          estimate_sky_model <------+---plan_inpainting------+--> InpaintingPlan (geometry)
                                    |               |
                                    v               v
                                SkyModel       kriged guess --cut_field--> patches (n, side, side)
                                    |                                   |
          Recipe --train--> Weights |--load_model----> Inpainter --predict
                                    |                                   |
                                    |                paste_values <-----+
                                    v                    |
                                 refine  <---------------+
                                    |
                           prediction in every hole
                                                    |
           realization = predict(d) + (s'+n') - predict(d')
                                                    |
                                    compare_spectra --> plots
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# PEP 562: nothing heavy is imported until it is used, so that `import cmbinpaint` stays fast.
_HOMES = {
    "inpaint_map": "cmbinpaint.pipeline",
    "plan_inpainting": "cmbinpaint.pipeline",
    "error_map": "cmbinpaint.pipeline",
    "load_model": "cmbinpaint.pipeline",
    "InpaintInfo": "cmbinpaint.pipeline",
    "list_models": "cmbinpaint.networks.store",
    "read_map": "cmbinpaint.files.fits",
    "write_map": "cmbinpaint.files.fits",
    "MapInfo": "cmbinpaint.files.fits",
    "InpaintingPlan": "cmbinpaint.problem.plan",
    "compare_spectra": "cmbinpaint.pipeline.compare_spectra",
    "self_check": "cmbinpaint.validation.self_check",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
