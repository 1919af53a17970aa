"""The exact answer for a Gaussian sky: the conditional mean on the full sphere by conjugate gradients.

Inputs: a mask, a sky model and a map. Outputs: the signal's posterior mean (Wiener filter) in every hole, from its own
first guess or refining another method's fill.

With data `d = Y s + n` in the observed pixels, `s = S^½ x`, the mean solves

    (1 + S^½ Yᵀ N⁻¹ Y S^½) x = S^½ Yᵀ N⁻¹ d,

with N⁻¹ = 0 in holes, of T, of Q and U, or of all three (S^½ is then L of `S = L Lᵀ` at each ell, and Lᵀ on the
left; Eriksen et al. 2004, astro-ph/0407028, eq. 20; Elsner & Wandelt 2013, arXiv 1210.4931).
The answer in a hole is the signal's mean `Y S^½ x`. First guess and preconditioner come from one sparse factor of
the hole pixels' covariance (`preconditioner`), of T and of Q and U; a handful of steps then do. A constant is
preserved exactly: where the monopole's prior is broad, the data's mean is subtracted first and added back at the end.

Conjugate gradients are not linear in the data at a finite number of steps (only a factor is preserved); a
converged answer is linear to the tolerance.
"""

from typing import Literal, get_args

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, ComplexArray, FloatArray, IntArray
from cmbinpaint.errors import CmbInpaintError, ConvergenceError, MapError
from cmbinpaint.gaussian.convergence import POWER_TOLERANCE, Convergence, Solution, describe_shortfall
from cmbinpaint.gaussian.hole_values import HoleValues
from cmbinpaint.gaussian.missing_power import MissingPower
from cmbinpaint.gaussian.pixel_noise import PixelNoise, mask_of_each
from cmbinpaint.gaussian.preconditioner import Preconditioner
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.problem.plan import Factors
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, alm_dot
from cmbinpaint.sphere.pixels import pixel_component

# Default accuracy: estimated rms of what is still to change in the holes, in posterior standard deviations, in the
# worst depth bin. The error then exceeds the exact mean's by 5e-5 of itself.
TOLERANCE = 1e-2
# Steps before a solution is given up.
MAX_STEPS = 1000
# Of the right hand side: a residual that is smaller is rounding, and steps would go on for ever.
ROUNDING = 1e-14
# Edges of the depth bins, in pixels, in which convergence is watched.
DEPTH_EDGES = (1.3, 2.3, 4.3, 8.3)
# Jacobi iterations of the start's analysis. The first step corrects the quadrature: begun at the exact fill it is
# within 6e-5 of the rms (4e-6 with one iteration, which costs as much as a step).
START_ITERATIONS = 0
# A monopole prior this many times the largest other C_ell counts as broad: any constant is allowed.
BROAD = 100.0
Preconditioning = Literal["holes", "diagonal"]


