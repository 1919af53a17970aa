"""Plain ways to say what the package computes fast; they share no code with it."""

import numpy as np


def alm_to_real(alm, lmax):
    """(..., (lmax + 1)²) real coefficients in an orthonormal basis: dot products are `alm_dot`."""
    zonal = alm.real[..., : lmax + 1]
    rest = np.sqrt(2.0) * np.ascontiguousarray(alm[..., lmax + 1 :]).view(np.float64)
    return np.concatenate([zonal, rest], axis=-1)


def alm_from_real(real, lmax):
    """The inverse of `alm_to_real`."""
    alm = np.zeros((*real.shape[:-1], (lmax + 1) * (lmax + 2) // 2), dtype=np.complex128)
    alm[..., : lmax + 1] = real[..., : lmax + 1]
    rest = np.ascontiguousarray(real[..., lmax + 1 :]) * np.sqrt(0.5)
    alm[..., lmax + 1 :] = rest.view(np.complex128)
    return alm
