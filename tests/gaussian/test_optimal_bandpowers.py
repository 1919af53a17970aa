"""Quadratic estimates and their response against matrices written out in pixels."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import eval_legendre

from cmbinpaint.errors import MapError
from cmbinpaint.gaussian.optimal_bandpowers import InverseCovariance, Response, quadratic
from cmbinpaint.sims import SkyModel, fiducial_cl
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NSIDE, LMAX, NOISE = 8, 23, 10.0
EDGES = (2, 4, 7, 11, 16, 24)


class Dense:
    """The covariance of the observed pixels, its inverse without monopole and dipole, and what each band adds."""

    def __init__(
        self, valid: np.ndarray, signal_cl: np.ndarray, shapes: np.ndarray, others: list | None = None
    ):
        self.pixels, vectors = np.flatnonzero(valid), pixel_vectors(NSIDE)[valid]
        mu = np.clip(vectors @ vectors.T, -1, 1)
        legendre = [(2 * ell + 1) / (4 * np.pi) * eval_legendre(ell, mu) for ell in range(LMAX + 1)]
        cov = sum(cl * p for cl, p in zip(signal_cl[2:], legendre[2:], strict=True))
        inverse = np.linalg.inv(cov + NOISE**2 * np.eye(self.pixels.size))
        modes = np.column_stack([np.ones(self.pixels.size), vectors, *(m[valid] for m in others or [])])
        seen = inverse @ modes
        self.inverse = inverse - seen @ np.linalg.solve(modes.T @ seen, seen.T)
        self.bands = [sum(w * p for w, p in zip(shape, legendre, strict=True)) for shape in shapes]
        self.legendre = legendre

    def estimates(self, sky: np.ndarray) -> np.ndarray:
        weighted = self.inverse @ sky[self.pixels]
        return np.array([0.5 * weighted @ band @ weighted for band in self.bands])

    def response(self, ell: int, window: float) -> np.ndarray:
        """(n,) to C_ell."""
        one = self.inverse @ (window * self.legendre[ell]) @ self.inverse
        return np.array([0.5 * np.sum(one * band) for band in self.bands])


def converged(valid: np.ndarray, model: SkyModel, templates: list | None = None) -> InverseCovariance:
    return InverseCovariance(valid, model, templates or [], tolerance=1e-7, power_tolerance=1e-12)


def estimates(inverse: InverseCovariance, shapes: np.ndarray, sky: np.ndarray, other=None) -> np.ndarray:
    """(n,) of T."""
    second = None if other is None else inverse.apply(other)
    return quadratic(inverse.apply(sky), shapes[None], second)[0]


def response(inverse: InverseCovariance, shapes: np.ndarray, window: np.ndarray, seed: int, rounds: int):
    """(n, lmax+1) of T."""
    made, rng = Response(shapes[None], window[None], 0 * window[None], rounds), np.random.default_rng(seed)
    return np.stack([made.of(band, inverse, rng)[0][0, 0] for band in range(len(shapes))])


@pytest.fixture(scope="module")
def setting():
    window = (gaussian_beam(np.radians(15), LMAX) * pixel_window(NSIDE, LMAX)) ** 2
    model = SkyModel.from_theory(fiducial_cl(LMAX), NSIDE, fwhm=np.radians(15), noise_std=NOISE, lmax=LMAX)
    valid = np.abs(pixel_vectors(NSIDE)[:, 2]) > 0.25
    shapes = np.zeros((len(EDGES) - 1, LMAX + 1))
    for i, (low, high) in enumerate(pairwise(EDGES)):
        shapes[i, low:high] = np.linspace(0.8, 1.3, high - low)
    return valid, model, shapes, window


def test_estimates_are_those_of_dense_algebra(setting) -> None:
    valid, model, shapes, window = setting
    dense = Dense(valid, model.signal_cl, shapes * window)
    inverse = converged(valid, model)
    first, second = np.random.default_rng(0).standard_normal((2, valid.size)) * 50
    found = [estimates(inverse, shapes * window, sky) for sky in (first, second)]
    np.testing.assert_allclose(found[0], dense.estimates(first), rtol=3e-4)
    cross = estimates(inverse, shapes * window, first, second)
    total = estimates(inverse, shapes * window, first + second)
    np.testing.assert_allclose(2 * cross, total - found[0] - found[1], rtol=1e-6, atol=1e-6 * total.max())


def test_nothing_in_a_hole_matters(setting) -> None:
    valid, model, _, _ = setting
    inverse = InverseCovariance(valid, model)
    sky = np.random.default_rng(1).standard_normal(valid.size)
    np.testing.assert_array_equal(inverse.apply(sky), inverse.apply(np.where(valid, sky, np.nan)))


def test_it_is_linear_however_small_a_map_is(setting) -> None:
    valid, model, _, _ = setting
    inverse = InverseCovariance(valid, model)
    sky = np.random.default_rng(1).standard_normal(valid.size) * 50
    one = inverse.apply(sky)
    # A vector of unit size beside 60 µK of signal: solved for as well as the map itself.
    np.testing.assert_allclose(
        inverse.apply(sky / 1000), one / 1000, rtol=1e-9, atol=1e-12 * np.abs(one).max()
    )


def test_the_response_is_that_of_dense_algebra(setting) -> None:
    valid, model, shapes, window = setting
    dense = Dense(valid, model.signal_cl, shapes * window)
    inverse = converged(valid, model)
    # 21 vectors: the first band, of 12 modes, is summed over them; others have the noise of random signs.
    found = response(inverse, shapes * window, window, 2, 21)
    wanted = np.array([dense.response(ell, window[ell]) for ell in range(LMAX + 1)]).T
    np.testing.assert_allclose(found[0, 2:], wanted[0, 2:], rtol=2e-3, atol=2e-3 * wanted[0].max())
    fisher, dense_fisher = found @ shapes.T, wanted @ shapes.T
    assert np.diag(fisher) == pytest.approx(np.diag(dense_fisher), rel=0.05)
    scale = np.sqrt(np.outer(np.diag(dense_fisher), np.diag(dense_fisher)))
    assert np.abs((fisher - dense_fisher) / scale).max() < 0.05


def test_noise_is_what_dense_algebra_says(setting) -> None:
    valid, model, shapes, window = setting
    dense = Dense(valid, model.signal_cl, shapes * window)
    signal = np.where(np.arange(LMAX + 1) > 1, model.signal_cl, 0.0)[None]
    made, inverse = Response((shapes * window)[None], window[None], signal, 32), converged(valid, model)
    found = [made.of(band, inverse, np.random.default_rng(2))[1][0] for band in range(len(shapes))]
    wanted = [
        0.5 * NOISE**2 * np.sum((dense.inverse @ band @ dense.inverse).diagonal()) for band in dense.bands
    ]
    # The first band is summed over its 12 modes; signs have a noise of their own.
    assert found[0] == pytest.approx(wanted[0], rel=1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0.03)


def test_signs_of_neighbors_in_ell_cancel(setting) -> None:
    valid, model, shapes, window = setting
    inverse = converged(valid, model)
    exact = response(inverse, shapes * window, window, 0, 400).sum(axis=1)
    found = np.array([response(inverse, shapes * window, window, seed, 8).sum(axis=1) for seed in range(12)])
    error = np.sqrt(np.mean(np.square(found / exact - 1), axis=0))
    # Of 8 vectors of random signs alone they would have an error of 0.9, 2 and 1.2 %.
    assert error[2] < 5e-4 and error[3] < 5e-3 and error[4] < 0.01


def test_templates_leave_no_trace_and_cost_what_dense_algebra_says(setting) -> None:
    valid, model, shapes, window = setting
    x, _, z = pixel_vectors(NSIDE).T
    dust = np.exp(-np.abs(z) * 3) * (1 + x)
    inverse = converged(valid, model, [dust])
    dense = Dense(valid, model.signal_cl, shapes * window, [dust])
    sky = np.random.default_rng(3).standard_normal(valid.size) * 50
    found = estimates(inverse, shapes * window, sky)
    np.testing.assert_allclose(found[1:], dense.estimates(sky)[1:], rtol=2e-3)
    np.testing.assert_allclose(estimates(inverse, shapes * window, sky + 300 * dust), found, rtol=1e-2)
    without = estimates(InverseCovariance(valid, model), shapes * window, sky + 300 * dust)
    assert np.all(without[:2] > 2 * found[:2])


@pytest.mark.parametrize("kind", ["constant", "dipole", "twice"])
def test_templates_that_say_nothing_new_are_refused(setting, kind: str) -> None:
    valid, model, _, _ = setting
    x, _, z = pixel_vectors(NSIDE).T
    templates = {"constant": [np.full(x.size, 3.0)], "dipole": [2 + x], "twice": [x * z, -2 * x * z]}[kind]
    with pytest.raises(MapError, match="constant or a dipole in the observed pixels"):
        InverseCovariance(valid, model, templates)


def test_without_holes_estimates_are_full_sky_spectra() -> None:
    model = SkyModel.from_theory(fiducial_cl(LMAX), NSIDE, fwhm=np.radians(15), noise_std=NOISE, lmax=LMAX)
    inverse = InverseCovariance(np.ones(12 * NSIDE**2, bool), model)
    window = np.ones(LMAX + 1)
    shapes = np.eye(LMAX + 1)[2:9]
    found = response(inverse, shapes, window, 4, 1)
    ell = np.arange(2, 9)
    # Fisher's matrix of a full sky: half the modes over the squared power of signal and noise.
    total = model.signal_cl[2:9] + NOISE**2 * 4 * np.pi / (12 * NSIDE**2)
    np.testing.assert_allclose(np.diag(found[:, 2:9]), (2 * ell + 1) / 2 / total**2, rtol=5e-3)
