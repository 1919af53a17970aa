"""What the Gaussian solvers ask of a sky model, and refuse.

Inputs: a spectrum, the noise of each pixel, a mask. Outputs: the same, checked.
"""

import warnings
from typing import Protocol

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims.map_signal import LEAST_NOISE


class GaussianSky(Protocol):
    """What the solver asks of a sky model; `cmbinpaint.sims.SkyModel` is one."""

    @property
    def nside(self) -> int: ...
    @property
    def lmax(self) -> int: ...
    @property
    def signal_cl(self) -> FloatArray: ...
    @property
    def noise_std(self) -> float | FloatArray: ...


def signal_rms(signal_cl: FloatArray) -> float:
    """The rms of a sky of this spectrum, without monopole and dipole (which hold a broad prior)."""
    # `pixel_variance`, but each term is divided: the noise's floor, and with it the last bits of fills, hang on it.
    rms = float(np.sqrt(((2 * np.arange(signal_cl.size) + 1) * signal_cl / (4 * np.pi))[2:].sum()))
    if rms == 0.0:
        raise SpectrumError("signal_cl is zero above ell = 1: there is no signal to predict")
    return rms


def floored_noise(
    noise_std: float | FloatArray, valid: BoolArray, rms: float, *, quiet: bool = False
) -> FloatArray:
    """The noise of each observed pixel, not below `LEAST_NOISE` of the signal's rms; warns of it unless `quiet`.

    Returns
    -------
    (n_valid,) float64.

    Raises
    ------
    SpectrumError
        If it is negative or not finite in an observed pixel, or has the wrong shape.
    """
    noise = np.asarray(noise_std, dtype=np.float64)
    if noise.ndim and noise.shape != valid.shape:
        raise SpectrumError(f"noise_std has shape {noise.shape}; expected a number or {valid.shape}")
    std = np.full(int(valid.sum()), float(noise)) if noise.ndim == 0 else noise[valid]
    if not np.all(np.isfinite(std)) or np.any(std < 0):
        raise SpectrumError("noise_std is negative or not finite in observed pixels; mask those pixels")
    floor = LEAST_NOISE * rms
    n_low = int(np.sum(std < floor))
    if n_low and not quiet:
        warnings.warn(
            f"noise_std is below {LEAST_NOISE:g} of the signal's rms in {n_low} observed pixels; taken as "
            f"{floor:.3g} there, because without noise the problem is singular",
            CmbInpaintWarning,
            stacklevel=3,
        )
    return np.maximum(std, floor, out=std)
