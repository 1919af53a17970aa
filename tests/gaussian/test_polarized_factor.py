"""The factor of Q and U in holes against the exact distribution, and the E and B power of what is missing."""

import healpy as hp
import numpy as np
import pytest
from scipy import linalg

from cmbinpaint.gaussian import large_scale_b
from cmbinpaint.gaussian.hole_posterior import hole_factor, std_by_depth
from cmbinpaint.gaussian.hole_values import HoleValues
from cmbinpaint.gaussian.missing_power import MissingPower
from cmbinpaint.gaussian.polarization_weights import pair_weights
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_vectors
from tests.gaussian.dense import DenseSolver
from tests.gaussian.test_vecchia import random_valid

# Over the masks below: eigenvalues of the factor's covariance beside the exact one, its mean's distance from the exact
# in posterior standard deviations, and its standard deviations beside the exact ones.
LEAST, LARGEST, AWAY, WIDER = 0.15, 10, 0.8, 1.6


def sky_model(nside, noise=(0.02, 0.03), bb=0.05):
    """E and ten times less B behind a beam of three pixels."""
    ell = np.arange(2 * nside + 1.0)
    shape = np.exp(-((2 * ell / nside) ** 2) / 2) / (ell + 3) ** 2
    shape[:2] = 0.0
    signal = np.zeros((2, 2, ell.size))
    signal[0, 0], signal[1, 1] = shape, bb * shape
    return SkyModel(nside, signal, np.array(noise))


def covariance_of(factor):
    return np.column_stack([factor.covariance(unit) for unit in np.eye(factor.holes.size)])


def test_with_all_neighbors_it_is_exact():
    """Every datum and every earlier pixel as neighbors: the chain rule, to single precision."""
    nside, model = 4, sky_model(4)
    valid = np.ones(192, dtype=bool)
    valid[hp.nest2ring(nside, 4 * 17 + np.arange(4))] = False  # siblings come one after the other
    factor = hole_factor(valid, model, nearest=192, threads=1)
    solver = DenseSolver(np.stack([valid] * 2), model, targets=factor.holes)
    exact = solver.covariance() + factor.noise_std**2 * np.eye(8)
    np.testing.assert_allclose(covariance_of(factor), exact, atol=1e-4 * np.abs(exact).max())
    observed = np.add(*draw_observation(model, np.random.default_rng(0)))
    observed[:, ~valid] = np.nan
    np.testing.assert_allclose(factor.mean(observed), solver.mean(observed), atol=1e-4 * model.rms)
    assert sorted(factor.holes) == [*np.flatnonzero(~valid), *(np.flatnonzero(~valid) + valid.size)]


def test_u_is_known_from_its_own_q():
    """Where few data leave Q and U of a pixel correlated, exact too."""
    model, siblings = sky_model(4, bb=0.0), hp.nest2ring(4, 4 * 17 + np.arange(4))
    valid, targets = np.zeros((2, 192), dtype=bool)
    near = np.setdiff1d(hp.query_disc(4, hp.pix2vec(4, siblings[0]), 0.7), siblings)
    valid[np.random.default_rng(9).choice(near, 4, replace=False)] = True
    targets[siblings] = True
    factor = hole_factor(valid, model, nearest=192, targets=targets, threads=1)
    assert max(np.abs(step.own).max() for step in factor.steps[1::2]) > 0.1
    solver = DenseSolver(np.stack([valid] * 2), model, targets=factor.holes)
    exact = solver.covariance() + factor.noise_std**2 * np.eye(8)
    np.testing.assert_allclose(covariance_of(factor), exact, atol=1e-4 * np.abs(exact).max())
    observed = np.add(*draw_observation(model, np.random.default_rng(0)))
    np.testing.assert_allclose(factor.mean(observed), solver.mean(observed), atol=1e-4 * model.rms)


