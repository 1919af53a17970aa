"""From a map with holes to a full sky: the package's main job.

Inputs: a map, a mask, and what is known of the sky. Outputs: the filled map in the type that was given.
"""

from functools import partial
from typing import Any

import numpy as np

from cmbinpaint._machine import one_blas_thread
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
from cmbinpaint.sphere.fields import Fields

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
    noise_cov: FloatArray | None = None,
    colored_noise_cl: FloatArray | None = None,
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
    """Fill the masked pixels of a HEALPix map of T, of Q and U, or of T, Q and U.

    Parameters
    ----------
    sky
        (npix,) map: ndarray, masked array or Quantity, any float or integer dtype. UNSEEN, NaN and masked
        entries are holes. Values in holes are never read. (3, npix) is T, Q, U, which are filled together; (2, npix) is
        Q, U. Where only one of Q and U is observed neither is data, and both are known afterwards.
    mask
        (npix,) 1/True = observed, in the map's ordering; None: the holes are the map's own. Of T, Q, U also (2, npix),
        for T and for polarization; or a row for each Stokes parameter.
    plan
        From `plan_inpainting` or `load_plan`, instead of `mask`: for apodized masks, regions not to be filled, or guard
        rings; and to be reused: the second map with a plan takes a fraction of the first one's time. A plan with a sky
        model says what is assumed, too.
    model
        ``"default"`` is ``"gaussian"``, the exact answer. ``"kriging"``: approximate; ``"diffusive"``: a baseline; else
        the name of a network, the path of its card, or an `Inpainter`.
    refine
        Conjugate-gradient steps from the model's prediction towards the exact Gaussian mean; 0: none. None: what the
        model asks for: networks are refined to an estimated 0.1 posterior standard deviations, others not at all.
    sky_model
        What is assumed of the map, in µK where the map's unit is known, else in the map's own. `InpaintInfo.sky_model`
        of an earlier call fits: one estimate, many calls. None: the plan's, made of the next four, or estimated from
        the map.
    cl
        Theory C_ell (lensed, of the sky, not D_ell) from ell = 0, µK². Of T, Q, U (4, lmax+1) TT, EE, BB, TE (healpy's
        ``new=True`` order; CAMB's columns are read too) or (6, lmax+1) with EB, TB; of Q, U (2, lmax+1) EE, BB or
        (3, lmax+1) with EB, or those of T, Q, U.
    fwhm, beam
        Gaussian beam's full width at half maximum in radians (the pixel window is then included), or b_ell
        (pixel window included if wanted). Only with `cl`. Of T, Q, U `beam` may have two rows, for T and polarization,
        or three.
    noise_std
        White noise per pixel, µK when the map's unit is known or a `cl` is given: a number or (npix,) in the
        map's ordering. With Q and U a number for all, (k,), one for each Stokes parameter, or (k, npix). None: from
        the map, with a `cl` too; 0 says that there is none. `InpaintInfo.sky_model.source` says what was assumed.
    noise_cov
        Instead, with Q and U: (3, npix) QQ, QU, UU or (6, npix) II, IQ, IU, QQ, QU, UU, µK².
    colored_noise_cl
        With `cl`: power of isotropic colored noise beside the white, in the form of `cl`, as it is in the map (no beam
        is applied). Realizations have it; predictions, and realizations of the signal alone, leave it out.
    fill
        ``"realization"``: a constrained realization of the observation (signal, beam, noise), whose spectrum is
        that of a full sky. ``"prediction"``: the model's deterministic estimate of the signal, which lacks power.
    n_realizations
        None: one map, (npix,) or (k, npix). n: (n, npix) or (n, k, npix).
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
        The convention of Q and U in `sky`, `noise_cov` and fluctuations: ``"COSMO"``, HEALPix's and the default, or
        ``"IAU"``, where U has the other sign. It comes back as it came. (`cl` and `sky_model` are in COSMO.)
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
    known: dict[str, Any] = {
        "cl": cl,
        "fwhm": fwhm,
        "beam": beam,
        "noise_std": noise_std,
        "noise_cov": noise_cov,
        "colored_noise_cl": colored_noise_cl,
    }
    validate_known(**known, sky_model=sky_model)
    noise_given = noise_std is not None or noise_cov is not None
    planned = plan is not None and plan.sky_model is not None
    refuse_unknown_noise(draws.with_noise, noise_given or sky_model is not None or planned)
    clock = Clock(progress)
    with kept_warnings() as warned, one_blas_thread():
        with clock.timed("input"):
            problem = Problem.make(
                sky, mask, plan=plan, nest=nest, unit=unit, polconv=polconv,
                assume_microkelvin=cl is not None or noise_given,
            )  # fmt: skip
            if sky_model is None and not any(value is not None for value in known.values()):
                sky_model = problem.plan.sky_model
            validate_known(**known, sky_model=sky_model, nside=problem.plan.nside)
            inpainter = load_model(model)
            inpainter.check(problem.plan.nside, problem.fields)
            total = validate_count(n_realizations, problem.plan.nside, problem.fields.n)
            source = _source(problem, fill, seed, draws, total)
        with clock.stage("sky model"):
            assumed = problem.assume_sky(sky_model, **known)
            problem.plan.refuse_other(assumed)
        with clock.stage("plan"):
            filler, uncertain = None, 0.0
            if problem.has_targets and problem.constant is None:
                filler = prepared_filler(inpainter, problem.plan, assumed, refine)
                uncertain = filler.monopole_dipole_std
                if uncertain:
                    warn_if_uncertain(uncertain, assumed.only(Fields.T))
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
        remaining_power=None if solves[-1] is None else solves[-1].power,
        fluctuations="none" if source is None else "drawn" if isinstance(source, int) else "given",
        fsky=problem.plan.fsky,
        n_holes=problem.plan.n_holes,
        n_filled=int(problem.plan.filled.sum()),
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
            draws.fluctuations, sky=problem.sky, work_unit=problem.work_unit, flip=problem.flips_u, first=draws.first,
            total=total,
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
    """RING, the deterministic fill in the map's unit, made now if it is not."""
    if made is None:
        with one_blas_thread():
            made = problem.observed if filler is None else filler.predict(problem.observed)
    return problem.with_data(made)
