"""Noise levels of a map as users have them: a number, or a map that says nothing where nothing was observed.

Inputs: noise per pixel, or its covariance, and a plan. Outputs: numbers or RING maps, known everywhere.
"""

import itertools
import warnings
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.maps import is_unseen, to_ring
from cmbinpaint.sphere.power import as_numbers, validate_noise, validate_noise_cov


def noise_of(noise_std: Any, plan: InpaintingPlan, *, nest: bool = False) -> float | FloatArray:
    """The noise of every pixel; where a map has none (NaN, infinite, UNSEEN), the median of the data's.

    Parameters
    ----------
    noise_std
        A number or (npix,) in the map's ordering; a Quantity is converted to µK. Of several Stokes parameters a number
        for all, (k,) or (k, npix).
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
    k = 1 if plan.valid.ndim == 1 else len(plan.valid)
    if std.shape != plan.valid.shape:
        return validate_noise(noise_std, plan.nside, k)
    if nest:
        std = to_ring(std)
    unknown = ~np.isfinite(std) | is_unseen(std)
    if not unknown.any():
        return validate_noise(std, plan.nside, k)
    lost = unknown & plan.valid
    if lost.any():
        raise SpectrumError(
            f"noise_std has no value (NaN, infinite, UNSEEN) in {np.count_nonzero(lost)} pixels that are data, the "
            f"first at RING index {int(np.argmax(lost)) % lost.shape[-1]}: give their noise, or add them to the mask"
        )
    rows = zip(np.atleast_2d(std), np.atleast_2d(plan.valid), strict=True)
    levels = np.array([np.median(row[valid]) for row, valid in rows])
    _warn_of_assumed("noise_std", unknown, levels, plan)
    return validate_noise(np.where(unknown, levels[:, None], std).reshape(std.shape), plan.nside, k)


def noise_cov_of(noise_cov: Any, plan: InpaintingPlan, *, nest: bool = False) -> FloatArray:
    """The noise covariance of every pixel; where it is unknown, that of the data's median, without correlations.

    Parameters
    ----------
    noise_cov
        (3, npix) QQ, QU, UU or (6, npix) II, IQ, IU, QQ, QU, UU in the map's ordering; a Quantity is converted to µK².
    plan, nest
        As in `noise_of`; a plan with a row for each Stokes parameter.

    Raises
    ------
    SpectrumError
        If it is no covariance, of another shape, or unknown in pixels that are data.

    Warns
    -----
    CmbInpaintWarning
        If a level is assumed in pixels that are filled.
    """
    cov, k = as_numbers(noise_cov, "uK2", "noise_cov"), np.atleast_2d(plan.valid).shape[0]
    pairs = list(itertools.combinations_with_replacement(range(k), 2))
    if k == 1 or cov.shape != (len(pairs), plan.valid.shape[-1]):
        return validate_noise_cov(noise_cov, plan.nside, k)
    if nest:
        cov = to_ring(cov)
    unknown = ~np.isfinite(cov) | is_unseen(cov)
    lost = np.any(
        [row & plan.valid[i] & plan.valid[j] for row, (i, j) in zip(unknown, pairs, strict=True)], axis=0
    )
    if lost.any():
        raise SpectrumError(
            f"noise_cov has no value (NaN, infinite, UNSEEN) in {np.count_nonzero(lost)} pixels that are data, the "
            f"first at RING index {int(np.argmax(lost))}: give their noise, or add them to the mask"
        )
    variances = [pairs.index((i, i)) for i in range(k)]
    levels = np.array([np.median(cov[row, plan.valid[i]]) for i, row in enumerate(variances)])
    lacking = unknown[variances]
    for row, (i, j) in enumerate(pairs):
        cov[row, unknown[row] | lacking[i] | lacking[j]] = 0.0
    for i, row in enumerate(variances):
        cov[row, lacking[i]] = levels[i]
    _warn_of_assumed("noise_cov", lacking, levels, plan)
    return validate_noise_cov(cov, plan.nside, k)


def _warn_of_assumed(name: str, unknown: BoolArray, levels: FloatArray, plan: InpaintingPlan) -> None:
    """Warn of noise that is assumed where a map of it says nothing."""
    filled = np.atleast_2d(unknown & ~plan.excluded).any(axis=0)
    if filled.any():
        assumed = ", ".join(f"{level:.4g}" for level in levels)
        warnings.warn(
            f"{name} has no value in {np.count_nonzero(filled)} pixels that are no data; {assumed} is assumed there, "
            "the median of the data's: realizations have that noise in these holes",
            CmbInpaintWarning,
            stacklevel=5,
        )
