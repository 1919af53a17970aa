"""The estimator of optimal bandpowers: what is the same for all maps of a mask and a sky model.

Inputs: a mask, a sky model, bands. Outputs: `Estimator`: bandpowers of maps, their response, noise bias, covariance.

The response and the simulations are made in pieces, a band or a simulation each, here or by an executor's workers.
What a piece draws follows from the seed and its index, and sums are taken in the order of the indices: the same bits
whatever the executor, and whichever pieces were kept by a run before.
"""

import hashlib
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._machine import most_threads
from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.errors import SpectrumError, kept_warnings
from cmbinpaint.gaussian.optimal_bandpowers import (
    POWER_TOLERANCE,
    PROBE_SLACK,
    TOLERANCE,
    InverseCovariance,
    Response,
    quadratic,
)
from cmbinpaint.pipeline.executors import refuse_closed, run_all
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.pipeline.kept_pieces import store_of
from cmbinpaint.problem.progress import Clock, Progress
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.ell_matrix import EllMatrix

# Vectors a band that probe the response.
ROUNDS = 8
# Multipoles above the bands are left out where no mode has this fraction of the noise's power: bandpowers move by at
# most 3e-4 of their errors (docs/spectra.md), and transforms take half the time.
_TAIL = 0.01
Stage = Literal["response", "pairs"]
# What a seed's random numbers are for.
_PURPOSE: dict[Stage, int] = {"response": 0, "pairs": 2}


