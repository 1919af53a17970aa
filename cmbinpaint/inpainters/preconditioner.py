"""What the solver's conjugate gradients are conditioned with.

Takes: the signal's spectrum and the inverse noise of each pixel. Gives: an approximate inverse of
`1 + S^½ Yᵀ N⁻¹ Y S^½`. Floor: 3.

The large scales deep in a big hole converge last: there the diagonal is far from the system. So the system's block
of low ell is inverted exactly, the rest by its diagonal (Eriksen et al. 2004, astro-ph/0407028, section 3.3).
"""

import numpy as np
from scipy import linalg

from cmbinpaint._types import ComplexArray, FloatArray
from cmbinpaint.sphere.harmonics import Harmonics, alm_degrees, alm_from_real, alm_to_real


class Preconditioner:
    """The inverse of the low block, and of the diagonal above it.

    Parameters
    ----------
    harmonics
        The solver's transforms.
    signal_cl
        (lmax + 1,) the signal's spectrum.
    inverse_noise
        (npix,) N⁻¹, 0 in holes.
    low_ell
        The block holds ell <= low_ell, at most lmax; negative: the diagonal alone.
    """

    def __init__(
        self, harmonics: Harmonics, signal_cl: FloatArray, inverse_noise: FloatArray, low_ell: int
    ) -> None:
        weight = float(inverse_noise.sum()) / (4 * np.pi)
        degrees = alm_degrees(harmonics.lmax)
        self._diagonal = np.repeat((1.0 / (1.0 + signal_cl * weight))[degrees], 2)
        self.low_ell = min(low_ell, harmonics.lmax)
        if self.low_ell >= 0:
            # Both layouts are m-major, so the low coefficients come in the order of a smaller alm.
            self._low = np.flatnonzero(degrees <= self.low_ell)
            self._inverse = _inverse_block(harmonics, signal_cl, inverse_noise, self.low_ell)

    def apply(self, alm: ComplexArray, *, out: ComplexArray | None = None) -> ComplexArray:
        """The approximate inverse of the system times `alm`; written to `out` (not `alm` itself) if given."""
        out = np.empty_like(alm) if out is None else out
        np.multiply(alm.view(np.float64), self._diagonal, out=out.view(np.float64))
        if self.low_ell >= 0:
            low = alm_to_real(alm[self._low], self.low_ell)
            out[self._low] = alm_from_real(self._inverse @ low, self.low_ell)
        return out


def _inverse_block(
    harmonics: Harmonics, signal_cl: FloatArray, inverse_noise: FloatArray, low_ell: int
) -> FloatArray:
    """The inverse of `1 + S^½ Yᵀ N⁻¹ Y S^½` for ell <= low_ell, on real coefficients."""
    block = harmonics.product_matrix(inverse_noise, low_ell)
    root = np.sqrt(signal_cl[: low_ell + 1])[alm_degrees(low_ell)]
    root = np.concatenate([root[: low_ell + 1], np.repeat(root[low_ell + 1 :], 2)])
    block *= root[:, None]
    block *= root
    np.fill_diagonal(block, block.diagonal() + 1.0)
    inverse = linalg.cho_solve(linalg.cho_factor(block, lower=True, overwrite_a=True), np.eye(root.size))
    return 0.5 * (inverse + inverse.T)
