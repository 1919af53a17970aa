"""Simulated observations of a Gaussian sky.

Inputs: spectra, a beam, a noise level and a generator. Outputs: (npix,) RING maps, (k, npix) of Q, U or T, Q, U.
"""

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from cmbinpaint._types import ComplexArray, FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.sims.map_signal import mode_windows
from cmbinpaint.sphere.ell_matrix import EllMatrix, validate_spectra
from cmbinpaint.sphere.harmonics import Harmonics, draw_alm, scale_alm
from cmbinpaint.sphere.maps import validate_nside
from cmbinpaint.sphere.power import validate_lmax, validate_noise

Seed = int | np.random.SeedSequence | np.random.Generator | None


@dataclass(frozen=True, eq=False)
class SkyParts:
    """What a simulated observation is made of: `signal + noise`.

    Parameters
    ----------
    signal
        (npix,) or (k, npix) float64, RING; the sky convolved with the beam, without noise.
    noise
        As `signal`.
    alm
        The a_lm of `signal`, healpy's order.
    """

    signal: FloatArray
    noise: FloatArray
    alm: ComplexArray


@overload
def simulate_sky(
    cl: FloatArray,
    nside: int,
    *,
    fwhm: float | None = ...,
    beam: FloatArray | None = ...,
    noise_std: float | FloatArray = ...,
    pixwin: bool = ...,
    lmax: int | None = ...,
    seed: Seed = ...,
    threads: int | None = ...,
    return_parts: Literal[False] = ...,
) -> FloatArray: ...
@overload
def simulate_sky(
    cl: FloatArray,
    nside: int,
    *,
    fwhm: float | None = ...,
    beam: FloatArray | None = ...,
    noise_std: float | FloatArray = ...,
    pixwin: bool = ...,
    lmax: int | None = ...,
    seed: Seed = ...,
    threads: int | None = ...,
    return_parts: Literal[True],
) -> tuple[FloatArray, SkyParts]: ...
def simulate_sky(
    cl: FloatArray,
    nside: int,
    *,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    noise_std: float | FloatArray = 0.0,
    pixwin: bool = False,
    lmax: int | None = None,
    seed: Seed = None,
    threads: int | None = None,
    return_parts: bool = False,
) -> FloatArray | tuple[FloatArray, SkyParts]:
    """Simulate one observation: a Gaussian sky convolved with a beam, and white noise.

    Parameters
    ----------
    cl
        (n,) float, C_ell of the sky from ell = 0; entries 0 and 1 are drawn as they are. Of T, Q, U (4, n) TT, EE, BB,
        TE or (6, n) with EB, TB; of Q, U (2, n) EE, BB or (3, n) with EB.
    nside
        Resolution of the map.
    fwhm, beam
        Gaussian beam's full width at half maximum, radians; or b_ell from ell = 0.
    noise_std
        White noise per pixel, scalar or (npix,) RING, in the unit of the map; of Q, U or T, Q, U a scalar, (k,) or
        (k, npix).
    pixwin
        Whether pixels average (times the pixel window) or sample the sky at their centers.
    lmax
        Default 3*nside-1.
    seed
        A whole number, a `SeedSequence`, or a `numpy.random.Generator` to draw from. None: a fresh sky. The draw
        does not depend on threads: first the a_lm, then the noise.
    threads
        Threads of the transform; None: all cores.
    return_parts
        Also return signal, noise and a_lm.

    Returns
    -------
    ndarray, or that and `SkyParts`
        (npix,) or (k, npix) float64 in RING order; with `return_parts` also what it is made of.

    Raises
    ------
    SpectrumError
        On spectra, beams, noise or lmax that cannot be used.

    Examples
    --------
    >>> from cmbinpaint.sims import fiducial_cl
    >>> sky = simulate_sky(fiducial_cl(47), 16, seed=0)
    >>> bool(np.array_equal(sky, simulate_sky(fiducial_cl(47), 16, seed=0)))
    True
    """
    nside = validate_nside(nside)
    generator = validate_seed(seed)
    sky = validate_spectra(cl)
    noise_level = np.asarray(validate_noise(noise_std, nside, sky.k))
    band = 3 * nside - 1 if lmax is None else validate_lmax(lmax, 4 * nside - 1, lowest=2)
    window = _fitted(mode_windows(sky.fields, nside, band, fwhm=fwhm, beam=beam, pixwin=pixwin), band)
    # The draw always fills lmax, so that one seed gives one sky under any beam and any length of cl.
    spectra = _fitted(sky.values, band)
    if sky.k == 1:
        alm = scale_alm(draw_alm(spectra[0, 0], generator), window[0])
    else:
        alm = EllMatrix(spectra).draw(generator)
        alm = EllMatrix(np.eye(sky.k)[..., None] * window).apply(alm)
    signal = Harmonics(nside, band, threads=threads).synthesis(alm)
    noise = generator.standard_normal(signal.shape)
    noise *= noise_level[:, None] if sky.k > 1 and noise_level.ndim == 1 else noise_level
    total = signal + noise
    return (total, SkyParts(signal, noise, alm)) if return_parts else total


def validate_seed(seed: Seed) -> np.random.Generator:
    """Return the generator of a seed, a generator itself, or (None) one of fresh entropy; 0 is a seed."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise CmbInpaintError(
            f"seed is {seed!r}; give a whole number, 0 or more, a SeedSequence, a Generator, or None for a fresh one"
        ) from None


def _fitted(array: FloatArray, lmax: int) -> FloatArray:
    """Return the array (..., n) cut at lmax or padded with zeros."""
    out = np.zeros((*array.shape[:-1], lmax + 1))
    out[..., : min(array.shape[-1], lmax + 1)] = array[..., : lmax + 1]
    return out
