"""Telling classes of patches apart: what a classifier reads, and how often it is right.

Inputs: a stream with labels; logits `(B, classes)` and classes `(B,)`. Outputs: batches, accuracy, confusion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from cmbinpaint._types import Float32Array, IntArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.losses import WeightedLoss
from cmbinpaint.training.run.distributed import World
from cmbinpaint.training.run.objective import Losses

_SPLITS = ("train", "validation", "test")


class LabeledStream(Protocol):
    """A stream that knows the class of each patch of a batch."""

    seed: int

    def batch(self, index: int, split: str = "train") -> Any:
        """A batch with a field `truth`, (B, C, H, W)."""
        ...

    def labels(self, index: int, split: str = "train") -> IntArray:
        """(B,) the classes of that batch."""
        ...


@dataclass(frozen=True)
class ClassBatch:
    """B patches and their classes."""

    x: Float32Array  # (B, C, H, W) without holes
    truth: IntArray  # (B,) int64


@dataclass(frozen=True)
class ClassStream:
    """The whole patches of a labeled stream, or squares cut out of them.

    Attributes
    ----------
    stream
        Where patches and classes come from.
    crop
        See `parts.ClassesRecipe`.

    Raises
    ------
    RecipeError
        If the stream has no classes.
    """

    stream: LabeledStream
    crop: int | None = None

    def __post_init__(self) -> None:
        if not hasattr(self.stream, "labels"):
            raise RecipeError(
                "[classes] needs data with classes: [data] kind = 'stored' and a data set of several spectra"
            )

    def batch(self, index: int, split: str = "train") -> ClassBatch:
        """The batch number `index` of a split; the same whoever asks, whenever."""
        pictures = self.stream.batch(index, split).truth
        labels = np.asarray(self.stream.labels(index, split), dtype=np.int64)
        if self.crop is None:
            return ClassBatch(pictures, labels)
        room = np.array(pictures.shape[2:]) - self.crop
        if room.min() < 0:
            raise RecipeError(
                f"[classes] crop is {self.crop}; patches are {pictures.shape[2]} x {pictures.shape[3]} px"
            )
        key = (len(_SPLITS), _SPLITS.index(split), index)  # no stream's own: those begin with a split
        rng = np.random.default_rng(np.random.SeedSequence(self.stream.seed, spawn_key=key))
        corners = (
            rng.integers(0, room + 1, (len(pictures), 2)) if split == "train" else [room // 2] * len(pictures)
        )
        cut = [
            p[:, r : r + self.crop, c : c + self.crop] for p, (r, c) in zip(pictures, corners, strict=True)
        ]
        return ClassBatch(np.stack(cut), labels)


@dataclass(frozen=True)
class ClassScore:
    """Mean cross entropy, and the share of patches put into their class."""

    loss: float
    accuracy: float

    def summary(self) -> str:
        """One line for people."""
        return f"cross entropy {self.loss:.4f}, accuracy {self.accuracy:.3f}"


class ClassKeeper:
    """Counts hits over batches."""

    columns = ("loss", "accuracy")

    def __init__(self, loss: WeightedLoss) -> None:
        self._losses = Losses(loss)
        self._sums = torch.zeros(2, dtype=torch.float64)  # hits, patches

    def add(self, prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Count one batch: logits (B, classes), classes (B,)."""
        self._losses.add(prediction, truth, batch)
        hits = (prediction.argmax(1) == truth).sum()
        self._sums += torch.tensor([float(hits), float(truth.numel())], dtype=torch.float64)

    def score(self, world: World | None = None) -> tuple[ClassScore, dict[str, float]]:
        """The figures of everything counted, and the mean of each loss term."""
        world = world or World()
        loss, terms = self._losses.means(world)
        hits, patches = world.sum(self._sums).tolist()
        return ClassScore(loss, hits / max(patches, 1.0)), terms

    @staticmethod
    def row(score: ClassScore) -> dict[str, float]:
        """The figures by column."""
        return {"loss": score.loss, "accuracy": score.accuracy}


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """(classes, classes) int64: how many patches of class [row] were put into class [column]."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).view(classes, classes)
