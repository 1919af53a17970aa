"""The loss and the figures: against plain numpy, over hole pixels only."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.objective import TERMS, ScoreKeeper, objective
from cmbinpaint.training.recipe import LOSS_TERMS


def draw(seed: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    prediction, truth, x = (
        torch.from_numpy(rng.standard_normal((2, 3, 5, 5)).astype("f4")) for _ in range(3)
    )
    valid = torch.from_numpy((rng.random((2, 1, 5, 5)) > 0.5).astype("f4"))
    spread = torch.from_numpy(rng.uniform(0.05, 1, (2, 1, 5, 5)).astype("f4")) * (1 - valid)
    return prediction, truth, {"x": x, "valid": valid, "spread": spread}


def test_names_are_the_recipes() -> None:
    assert set(TERMS) == set(LOSS_TERMS)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), power=st.sampled_from([1, 2]))
def test_relative_terms(seed: int, power: int) -> None:
    prediction, truth, batch = draw(seed)
    hole = np.broadcast_to(batch["valid"].numpy() == 0, truth.shape)
    scale = np.broadcast_to(batch["spread"].numpy(), truth.shape)
    error = (prediction - truth).numpy()
    expected = np.mean(np.abs(error[hole] / scale[hole]) ** power)
    found = objective({f"relative_l{power}": 2.0}, prediction, truth, batch)
    assert float(found) == pytest.approx(2 * expected, rel=1e-5)  # single precision


def test_terms_add_with_their_weights() -> None:
    prediction, truth, batch = draw(1)
    parts = {name: float(objective({name: 1.0}, prediction, truth, batch)) for name in LOSS_TERMS}
    weights = {name: float(i) for i, name in enumerate(LOSS_TERMS)}
    total = objective(weights, prediction, truth, batch)
    assert float(total) == pytest.approx(sum(weights[n] * parts[n] for n in parts), rel=1e-5)


def test_relative_terms_need_a_spread() -> None:
    prediction, truth, batch = draw(2)
    del batch["spread"]
    with pytest.raises(RecipeError, match=r"relative terms need a data set that gives the guess's spread"):
        objective({"relative_l1": 1.0}, prediction, truth, batch)


def test_score_is_over_hole_pixels_of_all_batches() -> None:
    keeper, errors, guesses, relatives = ScoreKeeper({"hole": 1.0}), [], [], []
    for seed in (3, 4):
        prediction, truth, batch = draw(seed)
        batch["x"] = torch.where(batch["valid"] > 0, torch.nan, batch["x"])
        hole = np.broadcast_to(batch["valid"].numpy() == 0, truth.shape)
        errors.append((prediction - truth).numpy()[hole])
        guesses.append((batch["x"] - truth).numpy()[hole])
        relatives.append(errors[-1] / np.broadcast_to(batch["spread"].numpy(), truth.shape)[hole])
        keeper.add(prediction, truth, batch)
    score = keeper.score()

    def rms(parts: list) -> float:
        return float(np.sqrt(np.mean(np.concatenate(parts).astype("f8") ** 2)))

    assert score.hole_rms == pytest.approx(rms(errors), rel=1e-6)
    assert score.guess_rms == pytest.approx(rms(guesses), rel=1e-6)
    assert score.relative_rms == pytest.approx(rms(relatives), rel=1e-5)
    assert score.gain == pytest.approx(rms(errors) / rms(guesses), rel=1e-6)
