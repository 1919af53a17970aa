"""Inpainting by kriging from coarse to fine: hole pixels are predicted in turn, each from data and from those before.

Inputs: a plan and a sky model. Outputs: `CoarseToFineInpainter`.

Direct kriging sees as far as its neighbors; here what one pixel learned is handed on to the next finer ones, so that
even the middle of a wide cut knows of all rims (`sphere.vecchia`). Predictions are within a percent of the exact
mean's error but for the smallest holes (3 %), and realizations within 0.4 % of the spectrum at nside 128 and 1 % above.

Where the noise of a pixel exceeds the signal, single pixels say too little, however many are asked: direct kriging
from means over coarse pixels too is then the better one (nside 128, 2 skies, noise 1 and 3 times the signal's rms,
error over the exact mean's in the worst class of depth: 1.01 and 1.17 from coarse to fine, 1.00 and 1.02 on three
resolutions; at ten times, nside 64, coarse to fine was worse than zeros).
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.gaussian.conditioning_sets import ALONE
from cmbinpaint.gaussian.direct_inpainter import THREE_RESOLUTIONS, KrigingInpainter
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.problem.model import Inpainter, Predictor, check_same_nside, validate_observed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel

# Neighbors of a pixel where nothing mends what is missing (`conditioning.ALONE`). Half as many where a solver does,
# which then costs a step more and saves two thirds of the plan, and beyond so many hole pixels: twice as many would not
# fit into memory at nside 2048.
NEAREST, FEWER = ALONE, 32
MANY = 1 << 20


@dataclass(frozen=True, eq=False)
class CoarseToFinePredictor(Predictor):
    """Kriging from coarse to fine, prepared for one mask and one sky model.

    Parameters
    ----------
    plan
        What is data, what is filled.
    posterior
        The hole pixels' distribution; None without holes.
    """

    plan: InpaintingPlan
    posterior: HoleFactor | None

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets (see `Predictor`); linear to single precision of the largest datum.

        Raises
        ------
        MapError
            If the map has another length than the plan's.
        """
        observed = validate_observed(observed, self.plan.valid)
        filled = np.where(self.plan.valid, observed, 0.0)
        if self.posterior is not None:
            filled[self.posterior.holes] = self.posterior.mean(observed)
            filled[self.plan.excluded] = 0.0
        return filled


@dataclass(frozen=True)
class CoarseToFineInpainter(Inpainter):
    """Kriging from coarse to fine.

    Parameters
    ----------
    nearest
        Neighbors of a pixel (those of coarse groups have more); None: 64, or 32 of more than a million hole pixels and
        where a solver refines the prediction.
    threads
        None: all available cores.
    """

    nearest: int | None = None
    threads: int | None = None

    name = "kriging"

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False) -> Predictor:
        """Condition the hole pixels on the data and on one another.

        Raises
        ------
        MapError
            If plan and sky model have different nside.
        """
        check_same_nside(plan, sky_model)
        if plan.valid.all():
            return CoarseToFinePredictor(plan, None)
        if float(np.sqrt(np.mean(np.square(sky_model.noise_std)))) > sky_model.rms:
            return KrigingInpainter(THREE_RESOLUTIONS, threads=self.threads).prepare(plan, sky_model)
        nearest = self.nearest
        if nearest is None:
            many = np.count_nonzero(~plan.valid) > MANY
            nearest = FEWER if to_refine or many else NEAREST
        factor = hole_factor(plan.valid, sky_model, nearest=nearest, quiet=to_refine, threads=self.threads)
        return CoarseToFinePredictor(plan, factor)
