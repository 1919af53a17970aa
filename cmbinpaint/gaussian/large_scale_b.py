"""What the spectrum of B tells of Q and U in holes on large scales, which their neighbors do not.

Inputs: the factor of Q and U, the spectra. Outputs: `GivenB`, the same distribution given B as well.

A pixel's few neighbors do not tell that the sky has so little B. What each prediction misses is E and B alike, and over
a hole it adds up to two hundred times the variance that B's large scales have. So the B of the whole sky is taken as an
observation of its own: `b = B h + B' d`, of hole pixels h and data d, is 0 with the variance D of B and noise. The
factor's covariance is `F Fᵀ`, of innovations ε with variance 1 (`vecchia`). With `W = Fᵀ Bᵀ` and the solutions of
`Wᵀ W v = λ D v`, `vᵀ D v = 1`,

    Cov(ε | d, b) = 1 - U Uᵀ,    U = W R,    R = v / (1 + λ)^½,    E(ε | d, b) = - U Rᵀ b

of the b that the mean given the data has. Where the distribution follows the sky model, λ is at most 1: only directions
with more are taken. Innovations of the finest pixels add little to large scales (λ is 0.4 where only they are left):
W is kept of the others alone.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import linalg

from cmbinpaint._machine import available_cores, one_blas_thread
from cmbinpaint._types import AnyArray, Float32Array, FloatArray, IntArray
from cmbinpaint.gaussian.vecchia import HoleFactor
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import Harmonics, alm_degrees, alm_to_real
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.pixels import pixel_rings

# Modes up to this ell: their number grows with its square, as does the plan's time.
LMAX = 16
# Where those up to this ell bring nothing, none does.
_FIRST = 4
# The variance, of what the model allows, from which on a direction is taken.
_LEAST = 2.0
# The part of the hole pixels, from coarse to fine, whose innovations count: all but the finest group of four.
_COARSE = 4
# Values in W, which bound the memory: with more than half a GiB of them, from nside 1024 on, none is taken.
_VALUES = 1 << 27


@dataclass(frozen=True, eq=False)
class LargeScaleB:
    """What is known of a factor's innovations through B.

    Parameters
    ----------
    directions
        (m, r) U, of the first m hole values; r = 0 where B tells nothing.
    root
        (n, r) R, of the modes in the order of `_BModes`.
    """

    directions: Float32Array
    root: FloatArray

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Numbers, of which there are none, and arrays that it can be made of again, by `of_arrays`."""
        return {}, {"directions": self.directions, "root": self.root}

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

    def at(self, places: IntArray) -> Callable[[int], Float32Array]:
        """From ell to (values, 2 ell + 1): the transpose of `of` at places ``stokes * npix + pixel``."""
        stokes, pixels = np.divmod(places, self._harmonics.npix)
        ring, phi = pixel_rings(self._harmonics.nside, pixels)
        turn = np.exp(1j * phi).astype(np.complex64)

        def modes(ell: int) -> Float32Array:
            alm = np.zeros((2, self._harmonics.size), dtype=np.complex128)
            alm[1, alm_degrees(self.lmax) == ell] = self._area
            waves = self._harmonics.on_rings(alm).astype(np.complex64)
            waves[:, :, 1:] *= np.sqrt(2.0)
            found = np.empty((places.size, 2 * ell + 1), dtype=np.float32)
            turned = np.ones_like(turn)
            for m in range(ell + 1):
                values = waves[stokes, ring, m] * turned
                found[:, max(2 * m - 1, 0)] = values.real
                if m:
                    found[:, 2 * m] = -values.imag
                turned *= turn
            return found

        return modes


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
        self._modes = _BModes(npix_to_nside(factor.npix), math.isqrt(len(known.root) + 4) - 1, threads)

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
        innovations = np.zeros(mean.size, dtype=np.float32)
        along = np.einsum("ij,i->j", self._known.root, self._modes.of(filled))
        self._take(innovations, along.astype(np.float32))
        return mean + self._factor.of_innovations(innovations)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(n,) a draw about the mean, noise included."""
        innovations = rng.standard_normal(self.holes.size, dtype=np.float32)
        along, known = self._along(innovations), np.square(self._known.directions).sum(axis=0)
        self._take(innovations, along * (1 - np.sqrt(1 - known)) / known)  # (1 - U Uᵀ)^½
        return self._factor.of_innovations(innovations)

    def covariance(self, values: FloatArray) -> FloatArray:
        """(n,) the covariance times a vector (n,); symmetric, positive."""
        scale = float(np.abs(values).max(initial=0.0)) or 1.0
        innovations = self._factor.to_innovations((values / scale).astype(np.float32))
        self._take(innovations, self._along(innovations))
        return scale * self._factor.of_innovations(innovations)

    def _along(self, innovations: Float32Array) -> Float32Array:
        """(r,) `Uᵀ ε`."""
        directions = self._known.directions
        with one_blas_thread():
            return innovations[: len(directions)] @ directions

    def _take(self, innovations: Float32Array, along: Float32Array) -> None:
        """Take `U along` off the innovations."""
        directions = self._known.directions
        with one_blas_thread():
            innovations[: len(directions)] -= directions @ along


def large_scale_b(
    factor: HoleFactor,
    sky_model: SkyModel,
    data_variance: float,
    *,
    lmax: int = LMAX,
    threads: int | None = None,
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
    threads
        None: all available cores. The result does not depend on it.
    """
    cl, (n_values, npix) = sky_model.signal_cl[1, 1], (factor.holes.size, factor.npix)
    noise = ((2 * npix - n_values) * data_variance + n_values * factor.noise_std**2) / (2 * npix)
    n_coarse = max(1, n_values // _COARSE)
    lmax = min(lmax, cl.size - 1)
    if n_coarse * ((lmax + 1) ** 2 - 4) > _VALUES:
        return LargeScaleB(np.empty((n_coarse, 0), dtype=np.float32), np.empty((0, 0)))
    modes = _BModes(sky_model.nside, lmax, threads=1)
    variance = cl[modes.ell] + noise * 4 * np.pi / npix
    weights = np.empty((n_coarse, variance.size), dtype=np.float32)
    modes_at = modes.at(factor.holes)

    def fill(ell: int) -> None:
        innovations = factor.to_innovations(modes_at(ell))
        weights[:, ell**2 - 4 : (ell + 1) ** 2 - 4] = innovations[:n_coarse]

    done = 1
    with ThreadPoolExecutor(available_cores() if threads is None else threads) as pool:
        for highest in (min(_FIRST, lmax), lmax):
            list(pool.map(fill, range(done + 1, highest + 1)))
            done, n = highest, (highest + 1) ** 2 - 4
            with one_blas_thread():
                covariance = (weights[:, :n].T @ weights[:, :n]).astype(np.float64)
                excess, vectors = linalg.eigh(covariance, np.diag(variance[:n]))
            taken = excess > _LEAST
            if not taken.any():
                break
    # In the order in which a plan's file keeps it: sums over it are then the same to the bit.
    root = np.ascontiguousarray(vectors[:, taken] / np.sqrt(1 + excess[taken]))
    with one_blas_thread():
        return LargeScaleB(weights[:, :n] @ root.astype(np.float32), root)
