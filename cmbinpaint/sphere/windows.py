"""What a beam and a pixel do to the multipoles of a sky, computed without any file or network.

Inputs: beam widths in radians, b_ell, nside; spin 0 for T, 2 for E and B. Outputs: amplitudes b_ell and p_ell from
ell = 0 (those of spin 2 at ell = 0 and 1, where E and B have no power, have no meaning).
"""

import itertools
from collections.abc import Iterator
from typing import Any

import healpy as hp
import numpy as np

from cmbinpaint._types import FloatArray, IntArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.maps import validate_nside
from cmbinpaint.sphere.pixel_covariance import Frames, geodesic_phases
from cmbinpaint.sphere.power import as_numbers, validate_lmax
from cmbinpaint.sphere.units import in_unit

__all__ = [
    "computed_pixel_window", "gaussian_beam", "map_window", "pixel_window", "validate_beam", "validate_fwhm",
]  # fmt: skip

# -ln W² = s (P(t) + Q(t) / nside) with s = ell (ell + 1) / nside² and t = s / 16. HEALPix's pixels take the
# same shapes at every nside but for those along the base pixels' edges, hence the 1 / nside.
# Least squares on `computed_pixel_window` at nside 8, 16, 32, 64, 128 and ell up to 4 nside, each nside
# weighing the same; the largest misfit of W is 3e-5 of W.
_P = (9.32356247e-02, 5.83824071e-03, 1.30893566e-03, 3.58084734e-04, -4.99759534e-05)
_Q = (-2.52142457e-03, 2.54874153e-03, 1.79352817e-04)
_FITTED_FROM = 8
# Spin 2: nside² ln(W_P² / W_T²) = R(t) + log2(nside / 64) S(t). The frames of Q and U turn within a pixel, most in
# those around the poles, hence the logarithm. Least squares at nside 8, 16, 32, 64; the largest misfit of W is 1.1e-4.
_R = (-1.18504961, 1.59287733, 0.74242202)
_S = (-0.24362762, 0.26472544, 0.09803774)


def validate_fwhm(fwhm: Any, name: str = "fwhm") -> float:
    """Return a beam's width in radians (Quantities are converted), or raise an error, as for degrees and arcminutes."""
    plain = in_unit(fwhm, "rad", name)
    try:
        width = float(plain)
    except (TypeError, ValueError, OverflowError):
        raise SpectrumError(f"{name} is one number of radians; got {type(fwhm).__name__} {fwhm!r}") from None
    if not np.isfinite(width) or width < 0:
        raise SpectrumError(f"{name} is {fwhm!r}; expected radians, finite and >= 0")
    if width > 1:
        raise SpectrumError(
            f"{name} is {width:g}, above 1: it is in radians; did you mean np.radians({width:g}/60)?"
        )
    return width


def validate_beam(beam: Any) -> FloatArray:
    """Return b_ell, amplitudes from ell = 0, as float64, or raise an error."""
    array = as_numbers(beam, "", "beam")
    if array.ndim != 1 or array.size < 3:
        raise SpectrumError(
            f"beam has shape {array.shape}; expected b_ell (lmax+1,) from ell = 0, with lmax >= 2"
        )
    if not np.isfinite(array).all() or not np.any(array):
        raise SpectrumError("beam holds NaN or inf, or is zero everywhere; expected finite b_ell")
    return array


def gaussian_beam(fwhm: Any, lmax: int, *, spin: int = 0) -> FloatArray:
    """Return b_ell = exp(-(ell (ell+1) - spin²) sigma² / 2) of a Gaussian beam.

    Parameters
    ----------
    fwhm
        Full width at half maximum: radians, or a Quantity.
    lmax
        Highest multipole.
    spin
        0 or 2.

    Returns
    -------
    b_ell
        (lmax+1,) float64, amplitude; of spin 0, 1 at ell = 0.

    Raises
    ------
    SpectrumError
        If fwhm is negative, not finite, or above 1 rad.
    """
    sigma = validate_fwhm(fwhm) / np.sqrt(8 * np.log(2))
    ell = np.arange(validate_lmax(lmax) + 1, dtype=np.float64)
    return np.exp(-0.5 * (ell * (ell + 1) - spin**2) * sigma**2)


