"""The gnomonic projection between a small patch and the sky.

Inputs: pixel positions (row, col) or colatitude and longitude in radians. Outputs: the other.

A patch is indexed ``[row, col]``: row grows north, column grows west, the tangent point lies at
((side-1)/2, (side-1)/2). On the tangent plane, with x west and y north in radians (tangents of angles),

    col = (side-1)/2 + x / step,    row = (side-1)/2 + y / step.

References: Calabretta & Greisen 2002, arXiv astro-ph/0207413, section 5.1.3 (TAN).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError

WIDEST_DEG = 170.0  # a plane's field nears 180 deg only as its side goes to infinity
_LEAST_COSINE = 1e-9  # below it a direction is at or behind the plane's horizon


@dataclass(frozen=True)
class PatchGrid:
    """The pixels of a square patch.

    Parameters
    ----------
    side
        Pixels along an edge.
    step_deg
        Side of a pixel at the tangent point, in degrees.

    Raises
    ------
    MapError
        If the side is not positive, the step not positive, or the field wider than a tangent plane can bear.
    """

    side: int
    step_deg: float

    def __post_init__(self) -> None:
        if isinstance(self.side, bool) or not isinstance(self.side, int | np.integer) or self.side < 1:
            raise MapError(f"patch side is {self.side!r}; give a whole number of pixels, 1 or more")
        if not (np.isfinite(self.step_deg) and self.step_deg > 0):
            raise MapError(f"patch step is {self.step_deg} deg; give a positive number of degrees")
        if self.field_deg > WIDEST_DEG:
            raise MapError(
                f"a patch of {self.side} px at {self.step_deg} deg is {self.field_deg:.1f} deg wide; "
                f"a tangent plane bears at most {WIDEST_DEG:.0f}: use fewer pixels or a smaller step"
            )

    @property
    def step_rad(self) -> float:
        """Side of a pixel at the tangent point, in radians."""
        return float(np.radians(self.step_deg))

    @property
    def center(self) -> float:
        """Row and column of the tangent point."""
        return (self.side - 1) / 2

    @property
    def field_deg(self) -> float:
        """Angle on the sky between the middles of opposite edges, pixel borders included."""
        return float(np.degrees(2 * np.arctan(self.side * self.step_rad / 2)))

    def rows_cols(self) -> tuple[FloatArray, FloatArray]:
        """Row and column of every pixel center, each (side, side) float64."""
        axis = np.arange(self.side, dtype=np.float64)
        row, col = np.meshgrid(axis, axis, indexing="ij")
        return row, col


@dataclass(frozen=True)
class TangentPlane:
    """A patch laid on the sky.

    Parameters
    ----------
    lon_deg, lat_deg
        The tangent point. At a pole the longitude still says where north points on the patch: to the limit of
        the meridian `lon_deg`.
    grid
        Its pixels.
    rotation_deg
        Turns the patch about the tangent point: its rows then grow `rotation_deg` east of north.

    Raises
    ------
    MapError
        If the tangent point is not on the sphere.
    """

    lon_deg: float
    lat_deg: float
    grid: PatchGrid
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lon_deg", "lat_deg", "rotation_deg"):
            if not np.isfinite(getattr(self, name)):
                raise MapError(
                    f"tangent plane: {name} is {getattr(self, name)}; give a finite angle in degrees"
                )
        if abs(self.lat_deg) > 90:
            raise MapError(f"tangent plane: lat_deg is {self.lat_deg}; give -90 to 90")

    @cached_property
    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit vectors (3,): of growing column, of growing row, and to the tangent point."""
        lon, lat, turn = np.radians([self.lon_deg, self.lat_deg, self.rotation_deg])
        out = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        east = np.array([-np.sin(lon), np.cos(lon), 0.0])
        north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
        up = np.cos(turn) * north + np.sin(turn) * east
        return np.cross(out, up), up, out

    def to_vectors(self, row: npt.ArrayLike, col: npt.ArrayLike) -> FloatArray:
        """Unit vectors on the sky of pixel positions.

        Parameters
        ----------
        row, col
            Positions, any shapes that broadcast; fractions and positions beyond the patch are fine.

        Returns
        -------
        (..., 3) float64.
        """
        y = (np.asarray(row, dtype=np.float64) - self.grid.center) * self.grid.step_rad
        x = (np.asarray(col, dtype=np.float64) - self.grid.center) * self.grid.step_rad
        along_col, along_row, out = self.axes
        vectors = x[..., None] * along_col + y[..., None] * along_row + out
        return vectors / np.sqrt(1 + x**2 + y**2)[..., None]

    def to_sky(self, row: npt.ArrayLike, col: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Colatitude and longitude, in radians, of pixel positions.

        Parameters
        ----------
        row, col
            As for `to_vectors`.

        Returns
        -------
        theta, phi
            Colatitude in [0, π], longitude in [0, 2π).
        """
        vectors = self.to_vectors(row, col)
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        # The two-argument form keeps its accuracy at the poles, where the arc cosine loses half its digits.
        theta = np.arctan2(np.hypot(x, y), z)
        phi = np.arctan2(y, x)
        phi = np.where(phi < 0, phi + 2 * np.pi, phi)
        return theta, np.where(phi >= 2 * np.pi, 0.0, phi)

    def vectors_to_plane(self, vectors: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pixel positions of directions on the sky.

        Parameters
        ----------
        vectors
            (..., 3), of any length but zero.

        Returns
        -------
        row, col
            float64; NaN at or behind the plane's horizon.
        """
        directions = np.asarray(vectors, dtype=np.float64)
        if directions.shape[-1:] != (3,):
            raise MapError(f"directions have shape {directions.shape}; give vectors (..., 3)")
        along_col, along_row, out = self.axes
        depth = directions @ out
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(depth > _LEAST_COSINE, 1 / (depth * self.grid.step_rad), np.nan)
        row = self.grid.center + (directions @ along_row) * scale
        col = self.grid.center + (directions @ along_col) * scale
        return row, col

    def to_plane(self, theta: npt.ArrayLike, phi: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pixel positions of points on the sky; the inverse of `to_sky`.

        Parameters
        ----------
        theta, phi
            Colatitude and longitude in radians, any shapes that broadcast.

        Returns
        -------
        row, col
            float64; NaN at or behind the plane's horizon.
        """
        theta, phi = np.broadcast_arrays(np.asarray(theta, np.float64), np.asarray(phi, np.float64))
        sine = np.sin(theta)
        vectors: Any = np.stack([sine * np.cos(phi), sine * np.sin(phi), np.cos(theta)], axis=-1)
        return self.vectors_to_plane(vectors)
