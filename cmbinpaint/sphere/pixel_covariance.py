"""The covariance of isotropic fields between points, from their power spectra.

Inputs: spectra from ell = 0. Outputs: `correlation`, the exact sum over ell; `CovarianceTable`, its fast interpolation;
`Frames` and `stokes_covariance`, Q and U between points anywhere.

`C(theta) = sum_{l >= 2} (2l+1)/(4 pi) C_l d^l(theta)`, with `d^l` one of Wigner's functions: P_l for T. Monopole and
dipole are left out: in a sky model they carry a broad variance, and kriging marginalizes the constant instead.

Polarization: with psi the angle, from south to east, at which the geodesic of two points leaves each of them,
`Q_r + i U_r = (Q + i U) exp(-2 i psi)` is Q and U in its frame, where

    <Q_r Q_r> = (xi+ + xi-)/2,   <U_r U_r> = (xi+ - xi-)/2,   <Q_r U_r> = 0,   <T U_r> = 0

(without EB and TB) and xi+ sums `(EE + BB) d^l_22`, xi- `(EE - BB) d^l_2-2`, <T Q_r> `-TE d^l_20` (Kamionkowski et al.
1997, astro-ph/9611125, in the signs of HEALPix).
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

import ducc0
import numpy as np
from scipy.interpolate import CubicSpline

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray, IntArray
from cmbinpaint.sphere.power import validate_cl

# Nodes of the table per radian of the highest harmonic's phase: the interpolation is then within 1e-9 of the
# variance for a spectrum flat to its lmax, within 1e-11 for one with a beam.
NODES_PER_PHASE = 20
# Squared sine of an angle below which two points count as one, or as antipodes: their geodesic has any direction.
_SAME = 1e-20
Kind = Literal["TT", "xi+", "xi-", "TQ"]


def correlation(cl: AnyArray, theta: AnyArray, kind: Kind = "TT") -> FloatArray:
    """The covariance of two points at a distance, without monopole and dipole.

    Parameters
    ----------
    cl
        (lmax+1,) float, the spectrum from ell = 0, unit²; entries 0 and 1 are not used. It may be negative.
    theta
        Angles in radians, any shape, 0 to pi.
    kind
        ``"TT"``; ``"xi+"`` of EE + BB, ``"xi-"`` of EE - BB, ``"TQ"`` of TE: <T Q_r>.

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
    alm = (np.sqrt((2 * np.arange(lmax + 1) + 1) / (4 * np.pi)) * cl).astype(np.complex128)
    if kind == "TT":
        # An axisymmetric transform: each angle is a ring of one pixel.
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
        )[0]
    else:
        # What a pure E mode of m = 0 or 2 is along a meridian.
        along_q, along_u = ducc0.sht.alm2leg(
            alm=np.stack([alm, np.zeros_like(alm)]),
            lmax=lmax,
            theta=np.ravel(theta),
            spin=2,
            mval=np.array([0 if kind == "TQ" else 2], dtype=np.uint64),
            mstart=np.zeros(1, dtype=np.uint64),
        )[..., 0]
        values = (
            along_q.real
            if kind == "TQ"
            else -along_q.real - (along_u.imag if kind == "xi+" else -along_u.imag)
        )
    return np.asarray(values).reshape(theta.shape)


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
    def from_cl(cls, cl: AnyArray, largest_chord: float = 2.0, kind: Kind = "TT") -> Self:
        """Tabulate a spectrum's covariance up to a chord, at most 2."""
        per_chord = float(NODES_PER_PHASE * max(np.size(cl) - 1, 32))
        reach = min(largest_chord, np.sqrt(2.0))
        nodes = np.arange(int(np.ceil(reach * per_chord)) + 4)
        angles = 2 * np.arcsin(nodes / per_chord / 2)
        near = _even_cubics(nodes, correlation(cl, angles, kind))
        variance = float(near[3, 0])
        if largest_chord <= reach:
            return cls(variance, per_chord, near)
        far = _even_cubics(nodes, correlation(cl, np.pi - angles, kind))
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


@dataclass(frozen=True, eq=False)
class Frames:
    """Points of the sphere and the directions that Q and U refer to there; three coordinates on the leading axis.

    Parameters
    ----------
    vectors
        (3, ...) unit vectors, not a pole.
    south, east
        (3, ...) unit vectors: HEALPix's axes of Q > 0 and of the angle that grows (COSMO).
    """

    vectors: FloatArray
    south: FloatArray
    east: FloatArray

    @classmethod
    def at(cls, vectors: FloatArray) -> Self:
        """The frames of points (3, ...)."""
        x, y, z = vectors
        ring = np.hypot(x, y)
        east = np.stack([-y / ring, x / ring, np.zeros_like(x)])
        south = np.stack([z * x / ring, z * y / ring, -ring])
        return cls(vectors, south, east)

    def __getitem__(self, index: Any) -> Self:
        """The frames of some of the points; the index is of the axes after the first."""
        index = (slice(None), *(index if isinstance(index, tuple) else (index,)))
        return type(self)(self.vectors[index], self.south[index], self.east[index])


def geodesic_phases(first: Frames, second: Frames) -> tuple[ComplexArray, ComplexArray]:
    """`exp(2 i psi)` of the geodesic from one point to the other, at either: two arrays of the points' shape."""
    step = second.vectors - first.vectors  # keeps the digits of near points
    here = _dot(step, first.south) + 1j * _dot(step, first.east)
    there = _dot(step, second.south) + 1j * _dot(step, second.east)
    same = np.minimum(np.square(np.abs(here)), np.square(np.abs(there))) < _SAME
    if same.any():  # any geodesic will do, but the same at both: south of the first
        here = np.where(same, 1.0, here)
        there = np.where(same, _dot(first.south, second.south) + 1j * _dot(first.south, second.east), there)
    return np.square(here / np.abs(here)), np.square(there / np.abs(there))


def stokes_covariance(
    plus: CovarianceTable, minus: CovarianceTable, first: Frames, second: Frames
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """<Q Q'>, <Q U'>, <U Q'>, <U U'> between points, each in its own frame; arrays of the points' shape.

    Parameters
    ----------
    plus, minus
        xi+ and xi-.
    first, second
        Of the unprimed and of the primed point.
    """
    squared = np.square(second.vectors - first.vectors).sum(axis=0)
    here, there = geodesic_phases(first, second)
    difference, total = 0.5 * plus(squared) * here * there.conj(), 0.5 * minus(squared) * here * there
    return (
        total.real + difference.real,
        total.imag - difference.imag,
        total.imag + difference.imag,
        difference.real - total.real,
    )


def temperature_covariance(
    cross: CovarianceTable, first: Frames, second: Frames
) -> tuple[FloatArray, FloatArray]:
    """<T Q'> and <T U'> between points; arrays of the points' shape. `cross` is <T Q_r>."""
    squared = np.square(second.vectors - first.vectors).sum(axis=0)
    turned = cross(squared) * geodesic_phases(first, second)[1]
    return turned.real, turned.imag


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
