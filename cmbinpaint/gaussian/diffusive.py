"""Diffusive inpainting, a baseline: each hole pixel is the mean of its neighbors.

Inputs: an inpainting plan. Outputs: `DiffusiveInpainter`.

The usual recipe replaces every hole pixel by the mean of its eight neighbors (seven at some corners of base pixels),
again and again. Its limit is the discrete harmonic function with the observed pixels as boundary values, a sparse
linear system that conjugate gradients solve here. It knows no spectrum and no noise: a fill far smoother than the sky,
there to be compared with, not to be used.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import ConvergenceError
from cmbinpaint.problem.model import Inpainter, Predictor, validate_observed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_neighbors

# Residual over the right side's norm at which the solution is accepted.
TOLERANCE = 1e-10
# Steps grow as the width of the largest hole in pixels.
MAX_STEPS = 20_000


@dataclass(frozen=True, eq=False)
class DiffusivePredictor(Predictor):
    """The neighbor mean prepared for one mask.

    Parameters
    ----------
    plan
        What is data, what is filled.
    laplacian
        (n, n) sparse: of a target, the number of its neighbors less the sum over those that are targets.
    contact
        (n, npix) sparse: 1 where a datum is a neighbor of a target.
    """

    plan: InpaintingPlan
    laplacian: Any
    contact: Any

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets (see `Predictor`); linear to 1e-10 of the data times the square of a hole's width.

        Targets that excluded pixels cut off from all data get the mean of the map.

        Raises
        ------
        ConvergenceError
            If the system is not solved.
        """
        valid = self.plan.valid
        observed = validate_observed(observed, valid)
        filled = np.where(valid, observed, 0.0)
        if self.laplacian.shape[0]:
            mean = observed.mean(where=valid)
            right = self.contact @ np.where(valid, observed - mean, 0.0)
            values, failed = cg(self.laplacian, right, rtol=TOLERANCE, maxiter=MAX_STEPS)
            if failed:
                raise ConvergenceError(
                    f"the mean of neighbors did not converge in {MAX_STEPS} steps; use another model"
                )
            filled[~valid & ~self.plan.excluded] = values + mean
        return filled


@dataclass(frozen=True)
class DiffusiveInpainter(Inpainter):
    """The mean of the neighbors, iterated to convergence."""

    name = "diffusive"

    def prepare(
        self, plan: InpaintingPlan, sky_model: SkyModel | None = None, *, to_refine: bool = False
    ) -> DiffusivePredictor:
        """Build the linear system of the plan; the sky model is not used."""
        wanted = ~plan.valid & ~plan.excluded
        targets = np.flatnonzero(wanted)
        around = pixel_neighbors(plan.nside, targets)
        linked = (around >= 0) & ~plan.excluded[around]
        starts = np.concatenate([[0], np.cumsum(linked.sum(axis=1))])
        columns = around[linked]
        shape = (targets.size, plan.valid.size)
        neighbors = sparse.csr_array((np.ones(columns.size), columns, starts), shape=shape)
        laplacian = sparse.diags_array(np.diff(starts).astype(np.float64)) - neighbors[:, targets]
        contact = sparse.csr_array((plan.valid[columns].astype(np.float64), columns, starts), shape=shape)
        return DiffusivePredictor(plan, laplacian.tocsr(), contact)