class GaussianSolver:
    """Posterior means for one mask and one sky model.

    Maps are (npix,) of T alone, (2, npix) of Q and U, (3, npix) of T, Q and U, as the sky model is.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where a pixel is data. Of T, Q, U also (2, npix), of T and of Q and U; or (k, npix).
    sky_model
        Its lmax is the solver's. Monopole and dipole of T are preserved if their prior is broad.
    precondition
        ``"holes"``, or ``"diagonal"``: with the system's diagonal alone, for comparison. First guesses are then zero,
        and what is said of posterior standard deviations holds of the signal's rms instead.
    factor
        The distribution of T's hole pixels, if there is one already (`hole_factor` of the same mask and sky model).
    threads
        None: all available cores.
    kept
        A plan's factors (`hole_factor`).
    excluded
        (npix,) or (k, npix) bool, RING: pixels whose values nobody wants, so that convergence is not watched there.

    Attributes
    ----------
    valid
        (k, npix) bool: what is data.
    root
        S^½.
    factor
        The approximate distribution of T's hole pixels; None with ``"diagonal"`` or without holes.

    Raises
    ------
    CmbInpaintError
        If the preconditioner is unknown.
    MaskError
        If the mask does not fit the sky model, or nothing is observed.
    SpectrumError
        If there is no signal.
    """

    def __init__(
        self,
        valid: BoolArray,
        sky_model: SkyModel,
        *,
        precondition: Preconditioning = "holes",
        factor: HolePosterior | None = None,
        threads: int | None = None,
        kept: Factors | None = None,
        excluded: BoolArray | None = None,
    ) -> None:
        if precondition not in get_args(Preconditioning):
            known = ", ".join(get_args(Preconditioning))
            raise CmbInpaintError(f"precondition is {precondition!r}; known: {known}")
        self.harmonics = Harmonics(sky_model.nside, sky_model.lmax, threads=threads)
        fields, npix = sky_model.fields, self.harmonics.npix
        self._shape = (npix,) if fields is Fields.T else (fields.n, npix)
        self.valid = mask_of_each(valid, sky_model)
        self._signal, self.root = sky_model.signal, sky_model.signal.cholesky()
        self._noise = PixelNoise(sky_model, self.valid)
        # The row of T, if any, whose monopole and dipole may have no prior.
        temperature = None if fields is Fields.QU else self._signal.values[0, 0]
        broad = (False, False) if temperature is None else temperature[:2] > BROAD * temperature[2:].max()
        self._monopole_is_broad = bool(broad[0])
        self._holes = HoleValues(
            self.valid,
            sky_model,
            factored=precondition == "holes",
            temperature=factor,
            threads=threads,
            kept=kept,
            excluded=excluded,
        )
        self.factor = self._holes.temperature
        self._bins = self._holes.bins(DEPTH_EDGES)
        wanted = self._holes.places[-1][self._holes.wanted[-1]]
        polarized = fields is not Fields.T and bool(wanted.size)
        self._missing = MissingPower(self.harmonics, self._signal, wanted) if polarized else None
        self._alm = np.empty((fields.n, self.harmonics.size), dtype=np.complex128)
        self._preconditioner = Preconditioner(
            self.harmonics, self._signal, self.root, self._noise.weight, self._holes.parts
        )
        if self.factor is not None and broad[1]:
            modes = self._unconstrained_dipoles(self.factor)
            self._preconditioner.solve_apart(modes, [self.apply(mode) for mode in modes])

    @property
    def holes(self) -> IntArray:
        """(n,) RING indices of T's hole pixels, or numbers of Q's and U's, in the factor's order if there is one."""
        return self._holes.places[0]

    def solve(
        self,
        observed: FloatArray,
        *,
        start: FloatArray | None = None,
        steps: int | None = None,
        tolerance: float = TOLERANCE,
        power_tolerance: float = POWER_TOLERANCE,
        max_steps: int = MAX_STEPS,
        watch: Watch | None = None,
        keep_modes: bool = False,
        overwrite: bool = False,
    ) -> Solution:
        """The signal's posterior mean.

        Parameters
        ----------
        observed
            (npix,) or (k, npix) float64, RING; values where not valid are never read.
        start
            A filled map to start from, read in the holes; None: from the factor's mean, and zero where there is none.
        steps
            Take exactly so many steps; None: until converged.
        tolerance
            Stop when the estimated rms of what is still to change in the holes is below this, in posterior standard
            deviations, in every bin of depth and Stokes parameter.
        power_tolerance
            And, of Q and U, its E and B power is below this, over the sky's, in every band up to 1.5 nside.
        max_steps
            Give up after so many.
        watch
            Called after every step with its `Progress`.
        keep_modes
            Return the modes too.
        overwrite
            Whether the steps may work in the memory of `observed`, and the mean be there: a map less to hold.

        Raises
        ------
        ConvergenceError
            If `max_steps` were not enough.
        """
        observed = self._checked_map(observed, "the observed map")
        constant = self._constant_in(observed)
        right = self._right_hand_side(observed, constant)
        if start is not None:
            begun = self._holes.of(self._checked_map(start, "the start"))
            x = self._warm_start(observed, begun, constant)
        elif self._holes.parts:
            x = self._warm_start(observed, self._holes.mean(observed), constant)
        else:
            x = np.zeros((len(observed), self.harmonics.size), dtype=np.complex128)
        sky = observed if overwrite else None  # from here on the data are in `right` and `x`
        convergence = Convergence(*self._bins, power_tolerance=power_tolerance if self._missing else None)
        limit = max_steps if steps is None else steps
        taken, has_holes = 0, not self.valid.all()
        if has_holes or steps is not None:
            asked = tolerance if steps is None else -1.0
            taken = self.iterate(x, right, limit, asked, convergence, watch, expected=steps or 0, sky=sky)
        if steps is None and has_holes and not convergence.has_reached(tolerance):
            raise ConvergenceError(describe_shortfall(taken, convergence, tolerance))
        modes = x.copy() if keep_modes else None
        mean = self.harmonics.synthesis(self.root.apply(x, out=x), out=sky)
        mean[0] += constant
        return Solution(mean.reshape(self._shape), taken, convergence.remaining, convergence.power, modes)

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
            (npix,) or (k, npix) float64, RING: any method's fill; read in the holes only.
        observed
            The data, of the same shape; never read in the holes.
        steps
            How many; 0 leaves the fill unchanged; None: as many as the tolerance asks for.
        tolerance
            As in `solve`.

        Returns
        -------
        filled
            The data where valid, the refined prediction in the holes.
        steps
            Taken.

        Raises
        ------
        ConvergenceError
            If the tolerance was not reached.
        """
        valid = self.valid.reshape(self._shape)
        if steps == 0 or valid.all():
            return np.where(valid, observed, filled), 0
        solution = self.solve(observed, start=filled, steps=steps, tolerance=tolerance, watch=watch)
        np.copyto(solution.mean, observed, where=valid)
        return solution.mean, solution.steps

    def weighted(self, sky: FloatArray) -> FloatArray:
        """`N⁻¹ sky`, (npix,) or (k, npix); zero where nothing is observed, which is never read."""
        known = np.where(self.valid, np.reshape(sky, self.valid.shape), 0.0)
        return self._noise.apply(known).reshape(self._shape)

    def apply(self, x: ComplexArray, *, sky: FloatArray | None = None) -> ComplexArray:
        """`(1 + Lᵀ Yᵀ N⁻¹ Y L) x`, (k, size): a new array; what `Y S^½ x` is in the holes is kept.

        `sky` is a map (k, npix) to work in.
        """
        sky = self.harmonics.synthesis(self.root.apply(x, out=self._alm), out=sky)
        self._in_holes = self._holes.of(sky)
        out = self.harmonics.adjoint(self._noise.apply(sky))
        self.root.transposed.apply(out, out=out)
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
        sky: FloatArray | None = None,
    ) -> int:
        """Preconditioned conjugate gradients on `x` in place; returns the steps taken; uses up `right`.

        `expected` is the number of steps to report progress against, 0 if it is not known; `sky` a map (k, npix) to
        work in.
        """
        lmax = self.harmonics.lmax
        least = ROUNDING**2 * alm_dot(right, right, lmax)
        residual = right if not x.any() else right - self.apply(x, sky=sky)
        direction = self._preconditioner.apply(residual, sky=sky)
        squared = alm_dot(residual, direction, lmax)
        for step in range(1, limit + 1):
            # Nothing left: the data are zero, or the answer is exact.
            if alm_dot(residual, residual, lmax) <= least:
                convergence.remaining = convergence.power = 0.0
                return step - 1
            if squared <= 0.0:
                raise ConvergenceError(
                    f"conjugate gradients broke down after {step - 1} steps: the preconditioner is not positive; "
                    "please report it, with the sky model"
                )
            image = self.apply(direction, sky=sky)
            alpha = squared / alm_dot(direction, image, lmax)
            x += alpha * direction
            residual -= alpha * image
            # The step's own synthesis tells how the holes move: no transform is spent on watching.
            moved = alpha * self._in_holes
            amplitudes = None
            if self._missing is not None:
                polarized = moved[-self._holes.places[-1].size :]
                wanted = polarized[self._holes.wanted[-1]]
                amplitudes = self._missing.of(wanted, sky=None if sky is None else sky[-2:])
            change = convergence.record(moved, amplitudes)
            if watch is not None:
                watch(Progress("solve", step, expected, change, convergence.remaining, convergence.power))
            if convergence.has_reached(tolerance):
                return step
            conditioned = self._preconditioner.apply(residual, out=image, sky=sky)
            previous, squared = squared, alm_dot(residual, conditioned, lmax)
            direction *= squared / previous
            direction += conditioned
        return limit

    def _unconstrained_dipoles(self, factor: HolePosterior) -> list[ComplexArray]:
        """What a dipole is in the holes beyond what the data tell of it: modes that the factor takes for known."""
        modes = []
        for axis in range(3):
            component = pixel_component(self.harmonics.nside, axis)
            beyond = np.zeros(self.valid.shape)
            beyond[0, factor.holes] = component[factor.holes] - factor.mean(component)
            modes.append(self._filtered(beyond))
        return modes

    def _constant_in(self, observed: FloatArray) -> float:
        """The mean of T if the monopole's prior allows any constant, else 0; refuses what is not finite."""
        means = [float(row.mean(where=valid)) for row, valid in zip(observed, self.valid, strict=True)]
        if not np.all(np.isfinite(means)):
            n_bad = int(np.sum(~np.isfinite(observed), where=self.valid))
            raise MapError(
                f"the observed map holds {n_bad} values that are not finite in pixels that the mask calls "
                "observed; add them to the mask"
            )
        return means[0] if self._monopole_is_broad else 0.0

    def _right_hand_side(self, observed: FloatArray, constant: float) -> ComplexArray:
        """`Lᵀ Yᵀ N⁻¹ (d - constant)`; holes are never read."""
        weighted = np.where(self.valid, observed, 0.0)
        np.subtract(weighted[0], constant, out=weighted[0], where=self.valid[0])
        right = self.harmonics.adjoint(self._noise.apply(weighted))
        return self.root.transposed.apply(right, out=right)

    def _warm_start(self, observed: FloatArray, in_holes: FloatArray, constant: float) -> ComplexArray:
        """The filtered map of the data and of what is thought to be in the holes."""
        if not np.all(np.isfinite(in_holes)):
            raise MapError("the start holds values that are not finite; start from a map filled everywhere")
        filled = np.where(self.valid, observed, 0.0)
        self._holes.put(in_holes, filled)
        filled[0] -= constant
        return self._filtered(filled)

    def _filtered(self, filled: FloatArray) -> ComplexArray:
        """`Lᵀ (S + N)⁻¹ map2alm(filled)`: the exact answer if the fill is exact and the noise even."""
        x = self.harmonics.analysis(filled, iterations=START_ITERATIONS)
        wiener = self.root.transposed / self._signal.plus_diagonal(self._noise.power)
        return wiener.apply(x, out=x)

    def _checked_map(self, sky: AnyArray, name: str) -> FloatArray:
        """The map as (k, npix)."""
        sky = np.asarray(sky, dtype=np.float64)
        if sky.shape != self._shape:
            raise MapError(f"{name} has shape {sky.shape}; the solver was made for {self._shape}")
        return sky.reshape(self.valid.shape)
