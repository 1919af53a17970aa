"""Classes of patches: crops, hits and confusion by hand, and a classifier that learns."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.losses import WeightedLoss
from cmbinpaint.training import OptimizerRecipe, Recipe, train
from cmbinpaint.training.data.classes import ClassStream
from cmbinpaint.training.recipes.recipe_sections import ClassesRecipe
from cmbinpaint.training.run.objective import ClassKeeper, confusion


@dataclass(frozen=True)
class Pictures:
    truth: np.ndarray


@dataclass(frozen=True)
class LabeledNoise:
    """Classes differ by their amplitude; the pixel's place is its value's integer part."""

    seed: int = 2
    side: int = 16

    def batch(self, index: int, split: str = "train") -> Pictures:
        rng = np.random.default_rng([self.seed, index])
        labels = self.labels(index, split)
        noise = rng.standard_normal((6, 1, self.side, self.side)) * (1 + 2 * labels)[:, None, None, None]
        return Pictures(noise.astype(np.float32))

    def labels(self, index: int, split: str = "train") -> np.ndarray:
        return np.array([0, 1, 2, 2, 1, 0])


def test_crops_are_cut_from_the_patch_and_pure() -> None:
    stream = ClassStream(LabeledNoise(), crop=8)
    batch, whole = stream.batch(3), LabeledNoise().batch(3).truth
    assert batch.x.shape == (6, 1, 8, 8) and batch.truth.dtype == np.int64
    again = stream.batch(3)
    assert np.array_equal(batch.x, again.x) and np.array_equal(batch.truth, LabeledNoise().labels(3))
    corners = set()
    for crop, patch in zip(batch.x, whole, strict=True):
        places = [
            (r, c) for r in range(9) for c in range(9) if np.array_equal(patch[:, r : r + 8, c : c + 8], crop)
        ]
        assert len(places) == 1
        corners.add(places[0])
    assert len(corners) > 1
    middle = stream.batch(3, "validation").x
    assert np.array_equal(middle, whole[:, :, 4:12, 4:12])
    assert ClassStream(LabeledNoise()).batch(3).x.shape == (6, 1, 16, 16)


def test_what_cannot_be_cut_or_has_no_classes_is_refused() -> None:
    with pytest.raises(RecipeError, match=re.escape("[classes] crop is 32; patches are 16 x 16 px")):
        ClassStream(LabeledNoise(), crop=32).batch(0)
    with pytest.raises(
        RecipeError, match=re.escape("[classes] needs data with classes: [data] kind = 'stored'")
    ):
        ClassStream(object())  # type: ignore[arg-type]


def test_hits_and_confusion() -> None:
    logits = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 3, 0], [0, 0, 1]])
    labels = torch.tensor([0, 1, 2, 2])
    assert confusion(logits, labels).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    keeper = ClassKeeper(WeightedLoss({"cross_entropy": 1.0}))
    keeper.add(logits, labels, {})
    keeper.add(logits[:1], labels[:1], {})
    score, terms = keeper.score()
    assert score.accuracy == pytest.approx(4 / 5)
    whole, first = (torch.nn.functional.cross_entropy(logits[:n], labels[:n]).item() for n in (4, 1))
    assert score.loss == pytest.approx((whole + first) / 2) == pytest.approx(terms["cross_entropy"])
    assert keeper.row(score) == {"loss": score.loss, "accuracy": score.accuracy}


def test_a_classifier_learns_and_resumes(tmp_path: Path) -> None:
    recipe = Recipe(
        "c", 1, 60, loss={"cross_entropy": 1.0}, classes=ClassesRecipe(crop=8), ema_decay=0.5, workers=0, threads=1,
        model={"family": "vgg16", "classes": 3, "blocks": 2, "widths": [6, 8]}, validation_batches=1,
        optimizer=OptimizerRecipe(lr=1e-2, warmup_steps=0),
    )  # fmt: skip
    options = {"device": "cpu", "stream": LabeledNoise(), "progress": lambda *_: None}
    assert not train(recipe, tmp_path, stop_after=20, **options).finished  # type: ignore[arg-type]
    result = train(recipe, tmp_path, **options)  # type: ignore[arg-type]
    assert result.finished and result.score is not None
    assert result.score.accuracy > 0.6, "by chance it would be a third"  # type: ignore[attr-defined]
    assert (tmp_path / "validation.csv").read_text().splitlines()[
        0
    ] == "step,stage,epoch,loss,accuracy,cross_entropy"
    assert (tmp_path / "training.csv").read_text().count("\n") == 7
