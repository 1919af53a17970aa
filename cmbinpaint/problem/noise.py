"""Noise levels of a map as users have them: a number, or a map that says nothing where nothing was observed.

Inputs: noise per pixel, a plan. Outputs: a number or (npix,) RING, known everywhere.
"""

import warnings
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.maps import is_unseen, to_ring
from cmbinpaint.sphere.power import as_numbers, validate_noise


def noise_of(noise_std: Any, plan: InpaintingPlan, *, nest: bool = False) -> float | FloatArray:
    """The noise of every pixel; where a map has none (NaN, infinite, UNSEEN), the median of the data's.

    Parameters
    ----------
    noise_std
        A number or (npix,) in the map's ordering; a Quantity is converted to µK.
    plan
        What is data: there the noise has to be known.
    nest
        Whether a map is in NESTED ordering.

    Raises
    ------
    SpectrumError
        If it is negative, of another length, or unknown in pixels that are data.

    Warns
    -----
    CmbInpaintWarning
        If a level is assumed in pixels that are filled.
    """
    std = as_numbers(noise_std, "uK", "noise_std")
    if std.shape != plan.valid.shape:
        return validate_noise(noise_std, plan.nside)
    if nest:
        std = to_ring(std)
    unknown = ~np.isfinite(std) | is_unseen(std)
    if not unknown.any():
        return validate_noise(std, plan.nside)
    lost = unknown & plan.valid
    if lost.any():
        raise SpectrumError(
            f"noise_std has no value (NaN, infinite, UNSEEN) in {np.count_nonzero(lost)} pixels that are data, the "
            f"first at RING index {int(np.argmax(lost))}: give their noise, or add them to the mask"
        )
    level = float(np.median(std[plan.valid]))
    filled = int(np.count_nonzero(unknown & ~plan.excluded))
    if filled:
        warnings.warn(
            f"noise_std has no value in {filled} pixels that are no data; {level:.4g} is assumed there, the median of "
            "the data's: realizations have that noise in these holes",
            CmbInpaintWarning,
            stacklevel=4,
        )
    return validate_noise(np.where(unknown, level, std), plan.nside)
