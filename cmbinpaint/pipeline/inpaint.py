"""From a map with holes to a full sky: the package's main job.

Takes: a map, a mask, and what is known of the sky. Gives: the filled map in the type it came in. Floor: 4.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.inpainters import WEIGHTLESS, find_inpainter
from cmbinpaint.inpainters.filling import Filler, realization_rng
from cmbinpaint.inpainters.protocol import Inpainter
from cmbinpaint.patches.plan import InpaintingPlan
from cmbinpaint.pipeline.info import InpaintInfo
from cmbinpaint.pipeline.job import Job
from cmbinpaint.pipeline.options import Fill, check_options, fresh_seed
from cmbinpaint.sims.skymodel import SkyModel


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
    check_options(fill, n_realizations, with_noise, noise_std, refine)
    if cl is None and (fwhm is not None or beam is not None):
        raise SpectrumError("fwhm and beam say how a given cl was smoothed; give cl too, or neither of them")
    seconds: dict[str, float] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _timed(seconds, "input"):
            job = Job.take(sky, mask, plan, exclude, guard, nest, unit, mask_threshold)
            job = job.in_work_unit(known_scale=cl is not None or noise_std is not None)
        with _timed(seconds, "sky model"):
            sky_model = job.model_sky(cl, fwhm, beam, noise_std)
        with _timed(seconds, "plan"):
            inpainter = find_inpainter(model, job.plan.nside, device)
            filler = _prepared(inpainter, job.plan, sky_model, refine) if job.has_targets else None
        used = None if fill == "prediction" else fresh_seed(seed)
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


def _prepared(inpainter: Inpainter, plan: InpaintingPlan, sky_model: SkyModel, refine: int | None) -> Filler:
    """The filler of this model, plan and sky model, made once and kept with the plan."""
    sha256 = getattr(getattr(inpainter, "card", None), "sha256", "")
    who = (inpainter.name, sha256) if sha256 or inpainter.name in WEIGHTLESS else inpainter
    key = (who, sky_model.digest, refine)
    return plan.keep(key, lambda: Filler.prepare(inpainter, plan, sky_model, refine))


def _fill(
    job: Job, filler: Filler | None, prediction: FloatArray | None, seed: int | None, n: int | None, first: int,
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


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
