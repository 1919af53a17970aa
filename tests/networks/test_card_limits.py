"""What networks serve, and what happens beyond."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.networks.card_limits import warn_beyond_card
from cmbinpaint.networks.store import list_models
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size

(CARD,) = (card for card in list_models() if card.name == "combine128")


def model_at(nside: int, noise: float) -> SkyModel:
    fwhm = 3 * pixel_size(nside)
    return SkyModel.from_theory(fiducial_cl(3 * nside - 1), nside, fwhm=fwhm, noise_std=noise)


SERVED = {
    "steps_arcmin": [1.7, 27.5],
    "noise_over_patch_rms": [0.01, 0.5],
    "beam_px": [0, 5],
    "n_s": [0.5, 1.5],
}


def test_beyond_what_the_card_states_a_warning() -> None:
    card = replace(CARD, figures={}, data=SERVED)
    warn_beyond_card(card, model_at(128, 3.0), refined=True)  # 27.48' is the card's 27.5'
    warn_beyond_card(card, model_at(128, 1e-3), refined=True)  # less noise is no ground
    with pytest.warns(
        CmbInpaintWarning, match="pixels are, in arcmin, 55; the network .* was evaluated for 1.7 to 27.5"
    ):
        warn_beyond_card(card, model_at(64, 3.0), refined=True)
    with pytest.warns(CmbInpaintWarning, match="noise over the signal's rms on a patch is .* to 0.5:"):
        warn_beyond_card(card, model_at(128, 500.0), refined=True)
    silent = replace(card, data={"steps_arcmin": "any", "noise_over_patch_rms": [0, 1, 2]})
    warn_beyond_card(silent, model_at(64, 1e4), refined=True)
    warn_beyond_card(replace(card, data="words"), model_at(64, 1e4), refined=True)


@pytest.mark.parametrize(
    ("cl", "beam", "words"),
    [
        (fiducial_cl(383), 7.0, "beam is like one of fwhm, in pixels, 7; .* was evaluated for 0 to 5:"),
        (
            fiducial_cl(383) * (np.arange(384) / 100.0) ** 1.0,
            3.0,
            "with n_s 1.96; .* was evaluated for 0.5 to 1.5:",
        ),
        (
            fiducial_cl(383) / np.maximum(np.arange(384), 1.0),
            3.0,
            "with n_s -0.0351; .* was evaluated for 0.5 to 1.5:",
        ),
        (fiducial_cl(383), 3.0, None),
        (fiducial_cl(383), 0.0, None),
    ],
)
def test_a_beam_or_a_cosmology_beyond_the_card_is_named(cl, beam: float, words: str | None) -> None:
    card = replace(CARD, data="words", figures={"served": SERVED})
    model = SkyModel.from_theory(cl, 128, fwhm=beam * pixel_size(128), noise_std=3.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_beyond_card(card, model, refined=True)
    assert len(caught) == (words is not None)
    if words is not None:
        assert re.search(words, str(caught[0].message))


def test_a_network_alone_serves_less() -> None:
    figures = {
        "served": {"noise_over_patch_rms": [0, 0.5]},
        "served_alone": {"noise_over_patch_rms": [0.01, 0.5]},
    }
    card = replace(CARD, data="words", figures=figures)
    warn_beyond_card(card, model_at(128, 0.1), refined=True)
    with pytest.warns(CmbInpaintWarning, match="without refining was evaluated for 0.01 to 0.5:"):
        warn_beyond_card(card, model_at(128, 0.1), refined=False)
