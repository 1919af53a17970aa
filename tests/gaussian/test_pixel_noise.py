"""Noise levels and bins of the solver, against their definitions."""

import numpy as np
import pytest

from cmbinpaint.gaussian.hole_values import HoleValues
from cmbinpaint.gaussian.pixel_noise import PixelNoise
from cmbinpaint.sims.sky_model import SkyModel

NSIDE = 8
NPIX = 12 * NSIDE**2
VALID = np.arange(NPIX) % 50 > 3


def test_the_noise_spectrum_is_that_of_the_mean_variance_of_the_data() -> None:
    std = np.where(VALID, 0.5 + np.arange(NPIX) / NPIX, 100.0)
    model = SkyModel(NSIDE, 1 / (1.0 + np.arange(17)) ** 2, std)
    expected = np.mean(std[VALID] ** 2) * 4 * np.pi / NPIX
    assert PixelNoise(model, VALID[None]).power == pytest.approx([expected], rel=1e-12)
    assert abs(np.mean(std[VALID]) ** 2 * 4 * np.pi / NPIX / expected - 1) > 0.05


def test_bins_of_t_and_of_q_and_u_are_apart() -> None:
    cl = np.zeros((3, 3, 17))
    cl[np.arange(3), np.arange(3), 2:] = 1 / np.arange(3.0, 18.0) ** 2
    model = SkyModel(NSIDE, cl, np.array([0.1, 0.2, 0.2]))
    values = HoleValues(np.array([VALID, VALID, VALID]), model, factored=True, threads=1)
    edges = (1.3, 2.3)
    bins, std = values.bins(edges)
    n_t = values.places[0].size
    assert bins.size == 3 * n_t == 3 * np.count_nonzero(~VALID)
    assert bins[:n_t].max() <= len(edges) < bins[n_t:].min() and bins.max() < std.size
