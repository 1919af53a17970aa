"""Numbers about maps and spectra: comparisons, differences, calibration. Nothing is drawn here."""

from importlib import import_module
from typing import Any

_HOMES = {
    "SelfCheck": "cmbinpaint.validation.self_check",
    "SpectraComparison": "cmbinpaint.pipeline.compare_spectra",
    "SpectraTable": "cmbinpaint.pipeline.compare_spectra",
    "Validation": "cmbinpaint.validation.validation",
    "compare_spectra": "cmbinpaint.pipeline.compare_spectra",
    "fill_panels": "cmbinpaint.studies.colors",
    "ks_test": "cmbinpaint.validation.ks",
    "study_patch_estimators": "cmbinpaint.studies.patch_estimators",
    "study_sky_estimators": "cmbinpaint.studies.sky_estimators",
    "study_classes": "cmbinpaint.studies.classes",
    "study_clipping": "cmbinpaint.studies.clipping",
    "study_colors": "cmbinpaint.studies.colors",
    "study_differences": "cmbinpaint.studies.differences",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cmbinpaint.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
