"""Figures of models: the bias identities in exact algebra and on skies, and what good and bad models get."""

from collections.abc import Callable

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.validation.calibration import ModelCalibration, calibrate
from cmbinpaint.validation.ensemble import EXACT, Candidate, Ensemble
from cmbinpaint.validation.sky_statistics import LOW_ELL, SkyStatistics, low_degrees
from tests.gaussian.dense import DenseSolver
from tests.gaussian.dense_covariance import covariance
from tests.validation.worlds import setup_at

SKIES = 24


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, ModelCalibration]:
    setup = setup_at(16)
    names = ("kriging", "diffusive", "gaussian")
    ensemble = Ensemble(setup, [Candidate.named(n) for n in names], tmp_path_factory.mktemp("calibration"))
    for unit in ensemble.missing(SKIES):
        ensemble.make(unit)
    stacks = {kind: records.stack(SKIES) for kind, records in ensemble.records.items()}
    return {n: calibrate(stacks[n], stacks[EXACT], ensemble.statistics, stacks["gaussian"]) for n in names}


def as_matrix(fill: Callable[[np.ndarray], np.ndarray], valid: np.ndarray) -> np.ndarray:
    """(npix, n_data): a linear fill of a map as a matrix, column by column."""
    units = np.zeros((valid.sum(), valid.size))
    units[:, valid] = np.eye(valid.sum())
    return np.array([fill(unit) for unit in units]).T


def cross_spectrum(expected_products: np.ndarray, statistics: SkyStatistics) -> np.ndarray:
    """E[C_ell(A, B)] for ell <= 10 from E[A Bᵀ], by the analysis that the measures use."""
    units = np.eye(len(expected_products))
    analysis = np.array([statistics.low_alm(statistics.alm(unit)) for unit in units]).T
    power = np.einsum("ip,pq,iq->i", analysis, expected_products, analysis, optimize=True)
    return np.array([power[low_degrees() == ell].mean() for ell in range(LOW_ELL + 1)])


def test_both_identities_are_one_number_in_exact_algebra() -> None:
    """All expectations over skies are taken by linear algebra: no sky is drawn.

    The predictor is kriging from two neighbors, biased by percents, with monopole and dipole taken out of the data
    and put back as `inpaint_map` does.
    """
    setup = setup_at(8)
    valid, model = setup.plan.valid, setup.sky_model
    vectors = pixel_vectors(8)
    trend = np.column_stack([np.ones(valid.size), vectors])
    kriging = as_matrix(CoarseToFineInpainter(2).prepare(setup.plan, model).predict, valid)
    dense = DenseSolver(valid, model)
    exact = np.zeros((valid.size, valid.sum()))
    exact[valid] = np.eye(valid.sum())
    exact[~valid] = as_matrix(dense.mean, valid)
    fit = np.linalg.pinv(trend[valid])
    linear = kriging @ (np.eye(valid.sum()) - trend[valid] @ fit) + trend @ fit

    whole = covariance(model.signal_cl, vectors, vectors) + model.noise_std**2 * np.eye(valid.size)
    data = whole[np.ix_(valid, valid)]
    filled_left = linear @ whole[valid] - linear @ data @ linear.T  # E[F (o - F)ᵀ]
    filled_away = linear @ data @ (linear - exact).T  # E[F (F - M)ᵀ]
    statistics = SkyStatistics(setup)
    raw, reduced = (cross_spectrum(products, statistics) for products in (-2 * filled_left, 2 * filled_away))
    scale = model.signal_cl[: LOW_ELL + 1]
    np.testing.assert_allclose(raw[2:] / scale[2:], reduced[2:] / scale[2:], atol=1e-6)
    assert np.abs(raw[2:] / scale[2:]).max() > 5e-3  # there is a bias to speak of
    # where the identity is not claimed it does not hold: the prior of monopole and dipole is not the sky's
    assert np.abs(raw[:2] - reduced[:2]).max() > 1e-3 * np.abs(raw[2:]).max()


