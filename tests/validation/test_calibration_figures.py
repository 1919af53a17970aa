"""Every figure of a model against sums by hand, on records that are random numbers."""

import functools

import numpy as np
import pytest
from scipy import stats

from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.validation.calibration import ALM_GROUPS, ModelCalibration, _joined, calibrate
from cmbinpaint.validation.sky_statistics import LOW_ELL, SkyStatistics, low_degrees
from tests.validation.worlds import setup_at

SKIES = 11
STATISTICS = SkyStatistics(setup_at(8))


def records(seed: int, statistics: SkyStatistics = STATISTICS, skies: int = SKIES) -> dict[str, np.ndarray]:
    """Positive numbers of the right shapes; what has a sign has both."""
    rng = np.random.default_rng(seed)
    depths, bands, kept, alm = (
        statistics.depths.n,
        statistics.bands.n,
        statistics.kept.size,
        (LOW_ELL + 1) ** 2,
    )
    shapes = {
        "error": depths, "residual": depths, "distance": depths, "scatter": depths, "jumps": 4, "prediction_jumps": 4,
        "one_point": 1 + depths, "prediction_one_point": 1 + depths, "true_power": bands, "realization_power": bands,
        "prediction_power": bands, "seconds": 2,
    }  # fmt: skip
    signed = {
        "error_kept": kept, "prediction_kept": kept, "residual_cross": bands, "distance_cross": bands,
        "true_alm": alm, "residual_alm": alm, "filled_alm": alm,
    }  # fmt: skip
    shapes |= dict.fromkeys(("error_by_width", "distance_by_width"), 4 * depths)
    made = {name: rng.uniform(1.0, 3.0, (skies, n)) for name, n in shapes.items()}
    made |= {name: rng.standard_normal((skies, n)) for name, n in signed.items()}
    for name in ("error_by_width", "distance_by_width"):
        made[name] = made[name].reshape(skies, 4, depths)
    return {**made, "steps": rng.integers(2, 9, skies)}


MODEL, EXACT, DRAWS = records(1), records(2), records(3)


@functools.cache
def found() -> ModelCalibration:
    return calibrate(MODEL, EXACT, STATISTICS, DRAWS)


