"""Kriging of Q and U: what each point's pair is, given the pairs of its neighbors.

Inputs: points, their neighbors, the covariance of Q and U. Outputs: weights, and the covariance of what they miss.

Simple kriging, without a constant: no multipole of Q and U lacks a prior. A point's Q and U are predicted together from
the Q and U of all its neighbors, each in its own frame of the sphere.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._ticks import advance
from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.gaussian.kriging_weights import ABSENT, CHUNK_NUMBERS, NUGGET, solve_batch
from cmbinpaint.sphere.pixel_covariance import CovarianceTable, Frames, stokes_covariance

# xi+ and xi-, as far as any two neighbors are apart.
Tables = tuple[CovarianceTable, CovarianceTable]


def pair_weights(
    points: FloatArray,
    vectors: FloatArray,
    noise: FloatArray,
    numbers: AnyArray,
    present: BoolArray,
    tables: Tables,
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
        (2, m) variance of their noise in Q and in U.
    numbers
        (n, k) int: which of the vectors are each point's neighbors.
    present
        (n, k) bool: False where a neighbor is to have no weight.
    tables
        xi+ and xi-.
    threads
        The weights do not depend on it.

    Returns
    -------
    weights
        (n, 2, 2 k) float32: of Q and of U, on the neighbors' Q and then on their U.
    error
        (n, 2, 2) float64: the covariance of signal minus prediction.
    """
    k = numbers.shape[1]
    weights = np.empty((len(numbers), 2, 2 * k), dtype=np.float32)
    error = np.empty((len(numbers), 2, 2))
    variance = tables[0].variance / 2

    def run(start: int) -> None:
        chunk = slice(start, start + step)
        here = present[chunk]
        near = _frames(vectors[numbers[chunk]])
        covariance = _between(near, tables)
        extra = NUGGET * variance + np.where(here, 0.0, ABSENT * variance)
        diagonal = np.arange(2 * k)
        level = noise[:, numbers[chunk]] + extra
        covariance[:, diagonal, diagonal] = variance + np.concatenate([level[0], level[1]], axis=1)
        qq, qu, uq, uu = stokes_covariance(*tables, _frames(points[chunk, None]), near)
        right = np.stack([np.concatenate([qq, qu], axis=1), np.concatenate([uq, uu], axis=1)], axis=1)
        found = solve_batch(covariance, right).transpose(2, 0, 1)  # (chunk, 2, 2 k)
        found = np.where(np.concatenate([here, here], axis=1)[:, None, :], found, 0.0)
        weights[chunk] = found
        error[chunk] = variance * np.eye(2) - found @ right.transpose(0, 2, 1)

    step = max(1, CHUNK_NUMBERS // (2 * k * (2 * k + 1) // 2))
    with one_blas_thread(), ThreadPoolExecutor(max(1, threads)) as pool:
        starts = range(0, len(numbers), step)
        for start, _ in zip(starts, pool.map(run, starts), strict=True):
            advance(min(step, len(numbers) - start))
    return weights, error


def _frames(vectors: FloatArray) -> Frames:
    """The frames of points (..., 3): made for a chunk at a time, for those of all pixels take nine numbers each."""
    return Frames.at(np.ascontiguousarray(np.moveaxis(vectors, -1, 0)))


def _between(near: Frames, tables: Tables) -> FloatArray:
    """(n, 2 k, 2 k) the covariance of neighbors (n, k), Q first; the lower triangle, without its diagonal."""
    n, k = near.vectors.shape[1:]
    rows, columns = np.tril_indices(k, -1)
    qq, qu, uq, uu = stokes_covariance(*tables, near[:, rows], near[:, columns])
    covariance = np.zeros((n, 2 * k, 2 * k))
    covariance[:, rows, columns] = qq
    covariance[:, k + rows, k + columns] = uu
    covariance[:, k + rows, columns] = uq
    covariance[:, k + columns, rows] = qu
    return covariance
