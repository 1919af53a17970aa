"""What a network is for: users are warned beyond what its card states.

Inputs: a card, a sky model. Outputs: warnings.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.spectrum_shape import spectrum_shape
from cmbinpaint.networks.tiling import SIDE
from cmbinpaint.plane.power import patch_rms
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_size


def warn_beyond_card(card: Card, sky_model: SkyModel, *, refined: bool) -> None:
    """Warn where pixels, noise, beam or cosmology are outside the limits that the network's card states.

    Cards state ranges, each [lowest, highest], of ``steps_arcmin``, ``noise_over_patch_rms``, ``beam_px``, ``n_s``:
    where the network was evaluated, under ``figures["served"]``, or ``figures["served_alone"]`` if it is not refined;
    else where it was trained, under ``data``. Less noise than in training is not warned of.
    """
    graded = card.figures.get("served" if refined else "served_alone")
    for key, (value, what, slack) in _met(sky_model).items():
        of_grades = _range(graded, key)
        served = of_grades or _range(card.data, key)
        if served is None:
            continue
        low, high = served
        noise_of_training = key == "noise_over_patch_rms" and of_grades is None
        if value > high + slack or (value < low - slack and not noise_of_training):
            alone = "" if refined else " without refining"
            warnings.warn(
                f"{what} {value:.3g}; the network {card.name!r}{alone} was evaluated for {low:g} to {high:g}: compare "
                "with model='default', or refine",
                CmbInpaintWarning,
                stacklevel=3,
            )


def _met(sky_model: SkyModel) -> dict[str, tuple[float, str, float]]:
    """By a card's key: the map's value, words before it, and how far beyond a range nothing is said."""
    step = pixel_size(sky_model.nside)
    arcmin = float(np.degrees(step)) * 60
    noise = float(np.sqrt(np.mean(np.square(sky_model.noise_std))))
    level = noise / patch_rms(sky_model.signal_cl, step / 2, SIDE)
    shape = spectrum_shape(sky_model)
    return {
        "steps_arcmin": (arcmin, "the map's pixels are, in arcmin,", 0.02 * arcmin),  # cards round them
        "noise_over_patch_rms": (level, "the noise over the signal's rms on a patch is", 0.02 * level),
        # A fit to an estimated spectrum scatters by this much.
        "beam_px": (shape.fwhm_px, "the map's beam is like one of fwhm, in pixels,", 0.3),
        "n_s": (shape.n_s, "the map's spectrum is like Planck 2018's with n_s", 0.05),
    }


def _range(ranges: Any, key: str) -> tuple[float, float] | None:
    """(lowest, highest) as a card states it; None if it states none."""
    entry = ranges.get(key) if isinstance(ranges, Mapping) else None
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        return None
    if not all(isinstance(value, int | float) for value in entry):
        return None
    return float(entry[0]), float(entry[1])
