"""What the solver's conjugate gradients are conditioned with.

Inputs: the signal's spectrum, the inverse noise of each pixel, the distribution of the hole pixels. Outputs: an
approximate inverse of `A = 1 + S^½ Yᵀ N⁻¹ Y S^½`.

If the holes were observed too, with noise n, the system Ā would be all but diagonal. What is missing is
`Y_hᵀ n⁻¹ Y_h`, of the hole pixels' rank, and by Woodbury's identity

    A⁻¹ = Ā⁻¹ + Ā⁻¹ S^½ Y_hᵀ n⁻¹ Σ n⁻¹ Y_h S^½ Ā⁻¹,    Σ = (n⁻¹ - n⁻¹ Y_h S^½ Ā⁻¹ S^½ Y_hᵀ n⁻¹)⁻¹,

where Σ is nothing but the covariance of the hole pixels' observations, given the data: fill the holes, then filter
the whole sky. With Vecchia's sparse factor in Σ's place (`sphere.vecchia`) and Ā's diagonal this is symmetric and
positive, costs one pair of transforms, and leaves a handful of steps at any nside.

What the factor does not describe is a dipole without a prior: half a sky leaves it unconstrained, and it would be found
last and unnoticed. Such modes are given as vectors Z and solved for apart, by `Z (Zᵀ A Z)⁻¹ Zᵀ` (Nicolaides 1987, SIAM
J. Numer. Anal. 24, 355).

Of T, Q, U there are two factors, of T and of Q and U: one of all three brings no step (`hole_values`). That of Q and U
also knows how little B there is on large scales (`large_scale_b`).

Ā is diagonal as far as the pixels' quadrature is exact and the noise even. Where a map has power beyond 2 nside far
above its noise (no beam), some ten times more steps are needed.
"""

import numpy as np

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics, alm_dot

# Which Stokes parameters a factor is of, and the factor.
Part = tuple[slice, HolePosterior]


class Preconditioner:
    """The inverse of the filled sky's diagonal, and the correction for the holes.

    Parameters
    ----------
    harmonics
        The solver's transforms.
    signal, root
        The signal's spectra, and S^½.
    weight
        (k,) sum of N⁻¹ over the data of each Stokes parameter.
    parts
        The distributions of hole pixels; Stokes parameters without one have the diagonal of A alone.
    """

    def __init__(
        self,
        harmonics: Harmonics,
        signal: EllMatrix,
        root: EllMatrix,
        weight: FloatArray,
        parts: list[Part],
    ) -> None:
        self._harmonics, self._parts = harmonics, parts
        weight = np.array(weight, dtype=np.float64)
        for rows, factor in parts:
            weight[rows] += factor.holes.size / (rows.stop - rows.start) / factor.noise_std**2
        if parts:
            self._alm = np.empty((signal.k, harmonics.size), dtype=np.complex128)
        self._inverse = _filled_system(signal, root, weight).inverse()
        self._through = root @ self._inverse  # S^½ Ā⁻¹
        self._modes: list[ComplexArray] = []
        self._between_modes: AnyArray = np.empty((0, 0))

    def solve_apart(self, modes: list[ComplexArray], images: list[ComplexArray]) -> None:
        """Solve for these modes apart, given the system's images of them."""
        lmax = self._harmonics.lmax
        products = [[alm_dot(mode, image, lmax) for image in images] for mode in modes]
        self._modes, self._between_modes = modes, np.linalg.pinv(products, hermitian=True)

    def apply(
        self, alm: ComplexArray, *, out: ComplexArray | None = None, sky: FloatArray | None = None
    ) -> ComplexArray:
        """The approximate inverse of the system times `alm` (k, size); written to `out` (not `alm`) if given.

        `sky` is a map (k, npix) to work in.
        """
        out = self._inverse.apply(alm, out=out)
        if self._parts:
            sky = self._harmonics.synthesis(self._through.apply(alm, out=self._alm), out=sky)
            values = []
            for rows, factor in self._parts:
                found = factor.covariance(sky[rows].reshape(-1)[factor.holes])
                found /= factor.noise_std**4
                values.append(found)
            sky[:] = 0.0
            for (rows, factor), found in zip(self._parts, values, strict=True):
                sky[rows].reshape(-1)[factor.holes] = found
            correction = self._harmonics.adjoint(sky, out=self._alm)
            out += self._through.transposed.apply(correction, out=correction)
        if self._modes:
            along = np.array([alm_dot(mode, alm, self._harmonics.lmax) for mode in self._modes])
            for mode, amount in zip(self._modes, self._between_modes @ along, strict=True):
                out += amount * mode
        return out


def _filled_system(signal: EllMatrix, root: EllMatrix, weight: FloatArray) -> EllMatrix:
    """Ā: `1 + Lᵀ W L / 4π`, with the weight of E and of B the mean of Q's and U's."""
    if signal.k == 1:  # the same, but one rounding less: fills keep their bits
        return EllMatrix(1.0 + signal.values * weight[0] / (4 * np.pi))
    weight[-2:] = weight[-2:].mean()
    weights = EllMatrix.identity(signal.k, signal.lmax).values * (weight / (4 * np.pi))[:, None, None]
    return (root.transposed @ EllMatrix(weights) @ root).plus_diagonal(np.ones(signal.k))
