"""A user's map and plan, in the unit of the work, and the way back.

Inputs: a map, and a mask or plan, as users have them. Outputs: `Job`.
"""

import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, MaskError
from cmbinpaint.problem.monopole_dipole import fit_trend, trend_map
from cmbinpaint.problem.options import take_guard
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.estimate import estimate_sky_model
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.input_warnings import warn_if_suspicious
from cmbinpaint.sphere.maps import SkyInput, check_values, to_ring, validate_map
from cmbinpaint.sphere.power import validate_noise
from cmbinpaint.sphere.units import known_unit, unit_factor

# A sky model that is this many times above or below what the data show is in another unit.
_OTHER_SCALE = 100.0


@dataclass(frozen=True, eq=False)
class Job:
    """A user's map and plan; from `in_work_unit` on also what is removed before the work and added after."""

    sky: SkyInput
    plan: InpaintingPlan
    nest: bool
    factor: float = 1.0  # work unit over the map's unit
    work_unit: str | None = None
    trend: FloatArray = field(default_factory=lambda: np.zeros(4))  # monopole and dipole, work unit

    @classmethod
    def take(
        cls, sky: Any, mask: Any, plan: InpaintingPlan | None, exclude: Any, guard: int, nest: bool,
        unit: str | None, threshold: float | None,
    ) -> "Job":  # fmt: skip
        taken = validate_map(sky, nest=nest, unit=unit)
        if plan is not None:
            if mask is not None or exclude is not None or guard:
                raise MaskError(
                    "a plan came with mask, exclude or guard; the plan holds them: give one or the other"
                )
            if plan.nside != taken.nside:
                raise MaskError(
                    f"the plan is for nside {plan.nside}, the map has {taken.nside}; make a plan for it"
                )
            wanted = ~plan.targets  # guarded pixels are no data, but a value is expected there
        else:
            wanted = (
                taken.known
                if mask is None
                else masks.validate_mask(mask, taken.nside, nest=nest, threshold=threshold)
            )
        excluded = (
            None if exclude is None else masks.validate_mask(exclude, taken.nside, nest=nest, hidden=True)
        )
        ignored = plan.excluded if plan is not None else excluded
        missing = wanted & ~taken.known
        if ignored is not None:
            missing &= ~ignored
        lost = int(np.count_nonzero(missing))
        if lost:
            who, hint = ("mask", "") if plan is None else ("plan", " (is the plan for another mask?)")
            warnings.warn(
                f"{lost} pixels that the {who} calls observed are NaN, UNSEEN or masked in the map{hint}; "
                "they are filled",
                CmbInpaintWarning,
                stacklevel=3,
            )
        valid = wanted & taken.known
        if plan is None:
            plan = InpaintingPlan.from_valid(valid, exclude=excluded, guard=take_guard(guard))
        elif lost:
            plan = InpaintingPlan(plan.nside, plan.valid & valid, plan.targets | missing, plan.excluded)
        if excluded is not None and not plan.targets.any() and not wanted.all():
            warnings.warn(
                f"all {int(np.count_nonzero(~wanted))} pixels that are not observed are excluded: nothing is filled",
                CmbInpaintWarning,
                stacklevel=3,
            )
        check_values(taken.values, plan.valid, nest=nest)
        warn_if_suspicious(taken.values, plan.valid)
        return cls(taken, plan, nest)

    @property
    def has_targets(self) -> bool:
        return bool(self.plan.targets.any())

    def in_work_unit(self, *, assume_microkelvin: bool) -> "Job":
        """Find the scale of the work (µK for temperatures), and the monopole and dipole to take out.

        Without a unit, or in another than temperature's, the map's own scale is kept; `assume_microkelvin` then says
        that it is µK, or refuses.
        """
        unit, factor = self.sky.unit, 1.0
        work_unit = "uK_CMB" if assume_microkelvin or (unit and known_unit(unit)) else unit
        if unit and work_unit:
            factor = unit_factor(unit, work_unit)
        trend = fit_trend(self.sky.values, self.plan) * factor
        return replace(self, factor=factor, work_unit=work_unit, trend=trend)

    @cached_property
    def observed(self) -> FloatArray:
        """(npix,) the data in the work unit without monopole and dipole, 0 elsewhere."""
        return np.where(
            self.plan.valid, self.sky.values * self.factor - trend_map(self.trend, self.plan.nside), 0.0
        )

    def model_sky(
        self,
        sky_model: SkyModel | None,
        cl: FloatArray | None,
        fwhm: float | None,
        beam: FloatArray | None,
        noise_std: Any,
        *,
        whole: bool = False,
    ) -> SkyModel:
        """The sky model given, made of what is given, or estimated; `whole`: of a given `cl` to 3*nside-1."""
        if sky_model is not None:
            return self._of_this_scale(sky_model)
        std = None if noise_std is None else validate_noise(noise_std, self.plan.nside)
        if isinstance(std, np.ndarray) and self.nest:
            std = to_ring(std)
        if cl is None:
            return estimate_sky_model(self.observed, self.plan.valid, nside=self.plan.nside, noise_std=std)
        lmax = 3 * self.plan.nside - 1 if whole else None
        made = SkyModel.from_theory(
            cl, self.plan.nside, fwhm=fwhm, beam=beam, noise_std=0.0 if std is None else std, lmax=lmax
        )
        return self._of_this_scale(made)

    def _of_this_scale(self, sky_model: SkyModel) -> SkyModel:
        """The model, with a warning if it says another order of magnitude than the data."""
        scatter = float(np.std(self.observed[self.plan.valid]))
        expected = float(np.hypot(sky_model.rms, np.sqrt(np.mean(np.square(sky_model.noise_std)))))
        if scatter > 0 and not 1 / _OTHER_SCALE < expected / scatter < _OTHER_SCALE:
            unit = self.work_unit or "the map's unit"
            warnings.warn(
                f"the observed pixels scatter by {scatter:.3g} and the sky model says {expected:.3g} ({unit}): "
                "C_ell, not D_ell, in µK² and noise_std in µK are expected, and unit= says what the map is in",
                CmbInpaintWarning,
                stacklevel=3,
            )
        return sky_model

    def to_map(self, filled: FloatArray) -> FloatArray:
        """From the work unit, without monopole and dipole, to the map's own scale."""
        return (filled + trend_map(self.trend, self.plan.nside)) / self.factor

    def with_data(self, filled: FloatArray) -> FloatArray:
        """(npix,) RING, the map's own values (NaN where it has none) and `filled` in the targets."""
        own = np.where(self.sky.known, self.sky.values, np.nan)
        return np.where(self.plan.targets, self.to_map(filled), own)

    def give(self, maps: list[FloatArray] | FloatArray) -> Any:
        """In the type the user gave."""
        return self.sky.to_user_format(
            np.stack([self.to_map(m) for m in maps]) if isinstance(maps, list) else self.to_map(maps),
            self.plan.targets,
        )
