"""Kriging against dense linear algebra, and what holds for any weights."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.gaussian import direct_kriging as kriging
from cmbinpaint.gaussian import neighbors
from cmbinpaint.gaussian.direct_kriging import KrigingWeights, kriging_weights
from cmbinpaint.sphere.pixel_covariance import CovarianceTable, correlation
from cmbinpaint.sphere.pixels import pixel_vectors

NSIDE = 8
NPIX = 12 * NSIDE**2
LMAX = 23
ELL = np.arange(LMAX + 1)
CL = np.exp(-0.5 * ELL * (ELL + 1) * 0.08**2) / (ELL + 2.0) ** 2
CL[:2] = 1e4  # a broad prior, which kriging must not use
NOISE = 0.02
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T

# Weights are stored as float32 (6e-8 of each); their absolute values sum to a few; covariances are
# interpolated to 1e-9 and the nugget is 1e-8 of the variance.
FLOAT32 = 3e-6
# Double precision, some ten operations deep.
ROUNDING = 1e-11


def legendre_covariance(cl: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """The oracle's covariance: the plain Legendre series."""
    series = (2 * np.arange(len(cl)) + 1) / (4 * np.pi) * cl
    series[:2] = 0
    return np.polynomial.legendre.legval(np.clip(cosine, -1, 1), series)


COVARIANCE = legendre_covariance(CL, VECTORS @ VECTORS.T)
VARIANCE = COVARIANCE[0, 0]


def dense_weights(
    observed: np.ndarray, target: int | np.ndarray, noise: np.ndarray | float = NOISE
) -> np.ndarray:
    """The oracle's ordinary kriging: the bordered system with a Lagrange multiplier."""
    k = len(observed)
    system = np.ones((k + 1, k + 1))
    system[k, k] = 0
    noise = np.broadcast_to(noise, NPIX)[observed] ** 2
    system[:k, :k] = COVARIANCE[np.ix_(observed, observed)] + np.diag(noise + kriging.NUGGET * VARIANCE)
    right = COVARIANCE[np.ix_(observed, np.atleast_1d(target))]
    weights = np.linalg.solve(system, np.concatenate([right, np.ones((1, right.shape[1]))]))[:k]
    return weights if np.ndim(target) else weights[:, 0]


