"""From patches back to the sphere: values at pixel centers, from the patch pixels that count.

Inputs: a patch, where it counts, a tangent plane. Outputs: values at HEALPix pixel centers.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.plane.tangent import TangentPlane
from cmbinpaint.sphere.pixels import pixel_vectors

# With less of the four neighbors' weight than this a value would be an extrapolation.
_LEAST_WEIGHT = 0.05


def paste_values(
    patch: FloatArray, counts: BoolArray, plane: TangentPlane, nside: int, pixels: AnyArray
) -> FloatArray:
    """Interpolate a patch at pixel centers, bilinearly and only from patch pixels that count.

    Parameters
    ----------
    patch
        (side, side); read where `counts` only.
    counts
        (side, side) bool.
    plane
        Where the patch lies.
    nside, pixels
        The (n,) RING pixels wanted.

    Returns
    -------
    (n,) float64; 0 where hardly a neighbor counts.
    """
    where = np.stack(plane.vectors_to_plane(pixel_vectors(nside, pixels)))
    weight = map_coordinates(counts.astype(np.float64), where, order=1, mode="constant")
    total = map_coordinates(np.where(counts, patch, 0.0), where, order=1, mode="constant")
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > _LEAST_WEIGHT)
