"""A user's map and plan, in the unit of the work, and the way back.

Inputs: a map, and a mask or plan, as users have them. Outputs: `Problem`.
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakSet

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, MapError, MaskError, SpectrumError
from cmbinpaint.problem.monopole_dipole import fit_monopole_dipole, monopole_dipole_map
from cmbinpaint.problem.noise import noise_cov_of, noise_of
from cmbinpaint.problem.options import validate_polconv
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.estimate import estimate_sky_model
from cmbinpaint.sims.estimate_polarization import estimate_polarized_model
from cmbinpaint.sims.noise_check import check_noise
from cmbinpaint.sims.power_check import check_power
from cmbinpaint.sims.sky_model import SkyModel, noise_stds
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.ell_matrix import EllMatrix, validate_spectra
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.input_warnings import check_input
from cmbinpaint.sphere.maps import SkyInput, validate_map
from cmbinpaint.sphere.power import as_numbers
from cmbinpaint.sphere.units import known_unit, unit_factor

# Sky models whose noise was held against a map: a user's next map is spared the transform.
_fitting: WeakSet[SkyModel] = WeakSet()


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
        Work unit over the map's unit; of several Stokes parameters (k, 1), that of U negative in the IAU convention.
    work_unit
        µK where the map is a temperature or the user gave a spectrum or a noise level, else the map's own, if any.
    monopole_dipole
        (4,) of T, in the work unit.
    constant
        The one value that all data have, in the map's unit, else None: the map without holes is that value. Of several
        Stokes parameters (k, 1).
    """

    sky: SkyInput
    plan: InpaintingPlan
    nest: bool
    factor: float | FloatArray
    work_unit: str | None
    monopole_dipole: FloatArray
    constant: float | FloatArray | None

    @classmethod
    def make(
        cls, sky: Any, mask: Any = None, *, plan: InpaintingPlan | None = None, nest: bool = False,
        unit: str | None = None, polconv: str | None = None, assume_microkelvin: bool = False,
    ) -> "Problem":  # fmt: skip
        """Validate a user's map and mask or plan; without a unit, `assume_microkelvin` says that it is µK."""
        taken = validate_map(sky, nest=nest, unit=unit, polarized=True)
        fields, polconv = taken.fields, validate_polconv(polconv, taken.fields)
        hint = "" if plan is None else " (is the plan for another mask?)"
        plan = plan_for(taken, mask, plan=plan, nest=nest, hint=hint)
        check_input(taken.values, plan.valid, nest=nest, has_mask=plan.fsky < 1, targets=plan.targets)
        in_kelvins = assume_microkelvin or known_unit(taken.unit or "")
        work_unit = "uK_CMB" if in_kelvins else taken.unit
        factor = unit_factor(taken.unit, work_unit) if taken.unit and work_unit else 1.0
        constant = _constant(taken.values, plan.valid)
        # A constant is its own monopole, without the rounding of a fit.
        fitted = np.array([0.0 if constant is None else np.ravel(constant)[0], 0.0, 0.0, 0.0])
        if constant is None and fields is Fields.T:
            fitted = fit_monopole_dipole(taken.values, plan)
        elif constant is None and fields is Fields.TQU:
            fitted = fit_monopole_dipole(taken.values[0], plan.temperature)
        elif fields is Fields.QU:
            fitted[:] = 0.0
        signs = np.ones((fields.n, 1))
        signs[-1] = -1.0 if polconv == "IAU" else 1.0
        signed = factor if fields is Fields.T else factor * signs
        return cls(taken, plan, nest, signed, work_unit, fitted * factor, constant)

    @property
    def fields(self) -> Fields:
        """T, or Q and U, or all three."""
        return self.sky.fields

    @property
    def has_targets(self) -> bool:
        """Whether there is anything to fill."""
        return bool(self.plan.targets.any())

    @cached_property
    def observed(self) -> FloatArray:
        """(npix,) or (k, npix), the data in the work unit without monopole and dipole, 0 elsewhere."""
        return np.where(self.plan.valid, self.sky.values * self.factor - self._smooth, 0.0)

    @property
    def flips_u(self) -> bool:
        """Whether U is in the other convention than the work's."""
        return self.fields is not Fields.T and bool(np.ravel(self.factor)[-1] < 0)

    @property
    def _smooth(self) -> FloatArray:
        """Monopole and dipole as a map, of T."""
        smooth = monopole_dipole_map(self.monopole_dipole, self.plan.nside)
        if self.fields is Fields.T:
            return smooth
        return np.concatenate([smooth[None], np.zeros((self.fields.n - 1, smooth.size))])

    def assume_sky(
        self, sky_model: SkyModel | None = None, *, cl: FloatArray | None = None, fwhm: float | None = None,
        beam: FloatArray | None = None, noise_std: Any = None, noise_cov: Any = None,
        colored_noise_cl: Any = None, whole: bool = False,
    ) -> SkyModel:  # fmt: skip
        """The sky model given, made of what is given, or estimated; `whole`: the signal to 3*nside-1."""
        if sky_model is not None:
            made = sky_model.only(self.fields)
            if not sky_model.is_estimated and sky_model not in _fitting:
                self._check_noise(made)
                _fitting.add(sky_model)
            return self._checked(made)
        plan, std = self.plan, None if noise_std is None else noise_of(noise_std, self.plan, nest=self.nest)
        cov = None if noise_cov is None else noise_cov_of(noise_cov, plan, nest=self.nest)
        if cov is not None and self.flips_u:
            cov = cov * _flipped(self.fields)
        if cl is None:
            made = self._estimated(std, cov, whole)
            if noise_std is not None or noise_cov is not None:
                self._check_noise(made)
            return made
        spectra, noise_source = spectra_of(cl, self.fields), "noise given"
        if std is None and cov is None:
            std, noise_source = self._noise_of_the_map()
        colored = colored_noise_cl
        if colored is not None:
            colored = spectra_of(colored, self.fields, "colored_noise_cl")
        made = SkyModel.from_theory(
            spectra, plan.nside, fwhm=fwhm, beam=beam, noise_std=0.0 if std is None else std, noise_cov=cov,
            colored_noise_cl=colored,
            lmax=3 * plan.nside - 1 if whole else None, source=f"given cl, {noise_source}",
        )  # fmt: skip
        made = replace(made, noise_source=noise_source)
        if noise_std is not None or noise_cov is not None:
            self._check_noise(made)
        _fitting.add(made)
        return self._checked(made)

    def _noise_of_the_map(self) -> tuple[Any, str]:
        """The noise that the observed pixels show, as it is estimated without a given cl, and words for it."""
        if self.constant is not None:
            return 0.0, "no noise: the observed sky is constant"
        try:
            estimated = self._estimated(None, None, whole=False)
        except MapError as error:
            raise MapError(
                f"cl was given without noise_std, which is then estimated from the map, and cannot be: {error}. "
                "noise_std=0 says that there is no noise"
            ) from None
        return estimated.noise_std, estimated.noise_source

    def _estimated(self, noise_std: Any, noise_cov: FloatArray | None, whole: bool) -> SkyModel:
        """The sky model of the observed pixels alone."""
        if self.fields is not Fields.T:
            if noise_cov is not None:
                noise_std = noise_stds(noise_cov)
            made = estimate_polarized_model(
                self.observed, self.plan.valid, nside=self.plan.nside, noise_std=noise_std, whole=whole
            )
            return made if noise_cov is None else replace(made, noise_cov=noise_cov)
        return estimate_sky_model(
            self.observed, self.plan.valid, nside=self.plan.nside, noise_std=noise_std, whole=whole
        )

    def _checked(self, sky_model: SkyModel) -> SkyModel:
        """The model, if its power is that of the data; of a constant map any model serves."""
        if self.constant is None and self.fields is not Fields.T and sky_model.is_estimated:
            return sky_model  # of a map like this: what did for one realization does for the next
        if self.constant is None:
            for part in self._parts(sky_model):
                check_power(*part, self.work_unit)
        return sky_model

    def _check_noise(self, sky_model: SkyModel) -> None:
        """Refuse a given noise that the data cannot have; warn of one that they do not show."""
        if self.constant is None:
            for part in self._parts(sky_model):
                check_noise(*part, self.work_unit)

    def _parts(self, sky_model: SkyModel) -> Iterator[tuple[FloatArray, BoolArray, SkyModel]]:
        """The data, where they are, and the model, of T and of Q and U apart."""
        if self.fields is not Fields.TQU:
            yield self.observed, self.plan.valid, sky_model
            return
        for fields, part in ((Fields.T, 0), (Fields.QU, slice(1, 3))):
            yield self.observed[part], self.plan.valid[part], sky_model.only(fields)

    def to_map(self, filled: FloatArray) -> FloatArray:
        """From the work unit, without monopole and dipole, to the map's own scale."""
        if self.constant is not None:
            return np.full(filled.shape, self.constant)
        return (filled + self._smooth) / self.factor

    def with_data(self, filled: FloatArray) -> FloatArray:
        """RING, the map's own values (NaN where it has none) and `filled` in the targets."""
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
        observed = taken.known
        if mask is not None:
            polarized = taken.fields is not Fields.T
            observed = masks.validate_mask(mask, taken.nside, nest=nest, polarized=polarized)
        plan = InpaintingPlan.from_valid(observed)
    elif mask is not None:
        raise MaskError("plan and mask were given; the plan holds its mask: give one or the other")
    if plan.nside != taken.nside:
        raise MaskError(f"the plan is for nside {plan.nside}, the map has {taken.nside}; make a plan for it")
    plan = plan.of(taken.fields)
    # A guarded pixel is no datum, but a value is expected there.
    missing = ~plan.targets & ~plan.excluded & ~taken.known
    lost = int(np.count_nonzero(np.atleast_2d(missing).any(axis=0)))
    if not lost:
        return plan
    warnings.warn(
        f"{lost} pixels that the mask calls observed are NaN, UNSEEN or masked in the map{hint}; they are filled",
        CmbInpaintWarning,
        stacklevel=4,
    )
    return InpaintingPlan(
        plan.nside, plan.valid & taken.known, plan.targets | missing, plan.excluded, plan.sky_model
    ).of(taken.fields)


