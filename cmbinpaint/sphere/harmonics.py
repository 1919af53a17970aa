"""Spherical harmonic transforms of HEALPix maps, and the algebra of their coefficients.

Inputs: RING maps and a_lm of real fields, in healpy's m-major complex128 layout with mmax = lmax; of one field
(npix,) and (size,), or of T, of Q and U, of T, Q and U on a leading axis (`sphere.fields`).
Outputs: transforms by ducc0, evaluation at any point, seeded draws, scaling, spectra.

A map is `Y a`, with `Y` the synthesis matrix; `Yᵀ` is its transpose for the real inner product
`<a, b> = sum_l a_l0 b_l0 + 2 Re sum_{l, m>0} a_lm conj(b_lm)` (`alm_dot`), under which the coefficients of a
unit-power field have unit variance. The transforms follow Reinecke & Seljebotn 2013 (arXiv 1303.4945).
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ducc0
import numpy as np

from cmbinpaint._machine import available_cores
from cmbinpaint._types import AnyArray, ComplexArray, FloatArray, IntArray
from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.power import validate_cl

# Accuracy asked of evaluation at arbitrary points, relative to the field's rms.
EVALUATION_EPSILON = 1e-11
# Up to this lmax the degrees of a_lm are kept.
CACHED_LMAX = 1024
# Orders m are transformed in so many groups, each by one thread: the last bits of what ducc0 returns for an order
# depend on the orders that its thread did before, and groups do not depend on the number of threads.
_GROUPS = 16
# Up to this lmax starting threads takes longer than the transform.
_SMALL_LMAX = 127


def alm_size(lmax: int) -> int:
    """The number of complex coefficients of a real field, `(lmax + 1)(lmax + 2) / 2`."""
    if lmax < 0:
        raise SpectrumError(f"lmax is {lmax}; it must be 0 or more")
    return (lmax + 1) * (lmax + 2) // 2


def alm_lmax(size: int) -> int:
    """The lmax whose coefficients number `size`.

    Raises
    ------
    SpectrumError
        If no lmax has that many.
    """
    lmax = (int(np.sqrt(8 * size + 1)) - 3) // 2
    if size < 1 or alm_size(lmax) != size:
        raise SpectrumError(f"{size} is not the number of a_lm of any lmax; expected (lmax+1)(lmax+2)/2")
    return lmax


@functools.lru_cache(maxsize=8)
def _degrees(lmax: int) -> IntArray:
    """(alm_size,) the ell of each coefficient, read-only."""
    ell = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    ell.flags.writeable = False
    return ell


def alm_degrees(lmax: int) -> IntArray:
    """(alm_size,) int64: the ell of each coefficient (read-only; cached for small lmax)."""
    if lmax <= CACHED_LMAX:
        return _degrees(lmax)
    return _degrees.__wrapped__(lmax)


class Harmonics:
    """Transforms between HEALPix RING maps of `nside` and a_lm up to `lmax`.

    Maps (npix,) and a_lm (size,) are of one field of spin 0; with a leading axis of 1, 2 or 3 of T, of Q, U and E, B,
    or of both. E and B have no power at ell = 0 and 1: what their a_lm hold there is not read, and comes back as zero.

    Parameters
    ----------
    nside
        Resolution of the maps.
    lmax
        Highest multipole; mmax = lmax.
    threads
        Threads of each transform; None: all cores this process may use. Results do not depend on it.
    single
        Maps and a_lm in single precision: half the memory, and 1e-6 of the field's rms.

    Examples
    --------
    >>> harmonics = Harmonics(4, 8)
    >>> alm = harmonics.analysis(np.ones(192))
    >>> bool(np.allclose(harmonics.synthesis(alm), 1.0, atol=1e-3))  # quadrature after three iterations: 5e-4
    True
    """

    def __init__(self, nside: int, lmax: int, *, threads: int | None = None, single: bool = False) -> None:
        self.nside = int(nside)
        self.lmax = int(lmax)
        self.npix = 12 * self.nside**2
        self.size = alm_size(self.lmax)
        self.threads = available_cores() if threads is None else max(1, int(threads))
        self._real: type = np.float32 if single else np.float64
        self._complex: type = np.complex64 if single else np.complex128
        self._rings = ducc0.healpix.Healpix_Base(self.nside, "RING").sht_info()
        self._theta = self._rings.pop("theta")

    def synthesis(self, alm: ComplexArray, *, out: FloatArray | None = None) -> FloatArray:
        """`Y alm`: the map of the coefficients, (npix,) or (k, npix); written to `out` if given."""
        alm = self._checked(alm, self._complex, self.size)
        if out is None:
            out = np.empty((*alm.shape[:-1], self.npix), dtype=self._real)
        rows_of_alm, rows_of_sky = np.atleast_2d(alm), np.atleast_2d(out)
        for spin, rows in Fields.of(len(rows_of_alm)).spins:
            legendre = self._legendre(rows_of_alm[rows], spin)
            ducc0.sht.leg2map(leg=legendre, map=rows_of_sky[rows], nthreads=self.threads, **self._rings)
        return out

    def adjoint(self, sky: FloatArray, *, out: ComplexArray | None = None) -> ComplexArray:
        """`Yᵀ sky`: `sum_p sky_p conj(Y_lm(p))`, without weights; written to `out` if given."""
        sky = self._checked(sky, self._real, self.npix)
        if out is None:
            out = np.empty((*sky.shape[:-1], self.size), dtype=self._complex)
        rows_of_alm, rows_of_sky = np.atleast_2d(out), np.atleast_2d(sky)
        for spin, rows in Fields.of(len(rows_of_alm)).spins:
            legendre = ducc0.sht.map2leg(
                map=rows_of_sky[rows], mmax=self.lmax, nthreads=self.threads, **self._rings
            )
            self._by_orders(ducc0.sht.leg2alm, rows_of_alm[rows], legendre, spin)
        return out

    def on_rings(self, alm: ComplexArray) -> ComplexArray:
        """(k, 4 nside - 1, lmax + 1) the Legendre sums f_m of each ring.

        The map at longitude φ is the real part of `sum_m (2 - δ_m0) f_m exp(imφ)`.
        """
        alm = np.atleast_2d(self._checked(alm, self._complex, self.size))
        return np.concatenate([self._legendre(alm[rows], spin) for spin, rows in Fields.of(len(alm)).spins])

    def _legendre(self, alm: ComplexArray, spin: int) -> ComplexArray:
        """(k, rings, lmax + 1) the Legendre sums of one spin."""
        legendre = np.empty((len(alm), self._theta.size, self.lmax + 1), dtype=self._complex)
        self._by_orders(ducc0.sht.alm2leg, alm, legendre, spin)
        return legendre

    def _by_orders(
        self, transform: Callable[..., Any], alm: ComplexArray, legendre: ComplexArray, spin: int
    ) -> None:
        """Transform between a_lm and their Legendre sums on the rings, order by order, from one array to the other."""
        orders = np.arange(self.lmax + 1, dtype=np.uint64)
        starts = orders * (2 * self.lmax + 1 - orders) // 2  # index of (l, m) is start + l

        def run(first: int) -> None:
            group = slice(first, None, _GROUPS)
            transform(
                alm=alm, leg=legendre[:, :, group], spin=spin, lmax=self.lmax, mval=orders[group],
                mstart=starts[group], theta=self._theta, nthreads=1,
            )  # fmt: skip

        groups = range(min(_GROUPS, self.lmax + 1))
        if self.threads == 1 or self.lmax <= _SMALL_LMAX:
            for first in groups:
                run(first)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            for _ in pool.map(run, groups):
                pass

    def analysis(self, sky: FloatArray, iterations: int = 3) -> ComplexArray:
        """The a_lm of a map, as healpy's `map2alm(iter=iterations)`: equal weights and Jacobi iterations."""
        weight = 4 * np.pi / self.npix
        sky = self._checked(sky, self._real, self.npix)
        alm = self.adjoint(sky)
        alm *= weight
        for _ in range(iterations):
            residual = self.synthesis(alm)
            np.subtract(sky, residual, out=residual)
            correction = self.adjoint(residual)
            correction *= weight
            alm += correction
        return alm

    def _checked(self, values: AnyArray, dtype: type, length: int) -> AnyArray:
        """A map or a_lm as contiguous numbers of the right type, one row or one a field."""
        values = np.ascontiguousarray(values, dtype=dtype)
        if values.shape[-1:] == (length,) and (values.ndim == 1 or (values.ndim == 2 and len(values) <= 3)):
            return values
        if length == self.npix:
            raise MapError(f"the map has shape {values.shape}; nside {self.nside} needs ({self.npix},)")
        raise SpectrumError(f"alm has shape {values.shape}; lmax {self.lmax} needs ({self.size},)")


