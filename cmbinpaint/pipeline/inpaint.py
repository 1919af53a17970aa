"""From a map with holes to a full sky: the package's main job.

Inputs: a map, a mask, and what is known of the sky. Outputs: the filled map in the type that was given.
"""

from functools import partial
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import kept_warnings
from cmbinpaint.pipeline.filler import Filler, realization_rng
from cmbinpaint.pipeline.fluctuations import Fluctuations
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.pipeline.prepared import prepared_filler
from cmbinpaint.problem.draws import Draws
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.monopole_dipole import warn_if_uncertain
from cmbinpaint.problem.numbers import validate_count, validate_seed
from cmbinpaint.problem.options import (
    Fill,
    Polconv,
    refuse_old_names,
    refuse_polconv,
    refuse_unknown_noise,
    validate_fill,
    validate_known,
    validate_types,
)
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.problem.progress import Clock, Progress, Watch
from cmbinpaint.problem.result import InpaintInfo
from cmbinpaint.sims.sky_model import SkyModel

# What realizations fluctuate with: a seed's draws, the user's simulations, or nothing (a prediction).
_Source = int | Fluctuations | None


@refuse_old_names(
    first_realization="draws=Draws(first=...)",
    with_noise="draws=Draws(with_noise=...)",
    fluctuations="draws=Draws(fluctuations=...)",
    exclude="plan=plan_inpainting(mask, exclude=...)",
    guard="plan=plan_inpainting(mask, guard=...)",
    mask_threshold="plan=plan_inpainting(mask, threshold=...)",
    device="model=load_model(name, device=...)",
)
def inpaint_map(
    sky: Any,
    mask: Any = None,
    *,
    plan: InpaintingPlan | None = None,
    model: str | Inpainter = "default",
    refine: int | None = None,
    sky_model: SkyModel | None = None,
    cl: FloatArray | None = None,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    noise_std: float | FloatArray | None = None,
    fill: Fill = "realization",
    n_realizations: int | None = None,
    seed: int | np.random.Generator | None = None,
    draws: Draws | None = None,
    nest: bool = False,
    unit: str | None = None,
    polconv: Polconv | None = None,
    progress: Watch | None = None,
    return_info: bool = False,
) -> Any:
    """Fill the masked pixels of a HEALPix temperature map.

    Parameters
    ----------
    sky
        (npix,) map: ndarray, masked array or Quantity, any float or integer dtype. UNSEEN, NaN and masked
        entries are holes. Values in holes are never read.
    mask
        (npix,) 1/True = observed, in the map's ordering; None: the holes are the map's own.
    plan
        From `plan_inpainting`, instead of `mask`: for apodized masks, regions not to be filled, or guard rings;
        and to be reused: the second map with a plan takes a fraction of the first one's time.
    model
        ``"default"`` is ``"gaussian"``, the exact answer. ``"kriging"``: approximate; ``"diffusive"``: a baseline; else
        the name of a network, the path of its card, or an `Inpainter`.
    refine
        Conjugate-gradient steps from the model's prediction towards the exact Gaussian mean; 0: none. None: what the
        model asks for: networks are refined to an estimated 0.1 posterior standard deviations, others not at all.
    sky_model
        What is assumed of the map, in µK where the map's unit is known, else in the map's own. `InpaintInfo.sky_model`
        of an earlier call fits: one estimate, many calls. None: made of the next four, or estimated from the map.
    cl
        Theory C_ell (lensed, of the sky, not D_ell) from ell = 0, µK².
    fwhm, beam
        Gaussian beam's full width at half maximum in radians (the pixel window is then included), or b_ell
        (pixel window included if wanted). Only with `cl`.
    noise_std
        White noise per pixel, µK when the map's unit is known or a `cl` is given: a number or (npix,) in the
        map's ordering.
    fill
        ``"realization"``: a constrained realization of the observation (signal, beam, noise), whose spectrum is
        that of a full sky. ``"prediction"``: the model's deterministic estimate of the signal, which lacks power.
    n_realizations
        None: one map (npix,). n: (n, npix).
    seed
        Of the realizations: a number, or a numpy Generator that one is drawn from. None: a fresh one. It is recorded in
        the info.
    draws
        A `Draws`: which realization is the first, signal alone, your own simulations.
    nest
        True if map, mask and a `noise_std` map are in NESTED ordering.
    unit
        Declares the map's unit (``"K"``, ``"mK"``, ``"uK"`` and spellings of them); converts nothing.
    polconv
        For maps with Q and U; refused for temperature.
    progress
        Called with a `Progress` when the stages ``"sky model"`` and ``"plan"`` begin and end, when filling begins and
        after each map (``"fill"``), and after every step of conjugate gradients (``"solve"``).
    return_info
        True: ``(map, InpaintInfo)``. It costs nothing; the info's ``prediction`` is made when it is read.

    Returns
    -------
    ndarray, MaskedArray or Quantity
        The filled map, in the type, ordering, dtype and unit of the input (integers become float64); observed pixels
        bit for bit.

    Raises
    ------
    MapError, MaskError, UnitsError, SpectrumError, WeightsError
        What was given, what was expected, what to do; all derive from `CmbInpaintError`.

    References
    ----------
    Hoffman & Ribak 1991 (constrained realizations: ``d`` and a simulated ``d'`` give ``o' + predict(d - d')``).

    Examples
    --------
    >>> import numpy as np
    >>> sky = np.random.default_rng(0).standard_normal(12 * 16**2)
    >>> mask = np.ones(sky.size, bool)
    >>> mask[:20] = False
    >>> filled = inpaint_map(sky, mask, seed=1)
    >>> bool(np.array_equal(filled[mask], sky[mask]))
    True
    """
    validate_types(plan, draws, progress, {"nest": nest, "return_info": return_info})
    draws = Draws() if draws is None else draws
    validate_fill(fill, n_realizations, refine, seed, draws.fluctuations)
    validate_known(cl, fwhm, beam, noise_std, sky_model)
    refuse_unknown_noise(draws.with_noise, noise_std is not None or sky_model is not None)
    refuse_polconv(polconv)
    clock = Clock(progress)
    with kept_warnings() as warned:
        with clock.timed("input"):
            problem = Problem.make(
                sky, mask, plan=plan, nest=nest, unit=unit,
                assume_microkelvin=cl is not None or noise_std is not None,
            )  # fmt: skip
            validate_known(cl, fwhm, beam, noise_std, sky_model, problem.plan.nside)
            inpainter = load_model(model)
            inpainter.check(problem.plan.nside)
            total = validate_count(n_realizations, problem.plan.nside)
            source = _source(problem, fill, seed, draws, total)
        with clock.stage("sky model"):
            assumed = problem.assume_sky(sky_model, cl=cl, fwhm=fwhm, beam=beam, noise_std=noise_std)
        with clock.stage("plan"):
            filler, uncertain = None, 0.0
            if problem.has_targets and problem.constant is None:
                filler = prepared_filler(inpainter, problem.plan, assumed, refine)
                uncertain = filler.monopole_dipole_std
                warn_if_uncertain(uncertain, assumed)
        with clock.timed("fill"):
            indices = range(draws.first, draws.first + total)
            maps, solves = _fill(problem, filler, source, indices, draws.with_noise, clock)
    filled = problem.to_user_format(maps[0] if n_realizations is None else maps)
    if not return_info:
        return filled
    return filled, InpaintInfo(
        sky_model=assumed,
        seed=source if isinstance(source, int) else None,
        model=inpainter.name,
        sha256=inpainter.sha256,
        fill=fill,
        steps=tuple(0 if last is None else last.done for last in solves),
        remaining=None if solves[-1] is None else solves[-1].remaining,
        fluctuations="none" if source is None else "drawn" if isinstance(source, int) else "given",
        fsky=problem.plan.fsky,
        n_holes=problem.plan.n_holes,
        n_filled=int(problem.plan.targets.sum()),
        monopole_dipole_std=uncertain,
        unit=problem.sky.unit,
        work_unit=problem.work_unit,
        warnings=tuple(dict.fromkeys(warned)),
        seconds=clock.seconds,
        _predict=partial(_prediction, problem, filler, maps[0] if fill == "prediction" else None),
    )


