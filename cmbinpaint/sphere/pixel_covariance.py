"""The covariance of an isotropic field between points, from its power spectrum.

Inputs: spectra from ell = 0. Outputs: `correlation`, the exact Legendre sum; `CovarianceTable`, its fast
interpolation.

`C(theta) = sum_{l >= 2} (2l+1)/(4 pi) C_l P_l(cos theta)`. Monopole and dipole are left out: in a sky model
they carry a broad variance, and kriging marginalizes the constant instead.
"""

from dataclasses import dataclass
from typing import Self

import ducc0
import numpy as np
from scipy.interpolate import CubicSpline

from cmbinpaint._types import AnyArray, FloatArray, IntArray
from cmbinpaint.sphere.power import validate_cl

# Nodes of the table per radian of the highest harmonic's phase: the interpolation is then within 1e-9 of the
# variance for a spectrum flat to its lmax, within 1e-11 for one with a beam.
NODES_PER_PHASE = 20


def correlation(cl: AnyArray, theta: AnyArray) -> FloatArray:
    """The covariance of two points at a distance, without monopole and dipole.

    Parameters
    ----------
    cl
        (lmax+1,) float, the spectrum from ell = 0, unit²; entries 0 and 1 are not used. A cross spectrum may
        be negative.
    theta
        Angles in radians, any shape, 0 to pi.

    Returns
    -------
    float64 array of theta's shape, unit².

    Raises
    ------
    SpectrumError
        If the spectrum is not a row of finite numbers.
    """
    cl = validate_cl(cl, signed=True)
    cl[:2] = 0.0
    theta = np.asarray(theta, dtype=np.float64)
    lmax = cl.size - 1
    # An axisymmetric transform: each angle is a ring of one pixel.
    alm = (np.sqrt((2 * np.arange(lmax + 1) + 1) / (4 * np.pi)) * cl).astype(np.complex128)
    values = ducc0.sht.synthesis(
        alm=alm[None],
        theta=np.ravel(theta),
        lmax=lmax,
        mmax=0,
        nphi=np.ones(theta.size, dtype=np.uint64),
        phi0=np.zeros(theta.size),
        ringstart=np.arange(theta.size, dtype=np.uint64),
        spin=0,
        nthreads=1,
    )
    return np.asarray(values[0]).reshape(theta.shape)


@dataclass(frozen=True, eq=False)
class CovarianceTable:
    """`correlation` interpolated: called with squared chords `|u - v|²` of unit vectors.

    Parameters
    ----------
    variance
        The covariance at distance 0.
    per_chord
        Nodes per unit of chord.
    coefficients
        (4, nodes) float64: the cubic between a node and the next, highest power first.
    turn
        The first node of the second half, or 0 if there is none. It runs from the antipode backwards, for the
        covariance is smooth in the chord to either pole but not across: the chord is stationary at 2.
    """

    variance: float
    per_chord: float
    coefficients: FloatArray
    turn: int = 0

    @classmethod
    def from_cl(cls, cl: AnyArray, largest_chord: float = 2.0) -> Self:
        """Tabulate a spectrum's covariance up to a chord, at most 2."""
        per_chord = float(NODES_PER_PHASE * max(np.size(cl) - 1, 32))
        reach = min(largest_chord, np.sqrt(2.0))
        nodes = np.arange(int(np.ceil(reach * per_chord)) + 4)
        angles = 2 * np.arcsin(nodes / per_chord / 2)
        near = _even_cubics(nodes, correlation(cl, angles))
        variance = float(near[3, 0])
        if largest_chord <= reach:
            return cls(variance, per_chord, near)
        far = _even_cubics(nodes, correlation(cl, np.pi - angles))
        return cls(variance, per_chord, np.concatenate([near, far], axis=1), near.shape[1])

    def __call__(self, squared_chord: FloatArray) -> FloatArray:
        """The covariances at squared chords; float64 of the same shape."""
        if self.turn:
            far = squared_chord > 2.0
            squared_chord = np.where(far, np.maximum(4.0 - squared_chord, 0.0), squared_chord)
        offset = np.sqrt(squared_chord)
        offset *= self.per_chord
        node = offset.astype(np.intp)
        offset -= node
        if self.turn:
            node += self.turn * far
        # `take` with four arrays is three times as fast as indexing one of rows.
        result = self.coefficients[0].take(node, mode="clip")
        term = np.empty_like(result)
        for coefficient in self.coefficients[1:]:
            result *= offset
            result += coefficient.take(node, mode="clip", out=term)
        return result


def _even_cubics(nodes: IntArray, values: FloatArray) -> FloatArray:
    """(4, nodes) coefficients of the spline of a function that is even about the first node."""
    spline = CubicSpline(nodes.astype(np.float64), values, bc_type=((1, 0.0), "not-a-knot"))
    return np.ascontiguousarray(spline.c)
