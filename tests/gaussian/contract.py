"""The contract of every linear predictor, whatever its method."""

import numpy as np

from cmbinpaint.problem.model import Inpainter, Predictor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel


def fulfills_its_contract(
    method: Inpainter, plan: InpaintingPlan, model: SkyModel, seed: int, rounding: float
) -> None:
    """Data stay, holes are not read, a combination and a constant go through; `rounding` is of values of size 10."""
    predictor = method.prepare(plan, model)
    assert isinstance(method, Inpainter) and isinstance(predictor, Predictor)
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, plan.valid.size))
    first[~plan.valid] = np.nan
    filled = predictor.predict(first)
    np.testing.assert_array_equal(filled[plan.valid], first[plan.valid])
    np.testing.assert_array_equal(filled[plan.excluded], 0)
    assert np.isfinite(filled).all()
    first[~plan.valid] = 1e30
    np.testing.assert_array_equal(predictor.predict(first), filled)
    both = predictor.predict(2 * first - 3 * second + 5)
    expected = 2 * filled - 3 * predictor.predict(second) + 5
    np.testing.assert_allclose(both[~plan.excluded], expected[~plan.excluded], rtol=0, atol=rounding)
