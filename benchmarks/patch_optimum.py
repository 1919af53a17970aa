"""The exact conditional mean on flat patches: what networks of patches are graded against.

Takes: a sky model in patch units, masks. Gives: patches with truth, exact mean and posterior width.

With T = S + N the covariance of the observation and P its inverse, the mean of the hole pixels given the rest is
``-P_hh^-1 P_hd d`` and their covariance ``P_hh^-1`` (the noise included): one inverse serves every mask.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.ndimage import distance_transform_edt

from cmbinpaint.plane.power import draw_fields, mode_variance, patch_rms
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.training.data.shapes import circle, draw_mask

DEPTHS = (1.3, 2.3, 4.3, 8.3)  # pixels, between the classes
_LMAX = 6200
NUGGET = 1e-8  # of the variance, where there is no noise
# Variance of the patch's mean over the field's: ordinary kriging leaves it open, and so do we.
_CONSTANT = 100.0


@dataclass(frozen=True)
class FlatModel:
    """Signal, beam and noise of a patch.

    Attributes
    ----------
    side, step_arcmin
        The patch that is graded.
    beam_px
        Fwhm of the beam, pixels.
    noise_uK
        White noise a pixel.
    margin
        Pixels around the patch on each side that hold data too.
    averaged
        Whether a pixel holds the mean of the sky in it or the sky at its middle.
    reach
        Highest multipole times the pixel's side; 3 as in training with guesses, sqrt(2) pi for all the plane holds.
    """

    side: int
    step_arcmin: float
    beam_px: float
    noise_uK: float
    margin: int = 0
    averaged: bool = True
    reach: float = 3.0

    @property
    def step(self) -> float:
        """Pixel side, radians."""
        return float(np.radians(self.step_arcmin / 60))

    @property
    def wide(self) -> int:
        """The side with its margins."""
        return self.side + 2 * self.margin

    @property
    def crop(self) -> slice:
        """Rows or columns of the patch among the wide one's."""
        return slice(self.margin, self.margin + self.side)

    @cached_property
    def _cl_uK(self) -> np.ndarray:
        ell = np.arange(min(_LMAX, int(self.reach / self.step) + 2) + 1)
        variance = (self.beam_px * self.step) ** 2 / (8 * np.log(2)) + self.averaged * self.step**2 / 12
        cl = fiducial_cl(_LMAX)[: ell.size] * np.exp(-ell * (ell + 1.0) * variance)
        cl[:2] = 0
        return cl

    @cached_property
    def rms_uK(self) -> float:
        """What temperatures are divided by."""
        return patch_rms(self._cl_uK, self.step, self.side)

    @property
    def cl(self) -> np.ndarray:
        """(lmax+1,) signal, over the rms."""
        return self._cl_uK / self.rms_uK**2

    @property
    def noise(self) -> float:
        """Noise over the rms."""
        return self.noise_uK / self.rms_uK

    @cached_property
    def power(self) -> np.ndarray:
        """Variance of each mode of the torus that fields are drawn on, twice the patch and more."""
        return mode_variance(self.cl, 2 * self.side + 2 * self.margin, self.step)

    @cached_property
    def precision(self) -> np.ndarray:
        """(wide², wide²): inverse of the observation's covariance, the mean of the patch left open."""
        torus = self.power.shape[0]
        table = np.fft.irfft2(self.power / torus**2, s=(torus, torus))
        row, col = np.divmod(np.arange(self.wide**2), self.wide)
        covariance = np.empty((row.size, row.size))
        for i in range(self.wide):  # a row of pixels at a time: index tables stay small
            here = slice(i * self.wide, (i + 1) * self.wide)
            covariance[here] = table[row[here, None] - row, col[here, None] - col]
        covariance += _CONSTANT * table[0, 0]
        covariance[np.diag_indices_from(covariance)] += self.noise**2 + NUGGET * table[0, 0]
        return inverse(covariance)

    def forget(self) -> None:
        """Free the inverse."""
        self.__dict__.pop("precision", None)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """Of a positive definite matrix, which is overwritten."""
    from scipy.linalg.lapack import dpotrf, dpotri

    lower, info = dpotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
    if info:
        raise SystemExit(f"the covariance is not positive definite at pixel {info}")
    found, _ = dpotri(lower, lower=1, overwrite_c=1)
    found = np.tril(found)
    found += np.tril(found, -1).T
    return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Scene:
    """One mask and sky model, R skies: what a network sees, and what is the best that can be made of it.

    Attributes
    ----------
    model, name
        The sky model, and what the holes are.
    valid, data, signal
        The wide patch: (wide, wide) and (R, wide, wide); data are 0 in holes.
    exact_wide, posterior_std_wide
        The conditional mean in holes (R, wide, wide), and the width (wide, wide) of the signal about it.
    """

    model: FlatModel
    name: str
    valid: np.ndarray
    data: np.ndarray
    signal: np.ndarray
    exact_wide: np.ndarray
    posterior_std_wide: np.ndarray

    def _cut(self, wide: np.ndarray) -> np.ndarray:
        return wide[..., self.model.crop, self.model.crop]

    @property
    def hole(self) -> np.ndarray:
        """(side, side) bool."""
        return ~self._cut(self.valid)

    @property
    def observed(self) -> np.ndarray:
        """(R, side, side), 0 in holes."""
        return self._cut(self.data)

    @property
    def truth(self) -> np.ndarray:
        """(R, side, side)."""
        return self._cut(self.signal)

    @property
    def exact(self) -> np.ndarray:
        """(R, side, side) the conditional mean in holes."""
        return self._cut(self.exact_wide)

    @property
    def posterior_std(self) -> np.ndarray:
        """(side, side) in holes."""
        return self._cut(self.posterior_std_wide)

    @property
    def depth(self) -> np.ndarray:
        """(side, side) pixels from each hole pixel to the nearest datum."""
        return self._cut(distance_transform_edt(~self.valid))


