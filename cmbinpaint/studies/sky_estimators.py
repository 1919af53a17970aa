"""Estimators of bandpowers on simulated skies of the sphere: cut skies and filled ones.

Inputs: a setup, an inpainter. Outputs: `EstimatorEnsemble`.

The sky model is given and fixed. Every prediction is linear in the data, so that the mean of an estimate is linear in
the true C_ell, and its response to a band is what it returns for a sky with power there alone; a realization adds what
does not depend on the data, and responds as its prediction does.
"""

from collections.abc import Callable

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.spectra.full_sky import anafast
from cmbinpaint.spectra.mode_coupling import coupling_matrix, decouple, narrowest_band, pseudo_cl
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.studies.estimator_performance import (
    APODIZED,
    MASKED,
    MASTER,
    MEAN,
    PREDICTION,
    REALIZATION,
    EstimatorEnsemble,
    evaluate,
)  # fmt: skip
from cmbinpaint.studies.fisher import MOST_PIXELS, fisher_scatter, mode_scatter
from cmbinpaint.studies.ks import ks_test
from cmbinpaint.validation.simulation_setup import SimulationSetup

_BANDS = 6
_APODIZATION_PIXELS = 2.0
_MARGIN = 8  # multipoles above the last band that MASTER solves for


def standard_setup(valid: BoolArray, seed: int, bands: int = _BANDS) -> SimulationSetup:
    """The standard setup with bands that a cut sky resolves."""
    setup = SimulationSetup.standard(valid, seed)
    width = narrowest_band(masks.apodize(valid, _apodization_deg(setup.nside)))
    last = setup.bands.lmax
    most = max(1, min(bands, (last - 1) // width))
    return SimulationSetup(
        setup.plan, setup.cl, setup.fwhm, setup.noise_std, seed,
        log_bands(2, last, most, min_width=width), lmax=setup.lmax,
    )  # fmt: skip


def study_sky_estimators(
    setup: SimulationSetup, inpainter: Inpainter, skies: int = 40, *, realizations: int = 4, samples: int = 20,
    watch: Watch | None = None,
) -> EstimatorEnsemble:  # fmt: skip
    """Evaluate estimators on simulated skies.

    Parameters
    ----------
    setup
        The skies and the bands.
    inpainter
        Fills them.
    skies
        How many; twenty or more.
    realizations
        Of each sky; the example has five times as many.
    samples
        Skies of one band each, for the response.
    watch
        Called with the `Progress`.

    Raises
    ------
    CmbInpaintError
        If there are too few skies, or samples.
    """
    if skies < 20 or samples < 2 or realizations < 1:
        raise CmbInpaintError(
            f"{skies} skies, {samples} samples and {realizations} realizations given; expected 20, 2 and 1 or more"
        )
    run = _Run(setup, inpainter)
    done, total = 0, skies + samples * setup.bands.n

    def count() -> None:
        nonlocal done
        done += 1
        if watch is not None:
            watch(Progress("fill", done, total))

    true, found, pixels = [], [], []
    example: dict[str, FloatArray] = {}
    drawn = np.zeros((0, setup.bands.n))
    for index in range(skies):
        n = realizations if index else 5 * realizations
        power, values, hole, each = run.sky(index, n)
        if not index:
            example, drawn = {"target": power, **values}, each
        true.append(power)
        found.append(values)
        pixels.append(hole)
        count()
    moved, moves = run.responses(samples, count)
    signal = setup.bands.bin(setup.sky_model.signal_cl)
    exact = np.count_nonzero(setup.plan.valid) <= MOST_PIXELS
    limit = (fisher_scatter if exact else mode_scatter)(setup.plan.valid, setup.sky_model, setup.bands)
    return EstimatorEnsemble(
        facts={
            "model": inpainter.name, "nside": setup.nside, "fsky": setup.plan.fsky, "skies": skies,
            "realizations": realizations, "response_samples": samples, "seed": setup.seed,
        },
        edges=setup.bands.edges.astype(np.float64),
        true=np.mean(true, axis=0),
        estimators={
            name: evaluate(np.array([f[name] for f in found]), np.array(true), signal, moved[name], moves)
            for name in found[0]
        },
        limit=limit,
        limit_kind="Fisher, exact" if exact else "counted modes, fsky",
        example=example,
        realizations=drawn,
        ks={
            name: ks_test(np.array([p[name] for p in pixels]), np.array([p["target"] for p in pixels]))
            for name in (PREDICTION, REALIZATION)
        },
        unit="µK",
        windows=f"beam of {np.degrees(setup.fwhm) * 60:.0f} arcmin, pixel window and noise included",
    )  # fmt: skip


class _Run:
    """One model prepared for one setup."""

    def __init__(self, setup: SimulationSetup, inpainter: Inpainter) -> None:
        plan = setup.plan
        self.setup, self.valid = setup, plan.valid
        fresh = InpaintingPlan(plan.nside, plan.valid, plan.targets, plan.excluded)
        self.predictor = inpainter.prepare(fresh, setup.sky_model)
        self.soft = masks.apodize(plan.valid, _apodization_deg(plan.nside))
        self.lmax = min(setup.bands.lmax + _MARGIN, 3 * plan.nside - 1)
        coupling = {name: coupling_matrix(w, self.lmax) for name, w in self._weights().items()}
        self.cut: dict[str, Callable[[FloatArray], FloatArray]] = {
            name: self._decoupler(w, coupling[name]) for name, w in self._weights().items()
        }
        model = setup.sky_model
        self.sigma = float(np.sqrt(model.rms**2 + np.mean(np.square(model.noise_std))))

    def _weights(self) -> dict[str, FloatArray]:
        return {MASTER: self.valid.astype(np.float64), APODIZED: self.soft}

    def _decoupler(self, weights: FloatArray, coupling: FloatArray) -> Callable[[FloatArray], FloatArray]:
        def decoupled(sky: FloatArray) -> FloatArray:
            centered = np.where(weights > 0, sky - np.average(sky, weights=weights), 0.0)
            return decouple(pseudo_cl(centered, weights, self.lmax), coupling, self.setup.bands)

        return decoupled

    def power(self, sky: FloatArray) -> FloatArray:
        """(bands,) of a full sky."""
        return self.setup.bands.bin(anafast(sky, self.setup.bands.lmax))

    def cut_powers(self, sky: FloatArray) -> dict[str, FloatArray]:
        """By the estimators that look at observed pixels alone."""
        weights = self.valid.astype(np.float64)
        centered = np.where(self.valid, sky - np.average(sky, weights=weights), 0.0)
        masked = pseudo_cl(centered, weights, self.setup.bands.lmax) / np.mean(weights**2)
        return {
            MASKED: self.setup.bands.bin(masked),
            **{name: decouple(sky) for name, decouple in self.cut.items()},
        }

    def filled(self, sky: FloatArray) -> FloatArray:
        """A sky with the prediction in its holes."""
        seen = np.where(self.valid, sky, 0.0)
        return np.where(self.valid, sky, self.predictor.predict(seen))

    def sky(
        self, index: int, n: int
    ) -> tuple[FloatArray, dict[str, FloatArray], dict[str, FloatArray], FloatArray]:
        """True power, estimates, hole pixels over their standard deviation, and the powers of n realizations."""
        observed, _ = self.setup.sky(index)
        prediction = self.filled(observed)
        first, powers = np.zeros(0), []
        for j in range(n):
            other = self._fluctuation(index, j)
            realization = np.where(self.valid, observed, prediction + other - self.filled(other))
            first = realization if j == 0 else first
            powers.append(self.power(realization))
        maps = {"target": observed, PREDICTION: prediction, REALIZATION: first}
        values = {
            **self.cut_powers(observed), PREDICTION: self.power(prediction), REALIZATION: powers[0],
            MEAN: np.mean(powers, axis=0),
        }  # fmt: skip
        hole = {name: sky[~self.valid] / self.sigma for name, sky in maps.items()}
        return self.power(observed), values, hole, np.array(powers)

    def responses(self, samples: int, count: Callable[[], None]) -> tuple[dict[str, FloatArray], FloatArray]:
        """What each estimator returns for skies of one band, and their power, (samples, bands) each."""
        names = (MASKED, MASTER, APODIZED, PREDICTION)
        shape = (samples, self.setup.bands.n)
        moved, moves = {name: np.zeros(shape) for name in names}, np.zeros(shape)
        cl, edges = self.setup.sky_model.signal_cl, self.setup.bands.edges
        harmonics = Harmonics(self.setup.nside, cl.size - 1)
        for b in range(self.setup.bands.n):
            part = np.zeros_like(cl)
            part[edges[b] : edges[b + 1]] = cl[edges[b] : edges[b + 1]]
            for i in range(samples):
                sky = harmonics.synthesis(draw_alm(part, self._rng(2, b, i)))
                moves[i, b] = self.power(sky)[b]
                values = {**self.cut_powers(sky), PREDICTION: self.power(self.filled(sky))}
                for name in names:
                    moved[name][i, b] = values[name][b]
                count()
        return {**moved, REALIZATION: moved[PREDICTION], MEAN: moved[PREDICTION]}, moves

    def _fluctuation(self, index: int, j: int) -> FloatArray:
        setup = self.setup
        return simulate_sky(
            setup.cl, setup.nside, fwhm=setup.fwhm, noise_std=setup.noise_std, pixwin=True,
            lmax=setup.sky_model.lmax, seed=self._rng(3, index, j),
        )  # fmt: skip

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.setup.seed, spawn_key=key))


def _apodization_deg(nside: int) -> float:
    return float(np.degrees(_APODIZATION_PIXELS * pixel_size(nside)))
