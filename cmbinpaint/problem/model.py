"""What an inpainter is. Inputs: nothing. Outputs: the two protocols that the pipeline asks for, and the checks that
methods share.

An `Inpainter` is a method; prepared for a plan and a sky model it becomes a `Predictor`, which holds whatever
costs time once (neighbor weights, patches, transforms) and fills map after map.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel


@runtime_checkable
class Predictor(Protocol):
    """A method prepared for one mask and one sky model."""

    def predict(self, observed: FloatArray) -> FloatArray:
        """Fill the targets of the plan.

        `observed` is a (npix,) float64 RING map; values outside `plan.valid` are never read. The result holds
        `observed` where valid, the prediction in the targets (and in guarded pixels), 0 where excluded. It is
        linear in `observed`.
        """
        ...


@runtime_checkable
class Inpainter(Protocol):
    """A method that can be prepared for any mask and sky model."""

    name: str

    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel) -> Predictor:
        """Do the work that is done once per mask and sky model."""
        ...


def take_observed(observed: AnyArray, valid: BoolArray) -> FloatArray:
    """The map that a predictor was given, as float64.

    Raises
    ------
    MapError
        If it has another length than the plan's `valid`.
    """
    observed = np.asarray(observed, dtype=np.float64)
    if observed.shape != valid.shape:
        raise MapError(f"the map has shape {observed.shape}; this plan is for {valid.shape}")
    return observed


def check_same_nside(plan: InpaintingPlan, sky_model: SkyModel) -> None:
    """Refuse a sky model of another resolution than the plan's.

    Raises
    ------
    MapError
        If their nside differ.
    """
    if plan.nside != sky_model.nside:
        raise MapError(
            f"the plan has nside {plan.nside}, the sky model {sky_model.nside}; degrade one of them"
        )