def make_scene(model: FlatModel, name: str, valid: np.ndarray, skies: int, seed: int) -> Scene:
    """Simulate skies behind a (wide, wide) mask, and solve."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9,)))
    wide = model.wide
    signal = draw_fields(model.power, skies, rng)[:, :wide, :wide]
    data = np.where(valid, signal + model.noise * rng.standard_normal(signal.shape), 0.0)
    exact, std = conditional_mean(model, valid, data)
    return Scene(model, name, valid, data, signal, exact, std)


def conditional_mean(
    model: FlatModel, valid: np.ndarray, data: np.ndarray, *, width: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """(R, wide, wide) mean of the signal in holes, and the (wide, wide) width of its distribution where wanted."""
    holes = np.flatnonzero(~valid)
    pull = data.reshape(len(data), -1) @ model.precision[:, holes]
    factor = cho_factor(model.precision[np.ix_(holes, holes)], lower=True)
    mean, std = np.zeros(data.shape), np.zeros(valid.shape)
    mean.reshape(len(data), -1)[:, holes] = -cho_solve(factor, pull.T).T
    if not width:
        return mean, std
    variance = np.diag(inverse(model.precision[np.ix_(holes, holes)])) - model.noise**2
    std.flat[holes] = np.sqrt(np.maximum(variance, 1e-12))
    return mean, std


def standard_masks(side: int, seed: int, shapes: int) -> Iterator[tuple[str, np.ndarray]]:
    """Lone pixels, discs, and random shapes, on a (side, side) patch."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(8,)))
    for radius, n in ((0.5, 80), (1.5, 24), (5, 4)):
        valid = np.ones((side, side), bool)
        for center in rng.uniform(0, side - 1, (n, 2)):
            valid &= circle(side, radius, (round(center[0]), round(center[1])))
        yield f"{n} discs of radius {radius:g}", valid
    for radius in (10, 20):
        yield f"disc of radius {radius}", circle(side, radius)
    for number in range(shapes):
        yield f"shapes {number}", draw_mask(side, rng)


def standard_scenes(model: FlatModel, skies: int, seed: int, shapes: int) -> list[Scene]:
    """Every mask under a sky model."""
    scenes = [
        make_scene(model, name, valid, skies, 100 * seed + n)
        for n, (name, valid) in enumerate(standard_masks(model.wide, seed, shapes))
    ]
    model.forget()
    return scenes
