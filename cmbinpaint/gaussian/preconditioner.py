"""What the solver's conjugate gradients are conditioned with.

Inputs: the signal's spectrum, the inverse noise of each pixel, the distribution of the hole pixels. Outputs: an
approximate inverse of `A = 1 + S^½ Yᵀ N⁻¹ Y S^½`.

If the holes were observed too, with noise n, the system Ā would be all but diagonal. What is missing is
`Y_hᵀ n⁻¹ Y_h`, of the hole pixels' rank, and by Woodbury's identity

    A⁻¹ = Ā⁻¹ + Ā⁻¹ S^½ Y_hᵀ n⁻¹ Σ n⁻¹ Y_h S^½ Ā⁻¹,    Σ = (n⁻¹ - n⁻¹ Y_h S^½ Ā⁻¹ S^½ Y_hᵀ n⁻¹)⁻¹,

where Σ is nothing but the covariance of the hole pixels' observations, given the data: fill the holes, then filter
the whole sky. With Vecchia's sparse factor in Σ's place (`sphere.vecchia`) and Ā's diagonal this is symmetric and
positive, costs one pair of transforms, and leaves a handful of steps at any nside.

What the factor cannot know of is a dipole without a prior: half a sky leaves it unconstrained, and it would be found
last and unnoticed. Such modes are given as vectors Z and solved for apart, by `Z (Zᵀ A Z)⁻¹ Zᵀ` (Nicolaides 1987, SIAM
J. Numer. Anal. 24, 355).

Ā is diagonal as far as the pixels' quadrature is exact and the noise even. Where a map has power beyond 2 nside far
above its noise (no beam), some ten times more steps are needed.
"""

import numpy as np

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.sphere.harmonics import Harmonics, alm_degrees, alm_dot


class Preconditioner:
    """The inverse of the filled sky's diagonal, and the correction for the holes.

    Parameters
    ----------
    harmonics
        The solver's transforms.
    signal_cl
        (lmax + 1,) the signal's spectrum.
    weight
        Sum of N⁻¹ over the data.
    factor
        The distribution of the hole pixels; None: the diagonal of A alone.
    """

    def __init__(
        self,
        harmonics: Harmonics,
        signal_cl: FloatArray,
        weight: float,
        factor: HolePosterior | None,
    ) -> None:
        self._harmonics, self._factor = harmonics, factor
        if factor is not None:
            weight += factor.holes.size / factor.noise_std**2
            self._alm = np.empty(harmonics.size, dtype=np.complex128)
        inverse = 1.0 / (1.0 + signal_cl * weight / (4 * np.pi))
        self._diagonal = per_real(inverse)
        self._through = per_real(np.sqrt(signal_cl) * inverse)  # S^½ Ā⁻¹
        self._modes: list[ComplexArray] = []
        self._between_modes: AnyArray = np.empty((0, 0))

    def solve_apart(self, modes: list[ComplexArray], images: list[ComplexArray]) -> None:
        """Solve for these modes apart, given the system's images of them."""
        lmax = self._harmonics.lmax
        products = [[alm_dot(mode, image, lmax) for image in images] for mode in modes]
        self._modes, self._between_modes = modes, np.linalg.pinv(products, hermitian=True)

    def apply(self, alm: ComplexArray, *, out: ComplexArray | None = None) -> ComplexArray:
        """The approximate inverse of the system times `alm`; written to `out` (not `alm` itself) if given."""
        out = scaled(alm, self._diagonal, out=out)
        if self._factor is not None:
            factor = self._factor
            sky = self._harmonics.synthesis(scaled(alm, self._through, out=self._alm))
            values = factor.covariance(sky[factor.holes])
            values /= factor.noise_std**4
            sky[:] = 0.0
            sky[factor.holes] = values
            correction = self._harmonics.adjoint(sky, out=self._alm)
            out += scaled(correction, self._through, out=correction)
        if self._modes:
            along = np.array([alm_dot(mode, alm, self._harmonics.lmax) for mode in self._modes])
            for mode, amount in zip(self._modes, self._between_modes @ along, strict=True):
                out += amount * mode
        return out


def per_real(factor: FloatArray) -> FloatArray:
    """(2 · alm_size,): a factor of ell repeated for the real and imaginary parts of an alm."""
    return np.repeat(factor[alm_degrees(factor.size - 1)], 2)


def scaled(alm: ComplexArray, factor: FloatArray, *, out: ComplexArray | None = None) -> ComplexArray:
    """`factor · alm` by real multiplications; `factor` from `per_real`."""
    out = np.empty_like(alm) if out is None else out
    np.multiply(alm.view(np.float64), factor, out=out.view(np.float64))
    return out
