"""A seeded mask of round holes, as CoMBInE tests its network with: every width from 5 to 65 pixels.

Inputs: nside, a seed. Outputs: bool `valid` (npix,) RING, True = observed.

CoMBInE hides the middles of patches of 128 px by circles of radius 5 to 65 px. A patch pixel is half a map pixel
(`networks/tiling.py`), so that on a map these are holes 5 to 65 pixels wide.
"""

import healpy as hp
import numpy as np

from cmbinpaint._types import BoolArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sphere.maps import validate_nside
from cmbinpaint.sphere.pixels import pixel_size

__all__ = ["round_holes_mask"]

WIDTHS = tuple(range(5, 70, 5))
COPIES = 3
GAP = 8  # pixels of data between two holes, at least
_LEAST_NSIDE = 16
_TRIES = 10_000


def round_holes_mask(nside: int, *, seed: int = 0) -> BoolArray:
    """Draw three round holes of each width, 5, 10, ... 65 pixels, at random and apart from each other.

    Parameters
    ----------
    nside
        Resolution, 16 or more. Holes are some 48 000 pixels from nside 128 on; below, holes wider than half of nside
        are left out.
    seed
        Of the places.

    Returns
    -------
    valid
        (npix,) bool, RING, True = observed; fsky 0.75 at nside 128.

    Raises
    ------
    MaskError
        If nside is below 16.
    """
    nside = validate_nside(nside)
    if nside < _LEAST_NSIDE:
        raise MaskError(f"round holes need nside {_LEAST_NSIDE} or more; got nside {nside}")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(12,)))
    step = float(pixel_size(nside))
    valid = np.ones(12 * nside**2, dtype=bool)
    centers, radii = np.zeros((0, 3)), np.zeros(0)
    for width in (w for w in reversed(WIDTHS) if w <= nside / 2 + 1):
        for _ in range(COPIES):
            radius = width / 2 * step
            tried = rng.standard_normal((_TRIES, 3))
            tried /= np.linalg.norm(tried, axis=1)[:, None]
            apart = np.arccos(np.clip(tried @ centers.T, -1, 1)) > radius + radii + GAP * step
            center = tried[np.argmax(apart.all(axis=1))]  # there is always room: a third of the sky is taken
            valid[hp.query_disc(nside, center, radius)] = False
            centers, radii = np.vstack([centers, center]), np.append(radii, radius)
    return valid
