"""Dense algebra against its plain formula, its own posterior and wider contexts."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre

from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.gaussian import dense
from cmbinpaint.gaussian.dense import DenseSolver
from cmbinpaint.sphere.pixels import pixel_vectors

ROUNDING = 1e-8  # of the signal's rms; a condition number of 1e6


def sky_model(nside, noise=0.1, broad=1.0):
    ell = np.arange(2 * nside + 1.0)
    cl = np.exp(-((ell / nside) ** 2)) / (ell + 2) ** 2
    cl[:2] = broad
    return SimpleNamespace(nside=nside, lmax=2 * nside, signal_cl=cl, noise_std=noise)


def mask(nside, seed=0):
    rng = np.random.default_rng(seed)
    vectors = pixel_vectors(nside)
    return vectors @ vectors[rng.integers(len(vectors))] < np.cos(0.4)


def plain_posterior(valid, model):
    """`C_td (C_dd + N)⁻¹ d` and its covariance with the full covariance, one Legendre function at a time."""
    vectors = pixel_vectors(model.nside)
    cosine = np.clip(vectors @ vectors.T, -1, 1)
    full = sum(
        (2 * ell + 1) / (4 * np.pi) * c * eval_legendre(ell, cosine) for ell, c in enumerate(model.signal_cl)
    )
    noise = np.broadcast_to(model.noise_std, valid.shape)[valid]
    data = full[np.ix_(valid, valid)] + np.diag(noise**2)
    cross = full[np.ix_(~valid, valid)]
    weights = np.linalg.solve(data, cross.T).T
    return weights, full[np.ix_(~valid, ~valid)] - weights @ cross.T


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 4]), st.sampled_from([0.0, 1e-3, 1.0]), st.booleans())
def test_equals_the_plain_formula(seed, nside, broad, uneven):
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.05, 0.2, 12 * nside**2) if uneven else 0.1
    model, valid = sky_model(nside, noise, broad), mask(nside, seed)
    weights, expected = plain_posterior(valid, model)
    observed = rng.standard_normal(valid.size)
    solver = DenseSolver(valid, model)
    np.testing.assert_allclose(solver.mean(observed), weights @ observed[valid], atol=ROUNDING)
    np.testing.assert_allclose(solver.covariance(), expected, atol=ROUNDING)
    np.testing.assert_allclose(solver.std(), np.sqrt(np.diag(expected)), atol=ROUNDING)


def test_samples_have_the_posterior():
    model, valid = sky_model(4), mask(4)
    solver, observed = DenseSolver(valid, model), np.random.default_rng(0).standard_normal(192)
    draws = solver.samples(observed, 4000, np.random.default_rng(1))
    deviation = (draws.mean(axis=0) - solver.mean(observed)) / solver.std() * np.sqrt(4000)
    assert np.max(np.abs(deviation)) < 4.5
    scatter = np.cov(draws.T)
    expected = solver.covariance()
    bound = 5 * np.sqrt(2 / 4000) * np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.all(np.abs(scatter - expected) < bound)


def test_wider_contexts_converge():
    """A hole needs its surroundings only; the error falls as they widen."""
    model, valid = sky_model(8, 0.05), mask(8, 3)
    observed = DenseSolver(valid, model, targets=np.arange(768)).samples(
        np.zeros(768), 1, np.random.default_rng(0)
    )[0]
    full = DenseSolver(valid, model).mean(observed)
    solvers = [DenseSolver(valid, model, radius=r) for r in (0.15, 0.3, 0.6, 1.2, 3.2)]
    errors = [np.sqrt(np.mean((s.mean(observed) - full) ** 2)) for s in solvers]
    assert solvers[0].data.size < solvers[1].data.size < np.sum(valid)
    assert errors[0] > errors[2] > errors[3] > errors[4]
    assert errors[-1] == 0.0
    # More data never make the posterior wider.
    widths = [s.std() for s in solvers]
    assert all(np.all(b <= a + ROUNDING) for a, b in itertools.pairwise(widths))


def test_holes_are_not_read():
    model, valid = sky_model(4), mask(4)
    observed = np.where(valid, 1.0, np.nan)
    assert np.all(np.isfinite(DenseSolver(valid, model).mean(observed)))


def test_errors_say_what_came(monkeypatch):
    model, valid = sky_model(4), mask(4)
    with pytest.raises(MaskError, match="the mask has 48 pixels, the sky model 192"):
        DenseSolver(valid[:48], model)
    with pytest.raises(MaskError, match="0 data pixels; dense algebra serves 1 to 12288"):
        DenseSolver(np.zeros(192, dtype=bool), model)
    with pytest.raises(SpectrumError, match="the covariance of the data is not positive definite"):
        DenseSolver(valid, sky_model(4, 0.0))
    with pytest.raises(MapError, match=r"the observed map has shape \(3,\); expected \(192,\)"):
        DenseSolver(valid, model).mean(np.zeros(3))
    monkeypatch.setattr(dense, "MAX_DATA", 10)
    with pytest.raises(MaskError, match="dense algebra serves 1 to 10"):
        DenseSolver(valid, model)
