"""The exact answer for a Gaussian sky: the conditional mean on the full sphere by conjugate gradients.

Inputs: a mask, a sky model and a map. Outputs: the signal's posterior mean (Wiener filter) in every hole, from its own
first guess or refining another method's fill.

With data `d = Y s + n` in the observed pixels, `s = S^½ x`, the mean solves

    (1 + S^½ Yᵀ N⁻¹ Y S^½) x = S^½ Yᵀ N⁻¹ d,

with N⁻¹ = 0 in holes (Eriksen et al. 2004, astro-ph/0407028, eq. 20; Elsner & Wandelt 2013, arXiv 1210.4931).
The answer in a hole is the signal's mean `Y S^½ x`. First guess and preconditioner come from one sparse factor of
the hole pixels' covariance (`preconditioner`); a handful of steps then do. A constant is preserved exactly: where the
monopole's prior is broad, the data's mean is taken out first and put back at the end.

Conjugate gradients are not linear in the data at a finite number of steps (only a factor is preserved); a
converged answer is linear to the tolerance.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, ComplexArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, ConvergenceError, MapError, MaskError
from cmbinpaint.gaussian.convergence import Convergence, describe_shortfall
from cmbinpaint.gaussian.gaussian_sky import GaussianSky, floored_noise, signal_rms
from cmbinpaint.gaussian.hole_posterior import hole_factor, std_by_depth
from cmbinpaint.gaussian.preconditioner import Preconditioner, per_real, scaled
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.sphere.harmonics import Harmonics, alm_dot
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.power import noise_power, validate_cl

# Default accuracy: estimated rms of what is still to change in the holes, in posterior standard deviations, in the
# worst depth bin. The error then exceeds the exact mean's by 5e-5 of itself.
TOLERANCE = 1e-2
# Steps before a solution is given up.
MAX_STEPS = 1000
# Edges of the depth bins, in pixels, in which convergence is watched.
DEPTH_EDGES = (1.3, 2.3, 4.3, 8.3)
# Jacobi iterations of the start's analysis. The first step corrects the quadrature: begun at the exact fill it is
# within 6e-5 of the rms (4e-6 with one iteration, which costs as much as a step).
START_ITERATIONS = 0
# A monopole prior this many times the largest other C_ell counts as broad: any constant is allowed.
BROAD = 100.0
Preconditioning = Literal["holes", "diagonal"]


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
        Estimated rms of what is still to change in the holes, in posterior standard deviations, in the worst depth
        bin; NaN if too few steps were taken to tell.
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
        A `GaussianSky`; its lmax is the solver's. Monopole and dipole are preserved if `signal_cl[:2]` is broad.
    precondition
        ``"holes"``, or ``"diagonal"``: with the system's diagonal alone, for comparison. First guesses are then zero,
        and what is said of posterior standard deviations holds of the signal's rms instead.
    factor
        The hole pixels' distribution, if it is at hand (`hole_factor` of the same mask and sky model).
    threads
        None: all available cores.

    Attributes
    ----------
    holes
        (n,) int64: RING indices of the hole pixels, in the factor's order if there is one.
    signal_cl
        (lmax + 1,) as given.
    factor
        The hole pixels' approximate distribution; None with ``"diagonal"`` or without holes.

    Raises
    ------
    CmbInpaintError
        If the preconditioner is unknown.
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
        precondition: Preconditioning = "holes",
        factor: HolePosterior | None = None,
        threads: int | None = None,
    ) -> None:
        if precondition not in get_args(Preconditioning):
            known = ", ".join(get_args(Preconditioning))
            raise CmbInpaintError(f"precondition is {precondition!r}; known: {known}")
        self.valid = np.asarray(valid, dtype=bool)
        self.harmonics = Harmonics(sky_model.nside, sky_model.lmax, threads=threads)
        if self.valid.shape != (self.harmonics.npix,):
            raise MaskError(
                f"the mask has {self.valid.size} pixels, the sky model is for nside {sky_model.nside} "
                f"({self.harmonics.npix} pixels); make the sky model at the map's nside"
            )
        if not self.valid.any():
            raise MaskError("all pixels are masked: nothing is observed, so nothing can be filled")
        signal_cl = validate_cl(sky_model.signal_cl, "signal_cl")
        self.rms = signal_rms(signal_cl)
        std = floored_noise(sky_model.noise_std, self.valid, self.rms)
        # (npix,) N⁻¹, zero in holes; single precision, if it reaches, is far finer than anybody knows his noise
        reaches = np.min(std) > 1e-15 and np.max(std) < 1e15
        self._inverse_noise: AnyArray = np.zeros(self.harmonics.npix, np.float32 if reaches else np.float64)
        self._inverse_noise[self.valid] = 1.0 / np.square(std)
        self._noise_cl = noise_power(std, self.harmonics.npix)
        del std
        self.signal_cl = signal_cl
        self._monopole_is_broad = bool(signal_cl[0] > BROAD * signal_cl[2:].max())
        # S^½ for each real number of an alm (re, im, re, im, ...)
        self._root = per_real(np.sqrt(signal_cl))
        self.factor: HolePosterior | None = None
        self.holes = np.flatnonzero(~self.valid)
        if precondition == "holes" and self.holes.size:
            self.factor = hole_factor(self.valid, sky_model, threads=threads) if factor is None else factor
            self.holes = self.factor.holes
        self._depth_bins = self._bins_of_depth()
        self._alm = np.empty(self.harmonics.size, dtype=np.complex128)
        weight = float(self._inverse_noise.sum(dtype=np.float64))
        self._preconditioner = Preconditioner(self.harmonics, signal_cl, weight, self.factor)
        if self.factor is not None and signal_cl[1] > BROAD * signal_cl[2:].max():
            modes = self._unconstrained_dipoles(self.factor)
            self._preconditioner.solve_apart(modes, [self.apply(mode) for mode in modes])

    def solve(
        self,
        observed: FloatArray,
        *,
        start: FloatArray | None = None,
        steps: int | None = None,
        tolerance: float = TOLERANCE,
        max_steps: int = MAX_STEPS,
        watch: Watch | None = None,
    ) -> Solution:
        """The signal's posterior mean.

        Parameters
        ----------
        observed
            (npix,) float64, RING; values where not valid are never read.
        start
            A filled (npix,) map to start from, read in the holes; None: from the factor's mean.
        steps
            Take exactly so many steps; None: until converged.
        tolerance
            Stop when the estimated rms of what is still to change in the holes is below this, in posterior standard
            deviations, in every depth bin.
        max_steps
            Give up after so many.
        watch
            Called after every step with its `Progress`.

        Raises
        ------
        ConvergenceError
            If `max_steps` were not enough.
        """
        observed = self._checked_map(observed, "the observed map")
        constant = self._constant_in(observed)
        right = self._right_hand_side(observed, constant)
        if start is not None:
            x = self._warm_start(observed, self._checked_map(start, "the start")[self.holes], constant)
        elif self.factor is not None:
            x = self._warm_start(observed, self.factor.mean(observed), constant)
        else:
            x = np.zeros(self.harmonics.size, dtype=np.complex128)
        convergence = Convergence(*self._depth_bins)
        limit = max_steps if steps is None else steps
        taken = 0
        if self.holes.size or steps is not None:
            taken = self.iterate(
                x, right, limit, tolerance if steps is None else -1.0, convergence, watch, expected=steps or 0
            )
        if steps is None and self.holes.size and not convergence.remaining <= tolerance:
            raise ConvergenceError(describe_shortfall(taken, convergence.remaining, tolerance))
        mean = self.harmonics.synthesis(scaled(x, self._root, out=x))
        mean += constant
        return Solution(mean, taken, convergence.remaining)

    def refine(
        self,
        filled: FloatArray,
        observed: FloatArray,
        steps: int | None = None,
        *,
        tolerance: float = TOLERANCE,
        watch: Watch | None = None,
    ) -> tuple[FloatArray, int]:
        """Refine a fill towards the exact mean.

        Parameters
        ----------
        filled
            (npix,) float64, RING: any method's fill; read in the holes only.
        observed
            (npix,) float64, RING: the data; never read in the holes.
        steps
            How many; 0 leaves the fill unchanged; None: as many as the tolerance asks for.
        tolerance
            As in `solve`.

        Returns
        -------
        filled
            (npix,) float64: the data where valid, the refined prediction in the holes.
        steps
            Taken.

        Raises
        ------
        ConvergenceError
            If the tolerance was not reached.
        """
        if steps == 0 or not self.holes.size:
            return np.where(self.valid, observed, filled), 0
        solution = self.solve(observed, start=filled, steps=steps, tolerance=tolerance, watch=watch)
        refined = solution.mean
        np.copyto(refined, observed, where=self.valid)
        return refined, solution.steps

    def apply(self, x: ComplexArray) -> ComplexArray:
        """`(1 + S^½ Yᵀ N⁻¹ Y S^½) x`: a new array; what `Y S^½ x` is in the holes is kept."""
        scaled(x, self._root, out=self._alm)
        sky = self.harmonics.synthesis(self._alm)
        self._in_holes = sky[self.holes]
        sky *= self._inverse_noise
        out = self.harmonics.adjoint(sky)
        scaled(out, self._root, out=out)
        out += x
        return out

    def iterate(
        self,
        x: ComplexArray,
        right: ComplexArray,
        limit: int,
        tolerance: float,
        convergence: Convergence,
        watch: Watch | None = None,
        *,
        expected: int = 0,
    ) -> int:
        """Preconditioned conjugate gradients on `x` in place; returns the steps taken; uses up `right`.

        `expected` is the number of steps to report progress against, 0 if it is not known.
        """
        lmax = self.harmonics.lmax
        residual = right if not x.any() else right - self.apply(x)
        direction = self._preconditioner.apply(residual)
        squared = alm_dot(residual, direction, lmax)
        for step in range(1, limit + 1):
            if squared <= 0.0:  # nothing left: the data are zero, or the answer is exact
                convergence.remaining = 0.0
                return step - 1
            image = self.apply(direction)
            alpha = squared / alm_dot(direction, image, lmax)
            x += alpha * direction
            residual -= alpha * image
            # The step's own synthesis tells how the holes move: no transform is spent on watching.
            change = convergence.record(alpha * self._in_holes)
            if watch is not None:
                watch(Progress("solve", step, expected, change, convergence.remaining))
            if convergence.remaining <= tolerance:
                return step
            conditioned = self._preconditioner.apply(residual, out=image)
            previous, squared = squared, alm_dot(residual, conditioned, lmax)
            direction *= squared / previous
            direction += conditioned
        return limit

    def _bins_of_depth(self) -> tuple[AnyArray, FloatArray]:
        """The depth bin of each hole pixel, and the signal's posterior standard deviation in each bin."""
        if self.factor is None:
            return np.zeros(self.holes.size, dtype=np.int8), np.array([self.rms])
        return std_by_depth(self.factor, DEPTH_EDGES)

    def _unconstrained_dipoles(self, factor: HolePosterior) -> list[ComplexArray]:
        """What a dipole is in the holes beyond what the data tell of it: modes that the factor takes for known."""
        modes = []
        for component in pixel_vectors(self.harmonics.nside).T:
            beyond = np.zeros(self.harmonics.npix)
            beyond[factor.holes] = component[factor.holes] - factor.mean(component)
            modes.append(self._filtered(beyond))
        return modes

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
        return scaled(right, self._root, out=right)

    def _warm_start(self, observed: FloatArray, in_holes: FloatArray, constant: float) -> ComplexArray:
        """The filtered map of the data and of what is thought to be in the holes."""
        if not np.all(np.isfinite(in_holes)):
            raise MapError("the start holds values that are not finite; start from a map filled everywhere")
        filled = np.zeros(self.harmonics.npix)
        np.copyto(filled, observed, where=self.valid)
        filled[self.holes] = in_holes
        filled -= constant
        return self._filtered(filled)

    def _filtered(self, filled: FloatArray) -> ComplexArray:
        """`S^½ (S + N)⁻¹ map2alm(filled)`: the exact answer if the fill is exact and the noise even."""
        x = self.harmonics.analysis(filled, iterations=START_ITERATIONS)
        wiener = np.sqrt(self.signal_cl) / (self.signal_cl + self._noise_cl)
        return scaled(x, per_real(wiener), out=x)

    def _checked_map(self, sky: AnyArray, name: str) -> FloatArray:
        sky = np.asarray(sky, dtype=np.float64)
        if sky.shape != self.valid.shape:
            raise MapError(f"{name} has shape {sky.shape}; the solver was made for {self.valid.shape}")
        return sky
