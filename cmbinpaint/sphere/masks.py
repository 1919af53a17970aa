"""Masks and the holes in them: reading a user's mask, labels, sizes, depths, neighbors, guards, weights.

Takes: masks of any type and order; inside, bool `valid` (npix,) in RING, True = observed.
Gives: the geometry of the holes. Floor: 1.
"""

from typing import Any

import healpy as hp
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere.maps import check_nside, is_unseen, npix_to_nside, to_ring

__all__ = [
    "apodize", "depth", "fsky", "guard", "hole_labels", "hole_sizes", "nearest_observed",
    "neighbor_table", "take_mask",
]  # fmt: skip

_CHUNK = 1 << 20  # pixels handled at once: bounds each temporary to some tens of MiB
# A tree of only the pixels near holes needs this many rings beyond the half-disc estimate: pixels near the
# polar caps are rhombi, so that a ring is narrower one way than the other.
_SPARE_RINGS = 3


def take_mask(
    mask: Any, nside: int | None = None, *, nest: bool = False, threshold: float | None = None
) -> BoolArray:
    """Return a user's mask as bool (npix,) in RING order, True = observed.

    Parameters
    ----------
    mask
        (npix,), (npix, 1) or (1, npix) array of booleans, integers or floats, 1 = observed; entries hidden in
        a masked array count as holes. It is never written to.
    nside
        The map's resolution, which the mask must have; None: whatever the mask has.
    nest
        Whether the mask is in NESTED order.
    threshold
        For a mask with values between 0 and 1: pixels of at least this value are observed.

    Raises
    ------
    MaskError
        If it is no mask, does not fit the map, or holds other values than 0 and 1 and no threshold is given.
    """
    values = _mask_values(mask)
    try:
        own = npix_to_nside(values.size)
    except ValueError as error:
        raise MaskError(f"the mask does not fit: {error}") from error
    if nside is not None and own != check_nside(nside):
        order = ', order_in="NESTED", order_out="NESTED"' if nest else ""
        raise MaskError(
            f"the mask has nside {own}, the map nside {nside}; bring it to the map's with\n"
            f"    mask = healpy.ud_grade(mask.astype(float), {nside}{order}) > 0.9"
        )
    valid = _observed(values, threshold)
    return np.asarray(to_ring(valid), dtype=bool) if nest else valid


def _mask_values(mask: Any) -> AnyArray:
    """Return the mask as a one-dimensional array of numbers, hidden entries as 0."""
    hidden = np.ma.getmaskarray(mask) if isinstance(mask, np.ma.MaskedArray) else None
    try:
        values = np.asarray(np.ma.getdata(mask))
    except ValueError as error:
        raise MaskError(f"a mask is one array of 0 and 1; got {type(mask).__name__}: {error}") from error
    if values.dtype.kind not in "biuf":
        raise MaskError(
            f"a mask is an array of 0 and 1 (1 = observed); got {type(mask).__name__} of dtype {values.dtype}"
        )
    if values.ndim == 0 or values.size == 0:
        raise MaskError(
            f"a mask is an array of 12 nside**2 pixels; got {type(mask).__name__} of shape {values.shape}"
        )
    if hidden is not None and hidden.any():
        values = np.where(hidden, np.zeros((), dtype=values.dtype), values)
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise MaskError(f"the mask has shape {values.shape}; one mask of shape (npix,) was expected")
    return values


def _observed(values: AnyArray, threshold: float | None) -> BoolArray:
    if threshold is not None and not (np.isfinite(threshold) and threshold > 0):
        raise MaskError(f"mask_threshold must be a number above 0 (0.9, say); got {threshold!r}")
    if values.dtype.kind == "b":
        return values.astype(bool)
    if values.dtype.kind == "f":
        nans = np.isnan(values)
        if nans.any():
            raise MaskError(_faulty(nans, "NaN", "set them to 0 (hole) or 1 (observed)"))
    negative = values < 0
    if negative.any():
        unseen = values.dtype.kind == "f" and bool(np.all(is_unseen(values[negative])))
        what = "UNSEEN (-1.6375e30)" if unseen else "negative"
        raise MaskError(_faulty(negative, what, "a mask holds 1 = observed and 0 = hole; set them to 0"))
    if threshold is not None:
        return np.asarray(values >= threshold, dtype=bool)
    other = (values != 0) & (values != 1)
    if other.any():
        low, high = float(values.min()), float(values.max())
        raise MaskError(
            _faulty(other, "neither 0 nor 1", f"the values go from {low:g} to {high:g}")
            + "; apodized? give mask_threshold (pixels of at least that value count as observed)"
        )
    return values.astype(bool)


def _faulty(where: BoolArray, what: str, remedy: str) -> str:
    count, first = int(np.count_nonzero(where)), int(np.argmax(where))
    return f"the mask has {count} pixel{'s' * (count != 1)} that are {what}, the first at {first}; {remedy}"


def fsky(weights: npt.ArrayLike) -> float:
    """Return the sky fraction of a mask or of weights: their mean."""
    return float(np.mean(np.asarray(weights), dtype=np.float64))


def neighbor_table(nside: int) -> IntArray:
    """Return the 8 neighbors of every pixel, (npix, 8) int64 in RING; -1 where a pixel has only 7 (or 6)."""
    nside = check_nside(nside)
    return _neighbors(nside, np.arange(12 * nside * nside))


def _neighbors(nside: int, pixels: npt.NDArray[Any]) -> IntArray:
    """Return (n, 8) RING neighbors; -1 where missing, and a repeated neighbor (nside 1) is kept."""
    return np.ascontiguousarray(hp.get_all_neighbours(nside, pixels).T, dtype=np.int64)