def map_window(
    nside: int, lmax: int, *, fwhm: Any = None, beam: Any = None, pixwin: bool = True, spin: int = 0
) -> FloatArray:
    """Return the amplitude (at most lmax+1,) that a sky's a_lm are multiplied with in a map.

    Parameters
    ----------
    nside, lmax
        Of the map.
    fwhm, beam
        Gaussian beam, radians; or b_ell from ell = 0, which may end before lmax.
    pixwin
        Whether to include the pixel window of nside.
    spin
        0 or 2.
    """
    if fwhm is not None and beam is not None:
        raise SpectrumError("both fwhm and beam are given; give one of them")
    window = np.ones(lmax + 1)
    if fwhm is not None:
        window = gaussian_beam(fwhm, lmax, spin=spin)
    elif beam is not None:
        window = validate_beam(beam)[: lmax + 1]
    return window * pixel_window(nside, window.size - 1, spin=spin) if pixwin else window


def pixel_window(nside: int, lmax: int | None = None, *, spin: int = 0) -> FloatArray:
    """Return HEALPix's pixel window p_ell: what averaging over pixels does to the amplitude of a_lm.

    From a fit to the definition (`computed_pixel_window`), no download: within 1e-4 of it, relative, at every
    nside from 8; below 8 the definition itself. That of polarization differs by 5e-5 or less from nside 128 on.

    Parameters
    ----------
    nside
        Resolution.
    lmax
        Highest multipole, at most `4*nside`; None: `3*nside - 1`.
    spin
        0 or 2.

    Returns
    -------
    p_ell
        (lmax+1,) float64, amplitude; of spin 0, 1 at ell = 0.

    Raises
    ------
    SpectrumError
        If lmax is beyond `4*nside`.

    References
    ----------
    Górski et al. 2005, ApJ 622, 759, section 5 and appendix A.
    """
    nside = validate_nside(nside)
    why = f": the pixel window of nside {nside} ends there"
    lmax = 3 * nside - 1 if lmax is None else validate_lmax(lmax, 4 * nside, why=why)
    if nside < _FITTED_FROM:
        return computed_pixel_window(nside, lmax, subdivisions=16, spin=spin)
    ell = np.arange(lmax + 1, dtype=np.float64)
    s = ell * (ell + 1) / nside**2
    exponent = s * (np.polynomial.polynomial.polyval(s / 16, _P))
    exponent += s / nside * np.polynomial.polynomial.polyval(s / 16, _Q)
    if spin:
        octaves = np.log2(nside / 64)
        ratio = np.polynomial.polynomial.polyval(s / 16, np.add(_R, np.multiply(octaves, _S)))
        exponent -= ratio / nside**2
    return np.exp(-0.5 * exponent)


