"""The solver of Q and U, and of T, Q and U, against dense linear algebra and the invariants of polarization."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, MaskError
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics
from tests.gaussian.dense import DenseSolver
from tests.gaussian.test_dense import polarized_model, two_masks

TIGHT = 1e-8  # of the signal's rms, asked of the solver
EXACT = 1e-5  # of each Stokes parameter's rms: what converged answers may differ by
few = settings(max_examples=6, deadline=None)


def solved(valid, model, observed, **options):
    return (
        GaussianSolver(valid, model, threads=1, **options)
        .solve(observed, tolerance=TIGHT, max_steps=4000)
        .mean
    )


def observe(model, seed):
    """A sky of the model and its noise, without monopole and dipole."""
    rng, signal_cl = np.random.default_rng(seed), model.signal_cl.copy()
    signal_cl[..., :2] = 0.0
    alm = SkyModel(model.nside, signal_cl, model.noise_std).signal.draw(rng)
    signal = Harmonics(model.nside, model.lmax).synthesis(alm)
    return signal + np.mean(model.noise_std, axis=-1, keepdims=True) * rng.standard_normal(signal.shape)


def with_levels(model, levels):
    return SkyModel(model.nside, model.signal_cl, levels)


def assert_equals_dense(valid, model, observed):
    got, expected = solved(valid, model, observed), DenseSolver(valid, model).mean(observed)
    holes = ~np.broadcast_to(valid, got.shape)
    full = np.zeros(got.shape)
    full[holes] = expected
    for i, rms in enumerate(model.stokes_rms):
        away = (got - full)[i, holes[i]]
        assert np.sqrt(np.mean(np.square(away))) < EXACT * rms
        assert np.sqrt(np.mean(np.square(full[i, holes[i]]))) > 0.05 * rms  # something was predicted


@few
@given(st.integers(0, 1000), st.sampled_from([2, 4]), st.sampled_from([2, 3]))
def test_mean_equals_dense_algebra_with_two_masks_and_noise_covariances(seed, nside, k):
    """All six spectra, correlated noise, masks of T and of Q, U apart, a broad monopole and dipole of T."""
    (model, _), valid = polarized_model(k, nside, seed), two_masks(k, nside, seed)
    assert_equals_dense(valid, model, observe(model, seed))


def test_mean_equals_dense_algebra_at_nside_8():
    (model, _), valid = polarized_model(3, 8, 1), two_masks(3, 8, 1)
    assert_equals_dense(valid, model, observe(model, 1))


def test_without_te_t_is_what_it_is_alone():
    (model, _), valid = polarized_model(3, 4, 2), two_masks(3, 4, 2)
    signal = model.signal_cl.copy()
    signal[0, 1:] = signal[1:, 0] = 0.0
    model = SkyModel(4, signal, [0.1, 0.08, 0.08])
    observed = observe(model, 3)
    together = solved(valid, model, observed)
    np.testing.assert_allclose(together[0], solved(valid[0], model.only(Fields.T), observed[0]), atol=1e-6)
    np.testing.assert_allclose(
        together[1:], solved(valid[1:], model.only(Fields.QU), observed[1:]), atol=1e-6
    )


def test_an_e_sky_under_a_model_without_b_comes_back_without_b():
    (model, _), valid = polarized_model(2, 8, 4), two_masks(2, 8, 4)
    signal = model.signal_cl.copy()
    signal[0, 1] = signal[1, 0] = signal[1, 1] = 0.0
    model = SkyModel(8, signal, 0.05)
    alm = Harmonics(8, model.lmax).analysis(solved(valid, model, observe(model, 5)), iterations=20)
    assert np.abs(alm[1]).max() < 1e-6 * np.abs(alm[0]).max()


def test_flipping_u_flips_u_and_nothing_else():
    """IAU for COSMO: B, EB and TB change their sign."""
    (model, _), valid = polarized_model(3, 4, 6), two_masks(3, 4, 6)
    flip = np.array([1.0, 1.0, -1.0])
    model = with_levels(model, [0.1, 0.07, 0.09])
    other = SkyModel(4, model.signal_cl * flip[:, None, None] * flip[None, :, None], model.noise_std)
    observed = observe(model, 7)
    # a mirror of the sphere, about the plane of longitude 0, is what exchanges the two
    theta, phi = hp.pix2ang(4, np.arange(192))
    source = hp.ang2pix(4, theta, -phi)
    expected = flip[:, None] * solved(valid, model, observed)[:, source]
    got = solved(valid[:, source], other, flip[:, None] * observed[:, source])
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("rubbish", [np.nan, 1e30])
def test_nothing_under_a_hole_matters(rubbish):
    (model, _), valid = polarized_model(3, 4, 8), two_masks(3, 4, 8)
    observed = observe(model, 9)
    clean, dirty = np.where(valid, observed, 0.0), np.where(valid, observed, rubbish)
    solver = GaussianSolver(valid, model, threads=1)
    expected = solver.solve(clean, steps=9).mean
    np.testing.assert_array_equal(expected, solver.solve(dirty, steps=9).mean)
    found = solver.solve(dirty, steps=9, overwrite=True).mean
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, dirty)


def test_a_constant_of_t_is_preserved_and_leaves_q_and_u_alone():
    (model, _), valid = polarized_model(3, 4, 10), two_masks(3, 4, 10)
    signal = model.signal_cl.copy()
    signal[0, 0, :2] = 1e9 * signal[0, 0, 2:].max()
    model, shift = SkyModel(4, signal, model.noise_std), np.array([[50.0], [0.0], [0.0]])
    observed = observe(model, 11)
    before, after = (solved(valid, model, d) for d in (observed, observed + shift))
    np.testing.assert_allclose(after - shift, before, atol=1e-5)


def test_masks_of_any_layout():
    (model, _), (temperature, polarization, _) = polarized_model(3, 2, 12), two_masks(3, 2, 12)
    rows = [np.stack([temperature, polarization]), np.stack([temperature, polarization, polarization])]
    two, three = (GaussianSolver(valid, model, threads=1).valid for valid in rows)
    np.testing.assert_array_equal(two, three)
    uneven = rows[1].copy()
    uneven[2, np.flatnonzero(polarization)[0]] = False  # Q without U is no data
    assert GaussianSolver(uneven, model, threads=1).valid[1].sum() == polarization.sum() - 1
    for wrong, words in (
        (np.ones((4, 48), bool), r"the mask has shape \(4, 48\); expected \(48,\) for all of TQU"),
        (np.ones((3, 12), bool), r"the mask has 12 pixels, the sky model is for nside 2 \(48 pixels\)"),
        (np.array([temperature, np.zeros(48, bool)]), "all pixels are masked"),
    ):
        with pytest.raises(MaskError, match=words):
            GaussianSolver(wrong, model)
    with pytest.raises(
        MapError, match=r"the observed map has shape \(48,\); the solver was made for \(3, 48\)"
    ):
        GaussianSolver(temperature, model).solve(np.zeros(48))
