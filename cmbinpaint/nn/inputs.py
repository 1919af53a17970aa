"""From fields to what a network sees: normalization, and conditioning on the sky model, in patch units.

Inputs: map-level spectra, a noise level, a patch's size. Outputs: the rms to divide by, the vector of conditions.

Temperatures enter over the rms of what a patch resolves, so a network of the linear family is exactly
equivariant to scale. What it is told about the sky is what is always known: the shape of the spectrum on the
patch's scales, and the noise.
"""

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray
from cmbinpaint.errors import SpectrumError

# Wavenumbers, in cycles per pixel, at which the spectrum's shape is told: from a patch's size to Nyquist.
WAVENUMBERS = np.geomspace(1 / 128, 0.5, 9)
N_CONDITIONS = WAVENUMBERS.size + 1
_NOISE_FLOOR = 1e-2  # of the rms: with less noise than this nothing changes but the conditioning
_FLOOR = 1e-6  # of the variance per e-fold: below this no network can tell, and a logarithm stays finite


def conditions(signal_cl: FloatArray, noise_std: float, step_rad: float, side: int) -> Float32Array:
    """Describe a sky model in units of the pixel and of the patch's rms.

    Parameters
    ----------
    signal_cl
        (lmax+1,) map-level signal power, ell from 0; ell 0 and 1 are not used.
    noise_std
        White noise per pixel, in the unit of ``sqrt(signal_cl)``.
    step_rad
        The pixel's side in radians.
    side
        The patch's side in pixels.

    Returns
    -------
    (N_CONDITIONS,) float32: log10 of ``ell (ell+1) C_ell / 2 pi`` over the patch's variance at `WAVENUMBERS`, and
    log10 of the noise over its rms; scaled to order one.
    """
    ell = np.arange(signal_cl.size)
    rms = patch_rms(signal_cl, step_rad, side)
    per_efold = ell * (ell + 1) * signal_cl / (2 * np.pi) / rms**2
    shape = np.interp(2 * np.pi * WAVENUMBERS / step_rad, ell[2:], per_efold[2:], right=0.0)
    noise = np.log10(noise_std / rms + _NOISE_FLOOR)
    return np.concatenate([np.log10(shape + _FLOOR) / 3 + 0.5, [noise + 0.75]]).astype(np.float32)


def patch_rms(signal_cl: FloatArray, step_rad: float, side: int) -> float:
    """The rms of what a patch resolves: ``sqrt(sum (2 ell + 1) C_ell / 4 pi)`` over waves shorter than it."""
    lowest = max(2, int(2 * np.pi / (side * step_rad)))
    ell = np.arange(signal_cl.size)
    variance = float(np.sum((2 * ell[lowest:] + 1) * signal_cl[lowest:]) / (4 * np.pi))
    if not variance > 0:
        raise SpectrumError(
            f"the sky model has no power above ell = {lowest}, the scale of a patch; use model='gaussian'"
        )
    return float(np.sqrt(variance))
