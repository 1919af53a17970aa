"""A full sky's spherical harmonic coefficients, and its E and B as maps.

Inputs: full RING maps of T, of Q, U or of T, Q, U, filled ones say. Outputs: a_lm, maps.
"""

import numpy as np

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra.checks import refuse_gaps, validate_full_sky
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.maps import npix_to_nside

__all__ = ["eb_maps", "map_to_alm"]


def map_to_alm(sky: AnyArray, lmax: int | None = None) -> ComplexArray:
    """Return the a_lm of a full sky, as `healpy.map2alm(iter=3)`.

    Parameters
    ----------
    sky
        (npix,) RING, or (3, npix) T, Q, U or (2, npix) Q, U, in the COSMO convention; no holes.
    lmax
        Highest multipole; None: `3*nside - 1`.

    Returns
    -------
    alm
        Complex, healpy's order: (size,) of T, (3, size) of T, E, B, (2, size) of E, B.

    Raises
    ------
    SpectrumError
        If a pixel is NaN, inf or UNSEEN.
    """
    values = validate_full_sky(sky, "the map", polarized=True)
    refuse_gaps(values, "the map", "fill the map first")
    nside = npix_to_nside(values.shape[-1])
    return Harmonics(nside, 3 * nside - 1 if lmax is None else int(lmax)).analysis(values)


def eb_maps(sky: AnyArray, lmax: int | None = None) -> FloatArray:
    """Return E and B of a full sky as maps: the scalar fields with the same a_lm.

    Of a sky with holes there are none, for E and B are not local: fill it first.

    Parameters
    ----------
    sky, lmax
        As in `map_to_alm`, with Q and U.

    Returns
    -------
    maps
        (2, npix) float64, RING, in the map's unit.

    Raises
    ------
    SpectrumError
        If there is no Q and U, or a pixel is NaN, inf or UNSEEN.

    Examples
    --------
    >>> from cmbinpaint.sims import fiducial_spectra, simulate_sky
    >>> e, b = eb_maps(simulate_sky(fiducial_spectra(23)[1:3], 8, seed=0))
    >>> bool(e.std() > 10 * b.std())
    True
    """
    values = validate_full_sky(sky, "the map", polarized=True)
    if values.ndim == 1:
        raise SpectrumError("the map is of T alone: E and B are of Q and U, (2, npix) or (3, npix)")
    nside = npix_to_nside(values.shape[-1])
    alm = map_to_alm(values[-2:], lmax)
    harmonics = Harmonics(nside, 3 * nside - 1 if lmax is None else int(lmax))
    return np.stack([harmonics.synthesis(row) for row in alm])
