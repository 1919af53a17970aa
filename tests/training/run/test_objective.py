"""The loss of a recipe is made of what it needs; the figures, against plain numpy, are over hole pixels only."""

import numpy as np
import pytest
import torch

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.losses import TERMS, WeightedLoss
from cmbinpaint.training import OptimizerRecipe, Recipe
from cmbinpaint.training.recipes.recipe import LOSS_TERMS
from cmbinpaint.training.recipes.recipe_sections import SkyRecipe, StageRecipe
from cmbinpaint.training.run.objective import Score, ScoreKeeper, build_loss, check_model, flat_sky

CPU = torch.device("cpu")
ONE_STEP = OptimizerRecipe(warmup_steps=0)


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    prediction, truth, x = (
        torch.from_numpy(rng.standard_normal((2, 3, 5, 5)).astype("f4")) for _ in range(3)
    )
    valid = torch.from_numpy((rng.random((2, 1, 5, 5)) > 0.5).astype("f4"))
    return prediction, truth, {"x": x, "valid": valid}


def test_names_are_the_recipes() -> None:
    assert set(TERMS) == set(LOSS_TERMS)


def test_terms_of_weight_zero_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No VGG16 is read and no spectrum computed for them."""

    def never(*_: object) -> None:
        raise RuntimeError("this was built")

    monkeypatch.setattr("cmbinpaint.training.run.objective.load_vgg", never)
    monkeypatch.setattr("cmbinpaint.training.run.objective.flat_sky", never)
    sky = SkyRecipe(step_arcmin=6.87, noise_over_rms=0.1)
    weights = {"hole": 1.0, "perceptual": 0.0, "style_output": 0.0, "style_composite": 0.0, "physical": 0.0}
    loss = build_loss(Recipe("r", 0, 1, loss=weights, sky=sky, optimizer=ONE_STEP), CPU)
    assert (loss.vgg, loss.sky, loss.names) == (None, None, ("hole",))
    with pytest.raises(RuntimeError, match="this was built"):
        build_loss(Recipe("r", 0, 1, loss={"style_output": 1.0}, optimizer=ONE_STEP), CPU)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_shipped_vgg_serves_the_recipes_channels(channels: int) -> None:
    model = {"family": "pconv", "preset": "unet128", "channels": channels}
    loss = build_loss(Recipe("r", 0, 1, model=model, loss={"perceptual": 1.0}, optimizer=ONE_STEP), CPU)
    assert loss.vgg is not None and loss.vgg.channels == channels
    assert not any(parameter.requires_grad for parameter in loss.vgg.parameters())


def test_the_physical_skys_field_has_the_rms_of_what_it_divides_by() -> None:
    """Modes of a patch, added up, give the variance of fields over their rms: one; beam and unit come in."""
    step = np.radians(6.87 / 60)
    plain = flat_sky(SkyRecipe(step_arcmin=6.87, noise_over_rms=0.1)).mode_variance(64)
    count = np.full(plain.shape, 2.0)
    count[:, [0, -1]] = 1.0
    variance = (count * plain).sum() / 64**4
    # Rings and modes sample the spectrum alike within some percent at the patch's own scale.
    assert variance == pytest.approx(1.0, abs=0.1)
    ell = 2 * np.pi / step * np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64))
    beamed = flat_sky(SkyRecipe(6.87, 0.1, fwhm_arcmin=20.0, rms_uK=50.0)).mode_variance(64)
    bare = flat_sky(SkyRecipe(6.87, 0.1, rms_uK=100.0)).mode_variance(64)
    sigma = np.radians(20 / 60) / np.sqrt(8 * np.log(2))
    window = np.exp(-ell * (ell + 1) * sigma**2)
    inside = (ell > 0) & (ell < 1000)
    # C_ell times the window is interpolated between whole ells.
    np.testing.assert_allclose(beamed[inside], 4 * bare[inside] * window[inside], rtol=1e-4)


def test_score_is_over_hole_pixels_of_all_batches() -> None:
    keeper, errors, guesses = ScoreKeeper(WeightedLoss({"hole": 2.0})), [], []
    for seed in (3, 4):
        prediction, truth, batch = draw(seed)
        batch["x"] = torch.where(batch["valid"] > 0, torch.nan, batch["x"])
        hole = np.broadcast_to(batch["valid"].numpy() == 0, truth.shape)
        errors.append((prediction - truth).numpy()[hole])
        guesses.append((batch["x"] - truth).numpy()[hole])
        keeper.add(prediction, truth, batch)
    score, terms = keeper.score()
    assert score.loss == pytest.approx(2 * terms["hole"])

    def rms(parts: list) -> float:
        return float(np.sqrt(np.mean(np.concatenate(parts).astype("f8") ** 2)))

    assert score.hole_rms == pytest.approx(rms(errors), rel=1e-6)
    assert score.guess_rms == pytest.approx(rms(guesses), rel=1e-6)
    expected = np.mean([0.5 * np.sum(np.abs(e)) / 75 for e in errors])  # 2 x 3 x 25 entries a batch
    assert terms["hole"] == pytest.approx(expected, rel=1e-5)
    assert score.gain == pytest.approx(rms(errors) / rms(guesses), rel=1e-6)


def test_a_perfect_guess_has_no_ratio() -> None:
    assert np.isnan(Score(0.0, 0.1, 0.0).gain)


def test_a_stage_that_the_network_cannot_follow_is_refused() -> None:
    stages = (StageRecipe("a", 1, 2), StageRecipe("b", 1, 2, freeze_encoder_norm=True))
    recipe = Recipe("r", 0, stage=stages, optimizer=ONE_STEP)
    with pytest.raises(
        RecipeError, match=r"\[\[stage\]\] 'b': freeze_encoder_norm needs a network with batch norm"
    ):
        check_model(torch.nn.Linear(1, 1), recipe)
