"""From a map with holes to a full sky: the package's main job.

Takes: a map, a mask, and what is known of the sky. Gives: the filled map in the type it came in. Floor: 4.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MaskError, SpectrumError
from cmbinpaint.inpainters import WEIGHTLESS, find_inpainter
from cmbinpaint.inpainters.filling import Filler, draw_observation, realization_rng
from cmbinpaint.inpainters.gaussian import GaussianSolver
from cmbinpaint.inpainters.protocol import Inpainter
from cmbinpaint.patches.plan import InpaintingPlan
from cmbinpaint.sims.estimate import estimate_sky_model
from cmbinpaint.sims.skymodel import SkyModel
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.maps import SkyInput, check_values, npix_to_nside, take_map, to_ring
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.suspicion import warn_if_suspicious
from cmbinpaint.sphere.units import unit_factor

Fill = Literal["realization", "prediction"]
_FILLS = ("realization", "prediction")
# On less sky than this a fitted dipole says little, and what it says would be blown up on the far side.
_LEAST_FSKY_FOR_DIPOLE = 0.3
_ERROR_TOLERANCE = 1e-2  # of the signal's rms, in quadrature nothing beside a posterior's width
_CHUNK = 1 << 20


@dataclass(frozen=True)
class InpaintInfo:
    """How a map was filled.

    Attributes
    ----------
    sky_model
        What was assumed of the sky, in the unit of the work (`work_unit`); its ``source`` says where it came from.
    seed
        Of the realizations: give it to `inpaint_map` again for the same fill. None for predictions.
    model, sha256
        Name of the model, and hash of its weights (empty for models without).
    fill, refine
        As carried out; `refine` in conjugate-gradient steps.
    fsky
        Fraction of the sky used as data.
    n_holes, n_filled
        Holes by 8-connectivity, and pixels filled.
    prediction
        (npix,) float64 RING, the deterministic fill, in the map's unit; None if it was not asked for.
    unit, work_unit
        The map's unit, and that of the sky model.
    warnings
        Texts of the warnings given on the way.
    seconds
        Wall time by stage.
    """

    sky_model: SkyModel
    seed: int | None
    model: str
    sha256: str
    fill: str
    refine: int
    fsky: float
    n_holes: int
    n_filled: int
    prediction: FloatArray | None = field(repr=False)
    unit: str | None
    work_unit: str | None
    warnings: tuple[str, ...]
    seconds: dict[str, float]


def inpaint_map(
    sky: Any,
    mask: Any = None,
    *,
    plan: InpaintingPlan | None = None,
    model: str | Inpainter = "default",
    fill: Fill = "realization",
    n_realizations: int | None = None,
    cl: FloatArray | None = None,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    noise_std: float | FloatArray | None = None,
    with_noise: bool = True,
    refine: int | None = None,
    exclude: Any = None,
    guard: int = 0,
    nest: bool = False,
    unit: str | None = None,
    mask_threshold: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    return_info: bool = False,
    first_realization: int = 0,
) -> Any:
    """Fill the holes of a HEALPix temperature map.

    Parameters
    ----------
    sky
        (npix,) map: ndarray, masked array or Quantity, any float or integer dtype. UNSEEN, NaN and masked
        entries are holes. Nothing under a hole is read.
    mask
        (npix,) 1/True = observed, in the map's ordering; None: the holes are the map's own.
    plan
        From `plan_inpainting`, instead of `mask`, `exclude` and `guard`; reuse it for many maps.
    model
        ``"default"``, another network's name or the path of its card, ``"gaussian"`` (the exact answer),
        ``"kriging"``, ``"diffusive"``, or an `Inpainter`.
    fill
        ``"realization"``: a constrained realization of the observation (signal, beam, noise), whose spectrum is
        that of a full sky. ``"prediction"``: the model's deterministic estimate of the signal, which lacks power.
    n_realizations
        None: one map (npix,). n: (n, npix).
    cl
        Theory C_ell (lensed, of the sky, not D_ell) from ell = 0, µK². None: estimated from the map.
    fwhm, beam
        Gaussian beam's full width at half maximum in radians (the pixel window is then included), or b_ell
        (pixel window included if wanted). Only with `cl`.
    noise_std
        White noise per pixel, µK when the map's unit is known or a `cl` is given: a number or (npix,) in the
        map's ordering.
    with_noise
        False: realizations of the signal alone; needs `noise_std`.
    refine
        Conjugate-gradient steps from the model's prediction towards the exact Gaussian mean. None: what the
        model recommends at this nside. 0: none, and no Gaussian assumption on the prediction.
    exclude
        (npix,) True = neither data nor target, returned untouched.
    guard
        Rings of observed pixels beside holes that are not used as data (wings of sources).
    nest
        True if map, mask, `exclude` and a `noise_std` map are in NESTED ordering.
    unit
        Declares the map's unit (``"K"``, ``"mK"``, ``"uK"`` and spellings of them); converts nothing.
    mask_threshold
        For a mask that is not binary: observed where the mask is at least this.
    seed
        Of the realizations. None: fresh, and recorded in the info.
    device
        For networks: ``"auto"``, ``"cpu"``, ``"cuda"``...
    progress
        Called as ``progress(done, total)`` after each of the stages of the work.
    return_info
        True: ``(map, InpaintInfo)``.
    first_realization
        Index of the first realization, so that many can be made a few at a time.

    Returns
    -------
    The filled map, in the type, ordering, dtype and unit that came (integers become float64); observed pixels
    bit for bit.

    Raises
    ------
    MapError, MaskError, UnitsError, SpectrumError, WeightsError, DeviceError
        See FAULTS in the documentation; all derive from `CmbInpaintError`.

    References
    ----------
    Hoffman & Ribak 1991 (constrained realizations: ``d`` and a simulated ``d'`` give ``o' + predict(d - d')``).

    Examples
    --------
    >>> import numpy as np
    >>> sky = np.random.default_rng(0).standard_normal(12 * 16**2)
    >>> mask = np.ones(sky.size, bool)
    >>> mask[:20] = False
    >>> filled = inpaint_map(sky, mask, model="kriging", seed=1)
    >>> bool(np.array_equal(filled[mask], sky[mask]))
    True
    """
    _check_options(fill, n_realizations, with_noise, noise_std, refine)
    if cl is None and (fwhm is not None or beam is not None):
        raise SpectrumError("fwhm and beam say how a given cl was smoothed; give cl too, or neither of them")
    seconds: dict[str, float] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _timed(seconds, "input"):
            job = _Job.take(sky, mask, plan, exclude, guard, nest, unit, mask_threshold)
            job = job.in_work_unit(known_scale=cl is not None or noise_std is not None)
        with _timed(seconds, "sky model"):
            sky_model = job.model_sky(cl, fwhm, beam, noise_std)
        with _timed(seconds, "plan"):
            inpainter = find_inpainter(model, job.plan.nside, device)
            filler = _prepared(inpainter, job.plan, sky_model, refine) if job.has_targets else None
        used = None if fill == "prediction" else _fresh_seed(seed)
        with _timed(seconds, "fill"):
            prediction = None
            if filler is not None and (fill == "prediction" or return_info):
                prediction = filler.predict(job.observed)
            maps = _fill(
                job, filler, prediction, used, n_realizations, first_realization, with_noise, progress
            )
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    filled = job.give(maps)
    if not return_info:
        return filled
    info = InpaintInfo(
        sky_model=sky_model,
        seed=used,
        model=inpainter.name,
        sha256=getattr(getattr(inpainter, "card", None), "sha256", ""),
        fill=fill,
        refine=0 if filler is None else filler.steps,
        fsky=job.plan.fsky,
        n_holes=job.plan.n_holes,
        n_filled=int(job.plan.targets.sum()),
        prediction=None if prediction is None else job.with_data(prediction),
        unit=job.sky.unit,
        work_unit=job.work_unit,
        warnings=tuple(str(w.message) for w in caught if issubclass(w.category, CmbInpaintWarning)),
        seconds=seconds,
    )
    return filled, info


def plan_inpainting(
    mask: Any,
    *,
    model: str = "default",
    exclude: Any = None,
    guard: int = 0,
    nest: bool = False,
    mask_threshold: float | None = None,
) -> InpaintingPlan:
    """The geometry of filling a mask's holes, to be reused for many maps.

    Parameters are those of `inpaint_map`; `model` is checked to exist. Neighbor weights and patches follow from
    plan, model and sky model, and are kept with the plan for the last sky model it was used with.

    Raises
    ------
    MaskError, WeightsError
    """
    valid = masks.take_mask(mask, nest=nest, threshold=mask_threshold)
    nside = npix_to_nside(valid.size)
    find_inpainter(model, nside)
    excluded = None if exclude is None else masks.take_mask(exclude, nside, nest=nest)
    return InpaintingPlan.from_valid(valid, exclude=excluded, guard=_take_guard(guard))


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
    (npix,) float64, RING, in the sky model's unit; 0 outside the targets. It does not depend on the data.

    Raises
    ------
    CmbInpaintError
        If `n` is below 2.
    """
    if n < 2:
        raise CmbInpaintError(f"n is {n}; a standard deviation needs at least 2 simulations")
    solver = GaussianSolver(plan.valid, sky_model)
    used = _fresh_seed(seed)
    total = np.zeros(plan.valid.size)
    for index in range(n):
        signal, noise = draw_observation(sky_model, realization_rng(used, index))
        mean = solver.solve(np.where(plan.valid, signal + noise, 0.0), tolerance=_ERROR_TOLERANCE).mean
        total += np.square(signal - mean)
    return np.where(plan.targets, np.sqrt(total / n), 0.0)


def load_model(name_or_path: str | os.PathLike[str], device: str = "auto") -> Inpainter:
    """Load a network, or make another model by its name, to be given to `inpaint_map(model=...)`.

    Raises
    ------
    WeightsError, DeviceError
    """
    return find_inpainter(name_or_path, None, device)


@dataclass(frozen=True, eq=False)
class _Job:
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
    ) -> "_Job":  # fmt: skip
        taken = take_map(sky, nest=nest, unit=unit)
        if plan is not None:
            if mask is not None or exclude is not None or guard:
                raise MaskError(
                    "a plan came with mask, exclude or guard; the plan holds them: give one or the other"
                )
            if plan.nside != taken.nside:
                raise MaskError(
                    f"the plan is for nside {plan.nside}, the map has {taken.nside}; make a plan for it"
                )
            wanted = plan.valid
        else:
            wanted = (
                taken.known
                if mask is None
                else masks.take_mask(mask, taken.nside, nest=nest, threshold=threshold)
            )
        excluded = None if exclude is None else masks.take_mask(exclude, taken.nside, nest=nest)
        ignored = plan.excluded if plan is not None else excluded
        missing = wanted & ~taken.known if ignored is None else wanted & ~taken.known & ~ignored
        lost = int(np.count_nonzero(missing))
        if lost:
            warnings.warn(
                f"{lost} pixels that the mask calls observed are NaN, UNSEEN or masked in the map; they are filled",
                CmbInpaintWarning,
                stacklevel=3,
            )
        valid = wanted & taken.known
        if plan is None:
            plan = InpaintingPlan.from_valid(valid, exclude=excluded, guard=_take_guard(guard))
        elif lost:
            plan = InpaintingPlan(plan.nside, valid, plan.targets | (plan.valid & ~valid), plan.excluded)
        check_values(taken.values, plan.valid, nest=nest)
        warn_if_suspicious(taken.values, plan.valid)
        return cls(taken, plan, nest)

    @property
    def has_targets(self) -> bool:
        return bool(self.plan.targets.any())

    def in_work_unit(self, *, known_scale: bool) -> "_Job":
        """Find the scale of the work, and the monopole and dipole to take out."""
        unit = self.sky.unit
        factor = unit_factor(unit, "uK_CMB") if known_scale and unit else 1.0
        trend = _fit_trend(self.sky.values, self.plan) * factor
        return replace(self, factor=factor, work_unit="uK_CMB" if known_scale else unit, trend=trend)

    @cached_property
    def observed(self) -> FloatArray:
        """(npix,) the data in the work unit without monopole and dipole, 0 elsewhere."""
        return np.where(
            self.plan.valid, self.sky.values * self.factor - _trend_map(self.trend, self.plan.nside), 0.0
        )

    def model_sky(
        self, cl: FloatArray | None, fwhm: float | None, beam: FloatArray | None, noise_std: Any
    ) -> SkyModel:
        noise = None if noise_std is None else np.asarray(noise_std, dtype=np.float64)
        if noise is not None and noise.ndim and self.nest and noise.shape == self.observed.shape:
            noise = to_ring(noise)
        std = None if noise is None else (noise if noise.ndim else float(noise))
        if cl is None:
            return estimate_sky_model(self.observed, self.plan.valid, nside=self.plan.nside, noise_std=std)
        return SkyModel.from_theory(
            cl, self.plan.nside, fwhm=fwhm, beam=beam, noise_std=0.0 if std is None else std
        )

    def to_map(self, filled: FloatArray) -> FloatArray:
        """From the work unit, without monopole and dipole, to the map's own scale."""
        return (filled + _trend_map(self.trend, self.plan.nside)) / self.factor

    def with_data(self, filled: FloatArray) -> FloatArray:
        """(npix,) RING, the map's own values and `filled` in the targets."""
        return np.where(self.plan.targets, self.to_map(filled), self.sky.values)

    def give(self, maps: list[FloatArray] | FloatArray) -> Any:
        """In the type the user gave."""
        return self.sky.give(
            np.stack([self.to_map(m) for m in maps]) if isinstance(maps, list) else self.to_map(maps),
            self.plan.targets,
        )


def _prepared(inpainter: Inpainter, plan: InpaintingPlan, sky_model: SkyModel, refine: int | None) -> Filler:
    """The filler of this model, plan and sky model, made once and kept with the plan."""
    sha256 = getattr(getattr(inpainter, "card", None), "sha256", "")
    who = (inpainter.name, sha256) if sha256 or inpainter.name in WEIGHTLESS else inpainter
    key = (who, sky_model.digest, refine)
    return plan.keep(key, lambda: Filler.prepare(inpainter, plan, sky_model, refine))


def _fill(
    job: _Job, filler: Filler | None, prediction: FloatArray | None, seed: int | None, n: int | None, first: int,
    with_noise: bool, progress: Callable[[int, int], None] | None,
) -> list[FloatArray] | FloatArray:  # fmt: skip
    """One map, or a list of n."""
    total = 1 if n is None else n
    maps = []
    for index in range(first, first + total):
        if filler is None:
            maps.append(job.observed)
        elif seed is None:
            maps.append(filler.predict(job.observed) if prediction is None else prediction)
        else:
            maps.append(filler.realize(job.observed, realization_rng(seed, index), with_noise=with_noise))
        if progress is not None:
            progress(index - first + 1, total)
    return maps[0] if n is None else maps


def _check_options(fill: str, n: int | None, with_noise: bool, noise_std: Any, refine: int | None) -> None:
    if fill not in _FILLS:
        raise CmbInpaintError(f"fill is {fill!r}; known: {', '.join(_FILLS)}")
    if n is not None and n < 1:
        raise CmbInpaintError(f"n_realizations is {n}; give 1 or more, or None for one map (npix,)")
    if n is not None and fill == "prediction":
        raise CmbInpaintError(
            "n_realizations came with fill='prediction', which is one map; use fill='realization'"
        )
    if not with_noise and noise_std is None:
        raise SpectrumError(
            "with_noise=False wants the signal alone, which cannot be told from noise in one map; give noise_std"
        )
    if refine is not None and refine < 0:
        raise CmbInpaintError(f"refine is {refine}; give a number of steps, 0 for none, or None")


def _take_guard(guard: int) -> int:
    if isinstance(guard, bool) or int(guard) != guard or guard < 0:
        raise MaskError(f"guard is {guard!r}; give a number of rings of pixels, 0 or more")
    return int(guard)


def _fresh_seed(seed: int | None) -> int:
    return int(np.random.SeedSequence().entropy) if seed is None else int(seed)  # type: ignore[arg-type]


def _fit_trend(values: FloatArray, plan: InpaintingPlan) -> FloatArray:
    """(4,) monopole and dipole of the data by least squares; the monopole alone on a small part of the sky."""
    normal, right = np.zeros((4, 4)), np.zeros(4)
    for pixels in _chunks(np.flatnonzero(plan.valid)):
        design = _design(plan.nside, pixels)
        normal += design.T @ design
        right += design.T @ values[pixels]
    if plan.fsky < _LEAST_FSKY_FOR_DIPOLE:
        return np.array([right[0] / normal[0, 0], 0.0, 0.0, 0.0])
    return np.asarray(np.linalg.solve(normal, right), dtype=np.float64)


def _trend_map(trend: FloatArray, nside: int) -> FloatArray:
    if not trend[1:].any():
        return np.full(12 * nside**2, trend[0])
    return np.concatenate([_design(nside, pixels) @ trend for pixels in _chunks(np.arange(12 * nside**2))])


def _design(nside: int, pixels: AnyArray) -> FloatArray:
    return np.column_stack([np.ones(len(pixels)), pixel_vectors(nside, pixels)])


def _chunks(pixels: AnyArray) -> list[AnyArray]:
    return np.array_split(pixels, max(1, len(pixels) // _CHUNK))


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