def evaluate(
    alm: ComplexArray,
    lmax: int,
    theta: FloatArray,
    phi: FloatArray,
    *,
    epsilon: float = EVALUATION_EPSILON,
    threads: int | None = None,
) -> FloatArray:
    """The field of `alm` at any points of the sphere.

    Parameters
    ----------
    alm
        (alm_size(lmax),) complex128.
    lmax
        Its highest multipole.
    theta, phi
        Colatitude and longitude in radians, any one shape; phi may be any angle.
    epsilon
        Accuracy relative to the field's rms.
    threads
        None: all available cores.

    Returns
    -------
    Array of the points' shape, float64; float32 from coefficients in single precision.

    Raises
    ------
    SpectrumError
        If `alm` does not have the size of `lmax`.
    """
    alm = np.ascontiguousarray(alm, dtype=None if alm.dtype == np.complex64 else np.complex128)
    if alm.shape != (alm_size(lmax),):
        raise SpectrumError(f"alm has shape {alm.shape}; lmax {lmax} needs ({alm_size(lmax)},)")
    theta, phi = np.broadcast_arrays(np.asarray(theta, dtype=np.float64), np.asarray(phi, dtype=np.float64))
    location = np.empty((theta.size, 2))
    location[:, 0] = theta.ravel()
    location[:, 1] = np.mod(phi.ravel(), 2 * np.pi)
    values = ducc0.sht.synthesis_general(
        alm=alm[None],
        spin=0,
        lmax=lmax,
        mmax=lmax,
        loc=location,
        epsilon=epsilon,
        nthreads=available_cores() if threads is None else threads,
    )[0]
    return values.reshape(theta.shape)


