"""Power spectra: full sky, C_ell and D_ell, and the door to bands, cut skies, beams, windows and files.

Takes: full RING maps, spectra from ell = 0. Gives: float64 spectra from ell = 0, as they are in the map: no
beam, window or noise is taken out. Floor: 1.
"""

import healpy as hp
import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.sphere.bands import Bandpowers, log_bands
from cmbinpaint.sphere.cut_sky import coupling_matrix, decouple, master, narrowest_band, pseudo_cl
from cmbinpaint.sphere.spectrum_checks import refuse_gaps, take_cl, take_full_sky
from cmbinpaint.sphere.spectrum_files import read_cl
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

__all__ = [
    "Bandpowers", "anafast", "cl_from_dl", "coupling_matrix", "decouple", "dl_from_cl", "gaussian_beam",
    "log_bands", "master", "narrowest_band", "pixel_window", "pseudo_cl", "read_cl", "take_cl",
]  # fmt: skip


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
    values = take_full_sky(sky, "the map")
    refuse_gaps(values, "the map", "fill the map first, or use pseudo_cl or master with its mask")
    return np.asarray(hp.anafast(values, lmax=lmax, iter=3), dtype=np.float64)
