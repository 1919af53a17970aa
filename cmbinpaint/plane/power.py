"""Power spectra of flat patches, and Gaussian fields that have a given one.

Inputs: (side, side) fields and pixel steps in radians. Outputs: C_ell in the flat-sky limit, fields.

A patch is taken as a torus with wavevectors ell = 2π k / (side · step); with F the discrete Fourier transform
(numpy's sign and scale) of a field, its power at a wavevector is |F|² step² / side², which has the unit and
the normalization of C_ell on the sphere.
"""

from functools import lru_cache

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.power import pixel_variance, validate_cl


def flat_cl(
    field: FloatArray, step_rad: float, *, window: FloatArray | None = None, edges: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """C_ell of a patch in bins of ell.

    Parameters
    ----------
    field
        (side, side); its (weighted) mean is removed.
    step_rad
        Side of a pixel.
    window
        (side, side) weights, such as an apodization; the spectrum is divided by the mean of their squares.
    edges
        Bin edges in ell, (n+1,); rings of the patch's fundamental mode 2π/(side·step) by default.

    Returns
    -------
    ell, cl
        (n,) mean ell of the modes in each bin and their mean power; NaN in a bin without modes.

    Raises
    ------
    SpectrumError
        If shapes or edges make no sense.
    """
    side = _check_field(field, step_rad)
    weights = np.ones((side, side)) if window is None else np.asarray(window, dtype=np.float64)
    if weights.shape != (side, side):
        raise SpectrumError(f"the window is {weights.shape}; the patch is {(side, side)}")
    if not weights.any():
        raise SpectrumError("the window is zero everywhere; nothing is left of the patch")
    fluctuations = (field - np.average(field, weights=weights)) * weights
    power = np.abs(np.fft.rfft2(fluctuations)) ** 2 * step_rad**2 / side**2 / np.mean(weights**2)
    ell, count = mode_ells(side, step_rad), _multiplicity(side)
    if edges is None:
        fundamental = 2 * np.pi / (side * step_rad)
        edges = np.arange(0.5, side // 2 + 1) * fundamental
    if edges.ndim != 1 or edges.size < 2 or np.any(np.diff(edges) <= 0):
        raise SpectrumError("bin edges must be two or more growing numbers")
    totals = [
        np.histogram(ell, edges, weights=count * values)[0] for values in (np.ones_like(ell), ell, power)
    ]
    modes = np.where(totals[0] > 0, totals[0], np.nan)
    return totals[1] / modes, totals[2] / modes


def mode_ells(side: int, step_rad: float) -> FloatArray:
    """The multipole |ell| of each mode of ``numpy.fft.rfft2``: (side, side//2+1)."""
    return _wavenumbers(side) * (2 * np.pi / step_rad)


def mode_variance(cl: FloatArray, side: int, step_rad: float) -> FloatArray:
    """Expected |rfft2|² of a field with this spectrum: (side, side//2+1), zero for the constant mode.

    Parameters
    ----------
    cl
        (lmax+1,) C_ell, ell from 0, linear between; no power beyond lmax.
    side
        Pixels along an edge.
    step_rad
        Side of a pixel.

    Returns
    -------
    (side, side//2+1) float64 in the unit of `cl`.

    Raises
    ------
    SpectrumError
        For negative or non-finite power.
    """
    spectrum = validate_cl(cl, lmax=1)
    ell = mode_ells(side, step_rad)
    variance = np.interp(ell, np.arange(spectrum.size), spectrum, right=0.0) * (side / step_rad) ** 2
    variance[0, 0] = 0.0
    return variance


def patch_rms(signal_cl: FloatArray, step_rad: float, side: int) -> float:
    """The rms of what a patch resolves: ``sqrt(sum (2 ell + 1) C_ell / 4 pi)`` over waves shorter than it.

    Raises
    ------
    SpectrumError
        If there is no power on these scales.
    """
    lowest = max(2, int(2 * np.pi / (side * step_rad)))
    variance = pixel_variance(signal_cl, lowest)
    if not variance > 0:
        raise SpectrumError(
            f"the sky model has no power above ell = {lowest}, the scale of a patch; use model='gaussian'"
        )
    return float(np.sqrt(variance))


def draw_fields(variance: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """(n, side, side) Gaussian fields on a torus; the (side, side//2+1) variance of modes is `mode_variance`'s."""
    side = variance.shape[0]
    white = np.fft.rfft2(rng.standard_normal((n, side, side)))  # mean |white|² is side²
    return np.fft.irfft2(white * (np.sqrt(variance) / side), s=(side, side))


def _check_field(field: FloatArray, step_rad: float) -> int:
    if np.ndim(field) != 2 or field.shape[0] != field.shape[1]:
        raise SpectrumError(f"the patch has shape {np.shape(field)}; give (side, side)")
    if not np.all(np.isfinite(field)):
        raise SpectrumError("the patch holds NaN or infinity; fill its holes first")
    if not step_rad > 0:
        raise SpectrumError(f"the step is {step_rad} rad; give a positive angle")
    return int(field.shape[0])


@lru_cache(maxsize=16)
def _wavenumbers(side: int) -> FloatArray:
    """(side, side//2+1) cycles per pixel."""
    waves = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    waves.flags.writeable = False
    return waves


@lru_cache(maxsize=16)
def _multiplicity(side: int) -> FloatArray:
    """How many modes of the full transform each mode of the half one stands for."""
    count = np.full((side, side // 2 + 1), 2.0)
    count[:, 0] = 1.0
    if side % 2 == 0:
        count[:, -1] = 1.0
    count.flags.writeable = False
    return count
