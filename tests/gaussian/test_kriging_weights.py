"""Kriging weights against dense linear algebra, at nside 4 and 8."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre

from cmbinpaint.gaussian import kriging_weights as kriging
from cmbinpaint.gaussian.kriging_weights import neighbor_weights
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_vectors

FLOAT32 = 3e-7  # rounding of the weights, over their sum of sizes
CL = np.where(np.arange(25) < 2, 0.0, np.exp(-0.02 * np.arange(25.0) ** 2) / (np.arange(25) + 2.0) ** 2)


def covariance(nside):
    vectors = pixel_vectors(nside)
    cosine = np.clip(vectors @ vectors.T, -1, 1)
    return sum((2 * ell + 1) / (4 * np.pi) * c * eval_legendre(ell, cosine) for ell, c in enumerate(CL))


COVARIANCE = {nside: covariance(nside) for nside in (4, 8)}
VARIANCE = COVARIANCE[4][0, 0]


def dense(nside, at, target, noise):
    """Weights and error variance by the bordered system of ordinary kriging."""
    k = len(at)
    system = np.ones((k + 1, k + 1))
    system[k, k] = 0.0
    system[:k, :k] = COVARIANCE[nside][np.ix_(at, at)] + np.diag(noise[at] + kriging.NUGGET * VARIANCE)
    right = np.append(COVARIANCE[nside][at, target], 1.0)
    solved = np.linalg.solve(system, right)
    return solved[:k], VARIANCE - solved @ right


def drawn(nside, seed, k, n=40):
    """Targets, each with k neighbors anywhere, and a noise map."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(12 * nside**2, n, replace=False)
    numbers = np.stack(
        [rng.choice(np.setdiff1d(np.arange(12 * nside**2), [t]), k, replace=False) for t in targets]
    )
    return targets, numbers, np.square(rng.uniform(0.02, 0.2, 12 * nside**2))


def weights_of(nside, targets, numbers, noise, present=None, threads=1):
    vectors, table = pixel_vectors(nside), CovarianceTable.from_cl(CL)
    present = np.ones(numbers.shape, dtype=bool) if present is None else present
    return neighbor_weights(vectors[targets], vectors, noise, numbers, present, table, threads)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([4, 8]), st.integers(0, 2**31), st.integers(1, 24))
def test_weights_and_errors_are_those_of_dense_ordinary_kriging(nside, seed, k):
    targets, numbers, noise = drawn(nside, seed, k)
    weights, std = weights_of(nside, targets, numbers, noise)
    for row, target in enumerate(targets):
        expected, variance = dense(nside, numbers[row], target, noise)
        np.testing.assert_allclose(weights[row], expected, rtol=0, atol=FLOAT32 * np.abs(expected).sum())
        assert std[row] == pytest.approx(np.sqrt(variance), rel=1e-5)


def test_an_absent_neighbor_is_as_good_as_none():
    targets, numbers, noise = drawn(8, 0, 9)
    present = np.ones(numbers.shape, dtype=bool)
    present[:, 3] = False
    weights, std = weights_of(8, targets, numbers, noise, present)
    less, less_std = weights_of(8, targets, np.delete(numbers, 3, axis=1), noise)
    assert np.all(weights[:, 3] == 0)
    np.testing.assert_allclose(np.delete(weights, 3, axis=1), less, atol=1e-5)
    np.testing.assert_allclose(std, less_std, rtol=1e-5)


def test_weights_do_not_depend_on_threads_or_chunks(monkeypatch):
    targets, numbers, noise = drawn(8, 1, 12, n=300)
    one, two = (weights_of(8, targets, numbers, noise, threads=n)[0] for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    monkeypatch.setattr(kriging, "CHUNK_NUMBERS", 800)
    np.testing.assert_allclose(weights_of(8, targets, numbers, noise)[0], one, atol=FLOAT32)


@pytest.mark.parametrize("noise", [0.0, 1e-12, 100.0])
def test_any_noise_gives_weights_that_sum_to_one(noise):
    targets, numbers, _ = drawn(8, 2, 16)
    weights, std = weights_of(8, targets, numbers, np.full(768, noise))
    np.testing.assert_allclose(weights.astype(float).sum(axis=1), 1, atol=3e-6)
    assert np.all(np.isfinite(std)) and np.all(std > 0)


def test_a_singular_matrix_is_regularized_alone():
    """Twice the same neighbor: with a nugget of zero the matrix has no factor."""
    matrix = np.stack([np.eye(3), np.ones((3, 3)), 2 * np.eye(3)])
    right = np.ones((3, 1, 3))
    solved = kriging.solve_batch(matrix, right)
    np.testing.assert_array_equal(solved[0, :, 0], 1.0)
    np.testing.assert_allclose(solved[0, :, 2], 0.5, rtol=1e-15)
    np.testing.assert_allclose(solved[0, :, 1], 1 / (3 + kriging.RIDGE), rtol=1e-6)
