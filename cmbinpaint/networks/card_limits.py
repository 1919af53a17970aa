"""What a model is for: refused beyond the resolutions it serves, warned of beyond what its card states.

Inputs: a model, a resolution, a sky model. Outputs: the model that serves, errors and warnings.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbinpaint.errors import CmbInpaintWarning, WeightsError
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.networks.spectrum_shape import spectrum_shape
from cmbinpaint.networks.tiling import PATCH_NSIDES, patch_side
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_size


def serving(inpainter: Inpainter, nside: int) -> Inpainter:
    """The model that fills a map of this nside: the one that was asked for, or the exact answer where it is cheap.

    Raises
    ------
    WeightsError
        If it is a network and nside is above what networks serve.

    Warns
    -----
    CmbInpaintWarning
        If it is a network and nside is below that: the exact answer takes seconds there and is given instead.
    """
    low, high = PATCH_NSIDES
    if card_of(inpainter) is None or low <= nside <= high:
        return inpainter
    serves = f"the network {inpainter.name!r} serves nside {low} to {high}, the map has {nside}"
    if nside > high:
        raise WeightsError(
            f"{serves}; use model='gaussian' (exact) or model='kriging', or healpy.ud_grade the map to {high}"
        )
    warnings.warn(
        f"{serves}; filled by model='gaussian', the exact answer, instead", CmbInpaintWarning, stacklevel=3
    )
    return GaussianInpainter()


def warn_beyond_card(inpainter: Inpainter, sky_model: SkyModel, refine: int | None = None) -> None:
    """Warn where pixels, noise, beam or cosmology are outside of what the network's card says it serves.

    Cards state ranges, each [lowest, highest], of ``steps_arcmin``, ``noise_over_patch_rms``, ``beam_px``, ``n_s``:
    where the network was graded, under ``figures["served"]``, or ``figures["served_alone"]`` for `refine` 0; else
    where it was trained, under ``data``. Less noise than in training is told to networks as the lowest they know.
    """
    card = card_of(inpainter)
    if card is None:
        return
    graded = card.figures.get("served_alone" if refine == 0 else "served")
    for key, (value, what, slack) in _met(sky_model).items():
        of_grades = _range(graded, key)
        served = of_grades or _range(card.data, key)
        if served is None:
            continue
        low, high = served
        noise_of_training = key == "noise_over_patch_rms" and of_grades is None
        if value > high + slack or (value < low - slack and not noise_of_training):
            alone = " without refining" if refine == 0 else ""
            warnings.warn(
                f"{what} {value:.3g}; the network {card.name!r}{alone} serves {low:g} to {high:g}: compare with "
                "model='kriging', or refine",
                CmbInpaintWarning,
                stacklevel=3,
            )


def _met(sky_model: SkyModel) -> dict[str, tuple[float, str, float]]:
    """By a card's key: the map's value, words before it, and how far beyond a range nothing is said."""
    from cmbinpaint.plane.power import patch_rms

    step = pixel_size(sky_model.nside)
    arcmin = float(np.degrees(step)) * 60
    noise = float(np.sqrt(np.mean(np.square(sky_model.noise_std))))
    level = noise / patch_rms(sky_model.signal_cl, step, patch_side(sky_model.nside))
    shape = spectrum_shape(sky_model)
    return {
        "steps_arcmin": (arcmin, "the map's pixels are, in arcmin,", 0.02 * arcmin),  # cards round them
        "noise_over_patch_rms": (level, "the noise over the signal's rms on a patch is", 0.02 * level),
        # A fit to an estimated spectrum scatters by this much.
        "beam_px": (shape.fwhm_px, "the map's beam is like one of fwhm, in pixels,", 0.3),
        "n_s": (shape.n_s, "the map's spectrum is like Planck 2018's with n_s", 0.05),
    }


def card_of(inpainter: Inpainter) -> Any:
    """The card of a trained network; None for models without weights."""
    return getattr(inpainter, "card", None)


def _range(ranges: Any, key: str) -> tuple[float, float] | None:
    """(lowest, highest) as a card states it; None if it states none."""
    entry = ranges.get(key) if isinstance(ranges, Mapping) else None
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        return None
    if not all(isinstance(value, int | float) for value in entry):
        return None
    return float(entry[0]), float(entry[1])
