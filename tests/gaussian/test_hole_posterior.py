"""The hole pixels' distribution under a sky model: its noise, and the signal's standard deviations by depth."""

import numpy as np
import pytest

from cmbinpaint.gaussian.hole_posterior import hole_factor, std_by_depth
from cmbinpaint.pipeline.filler import draw_observation
from tests.gaussian.dense import DenseSolver
from tests.gaussian.test_vecchia import random_valid, sky_model


def uneven(nside):
    """Noise that differs by a factor of thirty between halves of the sky."""
    return np.where(np.arange(12 * nside**2) % 97 < 48, 0.01, 0.3)


def test_an_observation_of_a_hole_pixel_has_the_mean_weight_of_data():
    model, valid = sky_model(8, uneven(8)), random_valid(8, 0)
    expected = 1 / np.sqrt(np.mean(1 / uneven(8)[valid] ** 2))
    assert hole_factor(valid, model).noise_std == pytest.approx(expected, rel=1e-12)
    assert np.sqrt(np.mean(uneven(8)[valid] ** 2)) > 10 * expected  # by their variances it would be another


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_standard_deviations_by_depth_are_the_signals(noise):
    """0.3 is the signal's rms: draws of the observation are mostly noise, and it is taken off."""
    model, valid = sky_model(16, noise), random_valid(16, 1)
    factor = hole_factor(valid, model)
    bin_of, std = std_by_depth(factor, (1.3, 2.3))
    exact = DenseSolver(valid, model, targets=factor.holes).std()
    expected = [np.sqrt(np.mean(np.square(exact[bin_of == number]))) for number in range(3)]
    np.testing.assert_allclose(
        std, expected, rtol=0.2
    )  # eight draws of some 200 pixels, and the factor's own error
    np.testing.assert_array_equal(bin_of, np.digitize(factor.depth, (1.3, 2.3), right=True))


def test_each_datum_counts_with_its_own_noise():
    model, squares = sky_model(8, uneven(8)), []
    for seed in range(6):
        valid = random_valid(8, seed)
        factor, solver = hole_factor(valid, model), DenseSolver(valid, model)
        signal, noise = draw_observation(model, np.random.default_rng(seed))
        holes = np.zeros(valid.size)
        holes[factor.holes] = factor.mean(signal + noise)
        squares.append(
            np.mean(np.square((holes[solver.targets] - solver.mean(signal + noise)) / solver.std()))
        )
    # Measured 0.8; with one level for all pixels 1.6.
    assert np.sqrt(np.mean(squares)) < 1.1
