"""Monopole and dipole of the observed sky: removed before the work, added back after it.

Inputs: a map and a plan. Outputs: four numbers, the map that they make, and how well they are known.
"""

import warnings

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics, alm_dot, scale_alm
from cmbinpaint.sphere.pixels import pixel_vectors

# On less sky than this a fitted dipole says little, and what it says would be blown up on the far side.
LEAST_FSKY_FOR_DIPOLE = 0.3
_CHUNK = 1 << 20  # pixels handled at once
# The sky that passes for a dipole on a part of the sphere is a large-scale one: C_ell falls as ell^-2 or faster.
_MIXING_LMAX = 64
_SINGULAR = 1e10
# Beyond this fraction of a pixel's rms (signal and noise) the user should know.
_DOUBTFUL = 0.5


def fit_monopole_dipole(values: FloatArray, plan: InpaintingPlan) -> FloatArray:
    """(4,) monopole and dipole of the data by least squares; the monopole alone on a small part of the sky."""
    normal, right = np.zeros((4, 4)), np.zeros(4)
    for pixels in _chunks(np.flatnonzero(plan.valid)):
        design = _design(plan.nside, pixels)
        normal += design.T @ design
        right += design.T @ values[pixels]
    if plan.fsky < LEAST_FSKY_FOR_DIPOLE:
        return np.array([right[0] / normal[0, 0], 0.0, 0.0, 0.0])
    if np.linalg.cond(normal) > _SINGULAR:  # a few pixels of one ring, say: no dipole along its axis
        return np.asarray(np.linalg.pinv(normal, rcond=1 / _SINGULAR, hermitian=True) @ right)
    return np.asarray(np.linalg.solve(normal, right), dtype=np.float64)


def monopole_dipole_std(plan: InpaintingPlan, sky_model: SkyModel) -> float:
    """How far off the fitted monopole and dipole are in the targets, rms, for a sky of this model.

    Any constant and any dipole are preserved in the fill, so neither is known better than the observed part of the
    sky tells them from the multipoles above: covariance ``N⁻¹ B N⁻¹``, N the normal matrix of the fit and B the
    sky's (and the noise's) covariance of its right side.
    """
    lmax = min(sky_model.lmax, _MIXING_LMAX)
    cl = sky_model.signal_cl[: lmax + 1].copy()
    cl[:2] = 0.0
    harmonics = Harmonics(plan.nside, lmax)
    normal, spread = np.zeros((4, 4)), np.zeros((4, 4))
    for pixels in _chunks(np.flatnonzero(plan.valid)):
        design = _design(plan.nside, pixels)
        normal += design.T @ design
    for pixels in _chunks(np.flatnonzero(plan.targets)):
        design = _design(plan.nside, pixels)
        spread += design.T @ design
    modes = [
        harmonics.adjoint(np.where(plan.valid, monopole_dipole_map(unit, plan.nside), 0.0))
        for unit in np.eye(4)
    ]
    weighted = [scale_alm(mode, cl) for mode in modes]
    right = np.array([[alm_dot(a, b, lmax) for b in modes] for a in weighted])
    right += np.mean(np.square(sky_model.noise_std)) * normal
    inverse = np.linalg.pinv(normal)
    return float(np.sqrt(np.trace(inverse @ right @ inverse @ spread) / np.count_nonzero(plan.targets)))


def warn_if_uncertain(std: float, sky_model: SkyModel) -> None:
    """Warn where the fill's monopole and dipole say little."""
    rms = float(np.hypot(sky_model.rms, np.sqrt(np.mean(np.square(sky_model.noise_std)))))
    if std > _DOUBTFUL * rms:
        warnings.warn(
            f"what is observed leaves the map's monopole and dipole uncertain by {std:.3g} rms in the holes (a "
            f"pixel's rms is {rms:.3g}), and the fill continues both: ignore its ell = 0 and 1, remove "
            "them before looking at the map; C_ell from ell = 2 on is not affected",
            CmbInpaintWarning,
            stacklevel=3,
        )


def monopole_dipole_map(fitted: FloatArray, nside: int) -> FloatArray:
    """(npix,) the map that a monopole and a dipole (4,) make."""
    if not fitted[1:].any():
        return np.full(12 * nside**2, fitted[0])
    return np.concatenate([_design(nside, pixels) @ fitted for pixels in _chunks(np.arange(12 * nside**2))])


def _design(nside: int, pixels: AnyArray) -> FloatArray:
    return np.column_stack([np.ones(len(pixels)), pixel_vectors(nside, pixels)])


def _chunks(pixels: AnyArray) -> list[AnyArray]:
    return np.array_split(pixels, max(1, len(pixels) // _CHUNK))