def _nside(valid: BoolArray) -> int:
    try:
        return npix_to_nside(valid.size)
    except ValueError as error:
        raise MaskError(f"the mask does not fit: {error}") from error


def _take_valid(valid: npt.ArrayLike) -> BoolArray:
    array = np.asarray(valid)
    if array.dtype.kind != "b" or array.ndim != 1:
        raise MaskError(
            f"valid must be bool of shape (npix,), True = observed; got {array.dtype} of shape "
            f"{array.shape}; use take_mask on a user's mask"
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
    valid = _take_valid(valid)
    nside = _nside(valid)
    labels = np.zeros(valid.size, dtype=np.int32)
    holes = np.flatnonzero(~valid)
    if holes.size == 0:
        return labels
    number = np.full(valid.size, -1, dtype=np.int32)
    number[holes] = np.arange(holes.size, dtype=np.int32)
    counts, columns = [], []
    for start in range(0, holes.size, _CHUNK):
        chunk = holes[start : start + _CHUNK]
        near = _neighbors(nside, chunk)
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


def _grow(region: BoolArray, rings: int, nside: int) -> BoolArray:
    """Return the region with `rings` rings of neighboring pixels added."""
    grown = region.copy()
    front = np.flatnonzero(region)
    for _ in range(rings):
        fresh = []
        for start in range(0, front.size, _CHUNK):
            near = _neighbors(nside, front[start : start + _CHUNK])
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
    valid = _take_valid(valid)
    if rings != int(rings) or rings < 0:
        raise MaskError(f"guard is a number of rings of pixels, 0 or more; got {rings!r}")
    return ~_grow(~valid, int(rings), _nside(valid))


def _unit_vectors(nside: int, pixels: npt.NDArray[Any]) -> FloatArray:
    return np.stack(hp.pix2vec(nside, pixels), axis=-1)


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
    valid = _take_valid(valid)
    nside = _nside(valid)
    n_observed = int(np.count_nonzero(valid))
    if not 1 <= k <= n_observed:
        raise MaskError(f"{k} nearest observed pixels were asked for; the mask has {n_observed} observed")
    if targets is None:
        chosen: IntArray = np.flatnonzero(~valid).astype(np.int64)
        # Only pixels near holes are searched. Delaunay neighbors of HEALPix centers are among the 8 neighbors
        # (a test checks it), and one of them is always nearer to a given center: the nearest observed pixel
        # touches a hole. A pixel r rings from all holes has half a disc of radius r of nearer observed pixels
        # beside it: beyond sqrt(2 k / pi) rings there is none of the k nearest.
        rings = 1 if k == 1 else int(np.ceil(np.sqrt(2 * k / np.pi))) + _SPARE_RINGS
        candidates = np.flatnonzero(_grow(~valid, rings, nside) & valid)
        if candidates.size < k:
            candidates = np.flatnonzero(valid)
    else:
        chosen = np.asarray(targets, dtype=np.int64).reshape(-1)
        candidates = np.flatnonzero(valid)
    pixels = np.empty((chosen.size, k), dtype=np.int64)
    angles = np.empty((chosen.size, k), dtype=np.float64)
    if chosen.size == 0:
        return chosen, pixels, angles
    tree = cKDTree(_unit_vectors(nside, candidates), balanced_tree=False)
    for start in range(0, chosen.size, _CHUNK):
        here = slice(start, start + _CHUNK)
        chord, found = tree.query(_unit_vectors(nside, chosen[here]), k=k, workers=-1)
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
    valid = _take_valid(valid)
    if not valid.any():
        raise MaskError("all pixels are masked: nothing is observed, so no hole has a depth")
    targets, _, angles = nearest_observed(valid, 1)
    out = np.zeros(valid.size, dtype=np.float64)
    out[targets] = angles[:, 0] / hp.nside2resol(_nside(valid))
    return out


def apodize(valid: BoolArray, radius_deg: float) -> FloatArray:
    """Return weights that rise smoothly from 0 in the holes to 1 at `radius_deg` from them.

    The "C2" taper, `(1 - cos(pi x)) / 2` with `x = sqrt((1 - cos t) / (1 - cos radius))`, t the angle to the
    nearest hole pixel's center (Grain, Tristram & Stompor 2009, Phys. Rev. D 79, 123515).

    Parameters
    ----------
    valid
        (npix,) bool, RING, True = observed.
    radius_deg
        Width of the taper in degrees, at most 90; 0 gives the mask itself as weights.

    Returns
    -------
    weights
        (npix,) float64 in [0, 1].
    """
    valid = _take_valid(valid)
    if not 0 <= radius_deg <= 90:
        raise MaskError(f"an apodization radius is 0 to 90 degrees; got {radius_deg!r}")
    weights = valid.astype(np.float64)
    if radius_deg == 0 or valid.all() or not valid.any():
        return weights
    nside = _nside(valid)
    # Mirror of `depth`: the nearest hole pixel of an observed pixel touches an observed pixel.
    rim = np.flatnonzero(_grow(valid, 1, nside) & ~valid)
    tree = cKDTree(_unit_vectors(nside, rim), balanced_tree=False)
    reach = 2 * np.sin(np.radians(radius_deg) / 2)
    observed = np.flatnonzero(valid)
    for start in range(0, observed.size, _CHUNK):
        chunk = observed[start : start + _CHUNK]
        chord, _ = tree.query(_unit_vectors(nside, chunk), distance_upper_bound=reach, workers=-1)
        # chord / reach is the x above; no hole within reach comes back as inf.
        weights[chunk] = 0.5 * (1 - np.cos(np.pi * np.minimum(chord / reach, 1.0)))
    return weights
