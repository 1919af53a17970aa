"""Is a given noise level that of the map? One in another unit, or of another Stokes parameter, is named.

Inputs: a map with holes, a `SkyModel` whose noise was given. Outputs: an error or a warning, or nothing.

Noise cannot exceed what the pixels have in all. And above 2·nside, where a beam leaves no signal, the power of a map is
flat and is its noise's: where a plateau stands there that is another than the given one, the user should know. Where
the signal reaches so far, or what holes leak hides a plateau, nothing is said.
"""

import warnings

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims.estimate import FEWEST, NO_NOISE, estimate_sky_model
from cmbinpaint.sims.estimate_polarization import estimate_polarized_model
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.smooth_fill import smooth_fill
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.power import noise_power
from cmbinpaint.sphere.windows import pixel_window

FACTOR = 2.0  # of a level, on top of chance
SIGMAS = 4.0
# Of a map whose plateau is judged: below there are too few multipoles above 2·nside to tell a plateau from a sky's or
# from what holes leak, and beyond a transform takes a minute.
NSIDES = (32, 1024)
LEAST_SKY = 0.2
_FAR_BELOW = 0.02
_NEAR = 3.0  # a factor that is so near to 1000 or 10^6 is this one
_UNITS = {"K": 1e6, "mK": 1e3}


def check_noise(observed: FloatArray, valid: BoolArray, sky_model: SkyModel, unit: str | None = None) -> None:
    """Refuse noise that the observed pixels cannot have, or that looks to be in another unit.

    Parameters
    ----------
    observed
        (npix,) RING, without monopole and dipole, or (2, npix) Q, U; never read where not valid.
    valid
        Bool, RING, of the same shape; True where observed.
    sky_model
        In the same unit, of T or of Q and U. Noise of 0 is not doubted.
    unit
        The unit's name, for messages.

    Raises
    ------
    SpectrumError
        If noise exceeds the rms of the pixels twofold, or the map's noise is 10^3 or 10^6 times as high.

    Warns
    -----
    CmbInpaintWarning
        If the noise is another than that of the plateau of the map's spectrum, twofold.
    """
    rows, here = np.atleast_2d(observed), np.atleast_2d(valid)[-1]
    std = np.broadcast_to(np.reshape(sky_model.noise_std, (len(rows), -1)), rows.shape)[:, here]
    data, of = rows[:, here], "the map" if len(rows) == 1 else "Q and U"
    level = float(np.sqrt(np.mean(np.square(std))))
    if np.count_nonzero(here) < FEWEST or not np.all(std > 0):
        return
    words = f"{level:.3g} {unit or ''}".strip() + f" (rms) was given as the noise of a pixel of {of}"
    share = float(np.sqrt(np.mean(np.square(data / std))))
    chance = np.exp(SIGMAS / np.sqrt(2 * data.size))
    if share * FACTOR * chance < 1:
        raise SpectrumError(
            f"{words}, but the observed pixels have an rms of {np.sqrt(np.mean(data**2)):.3g} in all: "
            f"{_too_high(share, len(rows))}"
        )
    if NSIDES[0] <= sky_model.nside <= NSIDES[1] and np.mean(here) >= LEAST_SKY:
        _check_plateau(np.where(here, rows, 0.0), here, sky_model, words)


def _too_high(share: float, n: int) -> str:
    """What noise looks like that is above all there is: `share` is the pixels' rms over it."""
    if n == 2:
        return "it looks to be that of T; give noise_std as T, Q, U, each with its own"
    if share < _FAR_BELOW:  # no map is so quiet: in its own unit the pixels have at least their noise
        unit = "mK" if share * _UNITS["mK"] > 1 / FACTOR else "K"
        return f"the map looks to be in {unit}, not µK; unit= says what it is in"
    return "it looks to be that of another map, of a single observation, or a variance"


def _check_plateau(rows: FloatArray, here: BoolArray, sky_model: SkyModel, words: str) -> None:
    """Compare the noise with the power above 2·nside, where that is flat."""
    nside, npix = sky_model.nside, here.size
    bands = Bandpowers(np.array([(9 * nside) // 4, (21 * nside) // 8, 3 * nside]))
    harmonics = Harmonics(nside, bands.lmax)
    alm = harmonics.adjoint(np.stack([smooth_fill(row, here) for row in rows])) * (4 * np.pi / npix)
    power = bands.bin(np.sum([alm_to_cl(row, bands.lmax) for row in alm], axis=0)) / np.mean(here)
    given = sum(noise_power(np.broadcast_to(one, here.shape)[here], npix) for one in _each(sky_model))
    chance = np.exp(SIGMAS * np.sqrt(2 / (bands.n_modes * len(rows) * np.mean(here))))
    if np.all(power * FACTOR**2 * chance < given):
        _warn(
            f"{words}, {np.sqrt(given / power.max()):.2g} times what the map's power at "
            f"ell = {bands.edges[0]} to {bands.lmax} leaves room for: it is not white (a smoothed "
            "map), or of another level"
        )
        return
    expected = given + _signal(sky_model, bands)
    # Flatter than half way, in the logarithm, from T's sky without a beam to white noise; E is as flat as noise.
    sky = bands.bin(fiducial_cl(bands.lmax) * pixel_window(nside, bands.lmax) ** 2)
    flat = power[0] ** 2 * sky[1] < power[1] ** 2 * sky[0]
    if not flat or not np.all(power > FACTOR**2 * chance * expected):
        return
    is_signal = sky_model.is_estimated and len(rows) == 2  # perhaps
    plateau = _plateau(rows, here, nside)
    level = float(np.sqrt(given * npix / (4 * np.pi * len(rows))))
    if plateau is None or plateau < FACTOR * level:
        return
    for unit, factor in _UNITS.items():
        if factor / _NEAR < plateau / level < factor * _NEAR and (unit == "K" or not is_signal):
            raise SpectrumError(
                f"{words}, but the map's spectrum ends in a plateau of {plateau:.3g}: the noise looks "
                f"to be in {unit}, and µK is expected"
            )
    if not is_signal:
        _warn(
            f"{words}, but the map's spectrum ends in a plateau of {plateau:.3g}: omit noise_std to have it estimated "
            "from the map"
        )


def _each(sky_model: SkyModel) -> list[float | FloatArray]:
    """The noise of each Stokes parameter."""
    return [sky_model.noise_std] if sky_model.signal_cl.ndim == 1 else list(np.asarray(sky_model.noise_std))


def _signal(sky_model: SkyModel, bands: Bandpowers) -> FloatArray:
    """The power of a given signal in the bands; an estimated one has taken noise for signal where it was too low."""
    if sky_model.is_estimated:
        return np.zeros(bands.n)
    modes = (
        np.atleast_2d(sky_model.signal_cl)
        if sky_model.signal_cl.ndim == 1
        else np.diagonal(sky_model.signal_cl).T
    )
    total = np.sum(modes, axis=0)[: bands.lmax + 1]
    return bands.bin(np.pad(total, (0, bands.lmax + 1 - total.size)))


def _plateau(rows: FloatArray, here: BoolArray, nside: int) -> float | None:
    """The noise per pixel that the map shows, None if it shows none."""
    if len(rows) == 1:
        model = estimate_sky_model(rows[0], here, nside=nside)
    else:
        model = estimate_polarized_model(rows, np.tile(here, (2, 1)), nside=nside)
    return None if model.noise_source == NO_NOISE else float(np.ravel(model.noise_std)[0])


def _warn(text: str) -> None:
    warnings.warn(text, CmbInpaintWarning, stacklevel=5)
