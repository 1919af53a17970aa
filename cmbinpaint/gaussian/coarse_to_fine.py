"""Inpainting by kriging from coarse to fine: hole pixels are predicted in turn, each from data and from those before.

Inputs: a plan and a sky model. Outputs: `CoarseToFineInpainter`.

What is predicted in one group is data for the next finer one, so that even the middle of a wide cut uses all edges
(`gaussian.vecchia`). Predictions are within a percent of the exact mean's error but for the smallest holes (3 %), and
realizations within 0.4 % of the spectrum at nside 128 and 1 % above. The plan takes longer than the exact answer's,
each map then costs next to nothing: an approximate method for very many maps with one mask.

Where a pixel's noise exceeds the signal, a few pixels determine too little (nside 32 and 64, 2 skies, error over the
exact mean's in the worst depth bin: 1.00 with noise of the signal's rms, 1.03 with three times, 1.7 with ten times,
which is worse than zeros): from three times on it is refused.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.problem.model import Inpainter, Predictor, check_same_nside, validate_observed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel

# Neighbors of a pixel where no solver refines the prediction (`conditioning_sets.COARSE`). Half as many where one does,
# which then costs a step more and saves two thirds of the plan, and beyond so many hole pixels: twice as many would not
# fit into memory at nside 2048.
NEAREST, FEWER = 64, 32
MANY = 1 << 20
# Noise of a pixel over the signal's rms, at most.
NOISIEST = 3.0


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
        SpectrumError
            If the noise is more than three times the signal.
        """
        check_same_nside(plan, sky_model)
        if plan.valid.all():
            return CoarseToFinePredictor(plan, None)
        if not to_refine:
            _refuse_noise(sky_model)
        nearest = self.nearest
        if nearest is None:
            many = np.count_nonzero(~plan.valid) > MANY
            nearest = FEWER if to_refine or many else NEAREST
        factor = hole_factor(
            plan.valid, sky_model, nearest=nearest, quiet=to_refine, threads=self.threads, kept=plan.factors
        )
        return CoarseToFinePredictor(plan, factor)


def _refuse_noise(sky_model: SkyModel) -> None:
    """Refuse a sky of which single pixels determine too little."""
    ratio = float(np.sqrt(np.mean(np.square(sky_model.noise_std)))) / sky_model.rms
    if ratio > NOISIEST:
        raise SpectrumError(
            f"kriging is for noise of up to {NOISIEST:g} times the signal's rms in a pixel, and here it is {ratio:.2g} "
            "(at ten times it is worse than no fill at all); use model='default', which is exact"
        )
