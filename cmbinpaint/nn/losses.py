"""What training makes small: named terms, and their weighted sum.

Inputs: prediction and truth `(B, C, H, W)`, mask `(B, 1, H, W)`, and what a term needs besides. Outputs: a scalar.

With P the prediction, T the truth, M the mask (1 observed, 0 hole), K = M T + (1 - M) P the composite and N the
number of entries B·C·H·W. Sums over all entries of the batch are over N, so that a bigger hole weighs more (Liu et
al. 2018, section 3.3):

==================  ===============================================================================
`valid`             Σ M |P - T| / N
`hole`              Σ (1 - M) |P - T| / N
`hole_squared`      Σ (1 - M) (P - T)² / N
`total_variation`   Σ |K(i, j+1) - K(i, j)| / N + Σ |K(i+1, j) - K(i, j)| / N over pairs within R,
                    R the hole grown by 1 px, corners too
`perceptual`        Σ_p mean |Ψ_p(P) - Ψ_p(T)| + mean |Ψ_p(K) - Ψ_p(T)|, Ψ_p the features of
                    VGG16's pool p = 1, 2, 3
`style_output`      Σ_p mean |G_p(P) - G_p(T)| with the Gram matrix G_p(x) = Ψ_p(x) Ψ_p(x)ᵀ / (C_p H_p W_p)
`style_composite`   Σ_p mean |G_p(K) - G_p(T)|
`spectral`          mean over rings of wavenumber of |ln c(K) - ln c(T)|, c the power in the ring of each
                    Hann-windowed plane
`physical`          ½ (P - d)ᵀ N⁻¹ (P - d) + ½ Pᵀ S⁻¹ P over N, d the data, N⁻¹ zero in holes and S diagonal in
                    Fourier space; no truth needed. Its minimum is the Wiener filter of d (Münchmeyer & Smith
                    2019, arXiv 1905.05846)
`cross_entropy`     mean of -ln softmax(P)[T], T the class: for classifiers
==================  ===============================================================================

All are computed in float32 at least, also under autocast; features in the network's own precision.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.flatsky import FlatSky, ring_power
from cmbinpaint.nn.vgg import VGG16

POOLS = 3


class LossInputs:
    """A batch as loss terms see it; what several of them need is computed once, and only if one does.

    Parameters
    ----------
    prediction, truth
        (B, C, H, W), or logits (B, classes) and classes (B,).
    inputs
        What the network saw: ``valid`` (B, 1, H, W); ``x`` (B, C, H, W) for the physical term.
    vgg, sky
        For the terms that need them.
    """

    def __init__(
        self,
        prediction: Tensor,
        truth: Tensor,
        inputs: Mapping[str, Tensor],
        vgg: VGG16 | None = None,
        sky: FlatSky | None = None,
    ) -> None:
        self.prediction, self.truth = _single(prediction), truth
        self.inputs, self.sky = inputs, sky
        self._vgg = vgg

    @cached_property
    def hole(self) -> Tensor:
        """(B, 1, H, W) bool."""
        return self.inputs["valid"] <= 0

    @cached_property
    def error(self) -> Tensor:
        """P - T."""
        return self.prediction - self.truth

    @cached_property
    def composite(self) -> Tensor:
        """K: the truth where observed, the prediction in holes."""
        return torch.where(self.hole, self.prediction, self.truth.to(self.prediction.dtype))

    @cached_property
    def output_features(self) -> list[Tensor]:
        """Ψ(P)."""
        return self._features(self.prediction)

    @cached_property
    def composite_features(self) -> list[Tensor]:
        """Ψ(K)."""
        return self._features(self.composite)

    @cached_property
    def truth_features(self) -> list[Tensor]:
        """Ψ(T), without gradient."""
        with torch.no_grad():
            return self._features(self.truth)

    def _features(self, picture: Tensor) -> list[Tensor]:
        if self._vgg is None:
            raise RecipeError("perceptual and style terms need a VGG16; give WeightedLoss one")
        return self._vgg.pools(picture, POOLS)


Term = Callable[[LossInputs], Tensor]


def valid_loss(batch: LossInputs) -> Tensor:
    """Σ M |P - T| / N: L1 over the observed pixels (Liu et al. 2018, section 3.3)."""
    return torch.where(batch.hole, 0.0, batch.error).abs().mean()


def hole_loss(batch: LossInputs) -> Tensor:
    """Σ (1 - M) |P - T| / N: L1 over the holes (Liu et al. 2018, section 3.3)."""
    return torch.where(batch.hole, batch.error, 0.0).abs().mean()


def hole_squared_loss(batch: LossInputs) -> Tensor:
    """Σ (1 - M) (P - T)² / N: its minimum is the conditional mean, whatever the distribution."""
    return torch.where(batch.hole, batch.error, 0.0).square().mean()


def total_variation_loss(batch: LossInputs) -> Tensor:
    """Steps between neighbors of the composite, in the hole grown by 1 px (Liu et al. 2018, eq. 6)."""
    composite = batch.composite
    near = functional.max_pool2d(batch.hole.float(), 3, stride=1, padding=1) > 0
    across = torch.where(near[..., 1:] & near[..., :-1], composite.diff(dim=-1), 0.0).abs().sum()
    down = torch.where(near[..., 1:, :] & near[..., :-1, :], composite.diff(dim=-2), 0.0).abs().sum()
    return (across + down) / composite.numel()


def perceptual_loss(batch: LossInputs) -> Tensor:
    """L1 between features of output or composite and of the truth (Liu et al. 2018, eq. 3)."""
    return _gaps(batch.output_features, batch.truth_features) + _gaps(
        batch.composite_features, batch.truth_features
    )


def style_output_loss(batch: LossInputs) -> Tensor:
    """L1 between Gram matrices of output and truth (Liu et al. 2018, eq. 4)."""
    return _gaps(_grams(batch.output_features), _grams(batch.truth_features))


def style_composite_loss(batch: LossInputs) -> Tensor:
    """L1 between Gram matrices of composite and truth (Liu et al. 2018, eq. 5)."""
    return _gaps(_grams(batch.composite_features), _grams(batch.truth_features))


def spectral_loss(batch: LossInputs) -> Tensor:
    """|ln| of the power in rings of the composite over the truth's: zero for the right power, whatever the phases."""
    return (ring_power(batch.composite).log() - ring_power(_single(batch.truth)).log()).abs().mean()