def _source(problem: Problem, fill: Fill, seed: Any, draws: Draws, total: int) -> _Source:
    """What the realizations fluctuate with."""
    if draws.fluctuations is not None:
        return Fluctuations(
            draws.fluctuations, nside=problem.plan.nside, nest=problem.nest, unit=problem.sky.unit,
            work_unit=problem.work_unit, first=draws.first, total=total,
        )  # fmt: skip
    return validate_seed(seed) if fill == "realization" else None


def _fill(
    problem: Problem, filler: Filler | None, source: _Source, indices: range, with_noise: bool, clock: Clock
) -> tuple[list[FloatArray], list[Progress | None]]:
    """The maps of these realizations, in the unit of the work, and the last step of each solve."""
    maps: list[FloatArray] = []
    solves: list[Progress | None] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "solve":
            solves[-1] = progress
        clock.report(progress)

    clock.report(Progress("fill", 0, len(indices)))
    for index in indices:
        solves.append(None)
        if filler is None:
            maps.append(problem.observed)
        elif source is None:
            maps.append(filler.predict(problem.observed, watch=watch))
        elif isinstance(source, int):
            rng = realization_rng(source, index)
            maps.append(filler.realize(problem.observed, rng, with_noise=with_noise, watch=watch))
        else:
            maps.append(filler.constrain(problem.observed, source(index), watch=watch))
        clock.report(Progress("fill", len(maps), len(indices)))
    return maps, solves


def _prediction(problem: Problem, filler: Filler | None, made: FloatArray | None) -> FloatArray:
    """(npix,) RING, the deterministic fill in the map's unit, made now if it is not."""
    if made is None:
        made = problem.observed if filler is None else filler.predict(problem.observed)
    return problem.with_data(made)
