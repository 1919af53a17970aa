"""A network small enough to train in a test, and its recipe."""

import torch
from torch import nn

from cmbinpaint.training import OptimizerRecipe, Recipe


class ToyModel(nn.Module):
    """Convolutions, a batch norm (buffers), and dropout (random state)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, valid: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        batch, fields, height, width = x.shape
        both = torch.stack([x, valid.expand_as(x)], 2).reshape(batch * fields, 2, height, width)
        u = self.last(self.drop(torch.relu(self.norm(self.first(both)))))
        return x + (1 - valid) * u.reshape(x.shape)


def toy_model(width: int = 4) -> ToyModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return ToyModel(width)


def toy_recipe(**changes: object) -> Recipe:
    options: dict = {
        "name": "toy",
        "seed": 3,
        "steps": 6,
        "optimizer": OptimizerRecipe(lr=1e-2, warmup_steps=2, weight_decay=1e-3),
        "loss": {"hole": 1.0, "hole_squared": 0.5},
        "accumulate": 2,
        "ema_decay": 0.9,
        "checkpoint_every": 2,
        "validate_every": 3,
        "validation_batches": 2,
        "log_every": 1,
        "workers": 0,
        "threads": 1,
    }
    return Recipe(**{**options, **changes})
