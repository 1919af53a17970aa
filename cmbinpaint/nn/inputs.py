"""From fields to what a network sees: the conditioning on the sky model, in patch units.

Takes: map-level spectra, a noise level and a pixel step. Gives: the vector of conditions. Floor: 1.

Temperatures enter over the field's rms (the square root of the sky model's signal variance), so a network of the
linear family is exactly equivariant to scale. What it is told about the sky is what is always known: the shape of
the spectrum on the scales that a patch resolves, and the noise.
"""

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray
from cmbinpaint.errors import SpectrumError

# Wavenumbers, in cycles per pixel, at which the spectrum's shape is told: from a patch's size to Nyquist.
WAVENUMBERS = np.geomspace(1 / 128, 0.5, 9)
N_CONDITIONS = WAVENUMBERS.size + 1
_FLOOR = 1e-6  # of the variance per e-fold: below this no network can tell, and a logarithm stays finite


def conditions(signal_cl: FloatArray, noise_std: float, step_rad: float) -> Float32Array:
    """Describe a sky model in units of the pixel and of the field's rms.

    Parameters
    ----------
    signal_cl
        (lmax+1,) map-level signal power, ell from 0; ell 0 and 1 are not used.
    noise_std
        White noise per pixel, in the unit of ``sqrt(signal_cl)``.
    step_rad
        The pixel's side in radians.

    Returns
    -------
    (N_CONDITIONS,) float32: log10 of ``ell (ell+1) C_ell / 2 pi`` over the variance at `WAVENUMBERS`, and log10 of
    the noise over the rms; scaled to order one.
    """
    ell = np.arange(signal_cl.size)
    variance = field_variance(signal_cl)
    per_efold = ell * (ell + 1) * signal_cl / (2 * np.pi) / variance
    shape = np.interp(2 * np.pi * WAVENUMBERS / step_rad, ell[2:], per_efold[2:], right=0.0)
    noise = np.log10(noise_std / np.sqrt(variance) + 1e-4)
    return np.concatenate([np.log10(shape + _FLOOR) / 3 + 0.5, [noise / 2 + 0.75]]).astype(np.float32)


def field_variance(signal_cl: FloatArray) -> float:
    """Variance of the field, monopole and dipole apart: ``sum_{ell>1} (2 ell + 1) C_ell / 4 pi``."""
    ell = np.arange(signal_cl.size)
    variance = float(np.sum((2 * ell[2:] + 1) * signal_cl[2:]) / (4 * np.pi))
    if not variance > 0:
        raise SpectrumError(f"the signal's variance is {variance}; a sky model needs power above ell = 1")
    return variance
