"""Dense algebra against its plain formula, its own posterior and wider contexts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre

from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.pixels import pixel_vectors
from tests.gaussian import dense
from tests.gaussian.dense import DenseSolver

ROUNDING = 1e-8  # of the signal's rms; a condition number of 1e6


def sky_model(nside, noise=0.1, broad=1.0):
    ell = np.arange(2 * nside + 1.0)
    cl = np.exp(-((ell / nside) ** 2)) / (ell + 2) ** 2
    cl[:2] = broad
    return SkyModel(nside, cl, noise)


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
    with pytest.raises(MaskError, match="0 values as data; dense algebra is for 1 to 12288"):
        DenseSolver(np.zeros(192, dtype=bool), model)
    with pytest.raises(SpectrumError, match="the covariance of the data is not positive definite"):
        DenseSolver(valid, sky_model(4, 0.0))
    with pytest.raises(MapError, match=r"the observed map has shape \(3,\); expected \(192,\)"):
        DenseSolver(valid, model).mean(np.zeros(3))
    monkeypatch.setattr(dense, "MAX_DATA", 10)
    with pytest.raises(MaskError, match="dense algebra is for 1 to 10"):
        DenseSolver(valid, model)


def polarized_model(k, nside, seed):
    """All six spectra, correlated noise of each pixel, a broad monopole and dipole of T."""
    rng, lmax = np.random.default_rng(seed), 2 * nside
    ell = np.arange(lmax + 1.0)
    shape = np.exp(-((ell / nside) ** 2)) / (ell + 2) ** 2
    mixed = rng.standard_normal((3, 3, 1)) * np.array([1.0, 0.7, 0.4])[:, None, None]
    signal = np.einsum("ikl,jkl->ijl", mixed, mixed) * shape
    signal[:, :, :2] = 0.0
    signal[0, 0, :2] = 3.0
    root = rng.uniform(-0.05, 0.15, (3, 3, 12 * nside**2)) + 0.1 * np.eye(3)[..., None]
    noise = np.einsum("ikp,jkp->ijp", root, root)[3 - k :, 3 - k :]
    rows = [noise[i, j] for i, j in zip(*np.triu_indices(k), strict=True)]
    return SkyModel(nside, signal[3 - k :, 3 - k :], noise_cov=rows), noise


def two_masks(k, nside, seed):
    """(k, npix): a mask of T and another of Q and U."""
    temperature, polarization = mask(nside, seed), mask(nside, seed + 1)
    polarization[:: 7 + seed % 3] = False
    return np.stack([temperature, polarization, polarization])[3 - k :]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 4]), st.sampled_from([2, 3]))
def test_of_q_and_u_it_equals_the_plain_formula_on_the_harmonics_covariance(seed, nside, k):
    (model, noise), valid = polarized_model(k, nside, seed), two_masks(k, nside, seed)
    harmonics = Harmonics(nside, model.lmax)
    units = np.eye(valid.size).reshape(-1, *valid.shape)
    full = np.array(
        [harmonics.synthesis(model.signal.apply(harmonics.adjoint(unit))).ravel() for unit in units]
    )
    known, npix = valid.ravel(), valid.shape[1]
    data = full + np.block([[np.diag(noise[i, j]) for j in range(k)] for i in range(k)])
    weights = np.linalg.solve(data[np.ix_(known, known)], full[np.ix_(known, ~known)]).T
    solver, observed = DenseSolver(valid, model), np.random.default_rng(seed).standard_normal((k, npix))
    np.testing.assert_allclose(solver.mean(observed), weights @ observed.ravel()[known], atol=ROUNDING)
    expected = full[np.ix_(~known, ~known)] - weights @ full[np.ix_(known, ~known)]
    np.testing.assert_allclose(solver.covariance(), expected, atol=ROUNDING)


def test_a_mask_of_pixels_is_one_for_all():
    model, _ = polarized_model(3, 2, 0)
    valid, observed = mask(2), np.random.default_rng(0).standard_normal((3, 48))
    both = DenseSolver(np.stack([valid] * 3), model).mean(observed)
    np.testing.assert_array_equal(DenseSolver(valid, model).mean(observed), both)
