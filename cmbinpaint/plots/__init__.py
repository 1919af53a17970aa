"""Drawings of results: maps, patches, spectra, trainings. Nothing is computed here.

Inputs: arrays and results. Outputs: matplotlib axes and figures.
"""

from cmbinpaint.plots.calibration import (
    draw_bias,
    draw_coverage,
    draw_coverages,
    draw_distance,
    draw_excess,
    draw_jumps,
    draw_low_multipoles,
    draw_misspecified,
    draw_one_point,
    draw_sharpness,
)
from cmbinpaint.plots.figures import new_axes, save_figure, style
from cmbinpaint.plots.maps import (
    draw_before_after,
    draw_field,
    draw_patch,
    draw_sky,
    planck_colormap,
    symmetric_limit,
)
from cmbinpaint.plots.spectra import draw_comparison, draw_dl, draw_residual

__all__ = [
    "draw_before_after",
    "draw_bias",
    "draw_comparison",
    "draw_coverage",
    "draw_coverages",
    "draw_distance",
    "draw_dl",
    "draw_excess",
    "draw_field",
    "draw_jumps",
    "draw_low_multipoles",
    "draw_misspecified",
    "draw_one_point",
    "draw_patch",
    "draw_residual",
    "draw_sharpness",
    "draw_sky",
    "new_axes",
    "planck_colormap",
    "save_figure",
    "style",
    "symmetric_limit",
]
