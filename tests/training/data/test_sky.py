"""Simulated training patches: reproducible, with a guess that is what it says."""

import pickle

import numpy as np
import pytest

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.sets import build_stream
from cmbinpaint.training.data.sky import draw_fields, krige_patch, plane_power

SMALL = {"sides": [32], "side_weights": [1.0], "masks": 2, "skies": 3, "neighbors": 6}


def test_a_batch_is_a_function_of_its_number() -> None:
    stream = build_stream(SMALL, 5)
    first, again = stream.batch(7), pickle.loads(pickle.dumps(stream)).batch(7)
    for name in ("x", "valid", "spread", "truth"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name).dtype == np.float32
    assert not np.array_equal(first.x, stream.batch(8).x)
    assert not np.array_equal(first.x, stream.batch(7, "validation").x)
    assert not np.array_equal(first.x, build_stream(SMALL, 6).batch(7).x)


def test_smaller_patches_come_in_larger_batches() -> None:
    stream = build_stream({"sides": [32, 64], "masks": 1, "skies": 2, "neighbors": 6}, 0)
    shapes = {stream.batch(i).x.shape for i in range(8)}
    assert shapes == {(1, 2, 64, 64), (4, 2, 32, 32)}


def test_the_guess_has_the_spread_it_claims() -> None:
    stream = build_stream({**SMALL, "skies": 12}, 1)
    total, n = 0.0, 0
    for index in range(6):
        batch = stream.batch(index)
        hole = batch.valid[:, 0] == 0
        assert np.array_equal(batch.spread[:, 0] > 0, hole)
        pull = (batch.x - batch.truth) / np.maximum(batch.spread, 1e-6)
        total += float(np.sum(np.square(pull) * hole[:, None]))
        n += int(hole.sum()) * batch.x.shape[1]
    # A few hundred independent modes: the mean square pull is 1 within some 10 %.
    assert total / n == pytest.approx(1.0, abs=0.15)


def test_kriging_weights_equal_dense_algebra() -> None:
    side, torus, noise, k = 12, 32, 0.2, 5
    rng = np.random.default_rng(3)
    cl = 1.0 / (1.0 + np.arange(4000)) ** 2
    step = np.radians(0.2)
    power = plane_power(cl, torus, step)
    valid = rng.random((side, side)) > 0.4
    guess = krige_patch(valid, slice(2, 10), power, noise, k)
    covariance = np.fft.irfft2(power / torus**2, s=(torus, torus))
    targets = [(r, c) for r in range(2, 10) for c in range(2, 10) if not valid[r, c]]
    for n in range(0, len(targets), 5):
        points = [divmod(int(i), side) for i in guess.neighbors[n]]
        assert all(valid[p] for p in points)
        big = np.ones((k + 1, k + 1))
        big[k, k] = 0
        right = np.ones(k + 1)
        for i, p in enumerate(points):
            right[i] = covariance[p[0] - targets[n][0], p[1] - targets[n][1]]
            for j, q in enumerate(points):
                big[i, j] = covariance[p[0] - q[0], p[1] - q[1]] + (i == j) * noise**2
        solution = np.linalg.solve(big, right)
        # the nugget of 1e-8 of the variance is left out here
        np.testing.assert_allclose(guess.weights[n], solution[:k], atol=1e-4)
        variance = covariance[0, 0] - solution @ right
        assert guess.spread[n] == pytest.approx(np.sqrt(variance), rel=1e-3)


def test_fields_have_the_power_asked_for() -> None:
    torus, step = 64, np.radians(0.1)
    cl = 1.0 / (1.0 + np.arange(4000)) ** 2
    power = plane_power(cl, torus, step)
    fields = draw_fields(power, 200, np.random.default_rng(0))
    measured = np.mean(np.abs(np.fft.rfft2(fields)) ** 2, axis=0) / torus**2
    kept = power > 0
    ratio = (measured[kept] * torus**2 / power[kept]).mean()
    assert ratio == pytest.approx(1.0, abs=0.01)  # 200 fields x 2000 modes: 0.2 %


def test_unknown_options_are_named() -> None:
    with pytest.raises(RecipeError, match=r"\[data\] unknown key 'skys'; did you mean 'skies'"):
        build_stream({"skys": 3}, 0)
