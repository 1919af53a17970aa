"""Monopole and dipole of the observed sky: taken out before the work, put back after it.

Takes: a map and a plan. Gives: four numbers, and the map that they make. Floor: 4.
"""

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.patches.plan import InpaintingPlan
from cmbinpaint.sphere.pixels import pixel_vectors

# On less sky than this a fitted dipole says little, and what it says would be blown up on the far side.
LEAST_FSKY_FOR_DIPOLE = 0.3
_CHUNK = 1 << 20  # pixels handled at once


def fit_trend(values: FloatArray, plan: InpaintingPlan) -> FloatArray:
    """(4,) monopole and dipole of the data by least squares; the monopole alone on a small part of the sky."""
    normal, right = np.zeros((4, 4)), np.zeros(4)
    for pixels in _chunks(np.flatnonzero(plan.valid)):
        design = _design(plan.nside, pixels)
        normal += design.T @ design
        right += design.T @ values[pixels]
    if plan.fsky < LEAST_FSKY_FOR_DIPOLE:
        return np.array([right[0] / normal[0, 0], 0.0, 0.0, 0.0])
    return np.asarray(np.linalg.solve(normal, right), dtype=np.float64)


def trend_map(trend: FloatArray, nside: int) -> FloatArray:
    if not trend[1:].any():
        return np.full(12 * nside**2, trend[0])
    return np.concatenate([_design(nside, pixels) @ trend for pixels in _chunks(np.arange(12 * nside**2))])


def _design(nside: int, pixels: AnyArray) -> FloatArray:
    return np.column_stack([np.ones(len(pixels)), pixel_vectors(nside, pixels)])


def _chunks(pixels: AnyArray) -> list[AnyArray]:
    return np.array_split(pixels, max(1, len(pixels) // _CHUNK))
