"""What the spectrum of B tells of Q and U in holes on large scales, which their neighbors do not.

Inputs: the factor of Q and U, the spectra. Outputs: `GivenB`, the same distribution given B as well.

A pixel's few neighbors do not tell that the sky has so little B. The error of each prediction is E and B alike; summed
over a hole its B can reach 200 times the variance that B has on large scales. So the B of the whole sky is taken as an
observation of its own: `b = B h + B' d`, of hole pixels h and data d by quadrature, is observed to be 0, with variance
D, that of B and of noise, taken for even. The factor's covariance is `F Fᵀ`, of innovations ε with variance 1
(`vecchia`). With `W = Fᵀ Bᵀ` and the solutions of `Wᵀ W v = λ D v`, `vᵀ D v = 1`,

    Cov(ε | d, b) = 1 - U Uᵀ,    U = W R,    R = v / (1 + λ)^½,    E(ε | d, b) = - U Rᵀ b

of the b that the mean given the data has. Where the distribution follows the sky model, λ is at most 1: only
directions with more than twice that are taken. Innovations of the finest pixels add little to large scales (λ is below
1 where only they are left): W is kept of the others alone.

All is in units of the noise of a hole pixel.
"""

import math
from collections.abc import Callable, Iterator, Mapping
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
# Where the modes of these ell bring nothing, the others are not computed.
_FIRST = (3, 8)
# A direction is taken if its variance is more than this many times what the model allows.
_LEAST = 2.0
# Of what is known, at least so much is left open: `1 - U Uᵀ` stays positive in single precision.
_OPEN = 1e-4
# One in so many hole values, the coarsest, have their innovations in W: all but the finest spacing's.
_COARSE = 4
# If W had more values (a quarter GiB), nothing is taken: of a Planck-like mask from nside 512 on, where T, Q, U
# took 62 steps for 64, and the plan 18 s more.
_VALUES = 1 << 26
# Rows of W that are multiplied at a time, in double precision; threads, each with the modes of one ell in all pixels.
_ROWS, _THREADS = 1 << 14, 4


@dataclass(frozen=True, eq=False)
class LargeScaleB:
    """What is known of a factor's innovations through B.

    Parameters
    ----------
    directions
        (m, r) U, of the first m hole values; r = 0 where B tells nothing.
    root
        (n, r) R, of the modes in the order of `_BModes`.
    known
        (r,) `Uᵀ U`, which is diagonal: how much of each direction is known.
    """

    directions: Float32Array
    root: FloatArray
    known: FloatArray

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """No numbers, and the arrays from which `of_arrays` makes it again."""
        return {}, {"directions": self.directions, "root": self.root, "known": self.known}

    @classmethod
    def of_arrays(cls, numbers: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> Self:
        """What `to_arrays` made arrays of."""
        return cls(**numbers, **arrays)


_NOTHING = LargeScaleB(np.empty((1, 0), dtype=np.float32), np.empty((5, 0)), np.empty(0))


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
        """(n,) the B of (2, npix), by quadrature with equal weights."""
        alm = self._harmonics.adjoint(sky)
        return self._area * alm_to_real(alm[1], self.lmax)[self._order]

    def at(self, places: IntArray) -> Callable[[int], Float32Array]:
        """A function of ell that returns (values, 2 ell + 1): `of` transposed, at places ``stokes * npix + pixel``."""
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
        along = np.einsum("ij,i->j", self._known.root, self._modes.of(filled) / self.noise_std)
        scale = float(np.abs(along).max()) or 1.0
        innovations = np.zeros(mean.size, dtype=np.float32)
        self._take(innovations, (along / scale).astype(np.float32))
        return mean + scale * self.noise_std * self._factor.of_innovations(innovations).astype(np.float64)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(n,) a draw about the mean, noise included."""
        innovations, known = rng.standard_normal(self.holes.size, dtype=np.float32), self._known.known
        root_of = ((1 - np.sqrt(1 - known)) / known).astype(np.float32)  # (1 - U Uᵀ)^½ is 1 - U root_of Uᵀ
        self._take(innovations, self._along(innovations) * root_of)
        return self.noise_std * self._factor.of_innovations(innovations).astype(np.float64)

    def covariance(self, values: FloatArray) -> FloatArray:
        """(n,) the covariance times a vector (n,); symmetric, positive."""
        scale = float(np.abs(values).max(initial=0.0)) or 1.0
        innovations = self._factor.to_innovations((values / scale).astype(np.float32))
        self._take(innovations, self._along(innovations))
        return scale * self.noise_std**2 * self._factor.of_innovations(innovations).astype(np.float64)

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
    """What the spectrum of B adds to the factor of Q and U; nothing if a few of its modes do not need it.

    Parameters
    ----------
    factor
        Of all that is not observed.
    sky_model
        Of Q and U.
    data_variance
        Of the noise of observed values, the mean, over that of hole pixels.
    lmax
        Highest multipole of the modes.
    threads
        None: all available cores. The result does not depend on it.
    """
    cl, share = sky_model.signal_cl[1, 1] / factor.noise_std**2, factor.holes.size / (2 * factor.npix)
    n_coarse = max(1, factor.holes.size // _COARSE)
    modes = _BModes(sky_model.nside, min(lmax, cl.size - 1), threads=1)
    variance = cl[modes.ell] + ((1 - share) * data_variance + share) * 4 * np.pi / factor.npix
    if n_coarse * variance.size > _VALUES or not np.all(np.isfinite(variance)):
        return _NOTHING
    weights = np.empty((n_coarse, variance.size), dtype=np.float32)
    modes_at = modes.at(factor.holes)

    def fill(ell: int) -> None:
        weights[:, modes.ell == ell] = factor.to_innovations(modes_at(ell))[:n_coarse]

    threads = available_cores() if threads is None else threads
    with ThreadPoolExecutor(max(1, min(threads, _THREADS))) as pool:
        some = [ell for ell in _FIRST if ell <= modes.lmax] or [2]
        list(pool.map(fill, some))
        few = np.isin(modes.ell, some)
        if _excess(weights[:, few], variance[few])[0][-1] < _LEAST:
            return _NOTHING
        list(pool.map(fill, sorted(set(modes.ell) - set(some))))
    excess, vectors = _excess(weights, variance)
    taken = excess > _LEAST
    known = np.minimum(excess[taken] / (1 + excess[taken]), 1 - _OPEN)
    # In the order in which a plan's file keeps it: sums over it are then the same to the bit.
    root = np.ascontiguousarray(vectors[:, taken] * np.sqrt(known / excess[taken]))
    with one_blas_thread():
        directions = np.concatenate([(rows @ root).astype(np.float32) for rows in _pieces(weights)])
    return LargeScaleB(directions, root, known)


def _excess(weights: Float32Array, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """λ, ascending, and v."""
    with one_blas_thread():
        covariance = sum(rows.T @ rows for rows in _pieces(weights))
        values, vectors = linalg.eigh(covariance, np.diag(variance))
    return values, vectors


def _pieces(weights: Float32Array) -> Iterator[FloatArray]:
    """The rows, some at a time, in double precision."""
    for first in range(0, len(weights), _ROWS):
        yield weights[first : first + _ROWS].astype(np.float64)
