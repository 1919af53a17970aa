"""Minimum-variance bandpowers of a map with holes: the least error bars that its pixels allow.

Inputs: a map as users give it, what is known of the sky. Outputs: `OptimalSpectrum`, numbers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.gaussian.optimal_bandpowers import InverseCovariance, quadratic, response
from cmbinpaint.pipeline.compare_spectra import validate_bands
from cmbinpaint.pipeline.filler import draw_observation, realization_rng
from cmbinpaint.problem.numbers import validate_seed
from cmbinpaint.problem.options import validate_known, validate_types
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.problem.progress import Clock, Progress, Watch
from cmbinpaint.sims.map_signal import mode_windows
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.spectra.mode_coupling import narrowest_band
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import validate_map

__all__ = ["OptimalSpectrum", "optimal_spectrum"]

# Random vectors a band: the diagonal of Fisher's matrix is then known to about 1 %.
_ROUNDS = 10
_RESPONSE, _NOISE, _PAIRS = 0, 1, 2  # what a seed's random numbers are for


@dataclass(frozen=True, eq=False)
class OptimalSpectrum:
    """Bandpowers of the sky's C_ell with their covariance.

    Bandpowers are means of C_ell with weights 2 ell + 1, if the spectrum has the model's shape within each band.

    Attributes
    ----------
    bands
        The bands; `bands.centers` are their multipoles.
    bandpowers, errors
        (n,) C_ell and its standard deviation, in the square of `unit`.
    covariance
        (n, n) of the bandpowers, for a Gaussian sky with the model's spectrum.
    response
        (n, n) how quadratic estimates respond to bandpowers; Fisher's matrix if the model is true.
    noise_bias
        (n,) the noise's part that was subtracted; 0 with a second split.
    windows
        (n, lmax+1): `windows @ cl` is what is expected of the bandpowers for a sky of spectrum `cl`.
    unit
        Unit of the map, None if unspecified.
    beam_divided
        Whether beam and pixel window are divided out: they are where `cl` was given, with what smooths it.
    sky_model
        The model, in the unit of the work.
    n_sims, seed
        Simulations, and what they can be drawn again with.
    """

    bands: Bandpowers
    bandpowers: FloatArray
    errors: FloatArray
    covariance: FloatArray
    response: FloatArray
    noise_bias: FloatArray
    windows: FloatArray
    unit: str | None
    beam_divided: bool
    sky_model: SkyModel
    n_sims: int
    seed: int

    def to_dl(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n,) centers, and ``ell (ell + 1) / 2 pi`` there times bandpowers and errors."""
        center = self.bands.centers
        factor = center * (center + 1) / (2 * np.pi)
        return center, factor * self.bandpowers, factor * self.errors

    def csv(self) -> str:
        """One line a band: ell_min, ell_max, C_ell, its error and the noise bias, as CSV with a header."""
        lines = ["ell_min,ell_max,cl,cl_error,noise_bias"]
        columns = zip(self.bandpowers, self.errors, self.noise_bias, strict=True)
        for i, values in enumerate(columns):
            edges = f"{self.bands.edges[i]},{self.bands.edges[i + 1] - 1}"
            lines.append(edges + "," + ",".join(f"{value:.8g}" for value in values))
        return "\n".join(lines) + "\n"


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
    bins: Any = None,
    templates: Any = (),
    n_sims: int = 100,
    seed: int | None = None,
    nest: bool = False,
    unit: str | None = None,
    progress: Watch | None = None,
) -> OptimalSpectrum:
    """Estimate the power spectrum of a temperature map with holes, with the least variance there is.

    Monopole and dipole are projected out. A wrong spectrum in the model costs variance and makes errors wrong, but
    biases nothing; a wrong noise level biases what is subtracted, unless a second split is given.

    Parameters
    ----------
    sky, mask, plan, sky_model, cl, fwhm, beam, noise_std, nest, unit, progress
        As in `inpaint_map`. With `cl`, bandpowers are of the sky: beam and pixel window are divided out. With a
        `sky_model`, or neither, they are as in the map.
    sky2
        A second map of the same sky with independent noise of the same level, in the same pixels: then cross spectra
        are estimated, without noise bias.
    bins
        Bands, their edges, or how many, as in `compare_spectra`; None: 20.
    templates
        Maps to project out as well, in the ordering of `sky`: what is not known but its shape, a foreground, say.
    n_sims
        Simulations of noise for its bias (of pairs of splits for the covariance).
    seed
        None: a fresh one, which the result names.

    Returns
    -------
    OptimalSpectrum
        Bandpowers, errors, covariance, windows.

    Raises
    ------
    MapError
        If the map is of polarization, the splits do not agree, or a template is a constant or a dipole.
    SpectrumError
        If bands are narrower than the mask resolves or beyond the model, or simulations are fewer than bands.

    References
    ----------
    Tegmark 1997, astro-ph/9611174; Smith, Zahn & Doré 2007, arXiv 0705.3980 (with the solver's filter).
    """
    validate_types(plan, None, progress, {"nest": nest})
    validate_known(cl, fwhm, beam, noise_std, sky_model)
    used, clock = validate_seed(seed), Clock(progress)
    problem = Problem.make(
        sky, mask, plan=plan, nest=nest, unit=unit, assume_microkelvin=cl is not None or noise_std is not None
    )
    if problem.fields is not Fields.T:
        raise MapError(f"the map has {len(problem.fields.stokes)} Stokes parameters; give T alone, map[0]")
    model = problem.assume_sky(sky_model, cl=cl, fwhm=fwhm, beam=beam, noise_std=noise_std, whole=True)
    window = _window(model, fwhm, beam, divided=cl is not None)
    bands = _bands(bins, model, problem.plan, n_sims, pairs=sky2 is not None)
    with clock.stage("plan"):
        maps = [_like(problem, template, nest, "template") for template in templates]
        estimator = Estimator(problem.plan.valid, model, bands, window, maps, used, clock)
    if sky2 is None:
        noise, covariance = estimator.noise_bias(n_sims), estimator.solved
        power = estimator.estimate(problem.observed) - noise
    else:
        noise, covariance = np.zeros(bands.n), estimator.pair_covariance(n_sims)
        power = estimator.estimate(problem.observed, _second(problem, sky2, nest))
    unit_squared = float(np.ravel(problem.factor)[0]) ** -2
    return OptimalSpectrum(
        bands=bands,
        bandpowers=power * unit_squared,
        errors=np.sqrt(np.diag(covariance)) * unit_squared,
        covariance=covariance * unit_squared**2,
        response=estimator.fisher / unit_squared**2,
        noise_bias=noise * unit_squared,
        windows=estimator.windows,
        unit=problem.sky.unit,
        beam_divided=cl is not None,
        sky_model=model,
        n_sims=n_sims,
        seed=used,
    )