def jackknifed(statistic, *samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A function of means, and its error by leaving out one sky after the other."""
    value = statistic(*(s.mean(axis=0) for s in samples))
    without = np.array(
        [statistic(*(np.delete(s, i, axis=0).mean(axis=0) for s in samples)) for i in range(SKIES)]
    )
    return value, np.sqrt((SKIES - 1) / SKIES * np.sum((without - without.mean(axis=0)) ** 2, axis=0))


def check(estimate, statistic, *samples: np.ndarray) -> None:
    value, error = jackknifed(statistic, *samples)
    np.testing.assert_allclose(estimate.value, value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(estimate.error, error, rtol=1e-6)


def test_errors_in_the_holes() -> None:
    def root(a, b):
        return np.sqrt(a / b)

    check(found().excess, root, MODEL["error"], EXACT["error"])
    check(found().distance, root, MODEL["distance"], EXACT["error"])
    check(found().scatter, root, MODEL["scatter"], EXACT["residual"])
    check(found().excess_by_width, root, MODEL["error_by_width"], EXACT["error_by_width"])
    check(found().distance_by_width, root, MODEL["distance_by_width"], EXACT["error_by_width"])
    np.testing.assert_allclose(found().first_error, np.sqrt(MODEL["error"][0]))


def test_bias_of_the_spectrum() -> None:
    bias, true = found().bias, EXACT["true_power"]
    check(bias.reduced, lambda a, t: 2 * a / t, MODEL["distance_cross"], true)
    check(bias.raw, lambda a, t: -2 * a / t, MODEL["residual_cross"], true)
    check(bias.realization, lambda a, t: a / t - 1, MODEL["realization_power"], true)
    check(bias.prediction, lambda a, t: a / t - 1, MODEL["prediction_power"], true)


def test_sharpness_is_the_geometric_mean_of_widths_over_pixels() -> None:
    def check_width(value: float, error: float, kept: np.ndarray) -> None:
        def width(m, e):
            return np.exp(np.mean(np.log(np.sqrt(m[kept]) / np.sqrt(e[kept]))))

        expected = jackknifed(width, MODEL["error_kept"] ** 2, EXACT["error_kept"] ** 2)
        assert value == pytest.approx(expected[0]) and error == pytest.approx(expected[1], rel=1e-6)

    estimates, by_width = found().sharpness, found().sharpness_by_width
    for depth in range(STATISTICS.depths.n):
        at_depth = STATISTICS.kept_bins == depth
        check_width(estimates.value[depth], estimates.error[depth], at_depth)
        for width in range(4):
            kept = at_depth & (STATISTICS.kept_widths == width)
            if kept.any():
                check_width(by_width.value[width, depth], by_width.error[width, depth], kept)
            else:
                assert np.isnan(by_width.value[width, depth])
    assert np.isfinite(by_width.value).sum() >= 3


def test_low_multipoles() -> None:
    degrees, residual, true = low_degrees(), MODEL["residual_alm"], EXACT["true_alm"]
    for i, ell in enumerate(range(2, LOW_ELL + 1)):
        here = degrees == ell
        assert here.sum() == 2 * ell + 1
        power = np.mean(true[:, here] ** 2)
        assert found().alm_error.value[i] == pytest.approx(np.sqrt(np.mean(residual[:, here] ** 2) / power))
        by_sky = np.sqrt(np.mean(residual[:, here] ** 2, axis=1) / power)
        np.testing.assert_allclose(found().alm_error_by_sky[:, i], by_sky)


def test_coverage_of_multipoles_is_of_the_true_coefficient() -> None:
    """Pulls by hand: the residual over its rms on the other skies, in units of the true rms of its multipole."""
    degrees = low_degrees()
    residual, filled = (
        np.column_stack(
            [
                s[:, k] / np.sqrt(np.mean(EXACT["true_alm"][:, degrees == degrees[k]] ** 2))
                for k in range(degrees.size)
            ]
        )
        for s in (MODEL["residual_alm"], MODEL["filled_alm"])
    )
    for group, (low, high) in enumerate(((2, 5), (5, LOW_ELL + 1))):
        columns = np.flatnonzero((degrees >= low) & (degrees < high))
        width = np.array(
            [[np.sqrt(np.mean(np.delete(residual[:, k], i) ** 2)) for k in columns] for i in range(SKIES)]
        )
        pull = residual[:, columns] / width
        chosen = filled[:, columns]
        limits = stats.t.ppf((0.84, 0.975), SKIES - 1)
        for i, limit in enumerate(limits):
            assert found().multipoles.marginal.value[i, group] == pytest.approx(np.mean(np.abs(pull) < limit))
        top = chosen > np.quantile(chosen, 0.8)
        assert found().multipoles.pull.value[group, 4] == pytest.approx(pull[top].mean())
    assert ALM_GROUPS == (2, 5)


def test_edges_and_distributions() -> None:
    def ratio(a, b):
        return a / b

    check(found().jumps, ratio, MODEL["jumps"], EXACT["jumps"])
    check(found().prediction_jumps, ratio, MODEL["prediction_jumps"], EXACT["jumps"])
    check(found().one_point, ratio, MODEL["one_point"], EXACT["one_point"])
    check(found().prediction_one_point, ratio, MODEL["prediction_one_point"], EXACT["one_point"])
    null = EXACT["one_point"]
    beyond = np.array(
        [np.mean(np.delete(null, i, axis=0) >= MODEL["one_point"][i], axis=0) for i in range(SKIES)]
    )
    check(found().one_point_p, lambda a: a, beyond)


def test_cost() -> None:
    assert found().steps == pytest.approx(MODEL["steps"].mean())
    assert found().plan_seconds == MODEL["seconds"][:, 0].max()
    assert found().map_seconds == pytest.approx(MODEL["seconds"][:, 1].mean())


def test_of_one_band_chi_square_is_students_t() -> None:
    one = SkyStatistics(setup_at(8).varied(bands=Bandpowers(np.array([2, 13]))))
    model, exact, draws = (records(seed, one) for seed in (1, 2, 3))
    chi = calibrate(model, exact, one, draws).chi_square
    true = exact["true_power"][:, 0]
    own, other = ((s["realization_power"][:, 0] - true) / true.mean() for s in (model, draws))
    assert chi.bands == 1 and chi.mean_p == pytest.approx(stats.ttest_1samp(own, 0.0).pvalue)
    # the mean of F with 1 and nu degrees of freedom is nu / (nu - 2)
    nu = SKIES - 1
    squares = [own[i] ** 2 / np.mean(np.delete(other, i) ** 2) * (nu - 2) / nu for i in range(SKIES)]
    assert chi.scatter.value == pytest.approx(np.mean(squares))
    assert chi.scatter.error == pytest.approx(np.std(squares, ddof=1) / np.sqrt(SKIES))


def test_of_several_bands_chi_square_is_hotellings_and_one_for_alike_skies() -> None:
    model, exact, draws = (records(seed, skies=4000) for seed in (1, 2, 3))
    for stack in (model, draws):  # alike, unbiased, and correlated between bands
        noise = np.random.default_rng(stack["steps"].sum()).standard_normal((4000, 3))
        stack["realization_power"] = exact["true_power"] + noise @ np.array(
            [[1, 0.5, 0], [0, 1, 0.5], [0, 0, 0.2]]
        )
    chi = calibrate(model, exact, STATISTICS, draws).chi_square
    assert (
        chi.bands == 3
        and chi.scatter.value == pytest.approx(1.0, abs=4 * chi.scatter.error)
        and chi.mean_p > 1e-3
    )
    few = {name: values[:12] for name, values in model.items()}
    true = {name: values[:12] for name, values in exact.items()}
    chi = calibrate(few, true, STATISTICS).chi_square
    differences = (few["realization_power"] - true["true_power"]) / true["true_power"].mean(axis=0)
    center, n, p = differences.mean(axis=0), 12, 3
    inverse = np.linalg.inv(np.cov(differences.T))
    t_square = n * center @ inverse @ center
    assert chi.mean_p == pytest.approx(stats.f.sf(t_square * (n - p) / (p * (n - 1)), p, n - p))


def test_joined_bands_are_weighted_by_their_modes() -> None:
    modes = np.array([5.0, 7, 20, 11, 30])
    values = np.random.default_rng(0).standard_normal((4, 5))
    expected = np.column_stack([values[:, :3] @ modes[:3] / 32, values[:, 3:] @ modes[3:] / 41])
    np.testing.assert_allclose(_joined(values, modes, 2), expected)
