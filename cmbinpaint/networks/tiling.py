"""Where patches are cut: tangent planes that cover the pixels to be filled.

Inputs: the nside that patches are cut from, the directions wanted. Outputs: `Tiling`.

A patch has half a map pixel a step, so that HEALPix pixels at any angle to it keep their values apart. Tangent points
are the centers of coarse HEALPix pixels half a patch wide; what is wanted belongs to the nearest of them, which leaves
a margin of an eighth to a quarter of the side in which a patch sees but does not answer. Patches are turned by 45
degrees, as HEALPix pixels are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._types import FloatArray, IntArray
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sphere.pixels import pixel_angles, pixel_size, pixel_vectors

SIDE = 128  # pixels along a patch's edge, CoMBInE's
_ROTATION_DEG = 45.0


@dataclass(frozen=True, eq=False)
class Tiling:
    """Patches covering what is wanted.

    Parameters
    ----------
    grid
        The patches' pixels.
    planes
        One tangent plane a patch.
    members
        For each patch, the indices of the directions that it answers for.
    """

    grid: PatchGrid
    planes: tuple[TangentPlane, ...]
    members: tuple[IntArray, ...]

    @classmethod
    def cover(cls, nside: int, vectors: FloatArray, side: int = SIDE) -> "Tiling":
        """Tile the (n, 3) unit vectors wanted by patches cut from a map of this nside."""
        grid = PatchGrid(side=side, step_deg=float(np.degrees(pixel_size(nside))) / 2)
        tiles_nside = max(1, 4 * nside // side)
        centers = pixel_vectors(tiles_nside, np.arange(12 * tiles_nside**2))
        _, tile_of = cKDTree(centers).query(vectors, workers=-1)
        order = np.argsort(tile_of, kind="stable")
        tiles, starts = np.unique(tile_of[order], return_index=True)
        members = tuple(np.split(order, starts[1:])) if order.size else ()
        theta, phi = pixel_angles(tiles_nside, tiles)
        planes = tuple(
            TangentPlane(float(lon), float(lat), grid, _ROTATION_DEG)
            for lon, lat in zip(np.degrees(phi), 90 - np.degrees(theta), strict=True)
        )
        return cls(grid, planes, members)

    def __len__(self) -> int:
        return len(self.planes)
