"""What a sky's spectra are in a map: behind beam and pixels, as far in ell as the map shows them.

Inputs: a sky's spectra, beam, noise. Outputs: the map-level spectra of a `SkyModel`.
"""

import warnings
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.power import noise_power, pixel_variance, validate_lmax
from cmbinpaint.sphere.windows import map_window

# Prior variance of monopole and dipole over the largest C_ell. A constant loses about (its posterior
# variance)/(its prior variance), and a cut sky leaves it a posterior variance below C_2: 1e4 passes a
# constant to about 1e-4 while the four modes stay within float64's reach of the others (a diagonal
# preconditioner takes the factor out).
BROAD_PRIOR = 1.0e4
# Power may be dropped beyond lmax when its variance is below a fifth of the noise (which it then adds 2 % to, in
# quadrature) and below 1e-3 of the signal's, or below 1e-5 of it, 0.3 % of its rms; and when every multipole's is below
# a quarter of the noise's: noise in a pixel says nothing about what many pixels know together. Behind beams of 3, 5 and
# 7 pixels the exact mean then has 1.0004 of the error of the one with all multipoles in shallow holes; without the last
# rule 1.008, 1.035 and 1.076 (benchmarks/multipoles.py).
TAIL_OF_NOISE = 0.2
TAIL_OF_SIGNAL = (1.0e-5, 1.0e-3)
MULTIPOLE_OF_NOISE = 0.25
# Noise below this fraction of the signal's rms is raised to it, here and by the solvers: the system is singular
# without noise. The steps that the diagonal preconditioner needs grow as the rms over the noise (nside 32, fsky 0.81,
# beam 3 px, noise 0.03/0.01/0.003: 460/1230/3770 to a tolerance of 1e-4 of the rms), while the error in the holes
# gains little (0.224/0.202/0.181 of the rms) and is lost again if the sky has power above lmax (0.7 % of the rms
# there: 0.224/0.219/0.295).
LEAST_NOISE = 1.0e-2


def map_signal(
    sky: EllMatrix, nside: int, noise: float | FloatArray, *, fwhm: Any, beam: Any, lmax: int | None,
    colored: EllMatrix | None = None,
) -> FloatArray:  # fmt: skip
    """Return the power of a sky's signal in a map, (lmax+1,) of T alone, else (k, k, lmax+1).

    Parameters
    ----------
    sky
        The sky's spectra.
    nside, noise
        Of the map: a level or a level per pixel, of several Stokes parameters one row each.
    fwhm, beam, lmax
        As in `SkyModel.from_theory`.
    colored
        Colored noise as it is in the map, which is added.
    """
    band = 3 * nside - 1 if lmax is None else validate_lmax(lmax, 4 * nside - 1, lowest=2)
    window = mode_windows(sky.fields, nside, band, fwhm=fwhm, beam=beam, pixwin=beam is None)
    given = min(band, sky.lmax, window.shape[1] - 1)
    signal = window[:, None, : given + 1] * window[None, :, : given + 1] * sky.values[..., : given + 1]
    if colored is not None:
        common = min(given, colored.lmax) + 1
        signal[..., :common] += colored.values[..., :common]
    found = 2
    for mode, level in _levels(sky.fields, noise):
        power = signal[mode, mode]
        if given < band:
            _warn_if_power_ends(power, window[mode], sky.values[mode, mode], band, tail_limit(power, level))
        found = max(found, lowest_lmax(power, level, nside) if lmax is None else given)
    signal = np.pad(signal[..., : found + 1], ((0, 0), (0, 0), (0, 0 if lmax is None else band - given)))
    return with_broad_prior(signal[0, 0] if sky.k == 1 else signal, noise, nside)


