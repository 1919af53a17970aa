"""A user's map and plan, in the unit of the work, and the way back.

Inputs: a map, and a mask or plan, as users have them. Outputs: `Problem`.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, MaskError
from cmbinpaint.problem.monopole_dipole import fit_monopole_dipole, monopole_dipole_map
from cmbinpaint.problem.noise import noise_of
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.estimate import estimate_sky_model
from cmbinpaint.sims.power_check import check_power
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.input_warnings import check_input
from cmbinpaint.sphere.maps import SkyInput, validate_map
from cmbinpaint.sphere.units import known_unit, unit_factor


@dataclass(frozen=True, eq=False)
class Problem:
    """A user's map and plan, and what is removed from the map before the work and added after it.

    Attributes
    ----------
    sky
        The map as the user gave it.
    plan
        What is data, what is filled; pixels without a value in the map are never data.
    nest
        Whether the user's arrays are in NESTED ordering.
    factor
        Work unit over the map's unit.
    work_unit
        µK where the map is a temperature or the user gave a spectrum or a noise level, else the map's own, if any.
    monopole_dipole
        (4,) in the work unit.
    constant
        The one value that all data have, in the map's unit, else None: the map without holes is that value.
    """

    sky: SkyInput
    plan: InpaintingPlan
    nest: bool
    factor: float
    work_unit: str | None
    monopole_dipole: FloatArray
    constant: float | None

    @classmethod
    def make(
        cls, sky: Any, mask: Any = None, *, plan: InpaintingPlan | None = None, nest: bool = False,
        unit: str | None = None, assume_microkelvin: bool = False,
    ) -> "Problem":  # fmt: skip
        """Validate a user's map and mask or plan; without a unit, `assume_microkelvin` says that it is µK."""
        taken = validate_map(sky, nest=nest, unit=unit)
        hint = "" if plan is None else " (is the plan for another mask?)"
        plan = plan_for(taken, mask, plan=plan, nest=nest, hint=hint)
        check_input(taken.values, plan.valid, nest=nest, has_mask=plan.fsky < 1)
        in_kelvins = assume_microkelvin or known_unit(taken.unit or "")
        work_unit = "uK_CMB" if in_kelvins else taken.unit
        factor = unit_factor(taken.unit, work_unit) if taken.unit and work_unit else 1.0
        data = taken.values[plan.valid]
        constant = float(data[0]) if data.size > 1 and data.min() == data.max() else None
        # A constant is its own monopole, without the rounding of a fit.
        fitted = (
            np.array([constant, 0.0, 0.0, 0.0])
            if constant is not None
            else fit_monopole_dipole(taken.values, plan)
        )
        return cls(taken, plan, nest, factor, work_unit, fitted * factor, constant)

    @property
    def has_targets(self) -> bool:
        """Whether there is anything to fill."""
        return bool(self.plan.targets.any())

    @cached_property
    def observed(self) -> FloatArray:
        """(npix,) the data in the work unit without monopole and dipole, 0 elsewhere."""
        smooth = monopole_dipole_map(self.monopole_dipole, self.plan.nside)
        return np.where(self.plan.valid, self.sky.values * self.factor - smooth, 0.0)

    def assume_sky(
        self, sky_model: SkyModel | None = None, *, cl: FloatArray | None = None, fwhm: float | None = None,
        beam: FloatArray | None = None, noise_std: Any = None, whole: bool = False,
    ) -> SkyModel:  # fmt: skip
        """The sky model given, made of what is given, or estimated; `whole`: of a given `cl` to 3*nside-1."""
        if sky_model is not None:
            return self._checked(sky_model)
        plan, std = self.plan, None if noise_std is None else noise_of(noise_std, self.plan, nest=self.nest)
        if cl is None:
            return estimate_sky_model(self.observed, plan.valid, nside=plan.nside, noise_std=std)
        lmax = 3 * plan.nside - 1 if whole else None
        made = SkyModel.from_theory(
            cl, plan.nside, fwhm=fwhm, beam=beam, noise_std=0.0 if std is None else std, lmax=lmax
        )
        return self._checked(made)

    def _checked(self, sky_model: SkyModel) -> SkyModel:
        """The model, if its power is that of the data; of a constant map any model serves."""
        if self.constant is None:
            check_power(self.observed, self.plan.valid, sky_model, self.work_unit)
        return sky_model

    def to_map(self, filled: FloatArray) -> FloatArray:
        """From the work unit, without monopole and dipole, to the map's own scale."""
        if self.constant is not None:
            return np.full(filled.shape, self.constant)
        return (filled + monopole_dipole_map(self.monopole_dipole, self.plan.nside)) / self.factor

    def with_data(self, filled: FloatArray) -> FloatArray:
        """(npix,) RING, the map's own values (NaN where it has none) and `filled` in the targets."""
        own = np.where(self.sky.known, self.sky.values, np.nan)
        return np.where(self.plan.targets, self.to_map(filled), own)

    def to_user_format(self, maps: list[FloatArray] | FloatArray) -> Any:
        """One map or several in the type, ordering and unit that the user gave."""
        return self.sky.to_user_format(
            np.stack([self.to_map(m) for m in maps]) if isinstance(maps, list) else self.to_map(maps),
            self.plan.targets,
        )


def plan_for(
    taken: SkyInput,
    mask: Any = None,
    *,
    plan: InpaintingPlan | None = None,
    nest: bool = False,
    hint: str = "",
) -> InpaintingPlan:
    """The plan given or made of the mask, with pixels that the map does not have added to what is filled."""
    if plan is None:
        observed = taken.known if mask is None else masks.validate_mask(mask, taken.nside, nest=nest)
        plan = InpaintingPlan.from_valid(observed)
    elif mask is not None:
        raise MaskError("plan and mask were given; the plan holds its mask: give one or the other")
    if plan.nside != taken.nside:
        raise MaskError(f"the plan is for nside {plan.nside}, the map has {taken.nside}; make a plan for it")
    # A guarded pixel is no datum, but a value is expected there.
    missing = ~plan.targets & ~plan.excluded & ~taken.known
    lost = int(np.count_nonzero(missing))
    if not lost:
        return plan
    warnings.warn(
        f"{lost} pixels that the mask calls observed are NaN, UNSEEN or masked in the map{hint}; they are filled",
        CmbInpaintWarning,
        stacklevel=4,
    )
    return InpaintingPlan(plan.nside, plan.valid & taken.known, plan.targets | missing, plan.excluded)
