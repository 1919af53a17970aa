"""What the data say of all hole pixels together: their conditional mean and a sparse factor of their covariance.

Inputs: a mask, the map-level power spectrum, the noise. Outputs: `HoleFactor`.

Hole pixels are taken from coarse to fine, and each is kriged from a few neighbors, data or hole pixels taken before
it (`conditioning_sets`). Each prediction alone is local, their product is not: what one pixel learned is passed on.
With B the weights between hole pixels, strictly lower triangular in that order, and D the conditional variances,

    o = B o + W d + D^½ ε,    so    Cov(o | d) = (1 - B)⁻¹ D (1 - B)⁻ᵀ,    E(o | d) = (1 - B)⁻¹ W d

(Vecchia 1988, J. R. Stat. Soc. B 50, 297; Schäfer, Katzfuss & Owhadi 2021, SIAM J. Sci. Comput. 43, A2019, on why
few neighbors suffice in this order). What is predicted is the observation of a hole pixel, noise included.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from scipy import sparse

from cmbinpaint._machine import available_cores
from cmbinpaint._ticks import advance, expect
from cmbinpaint._types import AnyArray, BoolArray, Float32Array, FloatArray, IntArray
from cmbinpaint.gaussian.conditioning_sets import NEAREST, Conditioning, Group
from cmbinpaint.gaussian.kriging_weights import neighbor_weights
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_size

# What a sparse matrix by rows is made of.
_CSR = ("data", "indices", "indptr")
# From points, vectors, noise, numbers and present to weights and errors.
Weigh = Callable[[FloatArray, FloatArray, FloatArray, AnyArray, BoolArray], tuple[AnyArray, AnyArray]]


class Step(NamedTuple):
    """The weights of one group: sparse float32 matrices, of the data and of values before it.

    Of U, whose matrices share the places of Q's, which is the step before it, also the weight on its pixel's own Q.
    """

    start: int
    stop: int
    of_data: Any
    of_holes: Any
    own: Float32Array | None = None


@dataclass(frozen=True, eq=False)
class HoleFactor:
    """The hole pixels' approximate distribution, given the data.

    Parameters
    ----------
    npix
        Pixels of a map.
    holes
        (n,) int64, RING indices of the hole pixels, of U plus npix; all vectors below are in this order.
    data
        (m,) int64, RING indices of the data that are read.
    steps
        Group after group, its place in `holes` and its rows of W (stop - start, m) and of B as far as they go.
    std
        (n,) float32: D^½, unit.
    noise_std
        Noise of a hole pixel's observation, unit.
    depth
        (n,) float32: angle from each hole pixel to the nearest datum, in pixels.
    free_constant
        Whether the data may have any constant, which the mean preserves: that of T.
    """

    npix: int
    holes: IntArray
    data: IntArray
    steps: tuple[Step, ...]
    std: Float32Array
    noise_std: float
    depth: Float32Array
    free_constant: bool = True

    def mean(self, observed: FloatArray) -> FloatArray:
        """(n,) the conditional mean of an (npix,) map, or (2, npix) of Q and U; only data are read."""
        values = observed.reshape(-1)[self.data]
        constant = float(values.mean()) if self.free_constant else 0.0
        scale = float(np.abs(values - constant).max()) or 1.0
        values = ((values - constant) / scale).astype(np.float32)
        mean = np.concatenate([step.of_data @ values for step in self.steps])
        return scale * self._propagated(mean).astype(np.float64) + constant

    def covariance(self, values: FloatArray) -> FloatArray:
        """(n,) the conditional covariance times a vector (n,), unit² times the vector's; symmetric, positive."""
        scale = float(np.abs(values).max(initial=0.0))
        if scale == 0.0:
            return np.zeros(values.size)
        out = self._traced_back((values / scale).astype(np.float32))
        out *= np.square(self.std / self.noise_std)
        return scale * self.noise_std**2 * self._propagated(out).astype(np.float64)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """(n,) a draw of the hole pixels about their mean, noise included."""
        return self._propagated(self.std * rng.standard_normal(self.std.size, dtype=np.float32)).astype(
            np.float64
        )

    def of_innovations(self, innovations: Float32Array) -> Float32Array:
        """`F ε`, (n,): the hole values that innovations of unit variance make, over `noise_std`."""
        return self._propagated(innovations * (self.std / self.noise_std))

    def to_innovations(self, weights: Float32Array) -> Float32Array:
        """`Fᵀ weights`, (n,) or (n, m), written over them: the transpose of `of_innovations`."""
        out, std = self._traced_back(weights), self.std / self.noise_std
        out *= std if out.ndim == 1 else std[:, None]
        return out

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Numbers and arrays that it can be made of again, by `of_arrays`."""
        numbers = {"npix": self.npix, "noise_std": self.noise_std, "free_constant": self.free_constant}
        arrays: dict[str, AnyArray] = {
            name: getattr(self, name) for name in ("holes", "data", "std", "depth")
        }
        arrays["steps"] = np.array([(step.start, step.stop) for step in self.steps])
        for i, step in enumerate(self.steps):
            if step.own is not None:
                arrays[f"{i}.own"] = step.own
            parts = _CSR if step.own is None else _CSR[:1]
            for name, matrix in (("data", step.of_data), ("holes", step.of_holes)):
                arrays |= {f"{i}.{name}.{part}": getattr(matrix, part) for part in parts}
        return numbers, arrays

    @classmethod
    def of_arrays(cls, numbers: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> Self:
        """The factor of `to_arrays`; it shares the arrays."""

        def step(i: int, start: int, stop: int) -> Step:
            own = arrays.get(f"{i}.own")
            n, places = stop - start, i if own is None else i - 1

            def matrix(kind: str, width: int) -> Any:
                parts = (
                    arrays[f"{i}.{kind}.data"],
                    *(arrays[f"{places}.{kind}.{part}"] for part in _CSR[1:]),
                )
                return sparse.csr_array(parts, shape=(n, width))

            before = start if own is None else start - n
            return Step(start, stop, matrix("data", arrays["data"].size), matrix("holes", before), own)

        steps = tuple(step(i, start, stop) for i, (start, stop) in enumerate(arrays["steps"].tolist()))
        own: dict[str, Any] = {name: arrays[name] for name in ("holes", "data", "std", "depth")}
        return cls(**numbers, **own, steps=steps)

    def _traced_back(self, values: Float32Array) -> Float32Array:
        """`(1 - B)⁻ᵀ values`, (n,) or (n, m), in place."""
        for step in reversed(self.steps):
            here = values[step.start : step.stop]
            if step.own is not None:
                values[2 * step.start - step.stop : step.start] += (step.own * here.T).T
            values[: step.of_holes.shape[1]] += step.of_holes.T @ here
        return values

    def _propagated(self, values: Float32Array) -> Float32Array:
        """`(1 - B)⁻¹ values`, in place."""
        for step in self.steps:
            known = step.of_holes @ values[: step.of_holes.shape[1]]
            if step.own is not None:
                known += step.own * values[2 * step.start - step.stop : step.start]
            values[step.start : step.stop] += known
        return values


def factor_holes(
    valid: BoolArray,
    cl: FloatArray,
    noise_std: float | FloatArray,
    hole_noise_std: float,
    *,
    nearest: int = NEAREST,
    targets: BoolArray | None = None,
    threads: int | None = None,
) -> HoleFactor:
    """Condition all hole pixels on the data and on one another.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where observed. One pixel at least of either kind.
    cl
        (lmax+1,) float, power of the signal in the map, unit²; entries 0 and 1 are not used: the constant is
        marginalized.
    noise_std
        White noise of the data, a float or (npix,) float in RING order, unit; never read in holes.
    hole_noise_std
        White noise that the hole pixels' observation is to have, above 0, unit.
    nearest
        Neighbors of a pixel (those of coarse groups have more).
    targets
        (npix,) bool, the hole pixels that are wanted; None: all that are not observed.
    threads
        None: all available cores. The result does not depend on it.

    Returns
    -------
    HoleFactor
        Of the hole pixels' observations. Spectrum and noise are taken to be checked (`hole_posterior.hole_factor`).
    """
    threads = available_cores() if threads is None else threads
    conditioning = Conditioning(valid, nearest, targets)
    n_data, n_holes = conditioning.data.size, conditioning.holes.size
    extra = hole_noise_std**2
    expect(n_holes)
    noise = np.square(np.broadcast_to(noise_std, valid.shape)[conditioning.data])
    variance = np.concatenate([noise, np.full(n_holes, extra)])
    steps = []
    std = np.empty(n_holes, dtype=np.float32)
    covered = 0.0
    for group in conditioning.groups():
        needed = min(2.0, 2 * group.reach)
        if not needed <= covered <= 4 * needed:  # a table that is much too long is a slow one
            covered = min(2.0, 1.5 * needed)
            table = CovarianceTable.from_cl(cl, covered)
        points = conditioning.vectors[n_data + group.start : n_data + group.stop]
        weigh = partial(neighbor_weights, table=table, threads=threads)
        weights, error = group_weights(group, points, conditioning.vectors, variance, extra, weigh)
        std[group.start : group.stop] = np.sqrt(np.square(error, dtype=np.float64) + extra)
        steps.append(_step(group, weights, n_data))
    depth = 2 * np.arcsin(conditioning.depth / 2) / pixel_size(maps.npix_to_nside(valid.size))
    return HoleFactor(
        valid.size,
        conditioning.holes,
        conditioning.data,
        tuple(steps),
        std,
        hole_noise_std,
        depth.astype(np.float32),
    )


def group_weights(
    group: Group, points: FloatArray, vectors: FloatArray, noise: FloatArray, in_holes: float, weigh: Weigh
) -> tuple[AnyArray, AnyArray]:
    """The weights of a group's neighbors and the errors left: those of a pattern are made once for all that follow it.

    Parameters
    ----------
    group
        Pixels and their neighbors.
    points, vectors, noise
        As `weigh` takes them, of all pixels of the group.
    in_holes
        Variance of the noise of hole pixels.
    weigh
        `neighbor_weights`, or `pair_weights`, but for points, vectors, noise, numbers, present.
    """
    if group.patterns is None or group.pattern is None or np.all(group.pattern < 0):
        return weigh(points, vectors, noise, group.numbers, group.present)
    own = np.flatnonzero(group.pattern < 0)
    used = np.unique(group.pattern[group.pattern >= 0])
    neighbors = group.patterns.neighbors[used]
    numbers = np.arange(neighbors.shape[0] * neighbors.shape[1]).reshape(neighbors.shape[:2])
    shared = weigh(
        group.patterns.points[used], neighbors.reshape(-1, 3), np.full((*noise.shape[:-1], numbers.size), in_holes),
        numbers, np.ones(numbers.shape, dtype=bool),
    )  # fmt: skip
    single = weigh(points[own], vectors, noise, group.numbers[own], group.present[own])
    weights, error = (one[np.searchsorted(used, group.pattern)] for one in shared)
    weights[own], error[own] = single
    advance(group.pattern.size - own.size)
    return weights, error


def _step(group: Group, weights: AnyArray, n_data: int) -> Step:
    """The group's weights apart: of data, and of earlier hole pixels."""
    of_data = group.present & (group.numbers < n_data)
    return Step(
        group.start,
        group.stop,
        sparse_rows(group.numbers, weights, of_data, n_data),
        sparse_rows(group.numbers - n_data, weights, group.present & ~of_data, group.start),
    )


def sparse_rows(columns: AnyArray, weights: AnyArray, chosen: BoolArray, width: int) -> Any:
    """Weights (n, k) at columns (n, k) as a matrix, those that are chosen; float32."""
    # Indices of 64 bits would make the factor half as large again.
    starts = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))]).astype(np.int32)
    return sparse.csr_array((weights[chosen], columns[chosen], starts), shape=(len(chosen), width))
