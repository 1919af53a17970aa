"""Predictions and realizations from any model, refined towards the exact mean.

Inputs: a predictor, a plan, a sky model, an observed map. Outputs: filled maps; (npix,) below is (k, npix) of several
Stokes parameters.

A realization of the observation simulates one, `o' = s' + n'`, and gives the holes

    o' + predict(d - d'),

with d' what the mask leaves of o' (Hoffman & Ribak 1991, ApJ 380, L5). For the exact mean this is a draw from the
posterior; for any linear predictor the spectrum's bias is exactly `-2 E[C_ell(F, R)]`, with F the prediction-filled
map and R what the prediction misses. A model that is not linear predicts twice, `o' + predict(d) - predict(d')`: as d
and d' are draws of one distribution, the bias is the same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.problem.model import Inpainter, Predictor
from cmbinpaint.problem.monopole_dipole import monopole_dipole_std
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm
from cmbinpaint.sphere.power import symmetric

# Accuracy to which a prediction is refined, in posterior standard deviations, in the worst depth bin:
# its error then exceeds the exact mean's by 0.5 %.
ACCURACY = 0.1


@dataclass(frozen=True, eq=False)
class Filler:
    """A prepared predictor and how many steps refine what it says.

    Attributes
    ----------
    plan, sky_model
        What the predictor was prepared for.
    predictor
        The prepared model.
    steps
        Conjugate-gradient steps after each prediction; None: as many as `ACCURACY` asks for.
    solver
        Takes these steps; None where there are none.
    linear
        Whether predictions are linear in the data.
    """

    plan: InpaintingPlan
    sky_model: SkyModel
    predictor: Predictor
    steps: int | None
    solver: GaussianSolver | None
    linear: bool = True

    @classmethod
    def prepare(
        cls, inpainter: Inpainter, plan: InpaintingPlan, sky_model: SkyModel, refine: int | None
    ) -> "Filler":
        """Prepare a model; `refine=None` refines to `ACCURACY` what its class says is refined by default."""
        steps = 0 if refine is None and not inpainter.refined_by_default else refine
        if inpainter.is_exact:
            steps = 0
        predictor = inpainter.prepare(plan, sky_model, to_refine=steps != 0)
        solver = None
        if steps != 0:
            solver = GaussianSolver(
                plan.valid, sky_model, factor=predictor.posterior, kept=plan.factors, excluded=plan.excluded
            )
        return cls(plan, sky_model, predictor, steps, solver, inpainter.is_linear)

    @cached_property
    def monopole_dipole_std(self) -> float:
        """How far off the fitted monopole and dipole of T are in its targets, rms; 0 of Q and U alone."""
        if self.sky_model.fields is Fields.QU or not self.plan.temperature.targets.any():
            return 0.0
        return monopole_dipole_std(self.plan.temperature, self.sky_model.only(Fields.T))

    def predict(self, observed: FloatArray, *, watch: Watch | None = None) -> FloatArray:
        """The deterministic fill (npix,): data where valid, the signal's estimate in the targets, 0 where excluded."""
        return self._predict(observed, watch, of_signal=True)

    def _predict(
        self, observed: FloatArray, watch: Watch | None, *, of_signal: bool, in_place: bool = False
    ) -> FloatArray:
        """The estimate of the signal alone, or of signal and colored noise together; in place it uses up the map."""
        if of_signal and self.sky_model.colored_noise_cl is not None:
            return self.predictor.predict_signal(observed, watch=watch)
        if in_place and self.solver is None:
            return self.predictor.predict_in_place(observed, watch=watch)
        return self._refined(self.predictor.predict(observed, watch=watch), observed, watch)

    def _refined(self, filled: FloatArray, observed: FloatArray, watch: Watch | None) -> FloatArray:
        if self.solver is not None:
            filled, _ = self.solver.refine(filled, observed, self.steps, tolerance=ACCURACY, watch=watch)
            filled[self.plan.excluded] = 0.0
        return filled

    def realize(
        self,
        observed: FloatArray,
        rng: np.random.Generator,
        *,
        with_noise: bool = True,
        watch: Watch | None = None,
    ) -> FloatArray:
        """One constrained realization (npix,): of the observation, or of the signal alone."""
        simulated, noise = draw_observation(self.sky_model, rng)
        holes = ~self.plan.valid
        wanted = simulated[holes]
        simulated += noise
        if with_noise:
            wanted = simulated[holes]
        del noise  # each of these is a whole map
        return self._constrained(observed, simulated, wanted, watch, of_signal=not with_noise, out=simulated)

    def constrain(
        self,
        observed: FloatArray,
        simulated: FloatArray,
        fluctuation: FloatArray | None = None,
        *,
        watch: Watch | None = None,
    ) -> FloatArray:
        """A simulated sky made to agree with the data.

        Parameters
        ----------
        observed
            (npix,) the data; read where valid only.
        simulated
            (npix,) o', a full-sky observation: signal, beam and noise as in the data.
        fluctuation
            (npix,) what is wanted of it in the holes; None: all of it. Its signal alone gives a realization of
            the signal.
        watch
            Follows the conjugate gradients.

        Returns
        -------
        (npix,) the data where valid, ``fluctuation + predict(d - d')`` elsewhere.
        """
        wanted = (simulated if fluctuation is None else fluctuation)[~self.plan.valid]
        return self._constrained(observed, simulated, wanted, watch, of_signal=fluctuation is not None)

    def _constrained(
        self,
        observed: FloatArray,
        simulated: FloatArray,
        wanted: FloatArray,
        watch: Watch | None,
        *,
        of_signal: bool = False,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """The data where valid, what is wanted plus the prediction of the difference elsewhere; `out` is used up."""
        holes = ~self.plan.valid
        start = None
        if not self.linear:
            start = self.predictor.predict(observed, watch=watch)
            start -= self.predictor.predict(simulated, watch=watch)
        difference = np.subtract(observed, simulated, out=out)
        difference[holes] = 0.0
        if start is None:
            filled = self._predict(difference, watch, of_signal=of_signal, in_place=True)
        else:
            filled = self._refined(start, difference, watch)
        filled[holes] += wanted
        np.copyto(filled, observed, where=self.plan.valid)
        return filled


def draw_observation(sky_model: SkyModel, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Signal and noise (npix,) or (k, npix) of a simulated observation, without monopole and dipole."""
    colored = sky_model.colored_noise_cl
    signal = _draw_field(
        sky_model, sky_model.signal_cl if colored is None else sky_model.signal_cl - colored, rng
    )
    noise = _draw_noise(sky_model, rng)
    if colored is not None:
        noise += _draw_field(sky_model, colored, rng)
    return signal, noise


def _draw_field(sky_model: SkyModel, cl: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A Gaussian field of these spectra."""
    cl = cl.copy()
    cl[..., :2] = 0.0  # they hold a prior, not a sky
    alm = draw_alm(cl, rng) if cl.ndim == 1 else EllMatrix(cl).draw(rng)
    return Harmonics(sky_model.nside, sky_model.lmax).synthesis(alm)


def _draw_noise(sky_model: SkyModel, rng: np.random.Generator) -> FloatArray:
    k, npix = sky_model.fields.n, sky_model.npix
    noise = rng.standard_normal(npix if k == 1 else (k, npix))
    if sky_model.noise_cov is not None:
        root = EllMatrix(symmetric(sky_model.noise_cov, k)).cholesky().values  # a matrix at each pixel
        return np.einsum("ijp,jp->ip", root, noise)
    std = np.asarray(sky_model.noise_std)
    noise *= std[:, None] if k > 1 and std.ndim == 1 else std
    return noise


def realization_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of realization `index`: whatever the others, the batch or the order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
