"""What training makes small: named terms, and their weighted sum.

Takes: prediction and truth `(B, C, H, W)`, mask `(B, 1, H, W)`. Gives: a scalar. Floor: 1.

Each term is a mean over all B·C·H·W entries of the batch, so that a bigger hole weighs more (Liu et al. 2018,
section 3.3). With P the prediction, T the truth, M the mask (1 observed, 0 hole) and N the number of entries:

==================  ===============================================================================
`valid`             Σ M |P - T| / N
`hole`              Σ (1 - M) |P - T| / N
`hole_squared`      Σ (1 - M) (P - T)² / N
`total_variation`   Σ |K(i, j+1) - K(i, j)| / N + Σ |K(i+1, j) - K(i, j)| / N over pairs within R,
                    with K = M T + (1 - M) P and R the hole grown by 1 px, corners too
==================  ===============================================================================

All are computed in float32, also under autocast.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

import torch
from torch import Tensor
from torch.nn import functional

from cmbinpaint.errors import RecipeError

Term = Callable[[Tensor, Tensor, Tensor], Tensor]


def valid_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Σ M |P - T| / N: L1 over the observed pixels (Liu et al. 2018, section 3.3)."""
    return torch.where(mask > 0, prediction.float() - truth.float(), 0.0).abs().mean()


def hole_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Σ (1 - M) |P - T| / N: L1 over the holes (Liu et al. 2018, section 3.3)."""
    return torch.where(mask > 0, 0.0, prediction.float() - truth.float()).abs().mean()


def hole_squared_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Σ (1 - M) (P - T)² / N: its minimum is the conditional mean, whatever the distribution."""
    return torch.where(mask > 0, 0.0, prediction.float() - truth.float()).square().mean()


def total_variation_loss(prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Steps between neighbors of the composite, in the hole grown by 1 px (Liu et al. 2018, eq. 6)."""
    hole = mask <= 0
    composite = torch.where(hole, prediction.float(), truth.float())
    near = functional.max_pool2d(hole.float(), 3, stride=1, padding=1) > 0
    across = torch.where(near[..., 1:] & near[..., :-1], composite.diff(dim=-1), 0.0).abs().sum()
    down = torch.where(near[..., 1:, :] & near[..., :-1, :], composite.diff(dim=-2), 0.0).abs().sum()
    return (across + down) / composite.numel()


TERMS: Mapping[str, Term] = {
    "valid": valid_loss,
    "hole": hole_loss,
    "hole_squared": hole_squared_loss,
    "total_variation": total_variation_loss,
}


@dataclass(frozen=True)
class WeightedLoss:
    """The weighted sum of named terms; a term of weight 0 is not computed.

    Parameters
    ----------
    weights
        Weight of each term by its name; terms that are not named have none.
    known
        The terms to choose from.

    Raises
    ------
    RecipeError
        An unknown name, a weight that is negative or not finite, or no weight above 0.

    Examples
    --------
    >>> WeightedLoss({"valid": 1.0, "hole": 6.0, "total_variation": 0.1}).weights["hole"]
    6.0
    """

    weights: Mapping[str, float]
    known: Mapping[str, Term] = field(default_factory=lambda: TERMS, repr=False)

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in self.known:
                near = get_close_matches(name, self.known, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise RecipeError(f"unknown loss term {name!r}; {hint}known: {', '.join(self.known)}")
            if not (math.isfinite(weight) and weight >= 0):
                raise RecipeError(f"loss term {name!r} has weight {weight}; expected a number of at least 0")
        if not any(self.weights.values()):
            raise RecipeError("no loss term has a weight above 0; give at least one, such as hole = 1")
        object.__setattr__(self, "weights", dict(self.weights))

    def terms(self, prediction: Tensor, truth: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Return each term with a weight above 0, before its weight: what a log shows."""
        return {n: self.known[n](prediction, truth, mask) for n, weight in self.weights.items() if weight > 0}

    def __call__(self, prediction: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        """Return `Σ weight · term`, a scalar."""
        terms = self.terms(prediction, truth, mask)
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