def physical_loss(batch: LossInputs) -> Tensor:
    """½ (P - d)ᵀ N⁻¹ (P - d) + ½ Pᵀ S⁻¹ P, over N (Münchmeyer & Smith 2019, the loss J)."""
    if batch.sky is None:
        raise RecipeError("the physical term needs the sky's spectrum and noise; give a [sky] table")
    misfit = torch.where(batch.hole, 0.0, batch.prediction - batch.inputs["x"]) / batch.sky.noise_std
    total = misfit.square().sum() + batch.sky.prior_form(batch.prediction).sum()
    return 0.5 * total / batch.prediction.numel()


def cross_entropy_loss(batch: LossInputs) -> Tensor:
    """Mean of -ln of the probability given to the right class."""
    return functional.cross_entropy(batch.prediction, batch.truth)


TERMS: Mapping[str, Term] = {
    "valid": valid_loss,
    "hole": hole_loss,
    "hole_squared": hole_squared_loss,
    "total_variation": total_variation_loss,
    "perceptual": perceptual_loss,
    "style_output": style_output_loss,
    "style_composite": style_composite_loss,
    "spectral": spectral_loss,
    "physical": physical_loss,
    "cross_entropy": cross_entropy_loss,
}
VGG_TERMS = ("perceptual", "style_output", "style_composite")


@dataclass(frozen=True)
class WeightedLoss:
    """The weighted sum of named terms; a term of weight 0 is not computed, nor anything that only it needs.

    Parameters
    ----------
    weights
        Weight of each term by its name; terms that are not named have none.
    vgg
        For `VGG_TERMS`; frozen, in evaluation mode.
    sky
        For `physical`.

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
    vgg: VGG16 | None = None
    sky: FlatSky | None = None

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in TERMS:
                near = get_close_matches(name, TERMS, n=1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise RecipeError(f"unknown loss term {name!r}; {hint}known: {', '.join(TERMS)}")
            if not (math.isfinite(weight) and weight >= 0):
                raise RecipeError(f"loss term {name!r} has weight {weight}; expected a number of at least 0")
        if not any(self.weights.values()):
            raise RecipeError("no loss term has a weight above 0; give at least one, such as hole = 1")
        object.__setattr__(self, "weights", dict(self.weights))

    @property
    def names(self) -> tuple[str, ...]:
        """The terms with a weight above 0."""
        return tuple(name for name, weight in self.weights.items() if weight > 0)

    def terms(self, prediction: Tensor, truth: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each term with a weight above 0, before its weight: what a log shows."""
        batch = LossInputs(prediction, truth, inputs, self.vgg, self.sky)
        return {name: TERMS[name](batch) for name in self.names}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return `Σ weight · term`, a scalar."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def __call__(self, prediction: Tensor, truth: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of a batch, a scalar."""
        return self.total(self.terms(prediction, truth, inputs))


def _gaps(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Sum over pools of the mean absolute difference."""
    return torch.stack(
        [(_single(a) - _single(b)).abs().mean() for a, b in zip(ours, theirs, strict=True)]
    ).sum()


def _grams(features: list[Tensor]) -> list[Tensor]:
    """Ψ Ψᵀ / (C H W) of each pool, `(B, C, C)`, in float32 at least."""
    grams = []
    for feature in features:
        # Pixels before channels: a view of features that lie channels last, as their gradient then does too.
        pixels = _single(feature).permute(0, 2, 3, 1).flatten(1, 2)
        with torch.autocast(pixels.device.type, enabled=False):
            grams.append(pixels.transpose(1, 2) @ pixels / (pixels.shape[1] * pixels.shape[2]))
    return grams


def _single(tensor: Tensor) -> Tensor:
    """`tensor` in float32, or float64 if it is."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