def scale_alm(alm: ComplexArray, factor: FloatArray) -> ComplexArray:
    """A new alm, each coefficient times `factor[ell]`; `factor` is (lmax + 1,)."""
    factor = np.asarray(factor, dtype=np.float64)
    lmax = alm_lmax(alm.size)
    if factor.shape != (lmax + 1,):
        raise SpectrumError(f"factor has shape {factor.shape}; alm of lmax {lmax} needs ({lmax + 1},)")
    return alm * factor[alm_degrees(lmax)]


def draw_alm(cl: FloatArray, rng: np.random.Generator) -> ComplexArray:
    """Gaussian coefficients of spectrum `cl`, drawn from a Generator.

    `cl` is (lmax + 1,), not negative; a_l0 is real of variance C_l, otherwise real and imaginary parts have
    variance C_l / 2 each. The draw depends on the generator alone, never on threads.
    """
    cl = validate_cl(cl)
    lmax = cl.size - 1
    alm = rng.standard_normal(2 * alm_size(lmax)).view(np.complex128)
    alm[lmax + 1 :] *= np.sqrt(0.5)
    alm.imag[: lmax + 1] = 0.0
    alm *= np.sqrt(cl)[alm_degrees(lmax)]
    return alm


def alm_dot(a: ComplexArray, b: ComplexArray, lmax: int) -> float:
    """The real inner product of real fields' coefficients: m = 0 counts once, m > 0 twice; summed over fields."""
    if a.ndim > 1:
        return sum(alm_dot(x, y, lmax) for x, y in zip(a, b, strict=True))
    zonal = float(np.dot(a.real[: lmax + 1], b.real[: lmax + 1]))
    rest = np.dot(a[lmax + 1 :].view(np.float64), b[lmax + 1 :].view(np.float64))
    return zonal + 2.0 * float(rest)


def alm_to_real(alm: ComplexArray, lmax: int) -> FloatArray:
    """(..., (lmax + 1)²) real coefficients in an orthonormal basis: dot products are `alm_dot`."""
    zonal = alm.real[..., : lmax + 1]
    rest = np.sqrt(2.0) * np.ascontiguousarray(alm[..., lmax + 1 :]).view(np.float64)
    return np.concatenate([zonal, rest], axis=-1)


def alm_to_cl(alm: ComplexArray, lmax: int, other: ComplexArray | None = None) -> FloatArray:
    """The (lmax + 1,) spectrum of `alm`, or the cross spectrum with `other`."""
    other = alm if other is None else other
    if alm.size != alm_size(lmax) or other.size != alm_size(lmax):
        raise SpectrumError(f"alm of sizes {alm.size} and {other.size}; lmax {lmax} needs {alm_size(lmax)}")
    power = alm.real * other.real + alm.imag * other.imag
    power[lmax + 1 :] *= 2.0
    power[: lmax + 1] = alm.real[: lmax + 1] * other.real[: lmax + 1]
    total = np.bincount(alm_degrees(lmax), weights=power, minlength=lmax + 1)
    return total / (2 * np.arange(lmax + 1) + 1)


def resize_alm(alm: ComplexArray, lmax_in: int, lmax_out: int) -> ComplexArray:
    """Cut off, or pad with zeros, to another lmax; always a new array."""
    if alm.size != alm_size(lmax_in):
        raise SpectrumError(f"alm has size {alm.size}; lmax {lmax_in} needs {alm_size(lmax_in)}")
    out = np.zeros(alm_size(lmax_out), dtype=np.complex128)
    lmax = min(lmax_in, lmax_out)
    for m in range(lmax + 1):
        start_in = m * (2 * lmax_in + 1 - m) // 2  # index of (l, m) is start + l
        start_out = m * (2 * lmax_out + 1 - m) // 2
        out[start_out + m : start_out + lmax + 1] = alm[start_in + m : start_in + lmax + 1]
    return out