def computed_pixel_window(nside: int, lmax: int, *, subdivisions: int = 8, spin: int = 0) -> FloatArray:
    """Compute the pixel window from its definition; slow, the origin of the fit in `pixel_window`.

    `W_ell² = <N⁻² Σ_ij P_ell(cos t_ij)>`, the mean over all pixels of the Legendre polynomials of the angles
    between N sub-pixels, which is `4π/(2 ell + 1) Σ_m |w_lm|²` of the pixel's indicator. Taken at two
    subdivisions and extrapolated to N → ∞: the error falls as 1/N, what is left of it is below 1e-4. For spin 2
    `<N⁻² Σ_ij d^ell_22(t_ij) cos(2 psi_i - 2 psi_j)>`, psi the angle of the geodesic at either sub-pixel: what is left
    of the power of Q and U, each taken in its own sub-pixel's frame, when they are averaged.

    Parameters
    ----------
    nside, lmax
        As for `pixel_window`.
    subdivisions
        Sub-pixels along a side of the finer of the two, a power of two, at least 2.
    spin
        0 or 2.
    """
    fine = _log_window(nside, lmax, subdivisions, spin)
    coarse = _log_window(nside, lmax, subdivisions // 2, spin)
    return np.exp((4 * fine - coarse) / 6)


def _log_window(nside: int, lmax: int, subdivisions: int, spin: int) -> FloatArray:
    """Return ln W_ell² with pixels sampled at the centers of subdivisions² sub-pixels."""
    one_minus_cos, share = _separations(nside, subdivisions, spin)
    window = np.ones(lmax + 1)
    for ell, function in zip(range(spin, lmax + 1), _wigner(1 - one_minus_cos, spin), strict=False):
        window[ell] = share @ function
    return np.log(window / window[0])


def _wigner(mu: FloatArray, spin: int) -> Iterator[FloatArray]:
    """Yield d^ell_(spin, spin) at cos theta = mu, from ell = spin on: Legendre's polynomials for spin 0."""
    before, now = np.zeros_like(mu), ((1 + mu) / 2) ** spin
    for ell in itertools.count(spin):
        yield now
        if not spin:
            before, now = now, ((2 * ell + 1) * mu * now - ell * before) / (ell + 1)
            continue
        after = (2 * ell + 1) * (ell * (ell + 1) * mu - spin**2) * now - (ell + 1) * (
            ell**2 - spin**2
        ) * before
        before, now = now, after / (ell * ((ell + 1) ** 2 - spin**2))


def _separations(
    nside: int, subdivisions: int, spin: int, n_bins: int = 20_000
) -> tuple[FloatArray, FloatArray]:
    """Return 1 - cos of the angles between sub-pixels of one pixel, and their fraction over all pixels.

    For spin 2 each pair counts by the cosine of the angle that their frames are turned by. A histogram with linear
    weights for both neighboring bins, so that it is exact to second order in the bin.
    """
    pixels, weight = _distinct_pixels(nside)
    n_sub = subdivisions**2
    first, second = np.triu_indices(n_sub, 1)
    biggest = 2.0 if nside < 4 else 8.0 / nside**2  # a pixel's diagonal is below 4 / nside
    share = np.zeros(n_bins + 2)
    share[0] = 1 / n_sub  # each sub-pixel with itself
    for start in range(0, pixels.size, 256):
        children = pixels[start : start + 256, None] * n_sub + np.arange(n_sub)
        vectors = np.stack(hp.pix2vec(nside * subdivisions, children, nest=True), axis=-1)
        cosines = np.einsum("pic,pjc->pij", vectors, vectors)[:, first, second]
        place = np.clip((1 - cosines) / biggest, 0, 1) * n_bins
        below = place.astype(np.int64)
        rest = place - below
        amount = np.broadcast_to(2 / n_sub**2 * weight[start : start + 256, None], place.shape)
        if spin:
            frames = Frames.at(np.moveaxis(vectors, 2, 0))
            here, there = geodesic_phases(frames[..., first], frames[..., second])
            amount = amount * (here * there.conj()).real
        for index, part in ((below, 1 - rest), (below + 1, rest)):
            share += np.bincount(index.ravel(), weights=(amount * part).ravel(), minlength=n_bins + 2)
    used = share != 0
    return np.asarray(np.flatnonzero(used) * (biggest / n_bins), dtype=np.float64), share[used]


def _distinct_pixels(nside: int) -> tuple[IntArray, FloatArray]:
    """Return NESTED pixels that stand for all, by quarter turns and the equator's mirror, and weights."""
    ring = np.arange(12 * nside * nside)
    theta, phi = hp.pix2ang(nside, ring)
    height = np.cos(theta)
    kept = (phi < np.pi / 2 - 1e-9) & (height > -1e-9)
    weight = np.where(height[kept] > 1e-9, 2.0, 1.0)
    return hp.ring2nest(nside, ring[kept]), np.asarray(weight / weight.sum(), dtype=np.float64)
