"""What a model is: all that one may offer, as two abstract classes, and the checks that models share.

Inputs: nothing. Outputs: `Inpainter`, `Predictor`.

An `Inpainter` is a method; prepared for a plan and a sky model it becomes a `Predictor`, which holds whatever
costs time once (neighbor weights, patches, transforms) and fills map after map.
"""

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import CmbInpaintError, MapError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields


class HolePosterior(Protocol):
    """The approximate distribution of the hole pixels' observations, given the data."""

    @property
    def holes(self) -> IntArray:
        """(n,) RING indices of the hole pixels; of Q and U, of maps (2, npix) in a row."""
        ...

    @property
    def depth(self) -> AnyArray:
        """(n,) angle to the nearest datum, in pixels."""
        ...

    @property
    def noise_std(self) -> float:
        """Noise that an observation of a hole pixel would have."""
        ...

    def mean(self, observed: FloatArray) -> FloatArray:
        """(n,) the mean in the hole pixels, of a map that is read where observed only."""
        ...

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(n,) a draw around the mean."""
        ...

    def covariance(self, values: FloatArray) -> FloatArray:
        """(n,) the covariance times an (n,) vector."""
        ...


class Predictor(ABC):
    """A model prepared for one mask and one sky model.

    Attributes
    ----------
    posterior
        The hole pixels' distribution, if the model has one: a solver that refines the prediction shares it.
    """

    posterior: HolePosterior | None = None

    @abstractmethod
    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets of the plan.

        Parameters
        ----------
        observed
            (npix,) float64, RING; values outside `plan.valid` are never read.
        watch
            Is called with the `Progress` of models that iterate.

        Returns
        -------
        ndarray
            (npix,) float64: `observed` where valid, the prediction in the targets (and in guarded pixels), 0 where
            excluded.
        """

    def predict_in_place(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """As `predict`, but what the answer holds where valid has no meaning, and `observed` may be used up."""
        return self.predict(observed, watch=watch)

    def predict_signal(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """Fill the targets with the signal alone, of a sky model with colored noise.

        Raises
        ------
        CmbInpaintError
            If the model cannot tell the two apart.
        """
        raise CmbInpaintError(
            "this model cannot tell the signal from colored noise: use model='default', the exact answer, or ask for "
            "realizations of the observation, which have both"
        )


class Inpainter(ABC):
    """A method that can be prepared for any mask and sky model.

    Attributes
    ----------
    name
        What users call it.
    sha256
        Of its weights; empty for models without.
    is_linear
        Whether predictions are linear in the data. Then `o' + predict(d - d')` is a realization in one pass, and its
        spectrum's bias is `-2 C_ell(F, R)`.
    is_exact
        Whether the prediction is the exact mean: there is nothing to refine.
    refined_by_default
        Whether `inpaint_map(refine=None)` refines its prediction.
    serves_polarization
        Whether it fills maps of Q, U and of T, Q, U.
    """

    name: str
    sha256: str = ""
    is_linear: bool = True
    is_exact: bool = False
    refined_by_default: bool = False
    serves_polarization: bool = False

    def check(self, nside: int, fields: Fields = Fields.T) -> None:
        """Raise or warn where the model does not serve maps of this resolution and these Stokes parameters.

        Raises
        ------
        CmbInpaintError
            If it fills temperature only, and the map has Q and U.
        """
        if fields is not Fields.T and not self.serves_polarization:
            raise CmbInpaintError(
                f"model {self.name!r} fills temperature only, the map is of {', '.join(fields.stokes)}: use "
                "model='default', the exact answer, which fills all of them together, or pass map[0]"
            )

    @abstractmethod
    def prepare(self, plan: InpaintingPlan, sky_model: SkyModel, *, to_refine: bool = False) -> Predictor:
        """Do the work that is done once per mask and sky model.

        `to_refine` says that a solver refines every prediction, so that a cheaper one may do.
        """


def validate_observed(observed: AnyArray, valid: BoolArray) -> FloatArray:
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
