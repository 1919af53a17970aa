"""A quick smooth fill, so that holes do not leak power before a spectrum is measured.

Inputs: a map with holes. Outputs: the map with each hole bridged smoothly.

A map that is 0 in its holes has edges of the size of the field: with a wide beam their power exceeds the
sky's at high multipoles a thousandfold. A bridge that is continuous at the edge lowers that by one to two
orders. It works on the twelve base faces as images, each by itself: fast at any nside, and good enough
where no pixel is wanted.
"""

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.sphere import maps

SWEEPS = 6  # of the neighbor mean at each level; more change the leaked power by less than a percent


def smooth_fill(values: FloatArray, valid: BoolArray) -> FloatArray:
    """Bridge the holes of a map by iterated neighbor means, coarse scales first.

    Parameters
    ----------
    values
        (npix,) float, RING; never read where not valid.
    valid
        (npix,) bool, RING; True where observed.

    Returns
    -------
    (npix,) float64, RING: `values` where valid; linear in them.
    """
    weight = faces(maps.to_nest(np.where(valid, 1.0, 0.0)))
    total = faces(maps.to_nest(np.where(valid, values, 0.0)))
    filled = maps.to_ring(unfaces(_bridge(total, weight)))
    return np.where(valid, values, filled)


def faces(nested: AnyArray) -> AnyArray:
    """Return a NEST map as its base faces, (12, nside, nside)."""
    levels, order = _bits(nested.size)
    side = 1 << levels
    return nested.reshape((12,) + (2,) * (2 * levels)).transpose(order).reshape(12, side, side)


def unfaces(images: AnyArray) -> AnyArray:
    """Return the NEST map of twelve base faces; the inverse of `faces`."""
    levels, order = _bits(images.size)
    return images.reshape((12,) + (2,) * (2 * levels)).transpose(np.argsort(order)).ravel()


def _bits(npix: int) -> tuple[int, list[int]]:
    """Return log2(nside), and the axes that sort the interleaved bits of x and y."""
    levels = ((npix // 12).bit_length() - 1) // 2
    rows = [1 + 2 * i for i in range(levels)]
    return levels, [0, *rows, *(axis + 1 for axis in rows)]


def _bridge(total: FloatArray, weight: FloatArray) -> FloatArray:
    """Return means total/weight where there is weight, a smooth bridge elsewhere."""
    known = weight > 0
    mean = np.divide(total, weight, out=np.zeros_like(total), where=known)
    if known.all():
        return mean
    if total.shape[1] == 1:
        mean[~known] = total.sum() / weight.sum()
        return mean
    filled = np.where(known, mean, _finer(_bridge(_coarser(total), _coarser(weight))))
    for _ in range(SWEEPS):
        np.copyto(filled, _neighbor_mean(filled), where=~known)
    return filled


def _coarser(images: FloatArray) -> FloatArray:
    half = images.shape[1] // 2
    return images.reshape(12, half, 2, half, 2).sum(axis=(2, 4))


def _finer(images: FloatArray) -> FloatArray:
    return images.repeat(2, axis=1).repeat(2, axis=2)


def _neighbor_mean(images: FloatArray) -> FloatArray:
    """Return the mean of the eight neighbors, edges repeated."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] - images) / 8.0
