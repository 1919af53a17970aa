"""Observed pixels held out for a test: the mask's own holes, rotated into clean sky.

Inputs: an inpainting plan, a generator. Outputs: `Holdout`, a plan whose targets are observed pixels.

A hole keeps its shape under a rotation of the sphere, so that rotated holes are like the mask's in size and depth.
Holes too large to fit anywhere, such as a Galactic band, are replaced by discs that reach the same depth bins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.holes import grow
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors, pixels_at
from cmbinpaint.validation.depths import DEPTH_EDGES

# Rings of observed pixels that stay between a held-out hole and the next, or the mask's own.
GAP = 2
# Largest fraction of the data held out: what predicts the rest must remain a sky of that mask.
MOST = 0.1
# A hole larger than this fraction of the data fits nowhere.
GIANT = 0.01
# Discs for each depth bin that only giant holes reach, and by how many pixels their radius exceeds its lower edge.
DISCS = 8
BEYOND_EDGE = 1.7
_TRIED = 4000  # centers tried for discs
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Holdout:
    """A test of filling on observed pixels.

    Attributes
    ----------
    plan
        Data, and the held-out pixels as targets; the mask's own holes are excluded.
    n_holes, n_discs
        How many rotated holes and how many discs they are.
    """

    plan: InpaintingPlan
    n_holes: int
    n_discs: int


def hold_out(plan: InpaintingPlan, rng: np.random.Generator, n_rotations: int) -> Holdout:
    """Hold out rotated holes of a plan.

    Parameters
    ----------
    plan
        Its unobserved pixels that are not excluded are the holes; those of their pixels that are not targets
        (guards) are held out too, but are not targets here either.
    rng
        Of the rotations.
    n_rotations
        At most this many; fewer if a tenth of the data is held out before.

    Raises
    ------
    MaskError
        If there are no holes, or none fits into the observed sky.
    """
    missing = ~plan.valid & ~plan.excluded
    if not plan.targets.any():
        raise MaskError("no pixel is filled with this mask, so there is nothing to check")
    labels = masks.hole_labels(~missing)
    free = plan.valid & ~grow(~plan.valid, GAP, plan.nside)
    held, targets = np.zeros_like(free), np.zeros_like(free)
    n_discs = 0
    giant = masks.hole_sizes(labels) > GIANT * np.count_nonzero(plan.valid)
    for disc in _discs(plan, labels, giant, free, rng):
        _hold(disc, free, held, plan.nside)
        targets[disc] = True
        n_discs += 1
    n_holes = 0
    for _ in range(n_rotations):
        source = _rotated_pixels(plan.nside, _rotation(rng))
        label = labels[source]
        fits = np.ones(labels.max() + 1, dtype=bool)
        fits[label[~free]] = False
        fits[0] = False
        chosen = np.flatnonzero(fits[label])
        n_holes += len(np.unique(label[chosen]))
        targets[chosen] = plan.targets[source[chosen]]
        _hold(chosen, free, held, plan.nside)
        if np.count_nonzero(held) > MOST * np.count_nonzero(plan.valid):
            break
    if not targets.any():
        raise MaskError(
            "no hole of this mask fits into the observed sky, whole and two pixels from the next; the check needs "
            "more observed sky around holes"
        )
    valid = plan.valid & ~held
    return Holdout(InpaintingPlan(plan.nside, valid, targets, ~valid & ~targets), n_holes, n_discs)


def _hold(pixels: IntArray, free: BoolArray, held: BoolArray, nside: int) -> None:
    """Hold pixels out, and keep others away from them."""
    held[pixels] = True
    taken = np.zeros_like(free)
    taken[pixels] = True
    free &= ~grow(taken, GAP, nside)


def _rotated_pixels(nside: int, rotation: FloatArray) -> IntArray:
    """(npix,) the pixel that comes to lie on each pixel when the sphere is rotated."""
    npix = 12 * nside**2
    chunks = np.array_split(np.arange(npix), max(1, npix // _CHUNK))
    return np.concatenate([pixels_at(nside, pixel_vectors(nside, c) @ rotation) for c in chunks])


def _rotation(rng: np.random.Generator) -> FloatArray:
    """A uniformly random rotation matrix: a random unit quaternion (Shoemake 1992, Graphics Gems III)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _discs(
    plan: InpaintingPlan, labels: AnyArray, giant: BoolArray, free: BoolArray, rng: np.random.Generator
) -> Iterator[IntArray]:
    """Discs for the depth bins that only giant holes reach, largest first; `free` is read as it shrinks."""
    in_giant = np.append(False, giant)[labels]
    lower = [low for low, high in pairwise((*DEPTH_EDGES, np.inf)) if _mostly(plan, in_giant, low, high)]
    centers = np.flatnonzero(free)
    if not lower or not centers.size:
        return
    centers = rng.choice(centers, min(_TRIED, centers.size), replace=False)
    _, _, angles = masks.nearest_observed(~plan.valid, 1, targets=centers)
    room = angles[:, 0] / pixel_size(plan.nside)
    for low in reversed(lower):
        radius = low + BEYOND_EDGE
        placed = 0
        for center in centers[room > radius + GAP]:
            if placed == DISCS:
                break
            if free[center] and free[disc := _disc(plan.nside, int(center), radius)].all():
                placed += 1
                yield disc


def _mostly(plan: InpaintingPlan, in_giant: BoolArray, low: float, high: float) -> bool:
    """Whether a depth bin has targets, and at least half of them in giant holes."""
    inside = plan.targets & (plan.depth > low) & (plan.depth <= high)
    return bool(inside.any() and 2 * np.count_nonzero(inside & in_giant) >= np.count_nonzero(inside))


def _disc(nside: int, center: int, radius: float) -> IntArray:
    """The pixels within `radius` (pixels) of a pixel's center."""
    region = np.zeros(12 * nside**2, dtype=bool)
    region[center] = True
    around = np.flatnonzero(grow(region, int(np.ceil(radius / 0.7)), nside))  # a ring is at least 0.7 wide
    cosine = pixel_vectors(nside, around) @ pixel_vectors(nside, np.array([center]))[0]
    return around[cosine >= np.cos(radius * pixel_size(nside))]
