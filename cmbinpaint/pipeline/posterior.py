"""How far off the signal in the holes can be, whatever the data.

Inputs: a plan and a sky model. Outputs: `error_map`.
"""

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.gaussian.colored_noise import signal_of
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation, realization_rng
from cmbinpaint.problem.numbers import validate_seed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel

_ERROR_TOLERANCE = 1e-2  # posterior standard deviations: in quadrature nothing


def error_map(
    plan: InpaintingPlan, sky_model: SkyModel, *, n: int = 50, seed: int | None = None
) -> FloatArray:
    """Posterior standard deviation of the signal in the holes, by simulation with the exact mean.

    Parameters
    ----------
    plan
        From `plan_inpainting`.
    sky_model
        For example `InpaintInfo.sky_model`.
    n
        Simulations; the relative error of the result is ``1 / sqrt(2 n)``.
    seed
        None: fresh.

    Returns
    -------
    ndarray
        (npix,) float64, RING, in the sky model's unit; 0 outside the targets. It does not depend on the data. Of a
        sky model of several Stokes parameters (k, npix).

    Raises
    ------
    CmbInpaintError
        If `n` is below 2.
    """
    if n < 2:
        raise CmbInpaintError(f"n is {n}; a standard deviation needs at least 2 simulations")
    plan = plan.of(sky_model.fields)
    solver = GaussianSolver(plan.valid, sky_model)
    used, colored = validate_seed(seed), sky_model.colored_noise_cl is not None
    total = np.zeros(plan.valid.shape)
    for index in range(n):
        signal, noise = draw_observation(sky_model, realization_rng(used, index))
        observed = np.where(plan.valid, signal + noise, 0.0)
        solution = solver.solve(observed, tolerance=_ERROR_TOLERANCE, keep_modes=colored, overwrite=True)
        total += np.square(signal - (signal_of(solution, solver, sky_model) if colored else solution.mean))
    return np.where(plan.targets, np.sqrt(total / n), 0.0)
