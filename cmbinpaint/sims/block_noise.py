"""The white noise of a map, from small blocks of its pixels.

Inputs: a map with holes, the signal's spectra in it. Outputs: the noise of a pixel.

A block of neighboring pixels has more modes than a sky with a beam fills, and what the others hold is noise. With
λ the eigenvalues of the signal's covariance between a block's pixels, and y the pixels' amplitudes along its
eigenvectors, the noise variance v is the one that makes all blocks together most likely (Bond 1995, Phys. Rev. Lett.
74, 4369, on such modes):

    sum of log(λ + v) + y² / (λ + v)    is least,    or    sum of (1 - y² / (λ + v)) / (λ + v) = 0.

Nothing leaks into a block from holes, which hide a low plateau of the map's spectrum.
"""

import numpy as np
from scipy.optimize import brentq

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.pixel_covariance import CovarianceTable, Frames, stokes_covariance
from cmbinpaint.sphere.pixels import nest_to_ring, pixel_vectors

# Pixels along the side of a block. With 4, noise of 1 % of the rms is found three times too high on skies without a
# beam (nside 64).
SIDE = 8
# Values in all blocks: the level of noise that dominates is then known to 0.6 %.
VALUES = 1 << 14
# The eigenvalue that marks a pixel which is not observed.
_ABSENT = -1.0
# Where the variance is looked for, over the map's.
_RANGE = (1e-8, 4.0)
SEED = 0  # of the choice among blocks that are observed alike


def block_noise(observed: FloatArray, valid: BoolArray, signal_cl: FloatArray) -> float:
    """The standard deviation of a pixel's white noise that makes blocks of pixels most likely.

    Parameters
    ----------
    observed
        (npix,) RING, without monopole and dipole; or (2, npix) Q and U. Never read where not valid.
    valid
        (npix,) bool, RING; True where observed, some pixels at least.
    signal_cl
        (lmax+1,) the signal's power in the map, unit²; of Q and U (2, lmax+1), of E and of B. Entries 0 and 1 are not
        used.

    Returns
    -------
    In the map's unit; of Q and U the same for both.
    """
    rows = np.atleast_2d(observed)
    blocks = _blocks(valid, VALUES // (SIDE**2 * len(rows)))
    here = np.tile(valid[blocks], len(rows))
    values = np.where(here, np.concatenate(list(rows[:, blocks]), axis=1), 0.0)
    scale = float(np.sqrt(np.mean(np.square(values), where=here)))
    if scale == 0.0:
        return 0.0
    covariance = _between(pixel_vectors(maps.npix_to_nside(valid.size), blocks), signal_cl) / scale**2
    covariance *= here[:, :, None] & here[:, None, :]
    places = np.arange(here.shape[1])
    covariance[:, places, places] += np.where(here, 0.0, _ABSENT)
    with one_blas_thread():
        variances, vectors = np.linalg.eigh(covariance)
    squares = np.square(np.einsum("nij,ni->nj", vectors, values / scale))
    informative = variances > _ABSENT / 2
    return scale * float(np.sqrt(_most_likely(np.maximum(variances[informative], 0.0), squares[informative])))


def _blocks(valid: BoolArray, count: int) -> IntArray:
    """(at most count, pixels) RING indices of the squares of NEST pixels that hold the most observed ones."""
    nside = maps.npix_to_nside(valid.size)
    size = min(SIDE, nside) ** 2
    n_observed = np.count_nonzero(maps.to_nest(valid).reshape(-1, size), axis=1)
    order = np.random.default_rng(SEED).permutation(n_observed.size)
    order = order[np.argsort(-n_observed[order], kind="stable")][:count]
    order = np.sort(order[n_observed[order] > 0])
    return nest_to_ring(nside, order[:, None] * size + np.arange(size))


def _between(vectors: FloatArray, signal_cl: FloatArray) -> FloatArray:
    """(n, k, k) the signal's covariance between the pixels (n, k, 3) of blocks, or (n, 2 k, 2 k) of Q and then U."""
    vectors = np.moveaxis(vectors, -1, 0)
    first, second = vectors[..., :, None], vectors[..., None, :]
    squared = np.square(first - second).sum(axis=0)
    reach = min(2.0, 1.01 * float(np.sqrt(squared.max())))
    if signal_cl.ndim == 1:
        return CovarianceTable.from_cl(signal_cl, reach)(squared)
    e, b = signal_cl
    tables = (CovarianceTable.from_cl(e + b, reach, "xi+"), CovarianceTable.from_cl(e - b, reach, "xi-"))
    frames = Frames.at(vectors)
    qq, qu, uq, uu = stokes_covariance(*tables, frames[..., :, None], frames[..., None, :])
    return np.concatenate([np.concatenate([qq, qu], axis=2), np.concatenate([uq, uu], axis=2)], axis=1)


def _most_likely(variances: FloatArray, squares: FloatArray) -> float:
    """The v at which Gaussian numbers of these squares, of these variances and v, are most likely."""

    def cost(v: float) -> float:
        return float(np.sum(np.log(variances + v) + squares / (variances + v)))

    def slope(log_v: float) -> float:
        total = variances + np.exp(log_v)
        return float(np.sum((1.0 - squares / total) / total))

    grid = np.linspace(np.log(_RANGE[0]), np.log(_RANGE[1]), 64)
    best = int(np.argmin([cost(v) for v in np.exp(grid)]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    if slope(low) >= 0.0:
        return float(np.exp(low))
    return float(np.exp(high if slope(high) <= 0.0 else brentq(slope, low, high, xtol=1e-12)))
