"""From patches back to the sphere: values in the directions wanted.

Inputs: a patch, a tangent plane. Outputs: values.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from cmbinpaint._types import FloatArray
from cmbinpaint.plane.tangent import TangentPlane


def paste_values(patch: FloatArray, plane: TangentPlane, vectors: FloatArray) -> FloatArray:
    """(n,) a patch (side, side), known everywhere, by cubic splines in the directions of (n, 3) unit vectors."""
    where = np.stack(plane.vectors_to_plane(vectors))
    return np.asarray(map_coordinates(patch, where, order=3, mode="mirror"), dtype=np.float64)
