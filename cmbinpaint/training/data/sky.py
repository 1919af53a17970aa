"""A stream of training patches, simulated while it is read.

Inputs: a description of skies, steps, beams, noise and masks, and a seed. Outputs: batches, each a pure function of
(seed, split, index), so that any worker can make any batch and a resumed run sees what it would have seen.

A patch is what the sphere's pipeline hands to a network: the observed field over its rms, in the holes the kriged
guess (ordinary kriging from the nearest observed pixels), and that guess's standard deviation. Several skies share
a mask, because kriging weights depend on the mask alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._types import BoolArray, Float32Array, FloatArray, IntArray
from cmbinpaint.plane.power import patch_rms
from cmbinpaint.plane.shapes import draw_mask
from cmbinpaint.sims.theory import fiducial_cl

ARCMIN = np.pi / 180 / 60
_SPLITS = {"train": 0, "validation": 1, "test": 2}
_FIDUCIAL_LMAX = 6200


@dataclass(frozen=True)
class PatchBatch:
    """B masks, R skies each: what one training step sees (float32 arrays)."""

    x: Float32Array  # (B, R, H, W) field over its rms, kriged guess in holes
    valid: Float32Array  # (B, 1, H, W) 1 observed, 0 hole
    spread: Float32Array  # (B, 1, H, W) the guess's standard deviation over the rms, 0 where valid
    truth: Float32Array  # (B, R, H, W) beam-convolved signal without noise, over its rms


@dataclass(frozen=True)
class SkyStream:
    """Simulated patches; every option has the range it is drawn from.

    Attributes
    ----------
    seed
        Seed of everything; the batch's index and split are its spawn key.
    sides, side_weights
        Patch sizes in pixels and how often each is drawn (one size a batch).
    masks, skies
        Masks a batch, skies a mask, for the largest side; smaller patches come in proportionally larger batches.
    step_arcmin
        Range of the pixel's side, drawn log-uniformly.
    beam_px
        Range of the beam's fwhm in pixels, drawn uniformly.
    noise_over_rms
        Range of the white noise over the signal's rms, drawn log-uniformly.
    tilt_std
        Scatter of the spectral tilt around the fiducial's.
    neighbors
        Pixels that the kriged guess looks at.
    """

    seed: int
    sides: tuple[int, ...] = (64, 128)
    side_weights: tuple[float, ...] = (0.5, 0.5)
    masks: int = 4
    skies: int = 8
    step_arcmin: tuple[float, float] = (0.86, 27.5)
    beam_px: tuple[float, float] = (0.0, 5.0)
    noise_over_rms: tuple[float, float] = (1e-2, 1.0)
    tilt_std: float = 0.1
    neighbors: int = 16
    splits: Mapping[str, int] = field(default_factory=lambda: dict(_SPLITS), repr=False)

    def batch(self, index: int, split: str = "train") -> PatchBatch:
        """The batch number ``index`` of a split; the same whoever asks, whenever."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.splits[split], index)))
        weights = np.asarray(self.side_weights) / np.sum(self.side_weights)
        side = int(rng.choice(self.sides, p=weights))
        n_masks = self.masks * (max(self.sides) // side) ** 2
        examples = [self._example(side, rng) for _ in range(n_masks)]
        return PatchBatch(*(np.stack(column) for column in zip(*examples, strict=True)))

    def _example(self, side: int, rng: np.random.Generator) -> tuple[Float32Array, ...]:
        signal_cl, noise, step = self._draw_sky_model(side, rng)
        wide = side + side // 2  # the sphere goes on beyond a patch, and so do its holes and its data
        torus = torus_side(side)
        power = plane_power(signal_cl, torus, step)
        crop = self._crop(side)
        valid, guess = self._draw_guess(wide, crop, power, noise, rng)
        signal = draw_fields(power, self.skies, rng)[:, :wide, :wide]
        data = signal + noise * rng.standard_normal(signal.shape)
        x = data[:, crop, crop].copy()
        hole = ~valid[crop, crop]
        spread = np.zeros((1, *hole.shape))
        x[:, hole] = guess.apply(data)
        spread[0, hole] = guess.spread
        arrays = (x, (~hole)[None], spread, signal[:, crop, crop])
        return tuple(np.ascontiguousarray(a, dtype=np.float32) for a in arrays)

    def _crop(self, side: int) -> slice:
        """Rows or columns of the wide field that are handed out."""
        return slice(side // 4, side // 4 + side)

    def _draw_sky_model(self, side: int, rng: np.random.Generator) -> tuple[FloatArray, float, float]:
        """Map-level signal power, over the variance a patch resolves; noise over that rms; step in radians."""
        # Small patches stand for the coarsest maps, whose fields would be too wide for a tangent plane at 128 px.
        low, high = np.log(self.step_arcmin)
        step = np.exp(
            rng.uniform(low, high) if side == max(self.sides) else rng.uniform((low + high) / 2, high)
        )
        step *= ARCMIN
        lmax = min(_FIDUCIAL_LMAX, int(3 / step) + 2)
        ell = np.arange(lmax + 1)
        tilt = np.maximum(ell / 1000, 1e-3) ** (self.tilt_std * rng.standard_normal())
        sigma = rng.uniform(*self.beam_px) * step / np.sqrt(8 * np.log(2))
        window = np.exp(-ell * (ell + 1.0) * (sigma**2 + step**2 / 12))  # beam, and the pixel's own average
        cl = fiducial_cl(_FIDUCIAL_LMAX)[: lmax + 1] * tilt * window
        cl[:2] = 0
        noise = float(np.exp(rng.uniform(*np.log(self.noise_over_rms))))
        return cl / patch_rms(cl, float(step), side) ** 2, noise, float(step)

    def _draw_guess(
        self, wide: int, crop: slice, power: FloatArray, noise: float, rng: np.random.Generator
    ) -> tuple[BoolArray, "PatchGuess"]:
        while True:
            valid = draw_mask(wide, rng)
            if 0.05 < np.mean(valid[crop, crop]) < 1 and np.count_nonzero(valid) > 4 * self.neighbors:
                return valid, krige_patch(valid, crop, power, noise, self.neighbors)


@dataclass(frozen=True)
class PatchGuess:
    """The kriged guess of n hole pixels: what it is made of, and how good it is."""

    neighbors: IntArray  # (n, k) flat indices into the wide patch
    weights: FloatArray  # (n, k)
    spread: FloatArray  # (n,)

    def apply(self, fields: FloatArray) -> FloatArray:
        """(R, n) the guesses from R wide patches (R, wide, wide)."""
        values = fields.reshape(len(fields), -1)[:, self.neighbors]
        return np.asarray(np.einsum("nk,rnk->rn", self.weights, values))


def torus_side(side: int) -> int:
    """Fields live on a torus twice the patch, so that the far edges of the crop are not neighbors."""
    return 2 * side


@lru_cache(maxsize=8)
def _wavenumbers(torus: int) -> FloatArray:
    f = np.fft.fftfreq(torus) * 2 * np.pi
    return np.hypot(f[:, None], np.fft.rfftfreq(torus)[None, :] * 2 * np.pi)


def plane_power(cl: FloatArray, torus: int, step: float) -> FloatArray:
    """(torus, torus//2+1): variance of each Fourier mode, in the spectrum's unit.

    Modes longer than the torus are lost, and its constant is zero: ordinary kriging ignores it.
    """
    ell = _wavenumbers(torus) / step
    power = np.interp(ell, np.arange(cl.size), cl, right=0.0) * (torus**2 / step**2)
    power[0, 0] = 0.0
    return power


def draw_fields(power: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """(n, torus, torus) Gaussian fields."""
    torus = power.shape[0]
    white = np.fft.rfft2(rng.standard_normal((n, torus, torus)))
    return np.fft.irfft2(white * np.sqrt(power / torus**2), s=(torus, torus))


def krige_patch(valid: BoolArray, crop: slice, power: FloatArray, noise: float, k: int) -> PatchGuess:
    """Ordinary kriging of the crop's holes from their k nearest observed pixels in the wide patch."""
    torus, width = power.shape[0], valid.shape[1]
    covariance = np.fft.irfft2(power / torus**2, s=(torus, torus))
    # The covariance of every offset inside the patch in one row-major table, so that a pair costs one subtraction.
    offsets = np.arange(-width + 1, width)
    row = offsets.size
    table = covariance[np.ix_(offsets % torus, offsets % torus)].ravel()
    known = np.argwhere(valid)
    inside = np.zeros_like(valid)
    inside[crop, crop] = True
    targets = np.argwhere(~valid & inside)
    nearest = known[cKDTree(known).query(targets, k=k)[1]]  # (n, k, 2)
    codes = (nearest @ [row, 1]).astype(np.int32)
    target_codes = (targets @ [row, 1]).astype(np.int32)
    center = table.size // 2
    system = np.ones((len(targets), k + 1, k + 1))
    system[:, :k, :k] = table[codes[:, :, None] - codes[:, None, :] + center]
    # The tiny nugget keeps near-noiseless systems solvable; it is 1e-4 of the field's rms.
    system[:, np.arange(k), np.arange(k)] += noise**2 + 1e-8 * covariance[0, 0]
    system[:, k, k] = 0
    right = np.ones((len(targets), k + 1))
    right[:, :k] = table[codes - target_codes[:, None] + center]
    solution = np.linalg.solve(system, right[..., None])[..., 0]
    variance = covariance[0, 0] - np.sum(solution * right, axis=1)
    spread = np.asarray(np.sqrt(np.maximum(variance, 0.0)), dtype=np.float64)
    return PatchGuess(nearest @ [width, 1], np.asarray(solution[:, :k], dtype=np.float64), spread)
