"""The loss of a training step and the figures of a validation.

Takes: predictions, truth, and the batch they came from. Gives: scalars. Floor: 3.

`relative` terms divide each pixel's error by the standard deviation of its first guess, so that a rim pixel,
where little is left to predict, counts as much as one deep inside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn import losses

Term = Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]
_SPREAD_FLOOR = 1e-2  # of the field's rms: below it a pixel is known, and its relative error is noise


def objective(
    weights: Mapping[str, float], prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]
) -> Tensor:
    """The weighted sum of loss terms.

    Parameters
    ----------
    weights
        Weight by term; see `TERMS`.
    prediction, truth
        (B, R, H, W).
    batch
        The network's inputs by name: ``valid`` (B, 1, H, W); ``spread`` (B, 1, H, W) for relative terms.

    Returns
    -------
    Scalar float32 tensor. The relative terms are means over hole pixels, those of `nn.losses` over all.
    """
    total = prediction.new_zeros((), dtype=torch.float32)
    for name, weight in weights.items():
        if weight:
            total = total + weight * TERMS[name](prediction, truth, batch)
    return total


def _relative(power: int) -> Term:
    def term(prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if "spread" not in batch:
            raise RecipeError(
                "[loss] relative terms need a data set that gives the guess's spread; use hole terms"
            )
        hole = batch["valid"] <= 0
        scale = batch["spread"].clamp(min=_SPREAD_FLOOR)
        error = torch.where(hole, (prediction.float() - truth) / scale, 0.0).abs().pow(power)
        return error.sum() / (hole.sum() * truth.shape[1]).clamp(min=1)

    return term


def _plain(term: losses.Term) -> Term:
    return lambda prediction, truth, batch: term(prediction, truth, batch["valid"])


TERMS: dict[str, Term] = {
    **{name: _plain(term) for name, term in losses.TERMS.items()},
    "relative_l1": _relative(1),
    "relative_l2": _relative(2),
}


@dataclass(frozen=True)
class Score:
    """How good a prediction is in the holes of the validation batches.

    Attributes
    ----------
    loss
        Mean loss of the batches.
    hole_rms, guess_rms
        Rms error in hole pixels of the prediction and of the first guess, over the field's rms.
    relative_rms, guess_relative_rms
        The same, each pixel over its guess's standard deviation; NaN when the data set does not give that.
    """

    loss: float
    hole_rms: float
    guess_rms: float
    relative_rms: float
    guess_relative_rms: float

    @property
    def gain(self) -> float:
        """The prediction's rms error over the first guess's; below 1 the network helps."""
        return self.hole_rms / self.guess_rms


class ScoreKeeper:
    """Sums squared errors over batches, in float64 so that the order of batches does not matter."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._losses: list[float] = []
        self._pixels = 0.0
        self._sums = torch.zeros(4, dtype=torch.float64)

    def add(self, prediction: Tensor, truth: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Count one batch; shapes as in `objective`."""
        self._losses.append(float(objective(self._weights, prediction, truth, batch)))
        hole = batch["valid"] <= 0
        self._pixels += float(hole.sum()) * truth.shape[1]
        errors = [(field.float() - truth).double() for field in (prediction, batch["x"])]
        scale = (
            batch["spread"].clamp(min=_SPREAD_FLOOR).double() if "spread" in batch else errors[0] * torch.nan
        )
        sums = [torch.where(hole, e, 0.0).square().sum() for e in errors]
        sums += [torch.where(hole, e / scale, 0.0).square().sum() for e in errors]
        self._sums += torch.stack(sums).cpu()

    def score(self) -> Score:
        """The figures of everything counted."""
        rms = (self._sums / max(self._pixels, 1.0)).sqrt().tolist()
        return Score(sum(self._losses) / max(len(self._losses), 1), *rms)
