"""Plain ways to say what the package computes fast; they share no code with it."""

import numpy as np


def alm_from_real(real, lmax):
    """The inverse of `harmonics.alm_to_real`."""
    alm = np.zeros((*real.shape[:-1], (lmax + 1) * (lmax + 2) // 2), dtype=np.complex128)
    alm[..., : lmax + 1] = real[..., : lmax + 1]
    rest = np.ascontiguousarray(real[..., lmax + 1 :]) * np.sqrt(0.5)
    alm[..., lmax + 1 :] = rest.view(np.complex128)
    return alm
