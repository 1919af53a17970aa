"""The loss of a recipe, and the figures of a validation.

Inputs: a `Recipe`; predictions, truth, and the batch they came from. Outputs: a `WeightedLoss`, a `Score`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.flatsky import FlatSky
from cmbinpaint.nn.losses import VGG_TERMS, WeightedLoss
from cmbinpaint.plane.power import mode_variance, patch_rms
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.recipes.recipe_sections import SkyRecipe
from cmbinpaint.training.run.distributed import World
from cmbinpaint.training.run.perceptual import load_vgg

_LMAX = 6200


def build_loss(recipe: Recipe, device: torch.device) -> WeightedLoss:
    """Make the loss that a recipe describes; a VGG16 is read only if a term with a weight needs it."""
    weights = {name: weight for name, weight in recipe.loss.items() if weight > 0}
    vgg = None
    if any(name in VGG_TERMS for name in weights):
        channels = recipe.model.get("channels", 1)
        vgg = load_vgg(recipe.perceptual.weights, channels, recipe.perceptual.scale).to(device)
        vgg = vgg.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sky = flat_sky(recipe.sky) if recipe.sky is not None and "physical" in weights else None
    return WeightedLoss(weights, vgg, sky)


def flat_sky(recipe: SkyRecipe) -> FlatSky:
    """The fiducial sky, convolved with a beam, over the rms that fields are divided by."""
    step = float(np.radians(recipe.step_arcmin / 60))
    sigma = np.radians(recipe.fwhm_arcmin / 60) / np.sqrt(8 * np.log(2))
    lmax = min(_LMAX, int(np.ceil(np.sqrt(2) * np.pi / step)) + 1)
    ell = np.arange(lmax + 1)
    cl = fiducial_cl(_LMAX)[: lmax + 1] * np.exp(-ell * (ell + 1.0) * sigma**2)

    @lru_cache(maxsize=4)
    def variance(side: int) -> FloatArray:
        rms = recipe.rms_uK or patch_rms(cl, step, side)
        return mode_variance(cl, side, step) / rms**2

    return FlatSky(variance, recipe.noise_over_rms)


@dataclass(frozen=True)
class Score:
    """How good a prediction is in the holes of the validation batches.

    Attributes
    ----------
    loss
        Mean loss of the batches.
    hole_rms, guess_rms
        Rms error in hole pixels of the prediction and of the first guess, in the batches' unit: over the field's rms
        for temperatures, of channels in [0, 1] for RGB.
    """

    loss: float
    hole_rms: float
    guess_rms: float

    @property
    def gain(self) -> float:
        """The prediction's rms error over the first guess's; below 1 the network helps."""
        return self.hole_rms / self.guess_rms if self.guess_rms else float("nan")

    def summary(self) -> str:
        """One line for people."""
        return f"hole rms {self.hole_rms:.4f}, first guess {self.guess_rms:.4f}, ratio {self.gain:.3f}"


class AnyScore(Protocol):
    """What a validation gives."""

    @property
    def loss(self) -> float:
        """Mean loss of the batches."""
        ...

    def summary(self) -> str:
        """One line for people."""
        ...


class Losses:
    """Mean of the loss and of its terms over batches."""

    def __init__(self, loss: WeightedLoss) -> None:
        self._loss = loss
        self._sums = torch.zeros(len(loss.names) + 2, dtype=torch.float64)  # terms, loss, batches

    def add(self, prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Count a batch."""
        terms = self._loss.terms(prediction, truth, batch)
        values = [*terms.values(), self._loss.total(terms)]
        self._sums += torch.tensor([*(float(v) for v in values), 1.0], dtype=torch.float64)

    def means(self, world: World) -> tuple[float, dict[str, float]]:
        """The mean loss and the mean of each term, over all processes."""
        sums = world.sum(self._sums)
        *terms, loss = (sums[:-1] / sums[-1].clamp(min=1)).tolist()
        return loss, dict(zip(self._loss.names, terms, strict=True))


class ScoreKeeper:
    """Sums squared errors over batches, in float64 so that the order of batches does not matter."""

    columns = ("loss", "hole_rms", "guess_rms", "gain")

    def __init__(self, loss: WeightedLoss) -> None:
        self._losses = Losses(loss)
        self._sums = torch.zeros(3, dtype=torch.float64)  # two sums of squares, hole entries

    def add(self, prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Count one batch: prediction and truth (B, C, H, W), the network's inputs by name."""
        self._losses.add(prediction, truth, batch)
        hole = batch["valid"] <= 0
        errors = [(field.float() - truth).double() for field in (prediction, batch["x"])]
        sums = [torch.where(hole, e, 0.0).square().sum() for e in errors]
        self._sums += torch.stack([*sums, hole.sum().double() * truth.shape[1]]).cpu()

    def score(self, world: World | None = None) -> tuple[Score, dict[str, float]]:
        """The figures of everything counted, and the mean of each loss term."""
        world = world or World()
        loss, terms = self._losses.means(world)
        sums = world.sum(self._sums)
        rms = (sums[:2] / sums[2].clamp(min=1.0)).sqrt().tolist()
        return Score(loss, *rms), terms

    @staticmethod
    def row(score: Score) -> dict[str, float]:
        """The figures by column."""
        return {name: getattr(score, name) for name in ScoreKeeper.columns}


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


def count_patches(truth: Tensor, channels: int = 1) -> int:
    """Patches in a batch: B·R of (B, R, H, W), B of (B, channels, H, W) and of classes."""
    return truth.shape[0] * (truth.shape[1] // channels if truth.ndim > 1 else 1)


def check_model(model: nn.Module, recipe: Recipe) -> None:
    """Refuse, before any work, stages that the network cannot follow.

    Raises
    ------
    RecipeError
        Saying which stage.
    """

    for stage in recipe.stage:
        if stage.freeze_encoder_norm and not hasattr(model, "freeze_encoder_norm"):
            raise RecipeError(
                f"{stage.where} freeze_encoder_norm needs a network with batch norm in its encoder "
                f"(family 'pconv'); this one is a {type(model).__name__}"
            )
