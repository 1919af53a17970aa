"""Figures and gradients of a training, against sums done by hand: whatever is swapped or left out shows here."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbinpaint.nn.models import build_model
from cmbinpaint.training import OptimizerRecipe, Recipe, load_latest, train

MODEL = {"family": "pconv", "encoder": [[4, 3], [6, 3]], "decoder": [5]}


@dataclass(frozen=True)
class Batch:
    x: np.ndarray
    valid: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Fields:
    """White fields; those of validation are three times as bright."""

    def batch(self, index: int, split: str = "train") -> Batch:
        rng = np.random.default_rng([index, len(split)])
        truth = rng.standard_normal((3, 1, 16, 16)).astype("f4") * np.float32(
            {"train": 1, "validation": 3}[split]
        )
        valid = (rng.random((3, 1, 16, 16)) > 0.3).astype("f4")
        return Batch(np.where(valid > 0, truth, np.float32(0)), valid, truth)


def recipe(**changes: object) -> Recipe:
    options: dict = {
        "name": "absolute", "seed": 3, "steps": 3, "model": MODEL, "loss": {"hole": 6.0, "valid": 1.0}, "workers": 0,
        "optimizer": OptimizerRecipe(lr=0.2, warmup_steps=0, grad_clip=None), "accumulate": 2, "ema_decay": 0.9,
        "log_every": 1, "validate_every": 3, "validation_batches": 4, "threads": 1,
    }  # fmt: skip
    return Recipe(**{**options, **changes})


def run(folder: Path, recipe: Recipe, model: torch.nn.Module | None = None) -> Path:
    train(recipe, folder, device="cpu", stream=Fields(), model=model, progress=lambda *_: None)
    return folder


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def loss_of(network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """6 sum (1 - M) |P - T| / N + sum M |P - T| / N."""
    x, valid, truth = (torch.from_numpy(array) for array in (batch.x, batch.valid, batch.truth))
    errors = (network(x, valid) - truth).abs()
    return (6 * (errors * (1 - valid)).sum() + (errors * valid).sum()) / truth.numel()


def network_with(tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    network = build_model(MODEL)
    network.load_state_dict(tensors)
    return network.eval()


@torch.no_grad()
def hole_rms(network: torch.nn.Module, split: str) -> float:
    errors = []
    for index in range(4):
        batch = Fields().batch(index, split)
        found = network(torch.from_numpy(batch.x), torch.from_numpy(batch.valid)).numpy()
        errors.append((found - batch.truth)[batch.valid == 0])
    return float(np.sqrt(np.mean(np.square(np.concatenate(errors), dtype=np.float64))))


def test_a_validation_is_of_the_averaged_weights_on_the_validation_part(tmp_path: Path) -> None:
    last = load_latest(run(tmp_path, recipe()) / "checkpoints")
    assert last is not None
    figures = rows(tmp_path / "validation.csv")[0]
    averaged, raw = network_with(last.ema), network_with(last.model)
    expected = hole_rms(averaged, "validation")
    assert figures["hole_rms"] == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        losses = [float(loss_of(averaged, Fields().batch(index, "validation"))) for index in range(4)]
    assert figures["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert expected > 2 * hole_rms(averaged, "train"), "the parts differ"
    assert abs(hole_rms(raw, "validation") / expected - 1) > 0.01, "and so do the weights"


def test_accumulated_gradients_are_those_of_the_mean_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model(MODEL)
    by_hand = build_model(MODEL)
    by_hand.load_state_dict(network.state_dict())
    run(tmp_path, recipe(steps=1, validation_batches=0), network)
    loss = (loss_of(by_hand, Fields().batch(0)) + loss_of(by_hand, Fields().batch(1))) / 2
    loss.backward()
    norm = np.sqrt(sum(float(p.grad.double().square().sum()) for p in by_hand.parameters()))
    (row,) = rows(tmp_path / "training.csv")
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert row["gradient_norm"] == pytest.approx(norm, rel=1e-4)
