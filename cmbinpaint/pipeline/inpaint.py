"""From a map with holes to a full sky: the package's main job.

Inputs: a map, a mask, and what is known of the sky. Outputs: the filled map in the type it came in.
"""

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.networks.card_limits import serving, warn_beyond_card
from cmbinpaint.pipeline.filling import Filler, realization_rng
from cmbinpaint.pipeline.fluctuations import Fluctuations
from cmbinpaint.pipeline.models import find_inpainter
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.monopole_dipole import trend_std, warn_if_doubtful
from cmbinpaint.problem.options import Fill, check_fill, check_known, check_noise_apart, fresh_seed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Job
from cmbinpaint.problem.progress import Clock, Progress
from cmbinpaint.problem.result import InpaintInfo
from cmbinpaint.sims.sky_model import SkyModel

# What realizations fluctuate with: a seed's draws, the user's simulations, or nothing (a prediction).
_Source = int | Fluctuations | None


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
    sky_model: SkyModel | None = None,
    fluctuations: Any = None,
    with_noise: bool = True,
    refine: int | None = None,
    exclude: Any = None,
    guard: int = 0,
    nest: bool = False,
    unit: str | None = None,
    mask_threshold: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
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
        ``"kriging"``, ``"diffusive"``, or an `Inpainter`. Networks serve nside 128 to 2048: above they are refused,
        below the exact answer is given instead.
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
    sky_model
        Instead of `cl`, `fwhm`, `beam` and `noise_std`: what is assumed of the map, in µK where the map's unit is
        known, else in the map's own. `InpaintInfo.sky_model` of an earlier call fits: one estimate, many calls.
    fluctuations
        Your own simulations in place of draws from the sky model: realization i is ``o'_i + predict(d - d'_i)``
        with o'_i an observation of the full sky, holes included: signal, beam and noise as in the map (colored
        noise and all), without a dipole as the Sun's. An array (n, npix), an iterable of (npix,) maps (taken in
        order), or a function that returns map i; in the map's ordering and, if no Quantity, in its unit.
    with_noise
        False: realizations of the signal alone; needs `noise_std` or `sky_model`.
    refine
        Conjugate-gradient steps from the model's prediction towards the exact Gaussian mean. None: networks are
        polished to an estimated 0.1 posterior standard deviations (some 3 to 10 steps), kriging and diffusion not
        at all. 0: none, and no Gaussian assumption on the prediction.
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
        Of the realizations. None: fresh, and recorded in the info. Not with `fluctuations`.
    device
        For networks: ``"auto"``, ``"cpu"``, ``"cuda"``...
    progress
        Called with a `cmbinpaint.pipeline.Progress` (``stage``, ``done``, ``total``, ``change``) when the stages
        ``"sky model"`` and ``"plan"`` begin and end, when filling begins and after each map (``"fill"``), and after
        every tenth step of conjugate gradients (``"solve"``). Its ``str`` is a line for people.
    return_info
        True: ``(map, InpaintInfo)``. It costs nothing; the info's ``prediction`` is made when it is read.
    first_realization
        Index of the first realization, so that many can be made a few at a time.

    Returns
    -------
    ndarray, MaskedArray or Quantity
        The filled map, in the type, ordering, dtype and unit that came (integers become float64); observed pixels
        bit for bit.

    Raises
    ------
    MapError, MaskError, UnitsError, SpectrumError, WeightsError, DeviceError
        What came, what was expected, what to do; all derive from `CmbInpaintError`.

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
    check_fill(fill, n_realizations, first_realization, refine, seed, fluctuations)
    check_known(cl, fwhm, beam, noise_std, sky_model)
    check_noise_apart(with_noise, noise_std is not None or sky_model is not None, fluctuations)
    clock = Clock(progress)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with clock.timed("input"):
            job = Job.take(sky, mask, plan, exclude, guard, nest, unit, mask_threshold)
            job = job.in_work_unit(assume_microkelvin=cl is not None or noise_std is not None)
            check_known(cl, fwhm, beam, noise_std, sky_model, job.plan.nside)
            inpainter = serving(find_inpainter(model, job.plan.nside, device), job.plan.nside)
            total = 1 if n_realizations is None else int(n_realizations)
            source: _Source = None
            if fluctuations is not None:
                source = Fluctuations(
                    fluctuations, nside=job.plan.nside, nest=nest, unit=job.sky.unit, work_unit=job.work_unit,
                    first=first_realization, total=total,
                )  # fmt: skip
            elif fill == "realization":
                source = fresh_seed(seed)
        with clock.stage("sky model"):
            assumed = job.model_sky(sky_model, cl, fwhm, beam, noise_std)
        with clock.stage("plan"):
            filler, doubt = None, 0.0
            if job.has_targets:
                warn_beyond_card(inpainter, assumed, refine)
                key = (_identity(model, inpainter), assumed.digest, refine)
                make = partial(Filler.prepare, inpainter, job.plan, assumed, refine)
                filler = job.plan.keep(key, make)
                doubt = trend_std(job.plan, assumed)
                warn_if_doubtful(doubt, assumed)
        with clock.timed("fill"):
            indices = range(first_realization, first_realization + total)
            maps = _fill(job, filler, source, indices, with_noise, clock)
    for w in caught:
        warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    filled = job.give(maps[0] if n_realizations is None else maps)
    if not return_info:
        return filled
    info = InpaintInfo(
        sky_model=assumed,
        seed=source if isinstance(source, int) else None,
        model=inpainter.name,
        sha256=inpainter.sha256,
        fill=fill,
        refine=0 if filler is None else filler.steps,
        fluctuations="none" if source is None else "drawn" if isinstance(source, int) else "given",
        fsky=job.plan.fsky,
        n_holes=job.plan.n_holes,
        n_filled=int(job.plan.targets.sum()),
        trend_std=doubt,
        unit=job.sky.unit,
        work_unit=job.work_unit,
        warnings=tuple(str(w.message) for w in caught if issubclass(w.category, CmbInpaintWarning)),
        seconds=clock.seconds,
        _predict=partial(_prediction, job, filler, maps[0] if fill == "prediction" else None),
    )
    return filled, info


def _identity(model: str | Inpainter, inpainter: Inpainter) -> Any:
    """What tells a model from others: its weights or its name; a model of the user's own is like no other."""
    sha256 = inpainter.sha256
    return (inpainter.name, sha256) if sha256 or isinstance(model, str | os.PathLike) else inpainter


def _fill(
    job: Job, filler: Filler | None, source: _Source, indices: range, with_noise: bool, clock: Clock
) -> list[FloatArray]:
    """The maps of these realizations, in the unit of the work."""
    maps = []
    clock.report(Progress("fill", 0, len(indices)))
    for index in indices:
        if filler is None:
            maps.append(job.observed)
        elif source is None:
            maps.append(filler.predict(job.observed, watch=clock.watch))
        elif isinstance(source, int):
            rng = realization_rng(source, index)
            maps.append(filler.realize(job.observed, rng, with_noise=with_noise, watch=clock.watch))
        else:
            maps.append(filler.constrain(job.observed, source(index), watch=clock.watch))
        clock.report(Progress("fill", len(maps), len(indices)))
    return maps


def _prediction(job: Job, filler: Filler | None, made: FloatArray | None) -> FloatArray:
    """(npix,) RING, the deterministic fill in the map's unit, made now if it is not."""
    if made is None:
        made = job.observed if filler is None else filler.predict(job.observed)
    return job.with_data(made)