class Estimator:
    """The filter of a mask and a sky model, and its response.

    Parameters
    ----------
    valid, sky_model
        True where data are, (npix,) or (k, npix) bool RING; the model.
    bands, window
        The bands; (n_spectra, lmax+1) what beam and pixels leave of C_ell; of T alone also (lmax+1,).
    templates
        Maps to project out.
    seed, clock
        Of random vectors and simulations; takes progress.
    executor
        Any `concurrent.futures.Executor` for the response and the simulations; None: one after the other, here.
    rounds
        Vectors a band that probe the response.
    folder
        Where finished pieces are kept, and taken from.

    Attributes
    ----------
    fisher, solved
        (n, n) the response of the quadratic estimates, and the inverse that makes them bandpowers; of several spectra
        (n_spectra * n, n_spectra * n), spectrum by spectrum.
    noise_bias
        (n,) or (n_spectra, n) what bandpowers have of the model's noise.
    windows
        (n, lmax+1) the response of bandpowers to C_ell; of several spectra (n_spectra, n, n_spectra, lmax+1).
    """

    def __init__(
        self, valid: BoolArray, sky_model: SkyModel, bands: Bandpowers, window: FloatArray,
        templates: Sequence[FloatArray] = (), seed: int = 0, clock: Clock | None = None,
        executor: Executor | None = None, rounds: int = ROUNDS, folder: Path | None = None,
    ) -> None:  # fmt: skip
        self._clock, self._executor = clock or Clock(None), executor
        if executor is not None:
            refuse_closed(executor)
        windows, fields = np.atleast_2d(window), sky_model.fields
        own = [row for row, (i, j) in zip(windows, fields.pairs, strict=True) if i == j]
        # Beyond the end of a given spectrum or beam the model has no power, and nothing to estimate.
        power = np.diagonal(_signal(sky_model).values).T * np.array(own)
        around = _around(bands, int(np.flatnonzero(power.any(axis=0))[-1]))
        shapes = _band_shapes(around, sky_model, np.array(own))
        n = len(shapes)
        self._inside = np.tile(np.isin(around.edges[:-1], bands.edges[:-1]), n)
        self._shape = (bands.n,) if n == 1 else (n, bands.n)
        self._work = _Work(
            valid, sky_model, tuple(templates), shapes * windows[:, None], windows, seed, rounds
        )
        self._folder = folder
        self._inverse = self._work.filter()
        pieces = list(self._pieces("response", around.n))
        kernel = np.stack([piece["response"] for piece in pieces], axis=1).reshape(-1, *windows.shape)
        fisher = np.hstack([kernel[:, i] @ shape.T for i, shape in enumerate(shapes)])
        fisher = (fisher + fisher.T) / 2
        self._solved = np.asarray(np.linalg.inv(fisher), dtype=np.float64)
        self.fisher, self.solved = self._only(fisher), self._only(self._solved)
        self.noise_bias = self._bandpowers(np.stack([piece["noise"] for piece in pieces], axis=1))
        responses = (self._solved @ kernel.reshape(len(kernel), -1))[self._inside]
        self.windows = responses.reshape(*self._shape, *(windows.shape if n > 1 else windows.shape[1:]))

    def estimate(self, observed: FloatArray, second: FloatArray | None = None) -> FloatArray:
        """(n,) or (n_spectra, n) bandpowers of a map, noise bias in, or the cross spectrum of two."""
        return self._bandpowers(self._work.quadratic(self._inverse, observed, second))

    def pair_covariance(self, n: int) -> FloatArray:
        """The covariance of the cross spectra of `n` simulated pairs of splits, in the form of `solved`."""
        found = [self._bandpowers(piece["estimates"]).ravel() for piece in self._pieces("pairs", n)]
        return np.atleast_2d(np.cov(np.array(found), rowvar=False))

    def _bandpowers(self, estimates: FloatArray) -> FloatArray:
        return (self._solved @ estimates.ravel())[self._inside].reshape(self._shape)

    def _pieces(self, stage: Stage, n: int) -> Iterator[dict[str, AnyArray]]:
        """The pieces of a stage, in their order: those that are kept, and the others made, and kept."""
        here = self._executor is None
        task = (
            partial(self._work.piece, self._inverse, stage)
            if here
            else partial(_by_worker, self._work, stage)
        )
        store = None if self._folder is None else store_of(self._folder, stage, self._work.digest)
        kept = set() if store is None else {index for index in range(n) if store.has(index)}
        made = run_all(task, [i for i in range(n) if i not in kept], self._executor, ordered=True)
        for index in range(n):
            if store is not None and index in kept:
                piece = store.read(index)
            else:
                _, piece = next(made)
                if isinstance(piece, Exception):
                    raise piece
                if store is not None:
                    store.write(index, piece)
            self._clock.report(Progress(stage, index + 1, n))
            yield piece

    def _only(self, matrix: FloatArray) -> FloatArray:
        return np.asarray(matrix[np.ix_(self._inside, self._inside)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Work:
    """What each piece is made from; sent with it.

    Attributes
    ----------
    valid, sky_model, templates, windows
        As of `Estimator`; windows (n_spectra, lmax+1).
    shapes
        (n_spectra, n_bands, lmax+1) what a unit of each band's power adds to the map's C_ell.
    """

    valid: BoolArray
    sky_model: SkyModel
    templates: tuple[FloatArray, ...]
    shapes: FloatArray
    windows: FloatArray
    seed: int
    rounds: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def digest(self) -> str:
        """sha256 of all that pieces follow from, hex."""
        said = (
            __version__,
            self.sky_model.digest,
            self.seed,
            self.rounds,
            TOLERANCE,
            POWER_TOLERANCE,
            PROBE_SLACK,
        )
        state = hashlib.sha256(repr(said).encode())
        for part in (self.valid, self.shapes, self.windows, *self.templates):
            state.update(np.ascontiguousarray(part).tobytes())
        return state.hexdigest()

    def filter(self) -> InverseCovariance:
        return InverseCovariance(self.valid, self.sky_model, self.templates)

    def quadratic(
        self, inverse: InverseCovariance, observed: FloatArray, second: FloatArray | None = None
    ) -> FloatArray:
        """(n_spectra, n_bands) the quadratic estimates of a map, or of two."""
        other = None if second is None else inverse.apply(second)
        return quadratic(inverse.apply(observed), self.shapes, other)

    def piece(self, inverse: InverseCovariance, stage: Stage, index: int) -> dict[str, FloatArray]:
        """The response of a band and what it has of noise, or the estimates of two simulated splits."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(_PURPOSE[stage], index)))
        if stage == "response":
            signal_cl = _signal(self.sky_model).spectra
            response, bias = Response(self.shapes, self.windows, signal_cl, self.rounds).of(
                index, inverse, rng
            )
            return {"response": response, "noise": bias}
        signal, noise = draw_observation(self.sky_model, rng)
        second = signal + draw_observation(self.sky_model, rng)[1]
        return {"estimates": self.quadratic(inverse, signal + noise, second)}


# The filter that each thread of a worker made last.
_made = threading.local()


def _by_worker(work: _Work, stage: Stage, index: int) -> dict[str, FloatArray]:
    """A piece, by a filter that is made once in each thread of a worker: solvers are not shared between threads."""
    with kept_warnings(silent=True), most_threads(1):
        if getattr(_made, "key", None) != work.key:
            _made.key, _made.filter = work.key, work.filter()
        return work.piece(_made.filter, stage, index)


def without_tail(model: SkyModel, valid: BoolArray, lmax: int) -> SkyModel:
    """The model up to `lmax` and beyond as far as its power is something beside the noise."""
    levels = np.broadcast_to(np.reshape(model.noise_std, (model.fields.n, -1)), (model.fields.n, model.npix))
    here = np.broadcast_to(valid, levels.shape)
    with np.errstate(divide="ignore"):
        noise = np.array([1 / np.mean(1 / np.square(row[v])) for row, v in zip(levels, here, strict=True)])
    noise[-2:] = noise[-2:].min()
    power = np.diagonal(model.signal.values)
    above = np.flatnonzero((power > _TAIL * noise * 4 * np.pi / model.npix).any(axis=1))
    end = max(lmax, int(above[-1]) if above.size else 0) + 1
    colored = model.colored_noise_cl
    return replace(
        model,
        signal_cl=model.signal_cl[..., :end],
        colored_noise_cl=None if colored is None else colored[..., :end],
    )


def _signal(model: SkyModel) -> EllMatrix:
    """The signal's spectra from ell = 2 on, colored noise left out."""
    matrix = model.signal.values.copy()
    if model.colored_noise_cl is not None:
        matrix -= np.reshape(model.colored_noise_cl, matrix.shape)
    matrix[..., :2] = 0.0
    return EllMatrix(matrix)


def _around(bands: Bandpowers, lmax: int) -> Bandpowers:
    """The bands, with one below and one above for the power there, which is estimated and not reported."""
    edges = bands.edges.tolist()
    below = [2] if edges[0] > 2 else []
    above = [lmax + 1] if edges[-1] < lmax + 1 else []
    return Bandpowers(np.array([*below, *edges, *above]))


def _band_shapes(bands: Bandpowers, model: SkyModel, windows: FloatArray) -> FloatArray:
    """(n_spectra, n, lmax+1) the sky's C_ell for a unit of each band's power.

    Within a band TT, EE and BB have the model's shape, and cross spectra, which change sign, the root of their product.
    """
    modes = model.fields.modes
    own = np.zeros((len(modes), bands.n, windows.shape[1]))
    for mode, shape, signal, window in zip(
        modes, own, np.diagonal(_signal(model).values).T, windows, strict=True
    ):
        sky = np.divide(signal, window, out=np.zeros(window.size), where=window > 0)
        power = bands.bin(sky)
        if not np.all(power > 0):
            low, high = bands.edges[int(np.argmin(power > 0))], bands.edges[int(np.argmin(power > 0)) + 1] - 1
            raise SpectrumError(
                f"the model has no {'power' if len(modes) == 1 else 2 * mode + ' power'} at ell = {low} to {high}: "
                "end the bands below, or give a cl that reaches further"
            )
        for i, (low, high) in enumerate(zip(bands.edges[:-1], bands.edges[1:], strict=True)):
            shape[i, low:high] = sky[low:high] / power[i]
    return np.stack(
        [own[i] if i == j else _geometric_mean(own[i], own[j], bands) for i, j in model.fields.pairs]
    )


def _geometric_mean(first: FloatArray, second: FloatArray, bands: Bandpowers) -> FloatArray:
    root = np.sqrt(first * second)
    return root / np.diagonal(bands.bin(root))[:, None]
