"""The exact answer as an inpainter.

Inputs: a plan and a sky model. Outputs: `GaussianInpainter`.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.gaussian.colored_noise import signal_of
from cmbinpaint.gaussian.convergence import Solution
from cmbinpaint.gaussian.solver import MAX_STEPS, POWER_TOLERANCE, TOLERANCE, GaussianSolver
from cmbinpaint.problem.model import Inpainter, Predictor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel


@dataclass(frozen=True)
class GaussianInpainter(Inpainter):
    """The exact answer as an inpainter.

    Parameters
    ----------
    tolerance, max_steps, power_tolerance
        As in `GaussianSolver.solve`.
    threads
        As in `GaussianSolver`.
    """

    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS
    threads: int | None = None
    power_tolerance: float = POWER_TOLERANCE

    name = "gaussian"
    is_exact = True
    serves_polarization = True

    def prepare(
        self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False
    ) -> "GaussianPredictor":
        """Set up the solver for one mask and sky model."""
        solver = GaussianSolver(
            plan.valid, sky_model, threads=self.threads, kept=plan.factors, excluded=plan.excluded
        )
        return GaussianPredictor(
            plan, sky_model, solver, self.tolerance, self.max_steps, self.power_tolerance
        )


@dataclass(frozen=True, eq=False)
class GaussianPredictor(Predictor):
    """The exact answer prepared for one plan and sky model; linear in the data to the tolerance."""

    plan: InpaintingPlan
    sky_model: SkyModel
    solver: GaussianSolver
    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS
    power_tolerance: float = POWER_TOLERANCE

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """The data where valid, the posterior mean where not, 0 where excluded.

        Raises
        ------
        ConvergenceError
            If `max_steps` were not enough.
        """
        return self._filled(observed, self._solve(observed, watch).mean)

    def predict_in_place(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """As `predict`; the answer is in the memory of `observed`."""
        mean = self._solve(observed, watch, overwrite=True).mean
        mean[self.plan.excluded] = 0.0
        return mean

    def predict_signal(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """As `predict`, of the signal alone: `S (S + N)⁻¹` at each ell of the mean of signal and colored noise."""
        solution = self._solve(observed, watch, keep_modes=True)
        return self._filled(observed, signal_of(solution, self.solver, self.sky_model))

    def _solve(
        self, observed: FloatArray, watch: Watch | None, *, keep_modes: bool = False, overwrite: bool = False
    ) -> Solution:
        return self.solver.solve(
            observed, tolerance=self.tolerance, power_tolerance=self.power_tolerance, max_steps=self.max_steps,
            watch=watch, keep_modes=keep_modes, overwrite=overwrite,
        )  # fmt: skip

    def _filled(self, observed: FloatArray, mean: FloatArray) -> FloatArray:
        filled = np.where(self.plan.valid, observed, mean)
        filled[self.plan.excluded] = 0.0
        return filled
