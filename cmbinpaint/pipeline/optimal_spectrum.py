"""Minimum-variance bandpowers of a map with holes: the least error bars that its pixels allow.

Inputs: a map as users give it, what is known of the sky. Outputs: `OptimalSpectrum`, numbers only.
"""

import os
from concurrent.futures import Executor
from typing import Any

import numpy as np

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, MapError, SpectrumError
from cmbinpaint.pipeline.bandpower_estimator import Estimator, without_tail
from cmbinpaint.pipeline.compare_spectra import validate_bands
from cmbinpaint.pipeline.kept_pieces import kept_in, kept_seed
from cmbinpaint.pipeline.optimal_result import OptimalSpectrum
from cmbinpaint.problem.numbers import is_whole
from cmbinpaint.problem.options import validate_known, validate_types
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.problem.progress import Clock, Watch
from cmbinpaint.sims.map_signal import mode_windows
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.mode_coupling import narrowest_band
from cmbinpaint.sphere.maps import validate_map
from cmbinpaint.sphere.units import unit_factor

__all__ = ["OptimalSpectrum", "optimal_spectrum"]


def optimal_spectrum(
    sky: Any,
    mask: Any = None,
    *,
    sky2: Any = None,
    plan: InpaintingPlan | None = None,
    sky_model: SkyModel | None = None,
    cl: FloatArray | None = None,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    noise_std: Any = None,
    noise_cov: Any = None,
    colored_noise_cl: Any = None,
    bins: Any = None,
    templates: Any = (),
    n_sims: int = 100,
    seed: int | np.random.Generator | None = None,
    executor: Executor | None = None,
    folder: str | os.PathLike[str] | None = None,
    nest: bool = False,
    unit: str | None = None,
    polconv: str | None = None,
    progress: Watch | None = None,
) -> OptimalSpectrum:
    """Estimate the power spectra of a map with holes, with the least variance there is.

    Of T, Q, U all six spectra are estimated together, of Q, U EE, BB and EB: what E leaks into B behind the mask is
    part of the response that is inverted. Monopole and dipole of T are projected out. A wrong spectrum in the model
    costs variance and makes errors wrong, but biases nothing; a wrong noise level biases what is subtracted, unless a
    second split is given.

    Parameters
    ----------
    sky
        (npix,) T, (2, npix) Q, U or (3, npix) T, Q, U, as `inpaint_map` takes it.
    mask, plan, sky_model, cl, fwhm, beam, noise_std, noise_cov, colored_noise_cl, nest, unit, polconv, progress
        As in `inpaint_map`. With `cl`, bandpowers are of the sky: beam and pixel window are divided out. With a
        `sky_model`, or neither, they are as in the map. A model has some power in every band of TT, EE and BB.
    sky2
        A second map of the same sky with independent noise of the same level, in the same pixels: then cross spectra
        are estimated, without noise bias.
    bins
        Bands, their edges, or how many, as in `compare_spectra`; None: 20.
    templates
        Maps of the shape of `sky` to project out as well, in its ordering: what is not known but its shape, a
        foreground, say.
    n_sims
        With `sky2`: simulated pairs of splits, for the covariance. Without, nothing is simulated: the noise bias comes
        with the response.
    seed
        Of the vectors that probe the response, and of simulations; None: a fresh one, which the result names.
    executor
        Any `concurrent.futures.Executor` for the response and the simulations, as in `inpaint_maps`; None: one after
        the other, here. The result has the same bits.
    folder
        Keep the response of each band and each simulation there as they are finished: called again, after a kill, it
        goes on, and gives the same bits. Pieces of another mask, model, seed or bands are not taken. Without `seed` the
        fresh one is kept there too. None: keep nothing.

    Returns
    -------
    OptimalSpectrum
        Bandpowers, errors, covariance, windows.

    Raises
    ------
    MapError
        If the splits do not agree, or a template is zero, a constant or a dipole.
    SpectrumError
        If bands are narrower than the mask resolves or beyond the model, or simulations are fewer than bands.

    References
    ----------
    Tegmark 1997, astro-ph/9611174; Tegmark & de Oliveira-Costa 2001, astro-ph/0012120; Smith, Zahn & Doré 2007, arXiv
    0705.3980 (with the solver's filter).
    """
    validate_types(plan, None, progress, {"nest": nest})
    validate_known(cl, fwhm, beam, noise_std, sky_model, None, noise_cov, colored_noise_cl)
    _validate(n_sims, executor)
    clock = Clock(progress)
    in_microkelvin = any(one is not None for one in (cl, noise_std, noise_cov))
    problem = Problem.make(
        sky, mask, plan=plan, nest=nest, unit=unit, polconv=polconv, assume_microkelvin=in_microkelvin
    )
    second = None if sky2 is None else _second(problem, sky2, nest)
    model = problem.assume_sky(
        sky_model, cl=cl, fwhm=fwhm, beam=beam, noise_std=noise_std, noise_cov=noise_cov,
        colored_noise_cl=colored_noise_cl, whole=True,
    )  # fmt: skip
    bands = _bands(bins, model, problem.plan, None if sky2 is None else n_sims)
    whole = model.lmax
    if sky_model is None:
        model = without_tail(model, problem.plan.valid, bands.lmax)
    window = _windows(model, fwhm, beam, divided=cl is not None)
    with one_blas_thread(), kept_in(folder) as kept:
        used = kept_seed(kept, seed)
        with clock.stage("plan"):
            maps = _shapes_of(problem, templates, nest)
            estimator = Estimator(
                problem.plan.valid, model, bands, window, maps, used, clock, executor, folder=kept
            )
        power = estimator.estimate(problem.observed, second)
        if second is None:
            noise, covariance = estimator.noise_bias, estimator.solved
        else:
            noise, covariance = np.zeros(power.shape), estimator.pair_covariance(n_sims)
    unit_squared = float(np.ravel(problem.factor)[0]) ** -2
    return OptimalSpectrum(
        bands=bands,
        bandpowers=(power - noise) * unit_squared,
        errors=np.sqrt(np.diag(covariance)).reshape(power.shape) * unit_squared,
        covariance=covariance * unit_squared**2,
        response=estimator.fisher / unit_squared**2,
        noise_bias=noise * unit_squared,
        windows=np.pad(
            estimator.windows, [(0, 0)] * (estimator.windows.ndim - 1) + [(0, whole - model.lmax)]
        ),
        unit=problem.sky.unit,
        beam_divided=cl is not None,
        sky_model=model,
        n_sims=0 if sky2 is None else n_sims,
        seed=used,
    )