def masks_drawn() -> st.SearchStrategy[np.ndarray]:
    """Masks of a few discs and single pixels."""

    def draw(seed: int, discs: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        valid = np.ones(NPIX, dtype=bool)
        for center in rng.integers(NPIX, size=discs):
            valid[VECTORS @ VECTORS[center] > np.cos(rng.uniform(0.01, 0.7))] = False
        valid[rng.integers(NPIX, size=3)] = True
        return valid

    return st.builds(draw, st.integers(0, 10_000), st.integers(1, 4))


def expanded(weights: KrigingWeights) -> np.ndarray:
    """(n, npix): the weight of every pixel of the map, coarse values opened into their children."""
    return np.stack([weights.apply(unit) for unit in np.eye(weights.npix)], axis=1)


def error_variance(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The true variance of prediction minus signal, by exact covariances."""
    data = COVARIANCE + NOISE**2 * np.eye(NPIX)
    cross = np.einsum("np,pn->n", rows, COVARIANCE[:, targets])
    return np.sum((rows @ data) * rows, axis=1) - 2 * cross + VARIANCE


def disc_mask(radius: float = 0.45, center: int = 300) -> np.ndarray:
    """True inside a disc."""
    return VECTORS @ VECTORS[center] > np.cos(radius)


def test_correlation_is_the_legendre_sum() -> None:
    theta = np.linspace(0, np.pi, 101)
    expected = legendre_covariance(CL, np.cos(theta))
    np.testing.assert_allclose(correlation(CL, theta), expected, atol=ROUNDING * VARIANCE)
    assert correlation(CL, theta.reshape(1, 101)).shape == (1, 101)


@given(st.integers(3, 400), st.floats(0, 0.03))
@settings(max_examples=20, deadline=None)
def test_table_interpolates_the_correlation(lmax: int, beam: float) -> None:
    ell = np.arange(lmax + 1)
    cl = np.exp(-0.5 * ell * (ell + 1) * beam**2) / (ell + 1.0)
    for largest in (1.2, np.pi):
        theta = np.linspace(0, largest, 1000)
        table = CovarianceTable.from_cl(cl, 2 * np.sin(largest / 2) + 1e-9)
        error = table(4 * np.sin(theta / 2) ** 2) - correlation(cl, theta)
        assert np.abs(error).max() < 5e-9 * table.variance  # cubic at 20 nodes a radian of phase


def test_correlation_refuses_what_is_no_spectrum() -> None:
    with pytest.raises(SpectrumError, match=r"cl has shape \(2, 2\); expected one spectrum \(lmax\+1,\)"):
        correlation(np.ones((2, 2)), 0.1)
    with pytest.raises(SpectrumError, match=r"cl holds 1 non-finite values, the first at ell = 3 \(nan\)"):
        correlation(np.array([0, 0, 1, np.nan]), 0.1)


@given(masks_drawn(), st.integers(1, 24))
@settings(max_examples=15, deadline=None)
def test_weights_equal_dense_ordinary_kriging(valid: np.ndarray, k: int) -> None:
    weights = kriging_weights(valid, CL, NOISE, neighbors=(k,))
    for row in range(0, len(weights.targets), 17):
        expected = dense_weights(weights.neighbors[row], weights.targets[row])
        scale = np.abs(expected).sum()
        np.testing.assert_allclose(weights.weights[row], expected, rtol=0, atol=FLOAT32 * scale)


@given(masks_drawn(), st.integers(1, 24))
@settings(max_examples=10, deadline=None)
def test_neighbors_are_the_nearest_observed(valid: np.ndarray, k: int) -> None:
    weights = kriging_weights(valid, CL, NOISE, neighbors=(k,))
    observed = np.flatnonzero(valid)
    assert valid[weights.neighbors].all()
    for row, target in enumerate(weights.targets):
        nearest = np.sort(VECTORS[observed] @ VECTORS[target])[::-1][:k]
        found = np.sort(VECTORS[weights.neighbors[row]] @ VECTORS[target])[::-1]
        np.testing.assert_allclose(found, nearest, atol=ROUNDING)


@given(masks_drawn(), st.integers(1, 64))
@settings(max_examples=15, deadline=None)
def test_only_pixelsnear_holes_can_be_neighbors(valid: np.ndarray, k: int) -> None:
    nside = 32
    fine = hp.ud_grade(valid.astype(float), nside) > 0.5
    near = neighbors.near_holes(fine, k)
    every = np.flatnonzero(fine)
    points = pixel_vectors(nside, np.flatnonzero(~fine)[::11])
    chords = [neighbors._nearest(pixel_vectors(nside, pixels), points, k)[0] for pixels in (near, every)]
    np.testing.assert_array_equal(*chords)


def test_all_observed_pixels_give_exact_ordinary_kriging() -> None:
    valid = disc_mask(0.5)  # the rest of the sky is a hole
    observed = np.flatnonzero(valid)
    weights = kriging_weights(valid, CL, NOISE, neighbors=(NPIX,))
    assert weights.neighbors.shape[1] == len(observed)
    values = np.random.default_rng(1).normal(size=NPIX)
    expected = dense_weights(observed, weights.targets).T @ values[observed]
    np.testing.assert_allclose(weights.apply(values), expected, rtol=0, atol=1e-5)  # float32 weights


def test_noise_map_goes_to_its_pixels() -> None:
    valid = ~disc_mask()
    noise = np.random.default_rng(2).uniform(0.01, 0.3, NPIX)
    noise[~valid] = np.nan  # unknown in holes
    weights = kriging_weights(valid, CL, noise, neighbors=(12,))
    for row in range(0, len(weights.targets), 5):
        expected = dense_weights(weights.neighbors[row], weights.targets[row], noise)
        np.testing.assert_allclose(weights.weights[row], expected, rtol=0, atol=FLOAT32 * 10)


CASES = [((16,), (1,)), ((8, 6), (1, 2)), ((12, 6, 4), (1, 2, 4))]


@pytest.mark.parametrize(("counts", "factors"), CASES)
@given(valid=masks_drawn(), offset=st.floats(-1e7, 1e7), factor=st.floats(-1e3, 1e3))
@settings(max_examples=6, deadline=None)
def test_constants_and_factors_go_through(
    counts: tuple[int, ...], factors: tuple[int, ...], valid: np.ndarray, offset: float, factor: float
) -> None:
    weights = kriging_weights(valid, CL, NOISE, neighbors=counts, factors=factors)
    np.testing.assert_allclose(weights.weights.astype(float).sum(axis=1), 1.0, rtol=0, atol=FLOAT32)
    values = np.random.default_rng(3).normal(size=NPIX)
    base = weights.apply(values)
    scale = abs(offset) + abs(factor) + 1
    np.testing.assert_allclose(
        weights.apply(factor * values + offset), factor * base + offset, rtol=0, atol=1e-13 * 100 * scale
    )
    np.testing.assert_array_equal(weights.apply(np.full(NPIX, 3.0)), 3.0)


@pytest.mark.parametrize(("counts", "factors"), CASES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30, hp.UNSEEN])
def test_nothing_in_a_hole_is_read(counts: tuple[int, ...], factors: tuple[int, ...], bad: float) -> None:
    valid = ~disc_mask()
    valid[[0, 100, 767]] = False
    weights = kriging_weights(valid, CL, NOISE, neighbors=counts, factors=factors)
    values = np.random.default_rng(4).normal(size=NPIX)
    expected = weights.apply(values)
    values[~valid] = bad
    np.testing.assert_array_equal(weights.apply(values), expected)


def test_residual_is_orthogonal_to_the_neighbors() -> None:
    """E[(signal - prediction) (d_i - d_j)] = 0, exactly and on simulations."""
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, NOISE, neighbors=(16,))
    row = len(weights.targets) // 2
    at, target, w = weights.neighbors[row], weights.targets[row], weights.weights[row].astype(float)
    rest = COVARIANCE[np.ix_(at, at)] @ w + NOISE**2 * w - COVARIANCE[at, target]
    assert np.ptp(rest) < 1e-5 * VARIANCE  # float32 weights
    rng = np.random.default_rng(5)
    n = 4000
    root = np.linalg.cholesky(COVARIANCE + 1e-9 * VARIANCE * np.eye(NPIX))
    signal = root @ rng.normal(size=(NPIX, n))
    data = signal + NOISE * rng.normal(size=(NPIX, n))
    residual = signal[target] - w @ data[at]
    contrasts = data[at[1:]] - data[at[0]]
    correlated = (contrasts @ residual / n) / (contrasts.std(axis=1) * residual.std())
    assert np.abs(correlated).max() < 4.5 / np.sqrt(n)
    assert np.abs(residual.var() / error_variance(expanded(weights)[[row]], [target])[0] - 1) < 0.1


def test_order_of_neighbors_does_not_matter() -> None:
    rng = np.random.default_rng(6)
    at = rng.choice(NPIX, 12, replace=False)
    covariance = COVARIANCE[np.ix_(at, at)][None] + NOISE**2 * np.eye(12)
    right = np.ones((1, 2, 12))
    right[0, 0] = COVARIANCE[at, 3]
    present = np.ones((1, 12), dtype=bool)
    present[0, 2] = False
    weights, _ = kriging._ordinary(covariance, right, present)
    p = rng.permutation(12)
    shuffled, _ = kriging._ordinary(covariance[:, p][:, :, p], right[..., p], present[:, p])
    np.testing.assert_allclose(shuffled, weights[:, p], atol=1e-9)
    assert weights[0, 2] == 0


def test_cells_average_their_observed_children() -> None:
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, NOISE, neighbors=(8, 6), factors=(1, 2))
    (cells,) = weights.cells
    values = np.random.default_rng(7).normal(size=NPIX)
    nest = hp.reorder(np.where(valid, values, np.nan), r2n=True).reshape(-1, 4)
    np.testing.assert_allclose(cells.means(values), np.nanmean(nest[cells.pixels], axis=1), atol=ROUNDING)
    enough = np.isfinite(nest[cells.pixels]).mean(axis=1)
    assert enough.min() >= neighbors.MIN_FRACTION


def test_no_coarse_value_holds_a_finer_neighbor() -> None:
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, NOISE, neighbors=(12, 6, 4), factors=(1, 2, 4))
    fine, middle, coarse = np.split(weights.neighbors, [12, 18], axis=1)
    pixels = hp.ring2nest(NSIDE, fine)
    two = weights.cells[0].pixels[middle - NPIX]
    four = weights.cells[1].pixels[coarse - NPIX - len(weights.cells[0].pixels)]
    _, of_two, of_four = np.split(weights.weights != 0, [12, 18], axis=1)
    assert of_two.all() and of_four.any()
    for row in range(len(weights.targets)):
        assert not np.isin(two[row], pixels[row] >> 2).any()
        used = np.concatenate([pixels[row] >> 4, two[row] >> 2])
        assert not np.isin(four[row][of_four[row]], used).any()


def test_coarse_values_lower_the_true_error() -> None:
    """By exact covariances of all pixels; twelve cells bring 2.5 % here."""
    valid = ~disc_mask(0.6)
    targets = np.flatnonzero(~valid)
    observed = np.flatnonzero(valid)
    best = np.zeros((len(targets), NPIX))
    best[:, observed] = dense_weights(observed, targets).T
    optimum = error_variance(best, targets)
    found = {}
    for counts, factors in (((12,), (1,)), ((12, 6, 6), (1, 2, 4))):
        rows = expanded(kriging_weights(valid, CL, NOISE, neighbors=counts, factors=factors))
        found[len(counts)] = np.sqrt(error_variance(rows, targets) / optimum)
    for ratio in found.values():
        assert ratio.min() > 1 - 1e-6
    assert 0.96 < found[3].mean() / found[1].mean() < 0.985


def test_neighbors_that_do_not_exist_get_no_weight() -> None:
    valid = np.zeros(NPIX, dtype=bool)
    valid[:5] = True
    weights = kriging_weights(valid, CL, NOISE, neighbors=(16, 6, 4), factors=(1, 2, 4))
    assert np.isfinite(weights.weights).all()
    np.testing.assert_array_equal(weights.weights[:, 5:], 0)
    np.testing.assert_array_equal(weights.apply(np.ones(NPIX)), 1)


def test_weights_do_not_depend_on_threads_or_selection() -> None:
    valid = ~disc_mask()
    one, two = (
        kriging_weights(valid, CL, NOISE, neighbors=(12, 6), factors=(1, 2), threads=n) for n in (1, 2)
    )
    np.testing.assert_array_equal(one.weights, two.weights)
    some = one.targets[::3]
    part = kriging_weights(valid, CL, NOISE, neighbors=(12, 6), factors=(1, 2), targets=some)
    values = np.random.default_rng(8).normal(size=NPIX)
    np.testing.assert_allclose(part.apply(values), one.apply(values)[::3], atol=FLOAT32)


@pytest.mark.parametrize("k", [1, 16])
def test_spread_is_the_true_error(k: int) -> None:
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, NOISE, neighbors=(k,))
    expected = np.sqrt(error_variance(expanded(weights), weights.targets))
    np.testing.assert_allclose(weights.spread, expected, rtol=1e-4)


def test_spread_of_several_resolutions_is_nearly_the_true_error() -> None:
    """The smooth windows of the cells are all that is approximate."""
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, NOISE, neighbors=(12, 6, 4), factors=(1, 2, 4))
    expected = np.sqrt(error_variance(expanded(weights), weights.targets))
    np.testing.assert_allclose(weights.spread, expected, rtol=0.02)


def test_points_may_lie_anywhere() -> None:
    valid = ~disc_mask()
    at_pixels = kriging_weights(valid, CL, NOISE)
    points = kriging_weights(valid, CL, NOISE, points=VECTORS[~valid])
    values = np.random.default_rng(9).normal(size=NPIX)
    np.testing.assert_allclose(points.apply(values), at_pixels.apply(values), atol=FLOAT32)
    smooth = COVARIANCE @ values
    here = kriging_weights(valid, CL, 0.0, points=VECTORS[[5]])
    np.testing.assert_allclose(here.apply(smooth), smooth[5], atol=1e-3 * smooth.std())  # the nugget smooths


@pytest.mark.parametrize("noise", [0.0, 1e-6, 10.0])
@pytest.mark.parametrize(("counts", "factors"), CASES)
def test_any_noise_gives_finite_weights(
    noise: float, counts: tuple[int, ...], factors: tuple[int, ...]
) -> None:
    valid = ~disc_mask()
    weights = kriging_weights(valid, CL, noise, neighbors=counts, factors=factors)
    assert np.abs(weights.weights).sum(axis=1).max() < 100
    rows = expanded(weights)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=FLOAT32)


def test_no_holes_no_weights() -> None:
    weights = kriging_weights(np.ones(NPIX, dtype=bool), CL, NOISE, neighbors=(8, 6), factors=(1, 2))
    assert weights.apply(np.ones(NPIX)).shape == (0,)


def test_errors_say_what_to_do() -> None:
    valid = ~disc_mask()
    with pytest.raises(MaskError, match="no pixel is observed: there is nothing to krige from"):
        kriging_weights(np.zeros(NPIX, dtype=bool), CL)
    with pytest.raises(SpectrumError, match=r"cl holds 1 negative .* ell = 5"):
        kriging_weights(valid, np.where(ELL == 5, -1.0, CL))
    with pytest.raises(SpectrumError, match=r"cl has shape \(2,\); it is needed from ell = 0 to 2"):
        kriging_weights(valid, CL[:2])
    with pytest.raises(SpectrumError, match="noise_std is negative or not finite in observed pixels"):
        kriging_weights(valid, CL, -1.0)
    with pytest.raises(MapError, match=r"noise_std has shape \(3,\); expected a number or \(768,\)"):
        kriging_weights(valid, CL, np.ones(3))
    with pytest.raises(MapError, match=r"neighbors \[16, 16\] and factors \[1\]: expected one"):
        kriging_weights(valid, CL, neighbors=(16, 16))
    with pytest.raises(MapError, match=r"factors \[1, 3\]: expected 1, then growing powers of two"):
        kriging_weights(valid, CL, neighbors=(16, 16), factors=(1, 3))
    with pytest.raises(MapError, match=r"the map has shape \(12,\); these weights are for \(768,\)"):
        kriging_weights(valid, CL).apply(np.ones(12))
