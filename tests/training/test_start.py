"""Recipes that start from a trained network: its weights are the first ones, and nothing else of its run is."""

import re
from pathlib import Path

import pytest
import torch

from cmbinpaint.errors import RecipeError, WeightsError
from cmbinpaint.networks.store import load_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.training import Recipe, final_weights, train
from cmbinpaint.training.run.resume import initial_network

MODEL = {"family": "pconv", "encoder": [[4, 3]], "decoder": []}


def recipe(built: Path, **changes: object) -> Recipe:
    return Recipe.from_mapping({
        "name": "small", "seed": 4, "steps": 3, "model": MODEL, "loss": {"hole": 1.0}, "validation_batches": 0,
        "data": {"kind": "stored", "folder": str(built), "batch_size": 2}, "workers": 0, "threads": 1,
        "optimizer": {"warmup_steps": 0, "lr": 1e-2}, "ema_decay": 0.0, **changes,
    })  # fmt: skip


def run(recipe: Recipe, folder: Path, **options: object) -> Path:
    train(recipe, folder, device="cpu", progress=lambda *_: None, **options)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def first(built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The card of a network to start from."""
    return str(run(recipe(built), tmp_path_factory.mktemp("first")) / "small.json")


def test_its_weights_are_the_first_ones(built: Path, first: str) -> None:
    tensors = load_weights(first)[1]
    network = initial_network(recipe(built, start=first, seed=5))
    assert network.state_dict().keys() == tensors.keys() and tensors
    assert all(torch.equal(found, tensors[name]) for name, found in network.state_dict().items())


def test_a_run_goes_on_from_them(built: Path, first: str, tmp_path: Path) -> None:
    still = {"warmup_steps": 0, "lr": 1e-9, "weight_decay": 0.0}
    after = final_weights(run(recipe(built, start=first, seed=5, optimizer=still), tmp_path))
    tensors = load_weights(first)[1]
    learned = [name for name, _ in build_model(MODEL).named_parameters()]
    assert learned
    for name in learned:  # three steps of 1e-9 each at most: Adam's are of its learning rate
        torch.testing.assert_close(after[name], tensors[name], rtol=0, atol=1e-8)


def test_a_resumed_run_starts_once(built: Path, first: str, tmp_path: Path) -> None:
    again = recipe(built, start=first, seed=5)
    straight = final_weights(run(again, tmp_path / "straight"))
    run(again, tmp_path / "resumed", stop_after=2)
    resumed = final_weights(run(again, tmp_path / "resumed"))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], tensor) for name, tensor in resumed.items())


def test_the_card_says_from_what(built: Path, first: str, tmp_path: Path) -> None:
    card, _ = load_weights(run(recipe(built, start=first), tmp_path) / "small.json")
    assert card.recipe["start"] == first


def test_what_a_run_cannot_start_from(built: Path, first: str) -> None:
    other = {**MODEL, "encoder": [[6, 3]]}
    text = f"start is {first!r}, the weights of {MODEL}, and [model] is {other}; give weights of the same network"
    with pytest.raises(RecipeError, match=re.escape(text)):
        initial_network(recipe(built, start=first, model=other))
    with pytest.raises(WeightsError, match="did you mean 'combine128'"):
        initial_network(recipe(built, start="combine182"))
    for start in ("", 5):
        with pytest.raises(RecipeError, match=f"start is {start!r}; give a network's name"):
            recipe(built, start=start)


def test_a_norm_that_is_learned_may_be_frozen_at_once(built: Path, first: str) -> None:
    stages = {"stage": [{"name": "a", "epochs": 1, "steps_per_epoch": 2, "freeze_encoder_norm": True}]}
    with pytest.raises(RecipeError, match="or start from weights that have"):
        recipe(built, steps=None, **stages)
    assert recipe(built, steps=None, start=first, **stages).plan[0].freeze_encoder_norm