def _validate(n_sims: Any, executor: Any) -> None:
    if not is_whole(n_sims, 1):
        raise SpectrumError(f"n_sims is {n_sims!r}; give a whole number of simulations")
    if executor is not None and not isinstance(executor, Executor):
        raise CmbInpaintError(
            f"executor is a {type(executor).__name__}; expected a concurrent.futures.Executor (of Dask: "
            "client.get_executor())"
        )


def _bands(bins: Any, model: SkyModel, plan: InpaintingPlan, n_pairs: int | None) -> Bandpowers:
    """The bands, of which the mask resolves each and simulated pairs, if any, are enough for all."""
    least = narrowest_band(plan.valid)
    bands = validate_bands(bins, model.lmax, least)
    if bands.edges[0] < 2:
        raise SpectrumError(
            f"the bands begin at ell = {bands.edges[0]}; monopole and dipole are projected out: 2"
        )
    if bands.widths.min() < least:
        raise SpectrumError(
            f"the narrowest band has {bands.widths.min()} multipoles; a mask that leaves {plan.fsky:.3f} of the sky "
            f"resolves bands of {least} or more: make them wider"
        )
    n = bands.n * len(model.fields.spectra)
    if n_pairs is not None and n_pairs < 2 * n:
        raise SpectrumError(
            f"n_sims is {n_pairs}; the covariance of {n} bandpowers needs {2 * n} simulations or more"
        )
    return bands


def _windows(model: SkyModel, fwhm: Any, beam: Any, *, divided: bool) -> FloatArray:
    """(n_spectra, lmax+1) what beam and pixels leave of each C_ell; 1 where they are not divided out."""
    pairs = model.fields.pairs
    if not divided:
        return np.ones((len(pairs), model.lmax + 1))
    window = mode_windows(model.fields, model.nside, model.lmax, fwhm=fwhm, beam=beam, pixwin=beam is None)
    window = np.pad(window, ((0, 0), (0, model.lmax + 1 - window.shape[1])))
    return np.stack([window[i] * window[j] for i, j in pairs])


def _like(problem: Problem, sky: Any, nest: bool, name: str) -> tuple[FloatArray, str | None]:
    """RING values of another map, which the problem's data pixels must know, 0 elsewhere; and its unit."""
    taken = validate_map(sky, nest=nest, polarized=True)
    valid = problem.plan.valid
    if taken.values.shape != valid.shape:
        raise MapError(f"the {name} has shape {np.shape(sky)}; expected that of the map, {valid.shape}")
    missing: BoolArray = valid & ~taken.known
    if missing.any():
        raise MapError(
            f"the {name} is missing in {np.count_nonzero(missing)} pixels where the map is observed; both need the "
            "same mask: give one that hides them"
        )
    return np.where(valid, taken.values, 0.0), taken.unit


def _shapes_of(problem: Problem, templates: Any, nest: bool) -> list[FloatArray]:
    """The templates; only their shape counts, and U's sign."""
    if not isinstance(templates, list | tuple) and np.ndim(templates) != problem.plan.valid.ndim + 1:
        raise MapError(f"templates is a {type(templates).__name__}; give a list of maps: templates=[dust]")
    return [_like(problem, one, nest, "template")[0] * np.sign(problem.factor) for one in templates]


def _second(problem: Problem, sky2: Any, nest: bool) -> FloatArray:
    """The second split's data in the unit of the work."""
    values, unit = _like(problem, sky2, nest, "second split")
    if unit is not None:
        if problem.sky.unit is None:
            raise MapError(f"the second split is in {unit}, the map has no unit: give unit=")
        values = values * unit_factor(unit, problem.sky.unit)
    if np.array_equal(values, np.where(problem.plan.valid, problem.sky.values, 0.0)):
        raise MapError("the second split is the map itself; it needs noise of its own")
    return values * problem.factor
