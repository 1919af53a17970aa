"""The holes of a mask, one by one and by size: where they are, how large, how deep.

Inputs: a bool region in RING, depths. Outputs: `Hole`, `SizeClass`, `HoleTable`.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.holes import CHUNK
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.pixels import pixel_angles, pixel_size, pixel_vectors

SIZE_CLASSES = ((1, 1), (2, 10), (11, 100), (101, 1000), (1001, None))
"""Smallest and largest number of pixels of the holes counted together."""
_EQUALS = 200  # of the holes of typical size, at most so many are described
_SAMPLE = 20_000  # pixels of the largest hole, when distances from it are compared


@dataclass(frozen=True)
class Hole:
    """One hole.

    Attributes
    ----------
    lon_deg, lat_deg
        Its deepest pixel, in degrees of the map's own coordinates.
    n_pixels, area_deg2
        Its size.
    depth
        Of that pixel, in pixels: see `masks.depth`.
    radius_deg
        The angle from that pixel to the farthest one of the hole.
    """

    lon_deg: float
    lat_deg: float
    n_pixels: int
    area_deg2: float
    depth: float
    radius_deg: float


@dataclass(frozen=True)
class SizeClass:
    """How many holes have a size in one class, and how many pixels they hold together."""

    name: str
    holes: int
    pixels: int


@dataclass(frozen=True)
class HoleTable:
    """The holes of a mask.

    Attributes
    ----------
    largest
        The largest holes, the largest first; of equal ones the northernmost first.
    typical
        The hole that a pixel typically lies in: half of all hole pixels outside the largest hole lie in holes no
        larger. Of equal ones that of median distance from the largest hole, clear of it and seldom at a pole. None if
        there is one hole only.
    classes
        All holes by size.
    n_holes, n_pixels
        All together.
    """

    largest: tuple[Hole, ...]
    typical: Hole | None
    classes: tuple[SizeClass, ...]
    n_holes: int
    n_pixels: int


def size_classes(sizes: IntArray) -> tuple[SizeClass, ...]:
    """Count holes by size.

    Parameters
    ----------
    sizes
        (n,) pixels of each hole.

    Examples
    --------
    >>> [(c.name, c.holes, c.pixels) for c in size_classes(np.array([1, 1, 7]))][:2]
    [('1', 2, 2), ('2 to 10', 1, 7)]
    """
    found = []
    for low, high in SIZE_CLASSES:
        name = f"over {low - 1}" if high is None else str(low) if low == high else f"{low} to {high}"
        inside = sizes[(sizes >= low) & (sizes <= (np.inf if high is None else high))]
        found.append(SizeClass(name, int(inside.size), int(inside.sum())))
    return tuple(found)


def hole_table(region: BoolArray, depth: FloatArray, most: int = 10) -> HoleTable:
    """Describe the holes of a region.

    Parameters
    ----------
    region
        (npix,) bool, RING, True = in a hole.
    depth
        (npix,) float64, RING: the depth of each pixel, see `masks.depth`.
    most
        How many of the largest are described one by one.

    Raises
    ------
    MaskError
        If there is no hole.
    """
    pixels = np.flatnonzero(region)
    if not pixels.size:
        raise MaskError("the mask has no holes, so there are none to describe; give the mask that was filled")
    nside = npix_to_nside(region.size)
    labels = masks.hole_labels(~region)[pixels]
    sizes = np.bincount(labels)[1:].astype(np.int64)
    by_hole = pixels[np.argsort(labels, kind="stable")]
    ends = np.cumsum(sizes)
    # Holes are numbered by their first pixel, the northernmost: a stable sort keeps that order among equals.
    order = np.argsort(-sizes, kind="stable")

    def describe(hole: int) -> Hole:
        return _describe(nside, by_hole[ends[hole] - sizes[hole] : ends[hole]], depth)

    largest = tuple(describe(int(hole)) for hole in order[:most])
    candidates = [describe(int(hole)) for hole in _typical(sizes, order)]
    away = by_hole[ends[order[0]] - sizes[order[0]] : ends[order[0]]]
    return HoleTable(
        largest=largest,
        typical=_in_the_middle(candidates, nside, away) if candidates else None,
        classes=size_classes(sizes),
        n_holes=int(sizes.size),
        n_pixels=int(pixels.size),
    )


def _typical(sizes: IntArray, order: IntArray) -> IntArray:
    """Return the holes of the typical size (a pixel-weighted median), without the largest hole."""
    others = order[1:][::-1]  # the smallest first
    if not others.size:
        return others
    held = np.cumsum(sizes[others])
    size = sizes[others[np.searchsorted(held, held[-1] / 2)]]
    equal = np.sort(others[sizes[others] == size])
    return equal[:: -(-equal.size // _EQUALS)]


def _describe(nside: int, pixels: IntArray, depth: FloatArray) -> Hole:
    deepest = pixels[np.argmax(depth[pixels])]
    theta, phi = pixel_angles(nside, deepest)
    chord = 0.0
    center = pixel_vectors(nside, deepest)
    for start in range(0, pixels.size, CHUNK):
        away = pixel_vectors(nside, pixels[start : start + CHUNK]) - center
        chord = max(chord, float(np.sqrt(np.max(np.sum(away**2, axis=-1)))))
    return Hole(
        lon_deg=float(np.degrees(phi)),
        lat_deg=90.0 - float(np.degrees(theta)),
        n_pixels=int(pixels.size),
        area_deg2=float(pixels.size * np.degrees(pixel_size(nside)) ** 2),
        depth=float(depth[deepest]),
        radius_deg=float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0)))),
    )


def _in_the_middle(holes: list[Hole], nside: int, pixels: IntArray) -> Hole:
    """Return the hole of median distance from a region; a sample of the region will do."""
    region = pixel_vectors(nside, pixels[:: -(-pixels.size // _SAMPLE)])
    lon, lat = np.radians([[hole.lon_deg, hole.lat_deg] for hole in holes]).T
    places = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
    nearest = np.max(places @ region.T, axis=1)
    return holes[int(np.argsort(nearest, kind="stable")[len(holes) // 2])]
