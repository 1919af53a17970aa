"""The width of the posterior by simulation, beside dense algebra."""

import numpy as np
import pytest

from cmbinpaint import error_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.sims.sky_model import SkyModel
from tests.gaussian.dense import DenseSolver


def test_error_map_is_the_posterior_width() -> None:
    nside = 8
    mask = np.ones(12 * nside**2, bool)
    mask[200:240] = False
    ell = np.arange(17)
    model = SkyModel(nside, np.where(ell < 2, 100.0, 1 / (1.0 + ell) ** 2), 0.3)
    plan = plan_inpainting(mask)
    width = error_map(plan, model, n=60, seed=0)
    exact = DenseSolver(plan.valid, model).std()
    assert not width[mask].any()
    # 60 simulations: 9 % a pixel, less in the mean
    assert np.mean(width[~mask] / exact) == pytest.approx(1.0, abs=0.06)
    with pytest.raises(CmbInpaintError, match="n is 1; a standard deviation needs at least 2 simulations"):
        error_map(plan, model, n=1)
