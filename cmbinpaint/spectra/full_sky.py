"""Power spectra of full skies, C_ell and D_ell.

Inputs: full RING maps, spectra from ell = 0. Outputs: float64 spectra from ell = 0, as they are in the map: no
beam, window or noise is removed.
"""

import healpy as hp
import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.spectra.checks import refuse_gaps, validate_full_sky


def dl_from_cl(cl: FloatArray) -> FloatArray:
    """Return D_ell = ell (ell+1) C_ell / 2π for C_ell (..., lmax+1)."""
    cl = np.asarray(cl, dtype=np.float64)
    ell = np.arange(cl.shape[-1], dtype=np.float64)
    return cl * (ell * (ell + 1) / (2 * np.pi))


def cl_from_dl(dl: FloatArray) -> FloatArray:
    """Return C_ell = 2π D_ell / (ell (ell+1)) for D_ell (..., lmax+1); the monopole, which D loses, is 0."""
    dl = np.asarray(dl, dtype=np.float64)
    ell = np.arange(dl.shape[-1], dtype=np.float64)
    cl = np.zeros_like(dl)
    cl[..., 1:] = dl[..., 1:] * (2 * np.pi / (ell[1:] * (ell[1:] + 1)))
    return cl


def anafast(sky: AnyArray, lmax: int | None = None) -> FloatArray:
    """Return the full-sky power spectrum of a RING map, healpy's `anafast` in float64.

    Monopole and dipole stay in; the beam and pixel window of the map stay in.

    Parameters
    ----------
    sky
        (npix,) RING, no holes.
    lmax
        Highest multipole; None: `3*nside - 1`.

    Returns
    -------
    cl
        (lmax+1,) float64, in the map's unit squared.

    Raises
    ------
    SpectrumError
        If a pixel is NaN, inf or UNSEEN.
    """
    values = validate_full_sky(sky, "the map")
    refuse_gaps(values, "the map", "fill the map first, or use pseudo_cl or master with its mask")
    return np.asarray(hp.anafast(values, lmax=lmax, iter=3), dtype=np.float64)