def spectra_of(cl: Any, fields: Fields, name: str = "cl") -> Any:
    """The spectra of these Stokes parameters, of theirs or of T, Q and U together.

    Raises
    ------
    SpectrumError
        If they are of others.
    """
    rows = as_numbers(cl, "uK2", name)
    if fields is Fields.T and rows.ndim != 2:
        return cl
    given = validate_spectra(cl, name)
    if given.fields is Fields.TQU and fields is not Fields.TQU:
        part = slice(0, 1) if fields is Fields.T else slice(1, 3)
        given = EllMatrix(given.values[part, part])
    if given.fields is not fields:
        raise SpectrumError(
            f"{name} has shape {rows.shape}: {', '.join(given.fields.spectra[: len(np.atleast_2d(rows))])}; the map is "
            f"of {', '.join(fields.stokes)}, which needs {_NEEDED[fields]}"
        )
    if fields is Fields.T:
        return given.spectra[0]
    e, b = given.values[-2, -2, 2:], given.values[-1, -1, 2:]
    if np.mean(b > _UNLIKELY_B * e) > 0.5:
        warnings.warn(
            f"cl has {_UNLIKELY_B:g} times more power in BB than in EE at most multipoles: are they in each other's "
            "place? EE comes first",
            CmbInpaintWarning,
            stacklevel=4,
        )
    return given.spectra


# Of a sky's B, over its E: dust has half as much as E, the CMB a hundredth.
_UNLIKELY_B = 10.0
_NEEDED = {
    Fields.T: "TT (lmax+1,)",
    Fields.QU: "EE, BB (2, lmax+1), or EE, BB, EB",
    Fields.TQU: "TT, EE, BB, TE (4, lmax+1), or TT, EE, BB, TE, EB, TB",
}


def _constant(values: FloatArray, valid: BoolArray) -> float | FloatArray | None:
    """The one value that all data have, of each Stokes parameter; None if any of them varies."""
    rows = [row[here] for row, here in zip(np.atleast_2d(values), np.atleast_2d(valid), strict=True)]
    if not all(data.size > 1 and data.min() == data.max() for data in rows):
        return None
    return float(rows[0][0]) if values.ndim == 1 else np.array([[data[0]] for data in rows])


def _flipped(fields: Fields) -> FloatArray:
    """(rows, 1) the signs of a noise covariance's rows where U is in the other convention."""
    pairs = itertools.combinations_with_replacement(fields.stokes, 2)
    return np.array([[-1.0 if pair.count("U") == 1 else 1.0] for pair in pairs])
