"""Kriging: the best linear prediction of a point of the sky from its nearest observed neighbors.

Inputs: a mask, the map-level power spectrum, the noise of the pixels. Outputs: `KrigingWeights`, computed once
for a mask and a spectrum and applied to map after map.

The neighbors of a point are the k nearest observed pixels or, on several resolutions, some at each nside: a
coarse value is the mean over the observed children of a coarse pixel. The constant is unknown (ordinary
kriging: the weights sum to one), so monopole and dipole of the spectrum are left out. For weights w,
covariances K between neighbors (noise on the diagonal) and c between neighbors and point,

    w = K⁻¹ (c + mu 1),    mu = (1 - 1ᵀ K⁻¹ c) / (1ᵀ K⁻¹ 1)

(Cressie 1993, Statistics for Spatial Data, section 3.2). What is predicted is the signal, without noise.
"""

import functools
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import ThreadpoolController

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.gaussian.deep_hole_interpolation import Interpolation, thin_out
from cmbinpaint.gaussian.neighbors import Cells, Sight, look, number_neighbors
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.harmonics import available_cores
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.sphere.power import validate_cl

# Covariances in flight per thread: bounds the memory and keeps a chunk near the cache. Chunks do not depend
# on the number of threads, so neither do the weights.
CHUNK_NUMBERS = 1 << 18
# Added to the diagonal over the signal's variance: 1e-4 of the rms, below any prediction's error, above the
# covariances' error (1e-9 to 1e-11 of the variance).
NUGGET = 1e-8
# A neighbor that is absent gets this noise over the signal's variance, and then weight zero.
ABSENT = 1e6
# A cell's window below this is zero.
NEGLIGIBLE = 1e-7
# Added to a diagonal, over its mean, where approximate covariances are not positive definite.
MEND = 1e-4


