"""Power spectra of full skies, C_ell and D_ell.

Inputs: full RING maps, spectra from ell = 0. Outputs: float64 spectra from ell = 0, as they are in the map: no
beam, window or noise is removed.
"""

import numpy as np

from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.spectra.checks import refuse_gaps, validate_full_sky
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.maps import npix_to_nside


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
    """Return the full-sky power spectra of a RING map in float64, as healpy's `anafast`.

    Monopole and dipole stay in; the beam and pixel window of the map stay in.

    Parameters
    ----------
    sky
        (npix,) RING, no holes; or (3, npix) T, Q, U or (2, npix) Q, U.
    lmax
        Highest multipole; None: `3*nside - 1`.

    Returns
    -------
    cl
        (lmax+1,) float64, in the map's unit squared; of T, Q, U (6, lmax+1) TT, EE, BB, TE, EB, TB, of Q, U (3, lmax+1)
        EE, BB, EB.

    Raises
    ------
    SpectrumError
        If a pixel is NaN, inf or UNSEEN.
    """
    values = validate_full_sky(sky, "the map", polarized=True)
    refuse_gaps(values, "the map", "fill the map first, or use pseudo_cl or master with its mask")
    return power_of(values, lmax)


def power_of(values: FloatArray, lmax: int | None = None, *, iterations: int = 3) -> FloatArray:
    """Return the power (lmax+1,) of a full map (npix,), or all spectra of (k, npix), nothing checked.

    By ducc0: after OpenMP has run in a process, healpy's own transforms never end in a forked child.
    """
    nside = npix_to_nside(values.shape[-1])
    lmax = 3 * nside - 1 if lmax is None else int(lmax)
    alm = Harmonics(nside, lmax).analysis(values, iterations)
    if alm.ndim == 1:
        return alm_to_cl(alm, lmax)
    return np.stack([alm_to_cl(alm[i], lmax, alm[j]) for i, j in Fields.of(len(alm)).pairs])
