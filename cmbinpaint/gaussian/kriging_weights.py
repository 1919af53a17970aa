"""Kriging weights: the best linear prediction of points of the sky from a few observed values each.

Inputs: points, the values that each is predicted from, a covariance. Outputs: weights, and the prediction's error.

The constant is unknown (ordinary kriging: the weights sum to one), so monopole and dipole of the spectrum are left
out. For covariances K between neighbors (noise on the diagonal) and c between neighbors and point the weights are

    w = K⁻¹ (c + mu 1),    mu = (1 - 1ᵀ K⁻¹ c) / (1ᵀ K⁻¹ 1)

(Cressie 1993, Statistics for Spatial Data, section 3.2). What is predicted is the signal, without noise.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._ticks import advance
from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.sphere.pixel_covariance import CovarianceTable

# Covariances in flight per thread: bounds the memory and keeps a chunk near the cache. Chunks do not depend
# on the number of threads, so neither do the weights.
CHUNK_NUMBERS = 1 << 18
# Added to the diagonal over the signal's variance: 1e-4 of the rms, below any prediction's error, above the
# covariances' error (1e-9 to 1e-11 of the variance).
NUGGET = 1e-8
# A neighbor that is absent gets this noise over the signal's variance, and then weight zero.
ABSENT = 1e6
# Added to a diagonal, over its mean, where the matrix is not positive definite to rounding.
RIDGE = 1e-4


def neighbor_weights(
    points: FloatArray,
    vectors: FloatArray,
    noise: FloatArray,
    numbers: AnyArray,
    present: BoolArray,
    table: CovarianceTable,
    threads: int = 1,
) -> tuple[AnyArray, AnyArray]:
    """The weights of each point's neighbors.

    Parameters
    ----------
    points
        (n, 3) unit vectors to predict at.
    vectors
        (m, 3) unit vectors of the values to predict from.
    noise
        (m,) variance of their noise.
    numbers
        (n, k) int: which of the values are each point's neighbors.
    present
        (n, k) bool: False where a neighbor is to have no weight.
    table
        The signal's covariance, as far as any two neighbors are apart.
    threads
        The weights do not depend on it.

    Returns
    -------
    weights
        (n, k) float32; they sum to one.
    std
        (n,) float32: standard deviation of signal minus prediction.
    """
    k = numbers.shape[1]
    rows, columns = np.tril_indices(k, -1)
    unit = table.variance or 1.0
    weights = np.empty((len(points), k), dtype=np.float32)
    std = np.empty(len(points), dtype=np.float32)
    diagonal = np.arange(k)

    def run(start: int) -> None:
        chunk = slice(start, start + step)
        here = present[chunk]
        places = np.ascontiguousarray(vectors[numbers[chunk]].transpose(2, 1, 0))  # (3, k, chunk)
        covariance = np.empty((places.shape[2], k, k))  # the lower triangle is used
        covariance[:, rows, columns] = table(_squared_chords(places[:, rows], places[:, columns])).T
        extra = NUGGET * unit + np.where(here, 0.0, ABSENT * unit)
        covariance[:, diagonal, diagonal] = table.variance + noise[numbers[chunk]] + extra
        right = np.ones((places.shape[2], 2, k))
        right[:, 0] = table(_squared_chords(places, points[chunk].T[:, None, :])).T
        weights[chunk], rest = _ordinary(covariance, right, here)
        std[chunk] = np.sqrt(np.maximum(table.variance + rest, 0.0))

    step = max(1, CHUNK_NUMBERS // (k * (k + 1) // 2))
    # BLAS's own threads and these would wait for one another: ten times slower from 200 neighbors on.
    with one_blas_thread(), ThreadPoolExecutor(max(1, threads)) as pool:
        starts = range(0, len(points), step)
        for start, _ in zip(starts, pool.map(run, starts), strict=True):
            advance(min(step, len(points) - start))
    return weights, std


def _squared_chords(first: FloatArray, second: FloatArray) -> FloatArray:
    """|u - v|² over the leading axis; differences keep the digits that 2 - 2 u·v loses."""
    total = np.square(first[0] - second[0])
    for axis in (1, 2):
        total += np.square(first[axis] - second[axis])
    return total


def _ordinary(covariance: FloatArray, right: FloatArray, present: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Solve for (n, k) weights that sum to one, from (n, k, k) covariances and (n, 2, k) right sides (c, 1).

    Comes with (n,) error variances, less the point's own variance: mu - w·c.
    """
    with_c, with_one = solve_batch(covariance, right)
    mu = (1 - with_c.sum(axis=0)) / with_one.sum(axis=0)
    weights = np.where(present, (with_c + mu * with_one).T, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, mu - np.einsum("nk,nk->n", weights, right[:, 0])


def solve_batch(covariance: FloatArray, right: FloatArray) -> FloatArray:
    """(m, k, n) solutions for (n, k, k) matrices and (n, m, k) right sides: Cholesky, substitution across the batch."""
    n, k, _ = covariance.shape
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        # Neighbors nearly in one place, without noise: find the matrix, regularize it alone.
        if n > 1:
            half = n // 2
            parts = solve_batch(covariance[:half], right[:half]), solve_batch(covariance[half:], right[half:])
            return np.concatenate(parts, axis=2)
        return solve_batch(covariance + np.eye(k) * RIDGE * np.trace(covariance[0]) / k, right)
    lower = np.ascontiguousarray(lower.transpose(1, 2, 0))
    solution = np.array(right.transpose(2, 1, 0), order="C")  # (k, m, n), to be overwritten
    for i in range(k):
        solution[i] -= np.einsum("jn,jmn->mn", lower[i, :i], solution[:i])
        solution[i] /= lower[i, i]
    for i in reversed(range(k)):
        solution[i] -= np.einsum("jn,jmn->mn", lower[i + 1 :, i], solution[i + 1 :])
        solution[i] /= lower[i, i]
    return solution.transpose(1, 0, 2)