@dataclass(frozen=True, eq=False)
class KrigingWeights:
    """Weights of the neighbors of each target, applied to map after map.

    Parameters
    ----------
    npix
        Length of the maps.
    targets
        (n,) int64: RING index of each target pixel (or the number of each point).
    neighbors
        (m, k) int32, m = n unless there is an interpolation: RING index of each neighbor; from npix on, the
        means of `cells` one after the other.
    weights
        (m, k) float32; they sum to one within float32, and what is missing goes to the first neighbor.
    spread
        (n,) float32, unit: standard deviation of signal minus prediction, as the model has it.
    cells
        The coarse values in use, finest first; empty with one resolution.
    interpolation
        How the last targets follow from predictions at coarser places; None if all are predicted directly.
    """

    npix: int
    targets: IntArray
    neighbors: AnyArray
    weights: AnyArray
    spread: AnyArray
    cells: tuple[Cells, ...] = ()
    interpolation: Interpolation | None = None

    def apply(self, values: AnyArray) -> FloatArray:
        """The predictions from a map.

        Parameters
        ----------
        values
            (npix,) float, RING. Only observed pixels are read: anything may stand in the holes.

        Returns
        -------
        (n,) float64, in the order of `targets`; linear in `values`, and a constant gives itself exactly.

        Raises
        ------
        MapError
            If the map has another length.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.npix,):
            raise MapError(f"the map has shape {values.shape}; these weights are for ({self.npix},)")
        if self.cells:
            values = np.concatenate([values, *(cells.means(values) for cells in self.cells)])
        out = np.empty(len(self.neighbors))
        step = max(1, CHUNK_NUMBERS // max(1, self.neighbors.shape[1]))
        for start in range(0, len(out), step):
            chunk = slice(start, start + step)
            gathered = values[self.neighbors[chunk]]
            first = gathered[:, :1].copy()
            gathered -= first  # float32 weights then lose nothing of a large constant
            out[chunk] = np.einsum("nk,nk->n", self.weights[chunk], gathered) + first[:, 0]
        return out if self.interpolation is None else self.interpolation.apply(out)


def kriging_weights(
    valid: BoolArray,
    cl: AnyArray,
    noise_std: float | FloatArray = 0.0,
    *,
    neighbors: Sequence[int] = (16,),
    factors: Sequence[int] = (1,),
    targets: IntArray | None = None,
    points: FloatArray | None = None,
    thin: bool = False,
    threads: int | None = None,
) -> KrigingWeights:
    """Weights that predict the signal at unobserved pixels, or at any points, from the nearest observed ones.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where observed.
    cl
        (lmax+1,) float, power of the signal in the map (beam and pixel window included), unit²; entries 0 and
        1 are not used.
    noise_std
        Standard deviation of the white noise, a float or (npix,) float in RING order, unit.
    neighbors, factors
        How many neighbors at each resolution, finest first; a resolution is nside over its own nside, and the
        first is 1. `(32, 8, 8)` and `(1, 4, 16)`: 32 nearest pixels, 8 nearest means at nside/4 and at
        nside/16. Coarse pixels that hold a finer neighbor are passed over. With fewer observed pixels than
        asked for, all of them are used.
    targets
        (n,) int, RING indices of the pixels to predict; None: all that are not observed.
    points
        (n, 3) float, unit vectors to predict at, instead of `targets`.
    thin
        Predict targets deep in a hole at the centers of coarser pixels, as coarse as a quarter of their
        depth, and interpolate: the prediction is smooth there. Many times faster in large holes at high
        nside. `targets` must not be observed; the result has them in another order.
    threads
        None: all available cores. The weights do not depend on it.

    Raises
    ------
    MaskError
        If no pixel is observed.
    SpectrumError
        If the spectrum or the noise is negative or not finite.
    MapError
        If the arguments contradict each other.
    """
    valid = np.asarray(valid, dtype=bool)
    nside = maps.npix_to_nside(valid.size)
    spectrum = validate_cl(cl, lmax=2)
    noise = check_noise(noise_std, valid)
    counts, steps = _checked_neighbors(neighbors, factors, nside)
    if not valid.any():
        raise MaskError("no pixel is observed: there is nothing to krige from; check the mask's sense")
    interpolation = None
    if points is None:
        targets = np.flatnonzero(~valid) if targets is None else np.asarray(targets, dtype=np.int64)
        nearby = not np.any(valid[targets])
        if thin and nearby:
            targets, points, interpolation = thin_out(valid, targets)
        else:
            points = pixel_vectors(nside, targets)
    else:
        targets, nearby = np.arange(len(points), dtype=np.int64), False
        points = np.ascontiguousarray(points, dtype=np.float64)
    sight = look(valid, noise, points, counts, steps, nearby)
    weights, spread = neighbor_weights(
        points, sight, _tables(spectrum, sight), available_cores() if threads is None else threads
    )
    order, cells = number_neighbors(valid, sight)
    if interpolation is not None:
        spread = interpolation.apply(spread).astype(np.float32)
    return KrigingWeights(valid.size, targets, order, weights, spread, cells, interpolation)


def check_noise(noise_std: float | FloatArray, valid: BoolArray) -> FloatArray:
    """The noise variance of each pixel; only observed pixels are looked at."""
    std = np.asarray(noise_std, dtype=np.float64)
    if std.shape not in ((), valid.shape):
        raise MapError(f"noise_std has shape {std.shape}; expected a number or {valid.shape}")
    std = np.where(valid, std, 0.0)
    if not np.all(np.isfinite(std) & (std >= 0)):
        raise SpectrumError("noise_std is negative or not finite in observed pixels; mask those, or mend it")
    return np.square(std, out=std)


def _checked_neighbors(
    neighbors: Sequence[int], factors: Sequence[int], nside: int
) -> tuple[list[int], list[int]]:
    counts, steps = [int(n) for n in neighbors], [int(f) for f in factors]
    powers = all(f > 0 and f & (f - 1) == 0 for f in steps)
    if len(counts) != len(steps) or not counts or min(counts) < 1:
        raise MapError(
            f"neighbors {counts} and factors {steps}: expected one positive number for each resolution"
        )
    if steps[0] != 1 or not powers or any(b <= a for a, b in itertools.pairwise(steps)):
        raise MapError(f"factors {steps}: expected 1, then growing powers of two, for example (1, 4, 16)")
    kept = [i for i, factor in enumerate(steps) if factor <= nside]
    return [counts[i] for i in kept], [steps[i] for i in kept]


def _tables(cl: FloatArray, sight: Sight) -> dict[tuple[int, int], CovarianceTable]:
    """Covariances between values of two levels: a cell's window is a Gaussian of the cell's second moment."""
    ell = np.arange(cl.size)
    tables = {}
    for i, first in enumerate(sight.levels):
        for j, second in enumerate(sight.levels[i:], i):
            window = np.exp(-0.5 * ell * (ell + 1) * (first.smoothing + second.smoothing))
            top = max(3, int(np.count_nonzero(window > NEGLIGIBLE)))
            tables[i, j] = CovarianceTable.from_cl((cl * window)[:top], sight.largest_chord)
    return tables


def neighbor_weights(
    points: FloatArray, sight: Sight, tables: dict[tuple[int, int], CovarianceTable], threads: int
) -> tuple[AnyArray, AnyArray]:
    """(n, k) float32 weights of all points, and the (n,) float32 standard deviations of their errors."""
    sizes = [number.shape[1] for number in sight.numbers]
    group = np.repeat(np.arange(len(sizes)), sizes)
    k = len(group)
    rows, columns = np.tril_indices(k, -1)
    blocks = []
    for (i, j), table in tables.items():
        chosen = (group[columns] == i) & (group[rows] == j)
        if chosen.any():
            blocks.append((table, rows[chosen], columns[chosen]))
    own = np.array([tables[i, i].variance for i in group.tolist()])
    variance = tables[0, 0].variance or 1.0
    weights = np.empty((len(points), k), dtype=np.float32)
    spread = np.empty(len(points), dtype=np.float32)
    diagonal = np.arange(k)

    def run(start: int) -> None:
        chunk = slice(start, start + step)
        numbers = [number[chunk] for number in sight.numbers]
        place = np.concatenate([lv.vectors[n] for lv, n in zip(sight.levels, numbers, strict=True)], axis=1)
        noise = np.concatenate([lv.noise[n] for lv, n in zip(sight.levels, numbers, strict=True)], axis=1)
        present = np.concatenate([p[chunk] for p in sight.present], axis=1)
        place = np.ascontiguousarray(place.transpose(2, 1, 0))  # (3, k, chunk)
        covariance = np.empty((place.shape[2], k, k))  # the lower triangle is used
        for table, row, column in blocks:
            covariance[:, row, column] = table(_squared_chords(place[:, row], place[:, column])).T
        extra = NUGGET * variance + np.where(present, 0.0, ABSENT * variance)
        covariance[:, diagonal, diagonal] = own + noise + extra
        squared = _squared_chords(place, points[chunk].T[:, None, :])
        right = np.ones((place.shape[2], 2, k))
        for i in range(len(sizes)):
            right[:, 0, group == i] = tables[0, i](squared[group == i]).T
        weights[chunk], rest = _ordinary(covariance, right, present)
        spread[chunk] = np.sqrt(np.maximum(tables[0, 0].variance + rest, 0.0))

    step = max(1, CHUNK_NUMBERS // (k * (k + 1) // 2))
    # BLAS's own threads and these would wait for one another: ten times slower from 200 neighbors on.
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(run, range(0, len(points), step)):
            pass
    return weights, spread


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _squared_chords(first: FloatArray, second: FloatArray) -> FloatArray:
    """|u - v|² over the leading axis; differences keep the digits that 2 - 2 u·v loses."""
    total = np.square(first[0] - second[0])
    for axis in (1, 2):
        total += np.square(first[axis] - second[axis])
    return total


def _ordinary(covariance: FloatArray, right: FloatArray, present: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Solve for (n, k) weights that sum to one, from (n, k, k) covariances and (n, 2, k) right sides (c, 1).

    Comes with (n,) error variances, less the point's own variance: mu - w·c.
    """
    with_c, with_one = _solve(covariance, right)
    mu = (1 - with_c.sum(axis=0)) / with_one.sum(axis=0)
    weights = np.where(present, (with_c + mu * with_one).T, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights, mu - np.einsum("nk,nk->n", weights, right[:, 0])


def _solve(covariance: FloatArray, right: FloatArray) -> FloatArray:
    """(m, k, n) solutions for (n, m, k) right sides: batched Cholesky, substitution across the batch."""
    n, k, _ = covariance.shape
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        # Approximate covariances of cells need not be positive definite. Find the matrix, mend it alone.
        if n > 1:
            half = n // 2
            parts = _solve(covariance[:half], right[:half]), _solve(covariance[half:], right[half:])
            return np.concatenate(parts, axis=2)
        lifted = covariance + np.eye(k) * MEND * np.trace(covariance[0]) / k
        return _solve(lifted, right)
    lower = np.ascontiguousarray(lower.transpose(1, 2, 0))
    solution = np.array(right.transpose(2, 1, 0), order="C")  # (k, m, n), to be overwritten
    for i in range(k):
        solution[i] -= np.einsum("jn,jmn->mn", lower[i, :i], solution[:i])
        solution[i] /= lower[i, i]
    for i in reversed(range(k)):
        solution[i] -= np.einsum("jn,jmn->mn", lower[i + 1 :, i], solution[i + 1 :])
        solution[i] /= lower[i, i]
    return solution.transpose(1, 0, 2)
