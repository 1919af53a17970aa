"""What networks serve, and what happens beyond."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cmbinpaint import inpaint_map, load_model, plan_inpainting
from cmbinpaint.errors import CmbInpaintWarning, WeightsError
from cmbinpaint.inpainters import find_inpainter
from cmbinpaint.pipeline.limits import serving, warn_beyond_card
from cmbinpaint.sims.skymodel import SkyModel
from cmbinpaint.sims.theory import fiducial_cl


class Named:
    """A model of the user's own, with or without a card."""

    name = "mine"

    def __init__(self, card: Any = None) -> None:
        if card is not None:
            self.card = card

    def prepare(self, plan: Any, sky_model: Any) -> Any:
        raise NotImplementedError


def model_at(nside: int, noise: float) -> SkyModel:
    return SkyModel.from_theory(fiducial_cl(3 * nside - 1), nside, fwhm=0.01, noise_std=noise)


def test_networks_above_2048_are_refused() -> None:
    network = load_model("default", "cpu")
    assert serving(network, 2048) is network and serving(network, 128) is network
    with pytest.raises(
        WeightsError, match="serves nside 128 to 2048, the map has 4096; use model='gaussian'"
    ):
        serving(network, 4096)
    for model in (find_inpainter("gaussian"), find_inpainter("kriging"), Named()):
        assert serving(model, 4096) is model


def test_below_128_the_exact_answer_is_given_and_said() -> None:
    sky = np.random.default_rng(0).standard_normal(12 * 16**2)
    mask = np.ones(sky.size, bool)
    mask[:20] = False
    with pytest.warns(CmbInpaintWarning, match="the map has 16; filled by model='gaussian'"):
        filled, info = inpaint_map(sky, mask, model="linear-first", return_info=True, fill="prediction")
    assert info.model == "gaussian" and info.sha256 == "" and info.refine == 0
    assert any("serves nside 128 to 2048" in text for text in info.warnings)
    np.testing.assert_allclose(
        filled, inpaint_map(sky, mask, model="gaussian", fill="prediction"), atol=1e-8, rtol=0
    )
    with pytest.warns(CmbInpaintWarning, match="filled by model='gaussian'"):
        plan_inpainting(mask, model="linear-first")


def test_beyond_what_the_card_states_a_warning() -> None:
    card = load_model("default", "cpu").card
    warn_beyond_card(Named(card), model_at(128, 3.0))  # 27.48' is the card's 27.5'
    warn_beyond_card(Named(card), model_at(128, 1e-3))  # less noise is no ground
    warn_beyond_card(Named(), model_at(64, 1e4))
    with pytest.warns(CmbInpaintWarning, match="pixels are 55 arcmin wide; .* trained on 1.7 to 27.5"):
        warn_beyond_card(Named(card), model_at(64, 3.0))
    with pytest.warns(
        CmbInpaintWarning, match="the noise is .* of the signal's rms on a patch; .* up to 0.5:"
    ):
        warn_beyond_card(Named(card), model_at(128, 500.0))
    silent = replace(card, data={"steps_arcmin": "any", "noise_over_patch_rms": [0, 1, 2]})
    warn_beyond_card(Named(silent), model_at(64, 1e4))
    warn_beyond_card(Named(replace(card, data="words")), model_at(64, 1e4))


@pytest.mark.parametrize("refine", [0, 2])
def test_realizations_of_the_network_do_not_depend_on_the_batch(refine: int) -> None:
    nside = 128
    rng = np.random.default_rng(0)
    sky_model = model_at(nside, 3.0)
    mask = np.ones(12 * nside**2, bool)
    mask[90_000:90_012] = False
    sky = 50 * rng.standard_normal(mask.size)
    plan = plan_inpainting(mask)
    options: dict[str, Any] = {
        "plan": plan,
        "sky_model": sky_model,
        "refine": refine,
        "seed": 4,
        "device": "cpu",
    }
    both, info = inpaint_map(sky, n_realizations=2, return_info=True, **options)
    alone = inpaint_map(sky, first_realization=1, **options)
    assert info.model == "linear-sphere" and info.refine == refine
    # At equal threads; transforms may split their sums otherwise: rounding.
    np.testing.assert_allclose(alone, both[1], atol=1e-6, rtol=0)
    assert np.array_equal(alone[mask], sky[mask]) and np.std((both[1] - both[0])[~mask]) > 1