class Estimator:
    """What is the same for all maps of a mask and a sky model: the filter and its response.

    Parameters
    ----------
    valid, sky_model
        (npix,) bool RING, True where data are; the model.
    bands, window
        The bands; (lmax+1,) the square of what beam and pixels leave of C_ell.
    templates
        Maps to project out.
    seed, clock
        Of random vectors and simulations; takes progress.

    Attributes
    ----------
    fisher, solved
        (n, n) the response of the quadratic estimates, and the inverse that makes them bandpowers.
    windows
        (n, lmax+1) the response of bandpowers to C_ell.
    """

    def __init__(
        self, valid: BoolArray, sky_model: SkyModel, bands: Bandpowers, window: FloatArray,
        templates: Sequence[FloatArray] = (), seed: int = 0, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self._model, self._seed, self._clock = sky_model, seed, clock or Clock(None)
        # Beyond the end of a given spectrum or beam the model has no power, and nothing to estimate.
        around = _around(bands, int(np.flatnonzero(sky_model.signal_cl * window)[-1]))
        self._inside = np.isin(around.edges[:-1], bands.edges[:-1])
        shapes = _band_shapes(around, sky_model, window)
        self._seen = shapes * window
        self._inverse = InverseCovariance(valid, sky_model, templates)
        kernel = np.empty_like(shapes)
        rng = realization_rng(seed, _RESPONSE)
        for i, row in enumerate(response(self._inverse, self._seen, window, rng, _ROUNDS)):
            kernel[i] = row
            self._clock.report(Progress("response", i + 1, around.n))
        fisher = kernel @ shapes.T
        fisher = (fisher + fisher.T) / 2
        self._solved = np.asarray(np.linalg.inv(fisher), dtype=np.float64)
        self.fisher, self.solved = self._only(fisher), self._only(self._solved)
        self.windows = (self._solved @ kernel)[self._inside]

    def estimate(self, observed: FloatArray, second: FloatArray | None = None) -> FloatArray:
        """(n,) bandpowers of a map, noise bias in, or the cross spectrum of two."""
        return (self._solved @ self._quadratic(observed, second))[self._inside]

    def noise_bias(self, n: int) -> FloatArray:
        """(n_bands,) the mean of the bandpowers of `n` simulations of noise alone."""
        total = np.zeros(len(self._seen))
        for index in range(n):
            total += self._quadratic(draw_observation(self._model, self._rng(_NOISE, index))[1])
            self._clock.report(Progress("noise", index + 1, n))
        return (self._solved @ total)[self._inside] / n

    def pair_covariance(self, n: int) -> FloatArray:
        """(n_bands, n_bands) covariance of the cross spectra of `n` simulated pairs of splits."""
        found = np.empty((n, len(self.fisher)))
        for index in range(n):
            rng = self._rng(_PAIRS, index)
            signal, noise = draw_observation(self._model, rng)
            found[index] = self.estimate(signal + noise, signal + draw_observation(self._model, rng)[1])
            self._clock.report(Progress("pairs", index + 1, n))
        return np.atleast_2d(np.cov(found, rowvar=False))

    def _quadratic(self, observed: FloatArray, second: FloatArray | None = None) -> FloatArray:
        other = None if second is None else self._inverse.apply(second)
        return quadratic(self._inverse.apply(observed), self._seen, other)

    def _only(self, matrix: FloatArray) -> FloatArray:
        return np.asarray(matrix[np.ix_(self._inside, self._inside)], dtype=np.float64)

    def _rng(self, purpose: int, index: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(purpose, index)))


