"""Drawings of results: maps, patches, spectra, validations. Nothing is computed here.

Inputs: arrays and results. Outputs: matplotlib axes and figures.
"""

from cmbinpaint.plots.calibration import draw_coverage, draw_leakage, draw_misspecified, draw_validation
from cmbinpaint.plots.figures import new_axes, save_figure, style
from cmbinpaint.plots.maps import (
    draw_before_after,
    draw_field,
    draw_patch,
    draw_sky,
    planck_colormap,
    symmetric_limit,
)
from cmbinpaint.plots.polarization import draw_polarization, draw_polarized_patch
from cmbinpaint.plots.spectra import draw_bandpowers, draw_comparison, draw_dl, draw_residual, draw_spectra

__all__ = [
    "draw_bandpowers",
    "draw_before_after",
    "draw_comparison",
    "draw_coverage",
    "draw_dl",
    "draw_field",
    "draw_leakage",
    "draw_misspecified",
    "draw_patch",
    "draw_polarization",
    "draw_polarized_patch",
    "draw_residual",
    "draw_sky",
    "draw_spectra",
    "draw_validation",
    "new_axes",
    "planck_colormap",
    "save_figure",
    "style",
    "symmetric_limit",
]
