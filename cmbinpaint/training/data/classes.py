"""What a classifier of patches reads: whole patches of a labeled stream, or squares cut out of them.

Inputs: a stream with labels. Outputs: `ClassBatch`es.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cmbinpaint._types import Float32Array, IntArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.splits import SPLITS, split_number


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
        See `ClassesRecipe`.

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
        key = (len(SPLITS), split_number(split), index)  # no stream's own: those begin with a split
        rng = np.random.default_rng(np.random.SeedSequence(self.stream.seed, spawn_key=key))
        corners = (
            rng.integers(0, room + 1, (len(pictures), 2)) if split == "train" else [room // 2] * len(pictures)
        )
        cut = [
            p[:, r : r + self.crop, c : c + self.crop] for p, (r, c) in zip(pictures, corners, strict=True)
        ]
        return ClassBatch(np.stack(cut), labels)
