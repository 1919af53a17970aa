"""What a report shows of maps: the whole sky at a resolution that can be seen, and close-ups of holes.

Inputs: (npix,) maps in RING, of any resolution. Outputs: `Panorama`, `CloseUp`; small, whatever the resolution.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.report.hole_table import Hole
from cmbinpaint.sphere.holes import hole_labels, hole_sizes
from cmbinpaint.sphere.maps import degrade, npix_to_nside
from cmbinpaint.sphere.pixels import pixel_size, pixels_at

PANORAMA_NSIDE = 256  # pixels of 14', finer than a picture of a thousand points shows
CLOSE_UP_SIDE = 360
# Of a close-up: its side in radii and in depths of the hole, at least this many map pixels, at most what a tangent
# plane draws well.
_SIDE_RADII, _SIDE_DEPTHS, _LEAST_PIXELS, _WIDEST_DEG = 2.6, 5.0, 24, 60.0
_OUTLINED_DEG2 = 3.0  # on a full sky, the outlines of smaller holes would be blots


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps that a report shows, (npix,) float64 in RING and one unit.

    Attributes
    ----------
    before, filled
        The map with holes and the filled one. What `before` has in holes is never shown.
    observed
        (npix,) bool, True where `before` is to be seen.
    holes
        (npix,) bool, True where pixels were filled.
    target
        The true full sky, or None.
    error
        A standard deviation in the holes, or None.
    """

    before: FloatArray
    filled: FloatArray
    observed: BoolArray
    holes: BoolArray
    target: FloatArray | None
    error: FloatArray | None

    @property
    def nside(self) -> int:
        """Their resolution."""
        return npix_to_nside(self.filled.size)


@dataclass(frozen=True, eq=False)
class Panorama:
    """Full skies at `nside`, at most `PANORAMA_NSIDE`: means over pixels, NaN where less than half is known.

    `error` is the root mean square over what is filled of a pixel, however little; `outline` is False in holes of at
    least 3 square degrees, True elsewhere.
    """

    nside: int
    outline: BoolArray
    before: FloatArray
    filled: FloatArray
    target: FloatArray | None
    error: FloatArray | None

    @classmethod
    def of(cls, maps: Maps, offset: float) -> "Panorama":
        """Reduce maps, with `offset` subtracted from the temperatures."""
        nside = min(maps.nside, PANORAMA_NSIDE)

        def small(values: FloatArray, where: BoolArray | None = None, least: float = 0.5) -> FloatArray:
            known = np.ones(values.size, dtype=bool) if where is None else where
            reduced, known = degrade(values, known, nside, least)
            return np.where(known, reduced, np.nan)

        before = small(maps.before, maps.observed) - offset
        error = None if maps.error is None else np.sqrt(small(np.square(maps.error), maps.holes, 0.0))
        return cls(
            nside=nside,
            outline=_without_small_holes(~np.isnan(before), nside),
            before=before,
            filled=small(maps.filled) - offset,
            target=None if maps.target is None else small(maps.target) - offset,
            error=error,
        )


@dataclass(frozen=True, eq=False)
class CloseUp:
    """The neighborhood of a hole on its tangent plane; all fields (side, side), rows grow north, columns west.

    NaN where nothing is known; `observed` is True where the map with holes has a value.
    """

    name: str
    hole: Hole
    side_deg: float
    observed: BoolArray
    before: FloatArray
    filled: FloatArray
    target: FloatArray | None
    error: FloatArray | None

    @classmethod
    def of(cls, name: str, hole: Hole, maps: Maps, offset: float) -> "CloseUp":
        """Cut the nearest pixels of the maps, with `offset` subtracted from the temperatures."""
        pixel_deg = float(np.degrees(pixel_size(maps.nside)))
        wanted = min(_SIDE_RADII * hole.radius_deg, _SIDE_DEPTHS * hole.depth * pixel_deg)
        side_deg = min(max(wanted, _LEAST_PIXELS * pixel_deg), _WIDEST_DEG)
        plane = TangentPlane(hole.lon_deg, hole.lat_deg, PatchGrid(CLOSE_UP_SIDE, side_deg / CLOSE_UP_SIDE))
        pixels = _pixels(maps.nside, plane)
        observed = maps.observed[pixels]
        error = None if maps.error is None else np.where(maps.holes[pixels], maps.error[pixels], np.nan)
        return cls(
            name=name,
            hole=hole,
            side_deg=side_deg,
            observed=observed,
            before=np.where(observed, maps.before[pixels] - offset, np.nan),
            filled=maps.filled[pixels] - offset,
            target=None if maps.target is None else maps.target[pixels] - offset,
            error=error,
        )


def _without_small_holes(observed: BoolArray, nside: int) -> BoolArray:
    labels = hole_labels(observed)
    small = np.flatnonzero(hole_sizes(labels) * np.degrees(pixel_size(nside)) ** 2 < _OUTLINED_DEG2) + 1
    return observed | np.isin(labels, small)


def _pixels(nside: int, plane: TangentPlane) -> IntArray:
    return pixels_at(nside, plane.to_vectors(*plane.grid.rows_cols()))