@pytest.mark.parametrize(("nside", "seed"), [(4, 0), (4, 7), (8, 1), (8, 2)])
def test_it_is_near_the_exact_distribution(nside, seed):
    """As that of T (`test_vecchia`): eigenvalues decide how many steps it leaves."""
    model, valid = sky_model(nside), random_valid(nside, seed)
    factor = hole_factor(valid, model, threads=1)
    solver = DenseSolver(np.stack([valid] * 2), model, targets=factor.holes)
    exact = solver.covariance() + factor.noise_std**2 * np.eye(factor.holes.size)
    got = covariance_of(factor)
    assert np.abs(got - got.T).max() < 1e-5 * np.abs(got).max()
    values = linalg.eigvalsh(0.5 * (got + got.T), exact)
    assert LEAST < values[0] < 1.01 and 1 < values[-1] < LARGEST, values[[0, -1]]
    observed = np.add(*draw_observation(model, np.random.default_rng(seed)))
    away = factor.mean(observed) - solver.mean(observed)
    assert np.sqrt(np.mean(np.square(away))) < AWAY * np.mean(solver.std())
    np.testing.assert_allclose(factor.mean(7 * observed), 7 * factor.mean(observed), atol=1e-5)
    # Few neighbors know less than all data do: its own standard deviations are larger, the most in the deepest pixels.
    bins, std = std_by_depth(factor, (1.3, 2.3), npix=valid.size)
    assert std.size == 6 and np.array_equal(bins // 3, factor.holes // valid.size)
    exact_std = [np.sqrt(np.mean(np.square(solver.std()[bins == i]))) for i in np.unique(bins)]
    ratio = std[np.unique(bins)] / exact_std
    assert nside < 8 or np.all((ratio > 0.8) & (ratio < WIDER)), (
        ratio
    )  # at nside 4 a few pixels and eight draws


@pytest.mark.parametrize(("noise_over_rms", "nearest"), [(0.5, 16), (0.98, 16), (1.02, 8), (20.0, 8)])
def test_where_noise_dominates_few_neighbors_do(noise_over_rms, nearest):
    """Half as many pixels, two values each; and the solver still finds the exact mean to its tolerance."""
    nside, valid = 8, random_valid(8, 1)
    rms = np.mean(sky_model(nside).stokes_rms)
    model = sky_model(nside, noise=(noise_over_rms * rms,) * 2)
    factor = hole_factor(valid, model, threads=1)
    last = factor.steps[-2]  # the finest pixels' Q
    per_row = last.of_data.count_nonzero(axis=1) + last.of_holes.count_nonzero(axis=1)
    assert np.all(per_row == 2 * nearest)
    observed = np.add(*draw_observation(model, np.random.default_rng(2)))
    mean = GaussianSolver(valid, model, threads=1).solve(observed).mean
    dense = DenseSolver(np.stack([valid] * 2), model)
    away = (mean.reshape(-1)[np.flatnonzero(np.tile(~valid, 2))] - dense.mean(observed)) / dense.std()
    assert np.sqrt(np.mean(np.square(away))) < 0.03


def test_weights_of_q_and_of_u_share_their_places():
    """In memory and in the arrays of a file; products are the same bits when it is read again."""
    nside, valid = 8, random_valid(8, 1)
    factor = hole_factor(valid, sky_model(nside), threads=1)
    numbers, arrays = factor.to_arrays()
    again = type(factor).of_arrays(numbers, arrays)
    for one in (factor, again):
        for q, u in zip(one.steps[::2], one.steps[1::2], strict=True):
            assert q.own is None and u.own.size == u.stop - u.start == q.stop - q.start and u.start == q.stop
            for of_q, of_u in ((q.of_data, u.of_data), (q.of_holes, u.of_holes)):
                assert of_q.indices.ctypes.data == of_u.indices.ctypes.data
                assert of_q.indptr.ctypes.data == of_u.indptr.ctypes.data
    assert sum(name.endswith("indices") for name in arrays) == len(
        factor.steps
    )  # of data and of holes, of Q alone
    observed = np.random.default_rng(0).standard_normal((2, valid.size))
    np.testing.assert_array_equal(again.mean(observed), factor.mean(observed))
    vector = np.random.default_rng(1).standard_normal(factor.holes.size)
    np.testing.assert_array_equal(again.covariance(vector), factor.covariance(vector))


def test_weights_are_those_of_dense_algebra():
    """A few pixels all over the sphere, one of them not present."""
    nside, chosen, target = 4, np.array([0, 37, 90, 133, 170, 191]), 60
    model, npix = sky_model(nside), 12 * 4**2
    noise = np.array([[0.02], [0.03]]) ** 2 * np.ones((2, npix))
    both, less = (model.signal_cl[0, 0] + s * model.signal_cl[1, 1] for s in (1, -1))
    tables = CovarianceTable.from_cl(both, 2.0, "xi+"), CovarianceTable.from_cl(less, 2.0, "xi-")
    present = np.arange(6)[None] != 2
    weights, error = pair_weights(
        pixel_vectors(nside)[[target]], pixel_vectors(nside), noise, chosen[None], present, tables, threads=1
    )
    used = chosen[present[0]]
    valid = np.zeros((2, npix), dtype=bool)
    valid[:, used] = True
    dense = DenseSolver(valid, model, targets=np.array([target, target + npix]))
    np.testing.assert_allclose(error[0], dense.covariance(), atol=1e-6 * model.rms**2)
    for unit in range(12):
        value = np.zeros((2, npix))
        value[unit // 6, chosen[unit % 6]] = 1.0
        expected = dense.mean(np.where(valid, value, 0.0)) if present[0, unit % 6] else np.zeros(2)
        np.testing.assert_allclose(weights[0, :, unit], expected, atol=1e-5)


def test_a_sky_has_its_own_power_and_a_hole_s_change_has_b():
    nside = 32
    model = sky_model(nside)
    harmonics = Harmonics(nside, model.lmax, threads=1)
    signal = model.signal
    sky = harmonics.synthesis(signal.draw(np.random.default_rng(0)))
    missing = MissingPower(harmonics, signal, np.arange(sky.size))
    whole = missing.of(sky.ravel())
    n = whole.size // 2
    assert whole.size % 2 == 0 and np.median(whole) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(missing.of(0.1 * sky.ravel()), 0.1 * whole)
    alm = signal.draw(np.random.default_rng(1))
    alm[1] = 0.0
    of_e = missing.of(harmonics.synthesis(alm).ravel())
    assert np.median(of_e[:n]) == pytest.approx(1.0, abs=0.1) and of_e[n:].max() < 0.1
    places = np.flatnonzero(np.tile(np.arange(sky.shape[1]) < 3000, 2))
    cut = MissingPower(harmonics, signal, places).of(harmonics.synthesis(alm).ravel()[places])
    assert cut[n:].max() > 1.0  # E of which a cut makes more B than the sky has
    of_e_alone = MissingPower(harmonics, sky_model(nside, bb=0.0).signal, places)
    assert of_e_alone.of(np.ones(places.size)).size == n


@pytest.mark.parametrize("k", [2, 3])
def test_the_solver_says_no_less_than_what_is_missing(k):
    """Of posterior standard deviations and of E and B power, against dense algebra; and stops within both."""
    nside = 8
    whole = np.zeros((3, 3, 2 * nside + 1))
    whole[1:, 1:] = sky_model(nside).signal_cl
    whole[0, 0] = 30 * whole[1, 1]
    whole[0, 1] = whole[1, 0] = 0.5 * np.sqrt(whole[0, 0] * whole[1, 1])
    model = SkyModel(nside, whole, np.array([0.1, 0.02, 0.03]))
    model = model if k == 3 else model.only(Fields.QU)
    valid = np.stack([random_valid(nside, 5), random_valid(nside, 6), random_valid(nside, 6)])[3 - k :]
    observed = np.add(*draw_observation(model, np.random.default_rng(2)))
    exact = np.where(valid, observed, 0.0)
    exact[~valid] = DenseSolver(valid, model).mean(observed)
    solver = GaussianSolver(valid, model, threads=1)
    holes = HoleValues(valid, model, factored=True, threads=1)
    bins, std = holes.bins((1.3, 2.3, 4.3, 8.3))
    missing = MissingPower(solver.harmonics, model.signal, holes.places[-1])
    for options in ({"steps": 4}, {"steps": 6}, {}):
        found = solver.solve(observed, **options)
        left = holes.of(exact - found.mean)
        count = np.maximum(np.bincount(bins, minlength=std.size), 1)
        sigma = (np.sqrt(np.bincount(bins, left**2, std.size) / count) / std).max()
        power = (missing.of(left[-holes.places[-1].size :]) ** 2).max()
        assert sigma < 2 * found.change and power < 2 * found.power
    assert 0 < sigma < 1e-2 and 0 < power < 1e-2 and found.steps < 20
    wide = solver.solve(observed, power_tolerance=10.0, tolerance=0.5)
    assert wide.steps < found.steps


def test_the_factor_saves_steps():
    model, valid = sky_model(16, noise=(0.005, 0.005)), random_valid(16, 0)
    observed = np.add(*draw_observation(model, np.random.default_rng(1)))
    factored, diagonal = (
        GaussianSolver(valid, model, precondition=kind, threads=1).solve(observed, tolerance=1e-3).steps
        for kind in ("holes", "diagonal")
    )
    assert 3 * factored < diagonal


def test_what_nobody_wants_of_q_and_u_is_not_waited_for(monkeypatch):
    """A footprint with a hole: the same steps, of which less is watched; and the hole as well known as is asked."""
    nside, model = 8, sky_model(8)
    vectors = pixel_vectors(nside)
    excluded = vectors[:, 2] < 0.3
    valid = ~excluded & (vectors[:, 2] < 0.9)
    observed = np.add(*draw_observation(model, np.random.default_rng(3)))
    with (
        monkeypatch.context() as without
    ):  # most of what is missing is B on large scales, where nobody wants it
        without.setattr(large_scale_b, "_VALUES", 0)
        whole = GaussianSolver(valid, model, threads=1).solve(observed, steps=6)
        less = GaussianSolver(valid, model, threads=1, excluded=excluded).solve(observed, steps=6)
    assert np.array_equal(less.mean, whole.mean)
    # Wanted pixels alone may move by more than all of their depth do; their E and B are a part of all.
    assert less.change > 0 and less.change != whole.change and 0 < less.power < 0.5 * whole.power
    dense = DenseSolver(np.stack([valid] * 2), model)
    solver = GaussianSolver(valid, model, threads=1, excluded=excluded)
    mean = solver.solve(observed).mean.reshape(-1)[np.flatnonzero(np.tile(~valid, 2))]
    away = ((mean - dense.mean(observed)) / dense.std())[np.tile(~excluded[~valid], 2)]
    assert np.sqrt(np.mean(np.square(away))) < 0.03
