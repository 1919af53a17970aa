"""Holes drawn on a flat patch: CoMBInE's random shapes, circles, bands, point sources, and their mixtures.

Inputs: a side in pixels and a numpy Generator. Outputs: (side, side) bool arrays, True = observed.

Curves are walked at steps of one pixel and stamped with a disc, all curves of one thickness at once; a mask
of side 128 takes well under two milliseconds, so that training draws a fresh one for every patch.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError

SMALLEST_SIDE = 8
LEAST_VALID = 0.1  # a patch with less data than this teaches nothing
MOST_SHAPES = 20  # CoMBInE's: 1 to 20 each of lines, circles and arcs
QUARTER_SHAPES = 15  # of each at most, where a quarter of 128x128 is to be hole on average
THICKNESS_SHARE = 0.03  # CoMBInE's: thickness and radius from 3 px to 3 % of height + width


def random_shapes(side: int, rng: np.random.Generator, *, most: int = MOST_SHAPES) -> BoolArray:
    """Draw CoMBInE's irregular mask: 1 to `most` each of lines, filled circles and arcs of ellipses.

    Parameters
    ----------
    side
        Patch side in pixels.
    rng
        Source of randomness.
    most
        The largest number of each; 20 is CoMBInE's rule.

    Returns
    -------
    (side, side) bool, True = observed.

    References
    ----------
    Liu et al. 2018, arXiv 1804.07723 (irregular masks); Montefalcone et al. 2020, arXiv 2011.01433.
    """
    _check_side(side)
    if most < 1:
        raise MaskError(f"the largest number of shapes is {most}; give 1 or more")
    thickest = max(3, int(2 * side * THICKNESS_SHARE))
    n_lines, n_circles, n_arcs = rng.integers(1, most + 1, size=3)
    pieces: list[tuple[FloatArray, FloatArray]] = []  # (points (n, 2), stamp radius (n,))
    for width in rng.integers(3, thickest + 1, size=n_lines):
        pieces.append(_thick(_line(rng.uniform(0, side, size=(2, 2))), width / 2))
    radii = rng.integers(3, thickest + 1, size=n_circles).astype(np.float64)
    pieces.append((rng.uniform(0, side, size=(n_circles, 2)), radii))
    for width in rng.integers(3, thickest + 1, size=n_arcs):
        center, axes = rng.uniform(0, side, size=2), rng.uniform(1, side, size=2)
        turn, start, stop = np.radians(rng.uniform(3, 180, size=3))
        pieces.append(_thick(_arc(center, axes, turn, start, stop), width / 2))
    points = np.concatenate([piece[0] for piece in pieces])
    radii = np.concatenate([piece[1] for piece in pieces])
    return _stamp(side, points, radii)


def circle(side: int, radius_px: float, center: tuple[float, float] | None = None) -> BoolArray:
    """One circular hole.

    Parameters
    ----------
    side
        Patch side in pixels.
    radius_px
        Pixels whose centers lie within this distance are hole.
    center
        (row, col); the middle of the patch, ((side-1)/2, (side-1)/2), by default.

    Returns
    -------
    (side, side) bool, True = observed.
    """
    _check_side(side)
    if not radius_px >= 0:
        raise MaskError(f"circle radius is {radius_px} px; give a radius of 0 or more")
    row0, col0 = ((side - 1) / 2,) * 2 if center is None else center
    axis = np.arange(side, dtype=np.float64)
    return ((axis - row0) ** 2)[:, None] + ((axis - col0) ** 2)[None, :] > radius_px**2


def band(side: int, rng: np.random.Generator, half_width_px: tuple[float, float] | None = None) -> BoolArray:
    """A straight strip or, one time in two, a half-plane at random angle and offset: the Galactic cut.

    Parameters
    ----------
    side
        Patch side in pixels.
    rng
        Source of randomness.
    half_width_px
        Least and most half width of a strip, drawn log-uniformly; by default 2 px to a quarter of the side.

    Returns
    -------
    (side, side) bool, True = observed.
    """
    _check_side(side)
    least, most = (2.0, side / 4) if half_width_px is None else half_width_px
    if not 0 < least <= most:
        raise MaskError(f"band half widths are {least} to {most} px; give 0 < least <= most")
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.arange(side) - (side - 1) / 2
    along = np.sin(angle) * axis[:, None] + np.cos(angle) * axis[None, :]
    if rng.random() < 0.5:
        return along < rng.uniform(-0.25, 0.45) * side
    half_width = np.exp(rng.uniform(np.log(least), np.log(most)))
    return np.abs(along - rng.uniform(-0.5, 0.5) * side) > half_width


def discs(
    side: int,
    rng: np.random.Generator,
    n: tuple[int, int] = (1, 60),
    radius_px: tuple[float, float] = (0.5, 5.0),
) -> BoolArray:
    """Scattered small circular holes: masked point sources.

    Parameters
    ----------
    side
        Patch side in pixels.
    rng
        Source of randomness.
    n
        Least and most number of discs, drawn log-uniformly.
    radius_px
        Least and most radius, drawn log-uniformly for each disc; below 1 a disc is a single pixel.

    Returns
    -------
    (side, side) bool, True = observed.
    """
    _check_side(side)
    if not 1 <= n[0] <= n[1]:
        raise MaskError(f"the number of discs is {n[0]} to {n[1]}; give 1 <= least <= most")
    if not 0 < radius_px[0] <= radius_px[1]:
        raise MaskError(f"disc radii are {radius_px[0]} to {radius_px[1]} px; give 0 < least <= most")
    count = int(np.exp(rng.uniform(np.log(n[0]), np.log(n[1] + 1))))
    radii = np.exp(rng.uniform(np.log(radius_px[0]), np.log(radius_px[1]), size=count))
    # To half-pixel steps, so that few distinct stamps serve all.
    radii = np.maximum(np.round(2 * radii) / 2, 0.5)
    return _stamp(side, rng.uniform(0, side, size=(count, 2)), radii)


def draw_mask(side: int, rng: np.random.Generator) -> BoolArray:
    """A training mask: one of the kinds above at random, or the union of two or three.

    Parameters
    ----------
    side
        Patch side in pixels.
    rng
        Source of randomness.

    Returns
    -------
    (side, side) bool, True = observed; at least a tenth observed and at least one hole pixel.
    """
    _check_side(side)
    for _ in range(20):
        valid = np.ones((side, side), dtype=bool)
        for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
            valid &= _KINDS[rng.choice(len(_KINDS), p=_SHARES)](side, rng)
        if LEAST_VALID <= valid.mean() < 1:
            return valid
    return circle(side, side / 8)


def _random_circle(side: int, rng: np.random.Generator) -> BoolArray:
    radius = np.exp(rng.uniform(np.log(1.0), np.log(0.45 * side)))
    row, col = rng.uniform(0, side - 1, size=2)
    return circle(side, radius, (row, col))


_KINDS: tuple[Callable[[int, np.random.Generator], BoolArray], ...] = (
    random_shapes,
    _random_circle,
    band,
    discs,
)
_SHARES = (0.3, 0.25, 0.2, 0.25)


def _check_side(side: int) -> None:
    if side < SMALLEST_SIDE:
        raise MaskError(f"patch side is {side} px; masks need at least {SMALLEST_SIDE}")


def _line(ends: FloatArray) -> FloatArray:
    """Points (n, 2) from ends[0] to ends[1] at most a pixel apart."""
    steps = int(np.ceil(np.abs(ends[1] - ends[0]).max())) + 1
    return np.linspace(ends[0], ends[1], steps)


def _arc(center: FloatArray, axes: FloatArray, turn: float, start: float, stop: float) -> FloatArray:
    """Points (n, 2) of an ellipse turned by `turn`, between two parametric angles, at most a pixel apart."""
    steps = int(np.ceil(abs(stop - start) * axes.max())) + 1
    angle = np.linspace(start, stop, steps)
    along, across = axes[0] * np.cos(angle), axes[1] * np.sin(angle)
    row = center[0] + along * np.sin(turn) + across * np.cos(turn)
    col = center[1] + along * np.cos(turn) - across * np.sin(turn)
    return np.stack([row, col], axis=1)


def _thick(points: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    return points, np.full(len(points), radius)


@lru_cache(maxsize=256)
def _disc_offsets(radius: float) -> IntArray:
    """(n, 2) integer offsets of a disc 2·radius px wide; even widths reach one pixel further up and left."""
    width = max(1, round(2 * radius))
    axis = np.arange(width) - (width - 1) / 2
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2
    return np.argwhere(inside) - width // 2


def _stamp(side: int, points: FloatArray, radii: FloatArray) -> BoolArray:
    """Cut a disc of its radius around every point (row, col); centers are rounded down to pixels."""
    reach = int(np.ceil(radii.max())) + 1
    margin = (
        2 * reach
    )  # centers up to `reach` outside still touch the patch, and their stamps stay in the array
    width = side + 2 * margin
    near = np.all((points >= -reach) & (points < side + reach), axis=1)
    centers = np.floor(points[near]).astype(np.int64) + margin
    base, radii = centers[:, 0] * width + centers[:, 1], radii[near]
    hole = np.zeros(width * width, dtype=bool)
    for radius in set(radii.tolist()):
        offsets = _disc_offsets(radius)
        spots = base[radii == radius]
        hole[spots[:, None] + (offsets[:, 0] * width + offsets[:, 1])[None, :]] = True
    return ~hole.reshape(width, width)[margin : margin + side, margin : margin + side]