def _bands(bins: Any, model: SkyModel, plan: InpaintingPlan, n_sims: int, *, pairs: bool) -> Bandpowers:
    """The bands, of which the mask resolves each and simulations are enough for all."""
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
    needed = 2 * bands.n if pairs else 2
    if n_sims < needed:
        what = f"the covariance of {bands.n} bands" if pairs else "the noise bias"
        raise SpectrumError(f"n_sims is {n_sims}; {what} needs {needed} simulations or more")
    return bands


def _window(model: SkyModel, fwhm: Any, beam: Any, *, divided: bool) -> FloatArray:
    """(lmax+1,) the square of what beam and pixels leave of C_ell; 1 where they are not divided out."""
    if not divided:
        return np.ones(model.lmax + 1)
    window = (
        mode_windows(Fields.T, model.nside, model.lmax, fwhm=fwhm, beam=beam, pixwin=beam is None)[0] ** 2
    )
    return np.pad(window, (0, model.lmax + 1 - window.size))


def _around(bands: Bandpowers, lmax: int) -> Bandpowers:
    """The bands, with one below and one above for the power there, which is estimated and not reported."""
    edges = bands.edges.tolist()
    below = [2] if edges[0] > 2 else []
    above = [lmax + 1] if edges[-1] < lmax + 1 else []
    return Bandpowers(np.array([*below, *edges, *above]))


def _band_shapes(bands: Bandpowers, model: SkyModel, window: FloatArray) -> FloatArray:
    """(n, lmax+1) the sky's C_ell for a unit of each band's power: the model's shape within the band."""
    sky = np.divide(model.signal_cl, window, out=np.zeros(window.size), where=window > 0)
    sky[:2] = 0.0
    power = bands.bin(sky)
    if not np.all(power > 0):
        low, high = bands.edges[int(np.argmin(power > 0))], bands.edges[int(np.argmin(power > 0)) + 1] - 1
        raise SpectrumError(
            f"the model has no power at ell = {low} to {high}: end the bands below, or give a cl that reaches further"
        )
    shapes = np.zeros((bands.n, window.size))
    for i, (low, high) in enumerate(zip(bands.edges[:-1], bands.edges[1:], strict=True)):
        shapes[i, low:high] = sky[low:high] / power[i]
    return shapes


def _like(problem: Problem, sky: Any, nest: bool, name: str) -> FloatArray:
    """(npix,) RING values of another map, which the problem's data pixels must know."""
    taken = validate_map(sky, nest=nest)
    if taken.values.shape != problem.plan.valid.shape:
        raise MapError(
            f"the {name} has shape {np.shape(sky)}; expected that of the map, {problem.plan.valid.shape}"
        )
    if not np.all(taken.known | ~problem.plan.valid):
        missing: BoolArray = problem.plan.valid & ~taken.known
        raise MapError(
            f"the {name} is missing in {np.count_nonzero(missing)} pixels where the map is observed; both need the "
            "same mask: give one that hides them"
        )
    return np.where(problem.plan.valid, taken.values, 0.0)


def _second(problem: Problem, sky2: Any, nest: bool) -> FloatArray:
    """(npix,) the second split's data in the unit of the work."""
    values = _like(problem, sky2, nest, "second split")
    return np.where(problem.plan.valid, values * float(np.ravel(problem.factor)[0]), 0.0)