def mode_windows(fields: Fields, nside: int, lmax: int, *, fwhm: Any, beam: Any, pixwin: bool) -> FloatArray:
    """Return (k, at most lmax + 1) the amplitude that each mode's a_lm are multiplied with (see `map_window`)."""
    spins = [spin for spin, rows in fields.spins for _ in range(rows.start, rows.stop)]
    beams = [beam] * fields.n
    if fields.n > 1 and isinstance(beam, list | tuple):
        lengths = [np.size(row) for row in beam]
        if len(set(lengths)) > 1:
            raise SpectrumError(
                f"the beams have {', '.join(map(str, lengths))} multipoles; give rows of one length, from ell = 0"
            )
    if fields.n > 1 and beam is not None and np.ndim(beam) == 2:
        if len(beam) not in {fields.n, len(fields.spins)}:
            raise SpectrumError(
                f"beam has shape {np.shape(beam)}; expected b_ell (lmax+1,) for all, or a row for each of "
                f"{', '.join(fields.modes)}"
                + (" (or for T and for polarization)" if fields is Fields.TQU else "")
            )
        beams = [beam[min(i, len(beam) - 1)] for i in range(fields.n)]
    windows = [
        map_window(nside, lmax, fwhm=fwhm, beam=b, pixwin=pixwin, spin=spin)
        for b, spin in zip(beams, spins, strict=True)
    ]
    return np.stack([window[: min(w.size for w in windows)] for window in windows])


def _levels(fields: Fields, noise: float | FloatArray) -> list[tuple[int, float | FloatArray]]:
    """Return the modes that decide how far a model reaches, each with its noise."""
    if fields is Fields.T:
        return [(0, noise)]
    polarization = np.asarray(noise)[-2:]
    modes: list[tuple[int, float | FloatArray]] = [(fields.n - 2, polarization), (fields.n - 1, polarization)]
    return modes if fields is Fields.QU else [(0, np.asarray(noise)[0]), *modes]


def tail_limit(signal_cl: FloatArray, noise_std: float | FloatArray) -> float:
    """Return the signal variance that may be dropped beyond lmax, unit²."""
    signal = pixel_variance(signal_cl)
    noise = TAIL_OF_NOISE**2 * float(np.mean(np.square(noise_std)))
    return float(np.clip(noise, TAIL_OF_SIGNAL[0] * signal, TAIL_OF_SIGNAL[1] * signal))


def lowest_lmax(signal_cl: FloatArray, noise_std: float | FloatArray, nside: int) -> int:
    """Return the lowest lmax (at least 2) beyond which the signal is negligible beside the noise."""
    ell = np.arange(signal_cl.size)
    terms = (2 * ell + 1) / (4 * np.pi) * signal_cl
    beyond = np.append(np.cumsum(terms[::-1])[::-1][1:], 0.0)
    noise = max(float(np.mean(np.square(noise_std))), LEAST_NOISE**2 * pixel_variance(signal_cl))
    significant = np.flatnonzero(signal_cl > MULTIPOLE_OF_NOISE * noise * 4 * np.pi / (12 * nside**2))
    return max(2, int(np.argmax(beyond <= tail_limit(signal_cl, noise_std))), int(significant.max(initial=0)))


def with_broad_prior(signal_cl: FloatArray, noise_std: float | FloatArray, nside: int) -> FloatArray:
    """Return signal_cl with entries 0 and 1 of T set to a broad prior variance for monopole and dipole."""
    signal = signal_cl.copy()
    if signal.ndim == 3:
        if len(signal) == 3:
            signal[0, 0] = with_broad_prior(signal[0, 0], np.asarray(noise_std)[0], nside)
        return signal
    signal[:2] = BROAD_PRIOR * max(float(signal[2:].max()), noise_power(noise_std, 12 * nside**2))
    return signal


def _warn_if_power_ends(
    signal: FloatArray, window: FloatArray, sky: FloatArray, band: int, limit: float
) -> None:
    """Warn if the signal would go on beyond the last multipole given, at the last D_ell."""
    last = signal.size - 1
    ell = np.arange(last + 1, band + 1)
    shape = np.ones(ell.size) * window[-1]
    known = window[last + 1 : band + 1]
    shape[: known.size] = known
    dl = sky[last] * last * (last + 1) / (ell * (ell + 1.0))
    lost = float(np.sum((2 * ell + 1) / (4 * np.pi) * dl * np.square(shape)))
    if lost > limit:
        what = "cl" if sky.size - 1 <= window.size - 1 else "beam"
        warnings.warn(
            f"the {what} ends at ell = {last}, where the map still holds signal (about {np.sqrt(lost):.3g} "
            f"rms beyond); no signal was assumed above it. Give a {what} to ell = {band} if you have one.",
            CmbInpaintWarning,
            stacklevel=3,
        )
