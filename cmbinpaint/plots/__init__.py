"""Drawings of results: maps, patches, spectra, trainings. Nothing is computed here.

Takes: arrays and results. Gives: matplotlib axes and figures. Floor: 6.
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
from cmbinpaint.studies.drawings.classes import (
    draw_class_error,
    draw_class_figure,
    draw_class_transfer,
    draw_confusion,
    draw_confusions,
)
from cmbinpaint.studies.drawings.clipping import draw_clipping, draw_clipping_figure, draw_coherence
from cmbinpaint.studies.drawings.colors import (
    draw_color_distribution,
    draw_color_distributions,
    draw_color_figure,
    draw_color_fits,
    draw_color_percent,
    draw_panels,
)
from cmbinpaint.studies.drawings.differences import (
    draw_difference_depths,
    draw_difference_figure,
    draw_difference_history,
    draw_difference_percent,
    draw_mask_size,
    draw_mask_size_figure,
    draw_mask_size_history,
)
from cmbinpaint.studies.drawings.estimators import draw_estimator, draw_estimators, draw_example, draw_ks
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
    "draw_class_error",
    "draw_class_figure",
    "draw_class_transfer",
    "draw_clipping",
    "draw_clipping_figure",
    "draw_coherence",
    "draw_color_distribution",
    "draw_color_distributions",
    "draw_color_figure",
    "draw_color_fits",
    "draw_color_percent",
    "draw_comparison",
    "draw_confusion",
    "draw_confusions",
    "draw_coverage",
    "draw_coverages",
    "draw_difference_depths",
    "draw_difference_figure",
    "draw_difference_history",
    "draw_difference_percent",
    "draw_distance",
    "draw_dl",
    "draw_estimator",
    "draw_estimators",
    "draw_example",
    "draw_excess",
    "draw_field",
    "draw_jumps",
    "draw_ks",
    "draw_low_multipoles",
    "draw_mask_size",
    "draw_mask_size_figure",
    "draw_mask_size_history",
    "draw_misspecified",
    "draw_one_point",
    "draw_panels",
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
