"""The physical loss's minimum is the Wiener filter of dense linear algebra; rings hold what they should."""

import numpy as np
import pytest
import torch

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.flatsky import FlatSky, ring_power
from cmbinpaint.nn.losses import WeightedLoss

SIDE, NOISE = 6, 0.4


def covariance() -> np.ndarray:
    """(36, 36): a Gaussian correlation of 0.8 px on a torus, written out pair by pair."""
    pixels = [(i, j) for i in range(SIDE) for j in range(SIDE)]

    def c(a: tuple[int, int], b: tuple[int, int]) -> float:
        total = 0.0
        for wrap_i in (-1, 0, 1):  # the nearest images: the others are below 1e-16
            for wrap_j in (-1, 0, 1):
                d2 = (a[0] - b[0] + wrap_i * SIDE) ** 2 + (a[1] - b[1] + wrap_j * SIDE) ** 2
                total += np.exp(-d2 / (2 * 0.8**2))
        return total

    return np.array([[c(a, b) for b in pixels] for a in pixels])


def mode_variance(side: int) -> np.ndarray:
    """Expected |rfft2|²: side² times the transform of the first row."""
    row = covariance()[0].reshape(side, side)
    return side**2 * np.fft.rfft2(row).real


def problem() -> tuple[np.ndarray, np.ndarray, FlatSky]:
    rng = np.random.default_rng(8)
    data = np.linalg.cholesky(covariance() + 1e-9 * np.eye(SIDE**2)) @ rng.standard_normal(SIDE**2)
    observed = rng.random(SIDE**2) > 0.4
    return data, observed, FlatSky(mode_variance, NOISE, floor=1e-12)


def free_mean(inverse: np.ndarray) -> np.ndarray:
    """The inverse covariance with the plane's mean left free."""
    ones = np.ones((SIDE**2, 1))
    return inverse - inverse @ ones @ ones.T @ inverse / (ones.T @ inverse @ ones)


def test_the_minimum_is_the_dense_wiener_filter() -> None:
    data, observed, sky = problem()
    # Kriging with an unknown mean, from covariances among observed pixels alone: no inverse of S is formed.
    s = covariance()
    system = np.zeros((observed.sum() + 1,) * 2)
    system[:-1, :-1] = s[np.ix_(observed, observed)] + NOISE**2 * np.eye(observed.sum())
    system[-1, :-1] = system[:-1, -1] = 1
    right = np.concatenate([s[observed], np.ones((1, SIDE**2))])
    wiener = np.linalg.solve(system, right)[:-1].T @ data[observed]

    loss = WeightedLoss({"physical": 1.0}, sky=sky)
    shape = (1, 1, SIDE, SIDE)
    valid = torch.from_numpy(observed.reshape(shape).astype(float))
    x = torch.from_numpy(np.where(observed, data, np.nan).reshape(shape))  # nothing under holes is read
    truth = torch.full(shape, torch.nan, dtype=torch.float64)  # and no truth

    def j(y: torch.Tensor) -> torch.Tensor:
        return loss(y.reshape(shape), truth, {"valid": valid, "x": x})

    # The loss is quadratic: Newton's first step from anywhere is its minimum.
    start = torch.zeros(SIDE**2, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(j, start)
    gradient = torch.autograd.functional.jacobian(j, start)
    minimum = start - torch.linalg.solve(hessian, gradient)
    # float64 with a condition number near 1e6.
    np.testing.assert_allclose(minimum.numpy(), wiener, rtol=1e-6, atol=1e-7)
    assert j(minimum + 0.01 * torch.randn(SIDE**2, dtype=torch.float64)) > j(minimum)


def test_the_prior_is_the_inverse_covariance() -> None:
    _, _, sky = problem()
    field = np.random.default_rng(2).standard_normal(SIDE**2)
    expected = field @ free_mean(np.linalg.inv(covariance())) @ field
    found = sky.prior_form(torch.from_numpy(field.reshape(1, 1, SIDE, SIDE))).item()
    assert found == pytest.approx(expected, rel=1e-6)  # the same condition number


def test_the_floor_bounds_the_inverse() -> None:
    sky = FlatSky(lambda side: np.pad(np.ones((1, 1)), ((0, side - 1), (0, side // 2))), 1.0, floor=1e-2)
    wave = torch.cos(torch.arange(8) * torch.pi).expand(1, 1, 8, 8)  # |rfft2|² = 64² at Nyquist
    assert sky.prior_form(wave).item() == pytest.approx(64**2 / 1e-2, rel=1e-6)


def test_rings_are_white_for_white_noise() -> None:
    field = torch.randn(200, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    power = ring_power(field, 4).mean((0, 1))
    window = np.hanning(17)[:-1]
    expected = np.sum(np.outer(window, window) ** 2)
    # 200 fields of some 30 modes a ring: 1.3 % each; the lowest ring loses its mean.
    np.testing.assert_allclose(power[1:].numpy(), expected, rtol=0.08)


@pytest.mark.parametrize("form", ["prior", "rings"])
def test_square_patches_only(form: str) -> None:
    field = torch.zeros(1, 1, 4, 6)
    with pytest.raises(RecipeError, match=r"patches of 4 x 6 px; the .* loss needs square ones"):
        problem()[2].prior_form(field) if form == "prior" else ring_power(field)


def test_noise_is_needed() -> None:
    with pytest.raises(RecipeError, match="the physical loss needs noise: noise_std is 0"):
        FlatSky(mode_variance, 0.0)
