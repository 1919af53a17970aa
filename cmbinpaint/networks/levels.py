"""A hole is filled from its edge inwards: each level of patches goes deeper, at twice the step.

Inputs: a plan, the depth of its hole pixels. Outputs: `Level`s, finest first.

Patches of the first level have half a map pixel a step and answer for what lies within their reach. What lies deeper is
left to a map of half the resolution (means of four pixels), of which the pixels that finer levels filled are data like
the observed ones; and so on, up to a step of 27.5'. Levels fade into each other with the depth.
"""

from dataclasses import dataclass, field

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.networks.cutting import nearest_pixels
from cmbinpaint.networks.tiling import SIDE, Tiling
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.maps import degrade
from cmbinpaint.sphere.pixels import pixel_vectors

# Depth, in pixels of its own map, to which a level is trusted alone, and beyond which it has no weight.
FADE = (5.0, 8.0)
# Its patches have a step of 27.5' and are 54 deg wide: a degree at their corners is 1.5 times as long as in the middle.
COARSEST_NSIDE = 64


@dataclass(frozen=True, eq=False)
class Level:
    """Patches of one step and what they answer for.

    Attributes
    ----------
    nside
        Of the map that patches are cut from.
    pixels
        (n,) int64, RING: the filled map's pixels that this level answers for.
    weight
        (n,) float32: how much of the answer is this level's; the rest is what finer levels filled.
    known
        (12 nside²,) bool, RING: pixels that are data for this level, observed or filled by finer ones.
    tiling
        Its patches; members are places in `pixels`.
    """

    nside: int
    pixels: IntArray
    weight: AnyArray
    known: BoolArray = field(repr=False)
    tiling: Tiling


def lay_levels(
    plan: InpaintingPlan, depth: AnyArray, *, side: int = SIDE, coarsest: int = COARSEST_NSIDE
) -> tuple[Level, ...]:
    """Lay out the levels that a plan needs.

    Parameters
    ----------
    plan
        What is data, what is filled.
    depth
        (npix,) angle from each hole pixel to the nearest datum, in the map's pixels; not read where observed.
    side
        Pixels along a patch's edge.
    coarsest
        nside of the last level's map.

    Raises
    ------
    MaskError
        If a hole is so wide that a patch of the last level sees no datum.
    """
    wanted = np.flatnonzero(~plan.valid & ~plan.excluded)
    levels: list[Level] = []
    nside, ratio = plan.nside, 1
    while wanted.size:
        last = nside <= coarsest
        pixels = wanted if last else wanted[depth[wanted] < ratio * FADE[1]]
        if pixels.size:
            levels.append(_level(plan, depth, nside, ratio, pixels, side))
        if last:
            _check_sight(levels[-1])
            break
        wanted = wanted[depth[wanted] > ratio * FADE[0]]
        nside, ratio = nside // 2, 2 * ratio
    return tuple(levels)


def _level(
    plan: InpaintingPlan, depth: AnyArray, nside: int, ratio: int, pixels: IntArray, side: int
) -> Level:
    finer = 0.5 * ratio  # a finer level's pixel, in the map's pixels
    known = plan.valid
    weight = np.ones(pixels.size, np.float32)
    if ratio > 1:
        known = plan.valid | (~plan.excluded & (depth <= finer * FADE[0]))
        known = degrade(np.zeros(known.size), known, nside, min_fraction=1.0)[1]
        weight = fade(depth[pixels] / finer)
    tiling = Tiling.cover(nside, pixel_vectors(plan.nside, pixels), side)
    return Level(nside, pixels, weight, known, tiling)


def _check_sight(level: Level) -> None:
    """Refuse a level of which a patch sees nothing; finer levels answer near data only."""
    for plane in level.tiling.planes:
        if not level.known[nearest_pixels(level.nside, [plane])].any():
            raise MaskError(
                f"a patch {plane.grid.field_deg:.0f} deg wide sees no observed pixel at longitude {plane.lon_deg:.0f}, "
                f"latitude {plane.lat_deg:.0f} deg: the hole is too wide for a network on patches; use "
                "model='default', or exclude= what need not be filled"
            )


def fade(depth: AnyArray) -> AnyArray:
    """From 0 where a finer level is trusted alone to 1 where it has no weight; `depth` in its pixels."""
    t = np.clip((np.log(np.maximum(depth, 1e-9)) - np.log(FADE[0])) / np.log(FADE[1] / FADE[0]), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def level_map(filled: FloatArray, plan_nside: int, nside: int) -> FloatArray:
    """(12 nside²,) the map that a level's patches are cut from."""
    if nside == plan_nside:
        return filled
    return degrade(filled, np.ones(filled.size, bool), nside)[0]
