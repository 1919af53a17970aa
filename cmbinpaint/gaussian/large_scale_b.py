"""What the spectrum of B tells of Q and U in holes on large scales, which their neighbors do not.

Inputs: the factor of Q and U, the spectra. Outputs: `GivenB`, the same distribution given B as well.

A pixel's few neighbors do not tell that the sky has so little B. What each prediction misses is E and B alike, and over
a hole it adds up to two hundred times the variance that B's large scales have. So the B of the whole sky is taken as an
observation of its own: `b = B h + B' d`, of hole pixels h and data d, is 0 with the variance D of B and noise. With Σ
the factor's covariance, `K = B Σ Bᵀ`, and the solutions of `K v = λ D v`, `vᵀ D v = 1`,

    Cov(h | d, b) = Σ - Σ Bᵀ R Rᵀ B Σ,    R = v / (1 + λ)^½.

Where the distribution follows the sky model, λ is at most 1: only directions with more are taken.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import linalg

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._types import AnyArray, Float32Array, FloatArray, IntArray
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics, alm_degrees, alm_to_real, real_to_alm
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.pixels import pixel_rings

# Modes up to this ell: their number grows with its square, as does the plan's time. Noise of 2 µK arcmin, Planck-like
# mask: the solver takes 22 steps of T, Q, U for 46 at nside 64 (19 with ell = 24), 32 of Q and U for 50 at nside 128.
# Where the lowest few bring nothing, none does.
LMAX, _FIRST = 16, 4
# The variance, of what the model allows, from which on a direction is taken.
_LEAST = 2.0
# Hole values times modes. Beyond, at nside 256, 43 steps for 57 would save a tenth of a map's time and cost a quarter.
_VALUES = 1 << 26


@dataclass(frozen=True, eq=False)
class LargeScaleB:
    """The modes of B that a factor's distribution lacks.

    Parameters
    ----------
    std
        (n,) D^½, unit: of B and noise, of the modes in the order of `_BModes`.
    root
        (n, r) R.
    """

    std: FloatArray
    root: FloatArray

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Numbers, of which there are none, and arrays that it can be made of again, by `of_arrays`."""
        return {}, {"std": self.std, "root": self.root}

    @classmethod
    def of_arrays(cls, numbers: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> Self:
        """That of `to_arrays`."""
        return cls(**numbers, **arrays)


class _BModes:
    """The B of maps of Q and U up to an lmax, as real coefficients: by ell, then by m, real before imaginary part."""

    def __init__(self, nside: int, lmax: int, threads: int | None = None) -> None:
        self.lmax, self._harmonics = lmax, Harmonics(nside, lmax, threads=threads)
        degrees = alm_degrees(lmax)
        ell = np.concatenate([degrees[: lmax + 1], np.repeat(degrees[lmax + 1 :], 2)])
        self._order = np.argsort(ell, kind="stable")[4:]  # no B at ell = 0 and 1
        self.ell = ell[self._order]
        self._area = 4 * np.pi / self._harmonics.npix

    def of(self, sky: FloatArray) -> FloatArray:
        """(n,) the B of (2, npix)."""
        alm = self._harmonics.adjoint(sky)
        return self._area * alm_to_real(alm[1], self.lmax)[self._order]

    def transposed(self, modes: FloatArray) -> FloatArray:
        """(2, npix) the transpose of `of`."""
        real = np.zeros(self._order.size + 4)
        real[self._order] = self._area * modes
        return self._harmonics.synthesis(np.stack([np.zeros_like(alm := real_to_alm(real, self.lmax)), alm]))

    def at(self, places: IntArray) -> Float32Array:
        """(values, n) `transposed` of each mode, at places ``stokes * npix + pixel``."""
        stokes, pixels = np.divmod(places, self._harmonics.npix)
        ring, phi = pixel_rings(self._harmonics.nside, pixels)
        turns = np.exp(1j * np.arange(self.lmax + 1) * phi[:, None]).astype(np.complex64)
        found = np.empty((places.size, self.ell.size), dtype=np.float32)
        scale = self._area * np.where(np.arange(self.lmax + 1) > 0, np.sqrt(2.0), 1.0)
        for ell in range(2, self.lmax + 1):
            alm = np.zeros((2, self._harmonics.size), dtype=np.complex128)
            alm[1, alm_degrees(self.lmax) == ell] = 1.0
            waves = (scale * self._harmonics.on_rings(alm))[:, :, : ell + 1].astype(np.complex64)
            values = waves[stokes, ring] * turns[:, : ell + 1]
            columns = found[:, ell**2 - 4 : (ell + 1) ** 2 - 4]
            columns[:, 0] = values[:, 0].real
            columns[:, 1::2], columns[:, 2::2] = values.real[:, 1:], -values.imag[:, 1:]
        return found


class GivenB:
    """The hole pixels' distribution, given the data and what B may be on large scales (`HolePosterior`).

    Parameters
    ----------
    factor
        The distribution given the data alone.
    known
        What B adds.
    threads
        Of the transforms; None: all available cores. Results do not depend on it.
    """

    def __init__(self, factor: HoleFactor, known: LargeScaleB, *, threads: int | None = None) -> None:
        self._factor, self._known = factor, known
        self._modes = _BModes(npix_to_nside(factor.npix), math.isqrt(known.std.size + 4) - 1, threads)

    @property
    def holes(self) -> IntArray:
        """(n,) of maps (2, npix) in a row."""
        return self._factor.holes

    @property
    def depth(self) -> AnyArray:
        """(n,) angle to the nearest datum, in pixels."""
        return self._factor.depth

    @property
    def noise_std(self) -> float:
        """Noise that an observation of a hole pixel would have."""
        return self._factor.noise_std

    def mean(self, observed: FloatArray) -> FloatArray:
        """(n,) the mean of (2, npix), read where observed only."""
        mean = self._factor.mean(observed)
        filled = observed.copy()
        filled.reshape(-1)[self.holes] = mean
        return mean - self._learned(self._modes.of(filled))

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(n,) a draw about the mean, noise included (Hoffman & Ribak 1991)."""
        draw, std = self._factor.draw(rng), self._known.std
        return draw - self._learned(self._of_holes(draw) + std * rng.standard_normal(std.size))

    def covariance(self, values: FloatArray) -> FloatArray:
        """(n,) the covariance times a vector (n,); symmetric, positive."""
        out = self._factor.covariance(values)
        out -= self._learned(self._of_holes(out))
        return out

    def _of_holes(self, values: FloatArray) -> FloatArray:
        sky = np.zeros((2, self._factor.npix))
        sky.reshape(-1)[self.holes] = values
        return self._modes.of(sky)

    def _learned(self, modes: FloatArray) -> FloatArray:
        """`Σ Bᵀ R Rᵀ modes`: what to take off."""
        # Without BLAS, whose threads would wait for those of the transforms longer than they compute.
        along = np.einsum("ij,i->j", self._known.root, modes)
        gain = np.einsum("ij,j->i", self._known.root, along)
        return self._factor.covariance(self._modes.transposed(gain).reshape(-1)[self.holes])


def large_scale_b(
    factor: HoleFactor, sky_model: SkyModel, data_variance: float, *, lmax: int = LMAX
) -> LargeScaleB:
    """What the spectrum of B adds to the factor of Q and U; nothing if its lowest modes do not need it.

    Parameters
    ----------
    factor
        Of all that is not observed.
    sky_model
        Of Q and U.
    data_variance
        Of the noise of observed values, the mean, unit².
    lmax
        Highest multipole of the modes.
    """
    cl, (n_values, npix) = sky_model.signal_cl[1, 1], (factor.holes.size, factor.npix)
    noise = ((2 * npix - n_values) * data_variance + n_values * factor.noise_std**2) / (2 * npix)
    lmax = min(lmax, cl.size - 1)
    if n_values * ((lmax + 1) ** 2 - 4) > _VALUES:
        return LargeScaleB(np.empty(0), np.empty((0, 0)))
    for highest in (min(_FIRST, lmax), lmax):
        modes = _BModes(sky_model.nside, highest, threads=1)
        variance = cl[modes.ell] + noise * 4 * np.pi / npix
        with one_blas_thread():
            covariance = factor.covariance_of(modes.at(factor.holes))
            excess, vectors = linalg.eigh(covariance, np.diag(variance))
        taken = excess > _LEAST
        if not taken.any():
            break
    # In the order in which a plan's file keeps it: sums over it are then the same to the bit.
    root = np.ascontiguousarray(vectors[:, taken] / np.sqrt(1 + excess[taken]))
    return LargeScaleB(np.sqrt(variance), root)
