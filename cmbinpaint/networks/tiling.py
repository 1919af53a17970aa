"""Where patches lie: tangent planes that cover the pixels to be filled.

Inputs: an nside, the pixels wanted. Outputs: `Tiling`.

Tangent points are the centers of coarse HEALPix pixels half a patch wide. A wanted pixel belongs to the nearest
of them (the coarse pixel that holds it may have a corner at the patch's edge), which leaves a rim of some fifth of
the side in which a patch sees but does not answer. Patches are turned by 45 degrees, as HEALPix pixels are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint._types import AnyArray, IntArray
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sphere.pixels import pixel_angles, pixel_size, pixel_vectors

# A field wider than this stretches by more than a convolution can bear (1.07 across at 15 deg off center, 2.05 at
# 46 deg): at nside 128 patches have 64 px, 29 deg.
WIDEST_FIELD_DEG = 30.0
_ROTATION_DEG = 45.0
# The resolutions that networks on patches are made and measured for.
PATCH_NSIDES = (128, 2048)


def patch_side(nside: int) -> int:
    """Pixels along a patch's edge at one map pixel a step: 128, fewer where the field would be too wide."""
    side = 128
    while side > 32 and np.degrees(side * pixel_size(nside)) > WIDEST_FIELD_DEG:
        side //= 2
    return side


@dataclass(frozen=True, eq=False)
class Tiling:
    """Patches covering wanted pixels.

    Parameters
    ----------
    nside
        Of the map.
    grid
        The patches' pixels, one map pixel a step.
    planes
        One tangent plane a patch.
    members
        For each patch, the (n,) RING indices of the wanted pixels that it answers for.
    """

    nside: int
    grid: PatchGrid
    planes: tuple[TangentPlane, ...]
    members: tuple[IntArray, ...]

    @classmethod
    def cover(cls, nside: int, pixels: AnyArray) -> "Tiling":
        """Tile the (n,) RING pixels wanted."""
        side = patch_side(nside)
        grid = PatchGrid(side=side, step_deg=float(np.degrees(pixel_size(nside))))
        tiles_nside = max(1, nside // (side // 2))
        pixels = np.sort(np.asarray(pixels, dtype=np.int64))
        centers = pixel_vectors(tiles_nside, np.arange(12 * tiles_nside**2))
        _, tile_of = cKDTree(centers).query(pixel_vectors(nside, pixels), workers=-1)
        order = np.argsort(tile_of, kind="stable")
        tiles, starts = np.unique(tile_of[order], return_index=True)
        members = tuple(np.split(pixels[order], starts[1:])) if pixels.size else ()
        theta, phi = pixel_angles(tiles_nside, tiles)
        planes = tuple(
            TangentPlane(float(lon), float(lat), grid, _ROTATION_DEG)
            for lon, lat in zip(np.degrees(phi), 90 - np.degrees(theta), strict=True)
        )
        return cls(nside, grid, planes, members)

    def __len__(self) -> int:
        return len(self.planes)
