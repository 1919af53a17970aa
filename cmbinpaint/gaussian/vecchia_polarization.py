"""What the data say of Q and U in all hole pixels together: their conditional mean and a sparse factor of it.

Inputs: a mask, the map-level spectra of E and B, the noise. Outputs: `HoleFactor`.

As of T (`vecchia`), with each pixel's Q and U taken together: both are kriged from the Q and U of a few neighbors,
and U from its own pixel's Q besides, so that what is left over is independent. Values are numbered as maps (2, npix) in
a row.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from cmbinpaint._machine import available_cores
from cmbinpaint._ticks import expect
from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.conditioning_sets import NEAREST, Conditioning, Group
from cmbinpaint.gaussian.polarization_weights import pair_weights
from cmbinpaint.gaussian.vecchia import HoleFactor, Step, group_weights, sparse_rows
from cmbinpaint.sphere import maps
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_size


def factor_polarization(
    valid: BoolArray,
    signal_cl: FloatArray,
    noise_std: FloatArray,
    hole_noise_std: float,
    *,
    nearest: int = NEAREST,
    targets: BoolArray | None = None,
    threads: int | None = None,
) -> HoleFactor:
    """Condition Q and U of all hole pixels on the data and on one another.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where Q and U are observed. One pixel at least of either kind.
    signal_cl
        (2, 2, lmax+1) spectra of E and B in the map, unit²; EB is taken for zero.
    noise_std
        (2, npix) white noise of the data, RING, unit; never read in holes.
    hole_noise_std, nearest, targets, threads
        As in `vecchia.factor_holes`.

    Returns
    -------
    HoleFactor
        Of the hole pixels' observations, Q and U.
    """
    threads = available_cores() if threads is None else threads
    conditioning = Conditioning(valid, nearest, targets)
    n_data, n_holes, npix = conditioning.data.size, conditioning.holes.size, valid.size
    extra = hole_noise_std**2
    expect(n_holes)
    noise = np.concatenate([np.square(noise_std[:, conditioning.data]), np.full((2, n_holes), extra)], axis=1)
    both, difference = signal_cl[0, 0] + signal_cl[1, 1], signal_cl[0, 0] - signal_cl[1, 1]
    steps: list[Step] = []
    std = np.empty(2 * n_holes, dtype=np.float32)
    position = np.empty((2, n_holes), dtype=np.int32)  # of each pixel's Q and U among the ordered values
    covered = 0.0
    for group in conditioning.groups():
        needed = min(2.0, 2 * group.reach)
        if not needed <= covered <= 4 * needed:
            covered = min(2.0, 1.5 * needed)
            tables = (
                CovarianceTable.from_cl(both, covered, "xi+"),
                CovarianceTable.from_cl(difference, covered, "xi-"),
            )
        start, stop = group.start, group.stop
        points = conditioning.vectors[n_data + start : n_data + stop]
        weigh = partial(pair_weights, tables=tables, threads=threads)
        weights, error = group_weights(group, points, conditioning.vectors, noise, extra, weigh)
        of_q = error[:, 0, 0] + extra
        own = error[:, 1, 0] / of_q  # U's weight on its own pixel's Q
        first, middle, last = 2 * start, start + stop, 2 * stop
        std[first:middle] = np.sqrt(of_q)
        std[middle:last] = np.sqrt(np.maximum(error[:, 1, 1] - own * error[:, 1, 0], 0.0) + extra)
        steps += _steps(group, weights, own, position, n_data)
        position[0, start:stop] = np.arange(first, middle)
        position[1, start:stop] = np.arange(middle, last)
    holes = np.empty(2 * n_holes, dtype=np.int64)
    depth = np.empty(2 * n_holes, dtype=np.float32)
    angle = 2 * np.arcsin(conditioning.depth / 2) / pixel_size(maps.npix_to_nside(npix))
    for stokes in (0, 1):
        holes[position[stokes]] = conditioning.holes + stokes * npix
        depth[position[stokes]] = angle
    data: IntArray = np.concatenate([conditioning.data, conditioning.data + npix])
    return HoleFactor(npix, holes, data, tuple(steps), std, hole_noise_std, depth, free_constant=False)


def _steps(
    group: Group, weights: AnyArray, own: FloatArray, position: AnyArray, n_data: int
) -> tuple[Step, Step]:
    """The group's Q, from data and earlier pixels; and its U, from the same and from its Q."""
    start, stop = group.start, group.stop
    is_datum = group.numbers < n_data
    of_data, of_holes = (np.tile(group.present & which, 2) for which in (is_datum, ~is_datum))
    data = np.concatenate([group.numbers, group.numbers + n_data], axis=1)
    earlier = np.where(is_datum, 0, group.numbers - n_data)
    holes = np.concatenate([position[0, earlier], position[1, earlier]], axis=1)
    weights_of_u = (weights[:, 1] - own[:, None] * weights[:, 0]).astype(np.float32)

    def rows(columns: AnyArray, chosen: BoolArray, width: int) -> tuple[Any, Any]:
        of_q = sparse_rows(columns, weights[:, 0], chosen, width)
        # Of U at the same places, which are half of what a matrix weighs.
        return of_q, sparse.csr_array((weights_of_u[chosen], of_q.indices, of_q.indptr), shape=of_q.shape)

    (q_of_data, u_of_data), (q_of_holes, u_of_holes) = (
        rows(data, of_data, 2 * n_data), rows(holes, of_holes, 2 * start),
    )  # fmt: skip
    return (
        Step(2 * start, start + stop, q_of_data, q_of_holes),
        Step(start + stop, 2 * stop, u_of_data, u_of_holes, own.astype(np.float32)),
    )
