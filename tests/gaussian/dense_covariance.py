"""The covariance of T, Q and U between pixels, by sums over ell on dense matrices: slow and plain, for the oracle.

Inputs: spectra and unit vectors. Outputs: covariances without monopole and dipole.

Nothing here is shared with the solver or with `sphere.pixel_covariance`: Wigner's functions come from their recursion
in ell, the angles of Q and U from spherical trigonometry.
"""

from collections.abc import Iterator

import numpy as np
from numpy.polynomial import legendre

from cmbinpaint._types import FloatArray

# Elements of a covariance made at a time: what stays in cache.
BLOCK = 1 << 15


def covariance(signal_cl: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """The covariance of T between two sets of unit vectors, without monopole and dipole.

    Parameters
    ----------
    signal_cl
        (lmax + 1,) spectrum.
    first, second
        (n, 3) and (m, 3) unit vectors.

    Returns
    -------
    (n, m) float64.
    """
    coefficients = (2 * np.arange(signal_cl.size) + 1) * signal_cl / (4 * np.pi)
    coefficients[:2] = 0.0
    out = np.empty((len(first), len(second)))
    for rows in blocks(len(first), len(second)):
        out[rows] = legendre.legval(np.clip(first[rows] @ second.T, -1.0, 1.0), coefficients)
    return out


def polarization_covariance(signal: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """(2, 2, n, m) the covariance of Q and U, from (2, 2, lmax + 1) the spectra of E and B.

    In the frame of the geodesic <Q Q'> is `Σ (2l+1)/4π (EE F1 + BB F2)`, <U U'> has E and B exchanged and <Q U'> is
    `Σ (2l+1)/4π EB (F1 - F2)`, with F1, F2 half the sum and half the difference of d^l_22 and d^l_2-2.
    """
    ee, bb, eb = signal[0, 0], signal[1, 1], signal[0, 1]
    out = np.empty((2, 2, len(first), len(second)))
    for rows in blocks(len(first), len(second)):
        cosine = np.clip(first[rows] @ second.T, -1.0, 1.0)
        plus = _wigner_sum(ee + bb, 2, cosine)
        minus = _wigner_sum(ee - bb, -2, cosine)
        along = (
            np.array([[plus + minus, 2 * _wigner_sum(eb, -2, cosine)], [np.zeros_like(plus), plus - minus]])
            / 2
        )
        along[1, 0] = along[0, 1]
        left, right = _rotations(first[rows], second)
        out[:, :, rows] = np.einsum("aipq,abpq,bjpq->ijpq", left, along, right)
    return out


def temperature_polarization_covariance(
    signal: FloatArray, first: FloatArray, second: FloatArray
) -> FloatArray:
    """(2, n, m) the covariance of T with Q and with U, from (2, lmax + 1) TE and TB: `-Σ (2l+1)/4π (TE, TB) d^l_20`."""
    out = np.empty((2, len(first), len(second)))
    for rows in blocks(len(first), len(second)):
        cosine = np.clip(first[rows] @ second.T, -1.0, 1.0)
        along = -np.array([_wigner_sum(cl, 0, cosine) for cl in signal])
        out[:, rows] = np.einsum("apq,ajpq->jpq", along, _rotations(first[rows], second)[1])
    return out


def _wigner_sum(cl: FloatArray, n: int, cosine: FloatArray) -> FloatArray:
    """`Σ_{l >= 2} (2l+1)/4π C_l d^l_{2n}` at these cosines, n = 2, 0 or -2, by the recursion in ell."""
    if n == 0:
        before, now = np.zeros_like(cosine), np.sqrt(6.0) / 4 * (1 - np.square(cosine))
    else:
        before, now = np.zeros_like(cosine), np.square((1 + np.sign(n) * cosine) / 2)
    total = np.zeros_like(cosine)
    for ell in range(2, cl.size):
        total += (2 * ell + 1) / (4 * np.pi) * cl[ell] * now
        after = (2 * ell + 1) * (ell * (ell + 1) * cosine - 2 * n) * now
        after -= (ell + 1) * np.sqrt((ell**2 - 4.0) * (ell**2 - n**2)) * before
        after /= ell * np.sqrt(((ell + 1) ** 2 - 4.0) * ((ell + 1) ** 2 - n**2))
        before, now = now, after
    return total


def _rotations(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(2, 2, n, m) at either point of each pair: the matrix from Q, U to those in the geodesic's frame."""
    theta, phi = np.arccos(first[:, 2:]), np.arctan2(first[:, 1:2], first[:, :1])
    theta_2, phi_2 = np.arccos(second[:, 2]), np.arctan2(second[:, 1], second[:, 0])
    turn = phi_2 - phi
    # The directions of the geodesic at either point, as east and south of a step along it.
    here = np.arctan2(
        np.sin(theta_2) * np.sin(turn),
        np.cos(theta) * np.sin(theta_2) * np.cos(turn) - np.sin(theta) * np.cos(theta_2),
    )
    there = np.arctan2(
        np.sin(theta) * np.sin(turn),
        np.sin(theta_2) * np.cos(theta) - np.cos(theta_2) * np.sin(theta) * np.cos(turn),
    )
    # One point, or two antipodes: the meridian will do.
    any_way = np.abs(first @ second.T) > 1 - 1e-14
    here[any_way] = there[any_way] = 0.0
    return _rotation(here), _rotation(there)


def _rotation(angle: FloatArray) -> FloatArray:
    cosine, sine = np.cos(2 * angle), np.sin(2 * angle)
    return np.array([[cosine, sine], [-sine, cosine]])


def blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Rows of a matrix, some at a time."""
    step = max(1, BLOCK // max(1, n_columns))
    return (slice(start, start + step) for start in range(0, n_rows, step))
