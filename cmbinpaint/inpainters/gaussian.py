"""The exact answer for a Gaussian sky: the conditional mean on the full sphere by conjugate gradients.

Takes: a mask, a sky model and a map. Gives: the signal's posterior mean (Wiener filter) in every hole, from a
cold start or polishing another method's fill. Floor: 3.

With data `d = Y s + n` in the observed pixels, `s = S^½ x`, the mean solves

    (1 + S^½ Yᵀ N⁻¹ Y S^½) x = S^½ Yᵀ N⁻¹ d,

with N⁻¹ = 0 in holes (Eriksen et al. 2004, astro-ph/0407028, eq. 20; Elsner & Wandelt 2013, arXiv 1210.4931).
The answer in a hole is the signal's mean `Y S^½ x`. A constant goes through exactly: where the monopole's
prior is broad, the data's mean is taken out first and put back at the end.

Conjugate gradients are not linear in the data at a finite number of steps (only a factor goes through); a
converged answer is linear to the tolerance.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, ComplexArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, ConvergenceError, MapError, MaskError, SpectrumError
from cmbinpaint.inpainters.convergence import Convergence, how_far
from cmbinpaint.inpainters.preconditioner import Preconditioner
from cmbinpaint.patches.plan import InpaintingPlan
from cmbinpaint.sphere.harmonics import Harmonics, alm_degrees, alm_dot

# The change in the holes is measured once every so many steps.
CHECK_EVERY = 10
# Default accuracy: estimated rms of what is still to change in the holes, over the signal's rms.
TOLERANCE = 1e-3
# Steps before a solution is given up.
MAX_STEPS = 5000
# Noise below this fraction of the signal's rms is raised to it: the system is singular without noise. The steps
# needed grow as the rms over the noise (nside 32, fsky 0.81, beam 3 px, noise 0.03/0.01/0.003: 460/1230/3770 to
# a tolerance of 1e-4), while the error in the holes gains little (0.224/0.202/0.181 of the rms) and is lost again
# if the sky has power above lmax (0.7 % of the rms there: 0.224/0.219/0.295).
NOISE_FLOOR = 1e-2
# Jacobi iterations of the start's analysis. The first step mends the quadrature: begun at the exact fill it is
# within 6e-5 of the rms (4e-6 with one iteration, which costs as much as a step).
START_ITERATIONS = 0
# The preconditioner's exact block holds (LOW_ELL + 1)² modes. Measured at nside 128 (lmax 256, Planck-like mask,
# beam 3 px, noise 3 µK), steps from a cold start to tolerances 1e-1/1e-2/1e-3: diagonal alone 350/660/940, 30:
# 150/260/440, 40: 110/220/340, 50: 50/170/280. Its setup grows as the sixth power, its step as the fourth: at 30
# it adds a twentieth to a step at nside 128, at 50 a quarter.
LOW_ELL = 30
# A monopole prior this many times the largest other C_ell counts as broad: any constant is allowed.
BROAD = 100.0
Progress = Callable[[int, float], None]


class GaussianSky(Protocol):
    """What the solver asks of a sky model; `cmbinpaint.sims.SkyModel` is one."""

    @property
    def nside(self) -> int: ...
    @property
    def lmax(self) -> int: ...
    @property
    def signal_cl(self) -> FloatArray: ...
    @property
    def noise_std(self) -> float | FloatArray: ...


@dataclass(frozen=True, eq=False)
class Solution:
    """A posterior mean and how far it is converged.

    Attributes
    ----------
    mean
        (npix,) float64, RING: the signal's mean in every pixel; in observed ones the Wiener filtered data.
    steps
        Conjugate-gradient steps taken.
    change
        Estimated rms of what is still to change in the holes, over the signal's rms; NaN if too few steps
        were taken to tell.
    """

    mean: FloatArray
    steps: int
    change: float


class GaussianSolver:
    """Posterior means for one mask and one sky model.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where a pixel is data.
    sky_model
        A `GaussianSky`; its lmax is the solver's. Monopole and dipole go through if `signal_cl[:2]` is broad.
    low_ell
        Precondition with the exact inverse of the block ell <= low_ell; None: `LOW_ELL`; -1: the diagonal alone.
    threads
        None: all available cores.

    Raises
    ------
    MaskError
        If the mask does not fit the sky model, or nothing is observed.
    SpectrumError
        If signal or noise are negative or not finite.
    """

    def __init__(
        self,
        valid: BoolArray,
        sky_model: GaussianSky,
        *,
        low_ell: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.valid = np.asarray(valid, dtype=bool)
        self.harmonics = Harmonics(sky_model.nside, sky_model.lmax, threads=threads)
        if self.valid.shape != (self.harmonics.npix,):
            raise MaskError(
                f"the mask has {self.valid.size} pixels, the sky model is for nside {sky_model.nside} "
                f"({self.harmonics.npix} pixels); make the sky model at the map's nside"
            )
        if not self.valid.any():
            raise MaskError("all pixels are masked: nothing is observed, so nothing can be filled")
        signal_cl = _checked_signal(sky_model.signal_cl, sky_model.lmax)
        self.rms = signal_rms(signal_cl)
        std = floored_noise(sky_model.noise_std, self.valid, self.rms)
        # (npix,) N⁻¹, zero in holes
        self._inverse_noise = np.zeros(self.harmonics.npix)
        self._inverse_noise[self.valid] = 1.0 / np.square(std)
        self._noise_cl = float(np.mean(np.square(std))) * 4 * np.pi / self.harmonics.npix
        self._signal_cl = signal_cl
        self._monopole_is_broad = bool(signal_cl[0] > BROAD * signal_cl[2:].max())
        self._holes = np.flatnonzero(~self.valid)
        # S^½ for each real number of an alm (re, im, re, im, ...)
        self._root = _per_real(np.sqrt(signal_cl))
        low_ell = LOW_ELL if low_ell is None else low_ell
        self._preconditioner = Preconditioner(self.harmonics, signal_cl, self._inverse_noise, low_ell)
        self._sky = np.empty(self.harmonics.npix)
        self._alm = np.empty(self.harmonics.size, dtype=np.complex128)

    def solve(
        self,
        observed: FloatArray,
        *,
        start: FloatArray | None = None,
        steps: int | None = None,
        tolerance: float = TOLERANCE,
        max_steps: int = MAX_STEPS,
        progress: Progress | None = None,
    ) -> Solution:
        """The signal's posterior mean.

        Parameters
        ----------
        observed
            (npix,) float64, RING; values where not valid are never read.
        start
            A filled (npix,) map to start from; None: from zero.
        steps
            Take exactly so many steps; None: until converged.
        tolerance
            Stop when the estimated rms of what is still to change in the holes is below this times the
            signal's rms.
        max_steps
            Give up after so many.
        progress
            Called every ten steps with the step and the rms change in the holes since the last call, over the
            signal's rms.

        Raises
        ------
        ConvergenceError
            If `max_steps` were not enough.
        """
        observed = self._checked_map(observed, "the observed map")
        constant = self._constant_in(observed)
        right = self._right_hand_side(observed, constant)
        if start is None:
            x = np.zeros(self.harmonics.size, dtype=np.complex128)
        else:
            x = self._warm_start(start, constant)
        convergence = Convergence(self.rms)
        limit = max_steps if steps is None else steps
        taken = 0
        if self._holes.size or steps is not None:
            taken = self.iterate(x, right, limit, tolerance if steps is None else -1.0, convergence, progress)
        if steps is None and self._holes.size and not convergence.remaining <= tolerance:
            raise ConvergenceError(how_far(taken, convergence.remaining, tolerance))
        mean = self.harmonics.synthesis(_scaled(x, self._root, out=x))
        mean += constant
        return Solution(mean, taken, convergence.remaining)

    def refine(
        self, filled: FloatArray, observed: FloatArray, steps: int, *, progress: Progress | None = None
    ) -> FloatArray:
        """Polish a fill with a few steps towards the exact mean.

        Parameters
        ----------
        filled
            (npix,) float64, RING: any method's fill; read in the holes only.
        observed
            (npix,) float64, RING: the data; never read in the holes.
        steps
            How many; 0 returns the fill unchanged.

        Returns
        -------
        (npix,) float64: the data where valid, the polished prediction in the holes.
        """
        filled = np.where(self.valid, observed, filled)
        if steps <= 0 or not self._holes.size:
            return filled
        solution = self.solve(observed, start=filled, steps=steps, progress=progress)
        filled[self._holes] = solution.mean[self._holes]
        return filled

    def apply(self, x: ComplexArray) -> ComplexArray:
        """`(1 + S^½ Yᵀ N⁻¹ Y S^½) x`: a new array; the map `Y S^½ x` is left in a buffer."""
        _scaled(x, self._root, out=self._alm)
        self.harmonics.synthesis(self._alm, out=self._sky)
        out = self.harmonics.adjoint(self._sky * self._inverse_noise)
        _scaled(out, self._root, out=out)
        out += x
        return out

    def iterate(
        self,
        x: ComplexArray,
        right: ComplexArray,
        limit: int,
        tolerance: float,
        convergence: Convergence,
        progress: Progress | None = None,
    ) -> int:
        """Preconditioned conjugate gradients on `x` in place; returns the steps taken; uses up `right`."""
        lmax = self.harmonics.lmax
        residual = right if not x.any() else right - self.apply(x)
        direction = self._preconditioner.apply(residual)
        squared = alm_dot(residual, direction, lmax)
        moved = np.zeros(self._holes.size)
        for step in range(1, limit + 1):
            if squared <= 0.0:  # nothing left: the data are zero, or the answer is exact
                convergence.remaining = 0.0
                return step - 1
            image = self.apply(direction)
            alpha = squared / alm_dot(direction, image, lmax)
            x += alpha * direction
            residual -= alpha * image
            # The step's own synthesis tells how the holes move: no transform is spent on watching.
            moved += alpha * self._sky[self._holes]
            if step % CHECK_EVERY == 0 and moved.size:
                change = convergence.record(moved)
                moved[:] = 0.0
                if progress is not None:
                    progress(step, change)
                if convergence.remaining <= tolerance:
                    return step
            conditioned = self._preconditioner.apply(residual, out=image)
            previous, squared = squared, alm_dot(residual, conditioned, lmax)
            direction *= squared / previous
            direction += conditioned
        return limit

    def _constant_in(self, observed: FloatArray) -> float:
        """The data's mean if the monopole's prior allows any constant, else 0; refuses what is not finite."""
        constant = float(observed.mean(where=self.valid))
        if not np.isfinite(constant):
            n_bad = int(np.sum(~np.isfinite(observed), where=self.valid))
            raise MapError(
                f"the observed map holds {n_bad} values that are not finite in pixels that the mask calls "
                "observed; add them to the mask"
            )
        return constant if self._monopole_is_broad else 0.0

    def _right_hand_side(self, observed: FloatArray, constant: float) -> ComplexArray:
        """`S^½ Yᵀ N⁻¹ (d - constant)`; holes are never read."""
        weighted = np.zeros(self.harmonics.npix)
        np.subtract(observed, constant, out=weighted, where=self.valid)
        weighted *= self._inverse_noise
        right = self.harmonics.adjoint(weighted)
        return _scaled(right, self._root, out=right)

    def _warm_start(self, filled: AnyArray, constant: float) -> ComplexArray:
        """`S^½ (S + N)⁻¹ map2alm(filled)`: the exact answer if the fill is exact and the noise even."""
        filled = self._checked_map(filled, "the start") - constant
        if not np.all(np.isfinite(filled)):
            raise MapError("the start holds values that are not finite; start from a map filled everywhere")
        x = self.harmonics.analysis(filled, iterations=START_ITERATIONS)
        wiener = np.sqrt(self._signal_cl) / (self._signal_cl + self._noise_cl)
        return _scaled(x, _per_real(wiener), out=x)

    def _checked_map(self, sky: AnyArray, name: str) -> FloatArray:
        sky = np.asarray(sky, dtype=np.float64)
        if sky.shape != self.valid.shape:
            raise MapError(f"{name} has shape {sky.shape}; the solver was made for {self.valid.shape}")
        return sky


class GaussianInpainter:
    """The exact answer as an inpainter.

    Parameters
    ----------
    tolerance, max_steps
        As in `GaussianSolver.solve`.
    low_ell, threads
        As in `GaussianSolver`.
    """

    name: str = "gaussian"

    def __init__(
        self,
        *,
        tolerance: float = TOLERANCE,
        max_steps: int = MAX_STEPS,
        low_ell: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.tolerance = tolerance
        self.max_steps = max_steps
        self.low_ell = low_ell
        self.threads = threads

    def prepare(self, plan: InpaintingPlan, sky_model: GaussianSky) -> "GaussianPredictor":
        """Set up the solver for one mask and sky model."""
        solver = GaussianSolver(plan.valid, sky_model, low_ell=self.low_ell, threads=self.threads)
        return GaussianPredictor(plan, solver, self.tolerance, self.max_steps)


@dataclass(frozen=True, eq=False)
class GaussianPredictor:
    """The exact answer prepared for one plan and sky model; linear in the data to the tolerance."""

    plan: InpaintingPlan
    solver: GaussianSolver
    tolerance: float = TOLERANCE
    max_steps: int = MAX_STEPS

    def predict(self, observed: FloatArray, *, progress: Progress | None = None) -> FloatArray:
        """The data where valid, the posterior mean where not, 0 where excluded.

        Raises
        ------
        ConvergenceError
            If `max_steps` were not enough.
        """
        solution = self.solver.solve(
            observed, tolerance=self.tolerance, max_steps=self.max_steps, progress=progress
        )
        filled = np.where(self.plan.valid, observed, solution.mean)
        filled[self.plan.excluded] = 0.0
        return filled


def signal_rms(signal_cl: FloatArray) -> float:
    """The rms of a sky of this spectrum, without monopole and dipole (which hold a broad prior)."""
    ell = np.arange(signal_cl.size)
    power = (2 * ell + 1) * signal_cl / (4 * np.pi)
    rms = float(np.sqrt(power[2:].sum()))
    if rms == 0.0:
        raise SpectrumError("signal_cl is zero above ell = 1: there is no signal to predict")
    return rms


def floored_noise(noise_std: float | FloatArray, valid: BoolArray, rms: float) -> FloatArray:
    """The noise of each observed pixel, not below `NOISE_FLOOR` of the signal's rms.

    Returns
    -------
    (n_valid,) float64.

    Raises
    ------
    SpectrumError
        If it is negative or not finite in an observed pixel, or has the wrong shape.
    """
    noise = np.asarray(noise_std, dtype=np.float64)
    if noise.ndim and noise.shape != valid.shape:
        raise SpectrumError(f"noise_std has shape {noise.shape}; expected a number or {valid.shape}")
    std = np.full(int(valid.sum()), float(noise)) if noise.ndim == 0 else noise[valid]
    if not np.all(np.isfinite(std)) or np.any(std < 0):
        raise SpectrumError("noise_std is negative or not finite in observed pixels; mask those pixels")
    floor = NOISE_FLOOR * rms
    n_low = int(np.sum(std < floor))
    if n_low:
        warnings.warn(
            f"noise_std is below {NOISE_FLOOR:g} of the signal's rms in {n_low} observed pixels; taken as "
            f"{floor:.3g} there, because without noise the problem is singular",
            CmbInpaintWarning,
            stacklevel=3,
        )
        np.maximum(std, floor, out=std)
    return std


def _checked_signal(signal_cl: AnyArray, lmax: int) -> FloatArray:
    cl = np.asarray(signal_cl, dtype=np.float64)
    if cl.shape != (lmax + 1,):
        raise SpectrumError(f"signal_cl has shape {cl.shape}; lmax {lmax} needs ({lmax + 1},)")
    if not np.all(np.isfinite(cl)) or np.any(cl < 0):
        raise SpectrumError("signal_cl is negative or not finite; a power spectrum is neither")
    return cl


def _per_real(factor: FloatArray) -> FloatArray:
    """(2 · alm_size,): a factor of ell spread over the real and imaginary parts of an alm."""
    return np.repeat(factor[alm_degrees(factor.size - 1)], 2)


def _scaled(alm: ComplexArray, factor: FloatArray, *, out: ComplexArray | None = None) -> ComplexArray:
    """`factor · alm` by real multiplications; `factor` from `_per_real`."""
    out = np.empty_like(alm) if out is None else out
    np.multiply(alm.view(np.float64), factor, out=out.view(np.float64))
    return out
