"""The hole pixels' factor against dense algebra."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from cmbinpaint.gaussian import conditioning_sets as conditioning
from cmbinpaint.gaussian.conditioning_sets import Conditioning
from cmbinpaint.gaussian.vecchia import factor_holes
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims.sky_model import SkyModel
from tests.gaussian.dense import DenseSolver

seeds = st.integers(0, 2**31)
few = settings(max_examples=8, deadline=None)


def sky_model(nside, noise=0.05):
    ell = np.arange(2 * nside + 1.0)
    beam = np.exp(-ell * (ell + 1) * (3 * hp.nside2resol(nside) / 2.3548) ** 2)
    signal = beam / (ell + 3) ** 2
    signal[:2] = 1e6 * signal[2]
    return SkyModel(nside, signal, noise)


def random_valid(nside, seed):
    rng = np.random.default_rng(seed)
    vectors = np.stack(hp.pix2vec(nside, np.arange(12 * nside**2)), axis=-1)
    axis = rng.standard_normal(3)
    valid = np.abs(vectors @ axis) / np.linalg.norm(axis) > 0.25
    valid[rng.integers(0, valid.size, 12)] = False
    return valid


def dense(valid, model, factor):
    """The exact covariance of the hole pixels' observations and the exact solver, in the factor's order."""
    solver = DenseSolver(valid, model, targets=factor.holes)
    return solver.covariance() + factor.noise_std**2 * np.eye(factor.holes.size), solver


@few
@given(seeds, st.sampled_from([4, 8, 16]))
def test_it_is_near_the_exact_distribution(seed, nside):
    model, valid = sky_model(nside), random_valid(nside, seed)
    factor = factor_holes(valid, model.signal_cl, model.noise_std, 0.05, threads=1)
    exact, solver = dense(valid, model, factor)
    got = np.column_stack([factor.covariance(unit) for unit in np.eye(factor.holes.size)])
    assert np.abs(got - got.T).max() < 1e-5 * np.abs(got).max()  # single precision
    # Steps of conjugate gradients go with these. Over 80 masks the least was 0.36 to 0.86, the largest 1.4 to 5.1
    # (0.26 at nside 16); without weights between hole pixels the least is 0.03 to 0.05.
    values = linalg.eigvalsh(0.5 * (got + got.T), exact)
    assert 0.15 < values[0] < 1.01
    assert 1 < values[-1] < 10
    signal, noise = draw_observation(model, np.random.default_rng(seed))
    away = factor.mean(signal + noise) - solver.mean(signal + noise)
    # Over 120 masks 0.20 to 0.60 of the exact posterior; without weights between hole pixels 1.3 to 2.8 (10 masks).
    assert np.sqrt(np.mean(np.square(away))) < 0.8 * np.mean(solver.std())


@few
@given(seeds, st.sampled_from([1.0, -3e4, 1e-3]))
def test_constants_and_factors_go_through_and_holes_are_not_read(seed, constant):
    model, valid = sky_model(8), random_valid(8, seed)
    factor = factor_holes(valid, model.signal_cl, model.noise_std, 0.05, threads=1)
    observed = np.random.default_rng(seed).standard_normal(valid.size)
    mean = factor.mean(np.where(valid, observed, np.nan))
    np.testing.assert_allclose(
        factor.mean(observed + constant) - constant, mean, atol=1e-5 + 1e-9 * abs(constant)
    )
    np.testing.assert_allclose(factor.mean(7 * observed), 7 * mean, atol=1e-5)
    assert np.array_equal(factor.mean(np.full(valid.size, constant)), np.full(factor.holes.size, constant))


def test_draws_have_its_covariance():
    model, valid = sky_model(8), random_valid(8, 0)
    factor = factor_holes(valid, model.signal_cl, model.noise_std, 0.05)
    rng = np.random.default_rng(0)
    variance = np.mean([np.square(factor.draw(rng)) for _ in range(2000)], axis=0)
    diagonal = [factor.covariance(unit)[i] for i, unit in enumerate(np.eye(factor.holes.size))]
    # 2000 draws tell a variance to 3.2 %; the largest of some 250 strays by 3.5 of these.
    np.testing.assert_allclose(variance / diagonal, 1, atol=0.13)
    assert np.mean(variance / diagonal) == pytest.approx(1, abs=0.01)


def test_one_hole_pixel_is_kriged_from_the_nearest_data():
    model = sky_model(16, 0.1)
    valid = np.ones(12 * 16**2, dtype=bool)
    valid[1000] = False
    factor = factor_holes(valid, model.signal_cl, model.noise_std, 0.1)
    exact = DenseSolver(valid, model).covariance()[0, 0] + 0.01
    assert factor.holes.tolist() == [1000]
    assert exact < factor.std[0] ** 2 < 1.1 * exact
    assert factor.depth[0] == pytest.approx(0.95, abs=0.15)


def test_only_the_targets_are_conditioned_and_other_holes_are_no_data():
    model, valid = sky_model(8), random_valid(8, 3)
    targets = ~valid & (np.arange(valid.size) % 3 == 0)
    factor = factor_holes(valid, model.signal_cl, model.noise_std, 0.05, targets=targets, threads=1)
    np.testing.assert_array_equal(np.sort(factor.holes), np.flatnonzero(targets))
    signal, noise = draw_observation(model, np.random.default_rng(0))
    observed = np.where(valid, signal + noise, 1e6)
    solver = dense(valid, model, factor)[1]
    residual = factor.mean(observed) - solver.mean(np.where(valid, observed, 0.0))
    assert np.sqrt(np.mean(np.square(residual))) < 0.8 * np.mean(solver.std())


@few
@given(seeds)
def test_neighbors_come_before_and_are_the_nearest(seed):
    nside = 16
    valid = random_valid(nside, seed)
    subject = Conditioning(valid)
    vectors = np.stack(hp.pix2vec(nside, np.concatenate([subject.data, subject.holes])), axis=-1)
    everything = np.stack(hp.pix2vec(nside, np.flatnonzero(valid)), axis=-1)
    assert np.array_equal(np.sort(subject.holes), np.flatnonzero(~valid))
    for group in subject.groups():
        first = subject.data.size + group.start
        assert np.all(group.numbers < first)
        at = vectors[first]
        chords = np.linalg.norm(vectors[group.numbers[0, : conditioning.NEAREST]] - at, axis=1)
        allowed = np.concatenate([everything, vectors[subject.data.size : first]])
        nearest = np.sort(np.linalg.norm(allowed - at, axis=1))[: conditioning.NEAREST]
        np.testing.assert_allclose(np.sort(chords), nearest, atol=1e-12)
        for row, present in zip(group.numbers[:3], group.present[:3], strict=True):
            assert np.array_equal(np.sort(row[present]), np.unique(row))


def test_coarse_groups_have_neighbors_in_sparser_subsets():
    """The numbers that were measured (docs/measured.md), and how they go on beyond nside 1024."""
    assert [conditioning.neighbors_at(s, 16, 512) for s in (1, 2, 4, 8, 16, 32)] == [
        (16, 0), (16, 0), (16, 6), (16, 6), (16, 12), (16, 12)
    ]  # fmt: skip
    assert [conditioning.neighbors_at(s, 8, 2048) for s in (4, 8, 32)] == [(8, 0), (8, 6), (8, 12)]
    assert conditioning.neighbors_at(16, 32, 2048) == (96, 32)
    assert conditioning.neighbors_at(8, 64, 512) == (96, 32)