def test_on_skies_they_agree_within_errors_and_the_second_scatters_less(models) -> None:
    for name, gain in (("kriging", 0.6), ("diffusive", 0.95)):
        bias = models[name].bias
        together = np.hypot(bias.raw.error, bias.reduced.error)
        assert (np.abs(bias.raw.value - bias.reduced.value) < 4 * together).all()
        assert (bias.reduced.error < gain * bias.raw.error).all()
        direct = np.hypot(bias.realization.error, bias.reduced.error)
        assert (np.abs(bias.realization.value - bias.reduced.value) < 4 * direct).all()
    # a deterministic fill lacks power, and the neighbor mean far more than is its due
    last = [models[n].bias.prediction.value[-1] for n in ("gaussian", "kriging", "diffusive")]
    assert all(-0.5 < value < -0.05 for value in last)
    assert np.abs(models["diffusive"].bias.reduced.value[-1]) > 5 * models["diffusive"].bias.reduced.error[-1]


def test_the_exact_model_is_perfect_by_every_figure(models) -> None:
    exact = models["gaussian"]
    np.testing.assert_allclose(exact.excess.value, 1.0, atol=2e-3)  # its own tolerance is 1e-3 of the rms
    np.testing.assert_allclose(exact.sharpness.value, 1.0, atol=2e-3)
    assert (exact.distance.value < 0.02).all() and (np.abs(exact.bias.reduced.value) < 1e-3).all()
    for estimate, best in (
        (exact.scatter, 1.0),
        (exact.jumps, 1.0),
        (exact.one_point, 1.0),
        (exact.one_point_p, 0.5),
    ):
        known = np.isfinite(estimate.value)  # of the holes that there are
        assert known.sum() >= 2 and (np.abs(estimate.value - best) < 4 * estimate.error)[known].all()
    assert exact.chi_square.mean_p > 1e-3
    assert abs(exact.chi_square.scatter.value - 1) < 4 * exact.chi_square.scatter.error
    for part in (exact.pixels, exact.multipoles):
        assert (np.abs(part.pull.value) < 4.5 * part.pull.error).all()


def test_a_bad_model_is_caught_where_it_should_be(models) -> None:
    bad, exact = models["diffusive"], models["gaussian"]
    assert (
        (bad.excess.value > 1.2).all()
        and (bad.sharpness.value > 1.2).all()
        and (bad.distance.value > 0.5).all()
    )
    # errors add in squares if and only if the exact mean is the exact mean
    np.testing.assert_allclose(bad.excess.value**2, 1 + bad.distance.value**2, rtol=0.1)
    assert bad.jumps.value[2] > 1 + 2.5 * bad.jumps.error[2]
    assert bad.chi_square.mean_p < 1e-3 and bad.chi_square.scatter.value > 1.3
    assert (bad.alm_error.value > exact.alm_error.value).all()
    # a mean of neighbors flattens peaks, which lie beyond high predictions; marginally it covers all the same
    assert bad.pixels.pull.value[0, 4] > 4 * bad.pixels.pull.error[0, 4]
    assert bad.pixels.pull.value[0, 0] < -4 * bad.pixels.pull.error[0, 0]
    np.testing.assert_allclose(bad.pixels.marginal.value[0], 0.68, atol=0.03)


def test_scatter_is_the_excess_of_whole_observations(models) -> None:
    for model in models.values():
        assert (model.scatter.value <= model.excess.value + 4 * model.scatter.error).all()
        assert (model.scatter.value > 0.8).all()
        assert model.alm_error_by_sky.shape == (SKIES, 9)
        np.testing.assert_allclose(
            np.sqrt(np.mean(model.alm_error_by_sky**2, axis=0)), model.alm_error.value, rtol=1e-9
        )


def test_one_sky_has_no_error_and_few_have_no_chi_square(tmp_path) -> None:
    ensemble = Ensemble(setup_at(8), [Candidate.named("kriging")], tmp_path)
    for unit in ensemble.missing(3):
        ensemble.make(unit)
    stacks = {kind: records.stack(3) for kind, records in ensemble.records.items()}
    few = calibrate(stacks["kriging"], stacks[EXACT], ensemble.statistics)
    assert np.isnan(few.chi_square.mean_p) and np.isnan(few.chi_square.scatter.value)
    single = {kind: {name: rows[:1] for name, rows in stack.items()} for kind, stack in stacks.items()}
    with pytest.raises(CmbInpaintError, match="got 1 sky; errors need two skies at least"):
        calibrate(single["kriging"], single[EXACT], ensemble.statistics)
