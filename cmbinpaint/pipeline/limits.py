"""What a model is for: refused beyond the resolutions it serves, warned of beyond what its card states.

Takes: a model, a resolution, a sky model. Gives: the model that serves, errors and warnings. Floor: 4.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbinpaint.errors import CmbInpaintWarning, WeightsError
from cmbinpaint.inpainters import EXACT_NSIDE
from cmbinpaint.inpainters.exact import GaussianInpainter
from cmbinpaint.inpainters.protocol import Inpainter
from cmbinpaint.patches.tiling import patch_side
from cmbinpaint.sims.skymodel import SkyModel
from cmbinpaint.sphere.pixels import pixel_size

# The resolutions that networks on patches are made and measured for.
PATCH_NSIDES = (2 * EXACT_NSIDE, 2048)
# A pixel's side is rounded on a card.
_SLACK = 1.02


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


def warn_beyond_card(inpainter: Inpainter, sky_model: SkyModel) -> None:
    """Warn where pixels or noise are outside of what the network's card says it was trained on.

    Cards state them under ``data``: ``steps_arcmin`` and ``noise_over_patch_rms``, each [lowest, highest]. Less
    noise than the lowest is told to networks as that, and is no ground for a warning.
    """
    card = card_of(inpainter)
    if card is None or not isinstance(card.data, Mapping):
        return
    step = pixel_size(sky_model.nside)
    arcmin = float(np.degrees(step)) * 60
    steps = _range(card.data.get("steps_arcmin"))
    if steps is not None and not steps[0] / _SLACK <= arcmin <= steps[1] * _SLACK:
        warnings.warn(
            f"the map's pixels are {arcmin:.3g} arcmin wide; the network {card.name!r} was trained on {steps[0]:g} "
            f"to {steps[1]:g}: compare with model='kriging', or refine",
            CmbInpaintWarning,
            stacklevel=3,
        )
    levels = _range(card.data.get("noise_over_patch_rms"))
    if levels is not None:
        from cmbinpaint.nn.inputs import patch_rms

        noise = float(np.sqrt(np.mean(np.square(sky_model.noise_std))))
        level = noise / patch_rms(sky_model.signal_cl, step, patch_side(sky_model.nside))
        if level > levels[1] * _SLACK:
            warnings.warn(
                f"the noise is {level:.3g} of the signal's rms on a patch; the network {card.name!r} was trained "
                f"up to {levels[1]:g}: compare with model='kriging', or refine",
                CmbInpaintWarning,
                stacklevel=3,
            )


def card_of(inpainter: Inpainter) -> Any:
    """The card of a trained network; None for models without weights."""
    return getattr(inpainter, "card", None)


def _range(entry: Any) -> tuple[float, float] | None:
    """(lowest, highest) as a card states it; None if it states none."""
    if not isinstance(entry, list | tuple) or len(entry) != 2:
        return None
    if not all(isinstance(value, int | float) for value in entry):
        return None
    return float(entry[0]), float(entry[1])
