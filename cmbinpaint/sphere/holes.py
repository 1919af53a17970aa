"""The geometry of holes: labels, sizes, neighbors, depths, nearest observed pixels, guards.

Inputs: bool `valid` (npix,) in RING, True = observed. Outputs: labels, depths in pixels, neighbor lists.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.pixels import pixel_neighbors, pixel_size, pixel_vectors, ring_to_nest

__all__ = ["depth", "grow", "guard", "hole_labels", "hole_sizes", "nearest_observed"]

CHUNK = 1 << 20  # pixels handled at once: bounds each temporary to some tens of MiB
# A tree of only the pixels near holes needs this many rings beyond the half-disc estimate: pixels near the
# polar caps are rhombi, so that a ring is narrower one way than the other.
_SPARE_RINGS = 3


def nside_of(valid: BoolArray) -> int:
    try:
        return npix_to_nside(valid.size)
    except ValueError as error:
        raise MaskError(f"the mask does not fit: {error}") from error


def validate_bool_mask(valid: npt.ArrayLike) -> BoolArray:
    array = np.asarray(valid)
    if array.dtype.kind != "b" or array.ndim != 1:
        raise MaskError(
            f"valid must be bool of shape (npix,), True = observed; got {array.dtype} of shape "
            f"{array.shape}; use validate_mask on a user's mask"
        )
    return array


def hole_labels(valid: BoolArray) -> npt.NDArray[np.int32]:
    """Return the number of the hole each pixel belongs to.

    Two hole pixels belong together if they share an edge or a corner (8-connectivity).

    Parameters
    ----------
    valid
        (npix,) bool, RING, True = observed.

    Returns
    -------
    labels
        (npix,) int32: 0 where observed, else 1 to n in the order of each hole's first pixel.
    """
    valid = validate_bool_mask(valid)
    nside = nside_of(valid)
    labels = np.zeros(valid.size, dtype=np.int32)
    holes = np.flatnonzero(~valid)
    if holes.size == 0:
        return labels
    number = np.full(valid.size, -1, dtype=np.int32)
    number[holes] = np.arange(holes.size, dtype=np.int32)
    counts, columns = [], []
    for start in range(0, holes.size, CHUNK):
        chunk = holes[start : start + CHUNK]
        near = pixel_neighbors(nside, chunk)
        # Each pair once, from its lower pixel: half the graph says as much as the whole.
        linked = (near > chunk[:, None]) & (number[near] >= 0)
        counts.append(np.count_nonzero(linked, axis=1).astype(np.int32))
        columns.append(number[near[linked]])
    indices = np.concatenate(columns)
    indptr = np.zeros(holes.size + 1, dtype=np.int32)
    np.cumsum(np.concatenate(counts), out=indptr[1:])
    edges = csr_array((np.ones(indices.size, dtype=np.int8), indices, indptr), shape=(holes.size, holes.size))
    n_holes, component = connected_components(edges, directed=False)
    # Number the holes by their first pixel, whatever order the search found them in.
    first = np.empty(n_holes, dtype=np.int64)
    first[component[::-1]] = np.arange(holes.size)[::-1]
    rank = np.empty(n_holes, dtype=np.int32)
    rank[np.argsort(first)] = np.arange(1, n_holes + 1, dtype=np.int32)
    labels[holes] = rank[component]
    return labels


def hole_sizes(labels: npt.NDArray[np.int32]) -> IntArray:
    """Return the number of pixels of each hole, (n,) int64, for the labels of `hole_labels`."""
    return np.bincount(labels)[1:].astype(np.int64)


def grow(region: BoolArray, rings: int, nside: int) -> BoolArray:
    """Return the region with `rings` rings of neighboring pixels added."""
    grown = region.copy()
    front = np.flatnonzero(region)
    for _ in range(rings):
        fresh = []
        for start in range(0, front.size, CHUNK):
            near = pixel_neighbors(nside, front[start : start + CHUNK])
            near = near[near >= 0]
            near = np.unique(near[~grown[near]])
            grown[near] = True
            fresh.append(near)
        front = np.concatenate(fresh) if fresh else front[:0]
        if front.size == 0:
            break
    return grown


def guard(valid: BoolArray, rings: int) -> BoolArray:
    """Return `valid` with the observed pixels within `rings` rings of a hole turned off.

    A ring is all pixels that share an edge or a corner with the hole as grown so far.
    """
    valid = validate_bool_mask(valid)
    if rings != int(rings) or rings < 0:
        raise MaskError(f"guard is a number of rings of pixels, 0 or more; got {rings!r}")
    return ~grow(~valid, int(rings), nside_of(valid))


def _angle(chord: FloatArray) -> FloatArray:
    return 2 * np.arcsin(np.minimum(chord / 2, 1.0))


def nearest_observed(
    valid: BoolArray, k: int, *, targets: npt.NDArray[np.integer[Any]] | None = None
) -> tuple[IntArray, IntArray, FloatArray]:
    """Find the k observed pixels nearest to each target.

    Parameters
    ----------
    valid
        (npix,) bool, RING, True = observed.
    k
        How many; at most the number of observed pixels.
    targets
        (n,) RING indices of any pixels; None: all holes. An observed target is its own nearest.

    Returns
    -------
    targets
        (n,) int64, as given or all holes in ascending order.
    pixels
        (n, k) int64 RING indices of observed pixels, nearest first.
    angles
        (n, k) float64, the angles between the centers, radians.
    """
    valid = validate_bool_mask(valid)
    nside = nside_of(valid)
    n_observed = int(np.count_nonzero(valid))
    if not 1 <= k <= n_observed:
        raise MaskError(f"{k} nearest observed pixels were requested; the mask has {n_observed} observed")
    if targets is None:
        chosen: IntArray = np.flatnonzero(~valid).astype(np.int64)
        # Only pixels near holes are searched. Delaunay neighbors of HEALPix centers are among the 8 neighbors
        # (a test checks it), and one of them is always nearer to a given center: the nearest observed pixel
        # touches a hole. A pixel r rings from all holes has half a disc of radius r of nearer observed pixels
        # beside it: beyond sqrt(2 k / pi) rings there is none of the k nearest.
        rings = 1 if k == 1 else int(np.ceil(np.sqrt(2 * k / np.pi))) + _SPARE_RINGS
        candidates = np.flatnonzero(grow(~valid, rings, nside) & valid)
        if candidates.size < k:
            candidates = np.flatnonzero(valid)
    else:
        chosen = np.asarray(targets, dtype=np.int64).reshape(-1)
        candidates = np.flatnonzero(valid)
    pixels = np.empty((chosen.size, k), dtype=np.int64)
    angles = np.empty((chosen.size, k), dtype=np.float64)
    if chosen.size == 0:
        return chosen, pixels, angles
    tree = cKDTree(pixel_vectors(nside, candidates))
    # Along NESTED order queries that follow each other walk the same branches: two to four times faster.
    order = np.argsort(ring_to_nest(nside, chosen), kind="stable")
    for start in range(0, chosen.size, CHUNK):
        here = order[start : start + CHUNK]
        chord, found = tree.query(pixel_vectors(nside, chosen[here]), k=k, workers=-1)
        pixels[here] = candidates[found.reshape(-1, k)]
        angles[here] = _angle(chord.reshape(-1, k))
    return chosen, pixels, angles


def depth(valid: BoolArray) -> FloatArray:
    """Return each hole pixel's depth.

    Depth is the angle from a hole pixel's center to the nearest observed pixel's center, in units of the
    pixel's side, `nside2resol`; a hole of one pixel has a depth from 0.80 to 1.04.

    Parameters
    ----------
    valid
        (npix,) bool, RING, True = observed; at least one pixel must be.

    Returns
    -------
    depth
        (npix,) float64, 0 where observed.
    """
    valid = validate_bool_mask(valid)
    if not valid.any():
        raise MaskError("all pixels are masked: nothing is observed, so no hole has a depth")
    targets, _, angles = nearest_observed(valid, 1)
    out = np.zeros(valid.size, dtype=np.float64)
    out[targets] = angles[:, 0] / pixel_size(nside_of(valid))
    return out
