"""Loss terms against sums over single pixels or plain numpy, and their weighted sum."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.flatsky import FlatSky
from cmbinpaint.nn.losses import TERMS, VGG_TERMS, LossInputs, WeightedLoss
from cmbinpaint.nn.vgg import VGG16

FLOAT32_SUM = 1e-5  # sums of some hundred float32 terms of order one
PIXEL_TERMS = ("valid", "hole", "hole_squared", "total_variation")
PICTURE_TERMS = sorted(set(TERMS) - {"cross_entropy"})


def batch(seed: int, channels: int = 2, side: int = 6, coverage: float = 0.6):
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = torch.randn(2, 2, channels, side, side, generator=generator)
    mask = (torch.rand(2, 1, side, side, generator=generator) < coverage).float()
    return prediction, truth, mask


def vgg() -> VGG16:
    """A thin VGG16 up to pool3 with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return VGG16(2 + 1, blocks=3, widths=(4, 6, 8)).eval().requires_grad_(False)


SKY = FlatSky(lambda side: np.full((side, side // 2 + 1), 2.0 * side**2), noise_std=0.5)


def loss_inputs(prediction, truth, mask, *, looker: VGG16 | None = None) -> LossInputs:
    """Everything that any term may need."""
    inputs = {"valid": mask, "x": torch.where(mask > 0, truth, torch.nan)}
    return LossInputs(prediction, truth, inputs, looker, SKY)


def value(name: str, prediction, truth, mask) -> torch.Tensor:
    return TERMS[name](loss_inputs(prediction, truth, mask))


def big_batch(seed: int):
    """Three channels on 16 px: enough for three pools."""
    return batch(seed, channels=3, side=16)


def by_hand(name: str, prediction, truth, mask) -> float:
    """Each term by a loop over pixels, as its equation is written."""
    (n, channels, height, width), total = prediction.shape, 0.0

    def near_hole(b: int, i: int, j: int) -> bool:
        rows, cols = slice(max(i - 1, 0), i + 2), slice(max(j - 1, 0), j + 2)
        return bool((mask[b, 0, rows, cols] == 0).any())

    def composite(b: int, c: int, i: int, j: int) -> float:
        return (truth if mask[b, 0, i, j] else prediction)[b, c, i, j].item()

    for b, c, i, j in torch.cartesian_prod(*map(torch.arange, (n, channels, height, width))).tolist():
        gap = (prediction[b, c, i, j] - truth[b, c, i, j]).item()
        observed = bool(mask[b, 0, i, j])
        if name == "valid":
            total += abs(gap) * observed
        elif name == "hole":
            total += abs(gap) * (not observed)
        elif name == "hole_squared":
            total += gap**2 * (not observed)
        else:
            for k, m in ((i, j + 1), (i + 1, j)):
                if k < height and m < width and near_hole(b, i, j) and near_hole(b, k, m):
                    total += abs(composite(b, c, k, m) - composite(b, c, i, j))
    return total / prediction.numel()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), coverage=st.sampled_from([0.0, 0.5, 0.95, 1.0]))
@pytest.mark.parametrize("name", PIXEL_TERMS)
def test_terms_are_their_equations(name: str, seed: int, coverage: float) -> None:
    tensors = batch(seed, coverage=coverage)
    assert value(name, *tensors).item() == pytest.approx(by_hand(name, *tensors), rel=FLOAT32_SUM)


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_gradients_are_finite(name: str) -> None:
    prediction, truth, mask = big_batch(1)
    TERMS[name](loss_inputs(prediction.requires_grad_(), truth, mask, looker=vgg())).backward()
    assert torch.isfinite(prediction.grad).all() and prediction.grad.any()


@pytest.mark.parametrize("name", [*PIXEL_TERMS, "spectral", "style_composite"])
def test_gradients_vanish_where_they_should(name: str) -> None:
    prediction, truth, mask = big_batch(1)
    TERMS[name](loss_inputs(prediction.requires_grad_(), truth, mask, looker=vgg())).backward()
    observed = (mask > 0).expand_as(prediction)
    blind = ~observed if name == "valid" else observed
    assert (prediction.grad[blind] == 0).all()
    assert (prediction.grad[~blind] != 0).any()


@pytest.mark.parametrize("name", sorted(set(PICTURE_TERMS) - {"total_variation", "physical"}))
def test_a_perfect_prediction_costs_nothing(name: str) -> None:
    _, truth, mask = big_batch(2)
    assert TERMS[name](loss_inputs(truth, truth, mask, looker=vgg())).item() == 0


def test_valid_loss_never_reads_under_holes() -> None:
    prediction, truth, mask = batch(3)
    expected = value("valid", prediction, truth, mask)
    junk = torch.where(mask > 0, prediction, float("nan")).requires_grad_()
    loss = value("valid", junk, truth, mask)
    assert loss.item() == expected.item()
    loss.backward()
    assert torch.isfinite(junk.grad).all()


def test_total_variation_of_a_picture_without_holes_is_zero() -> None:
    prediction, truth, _ = batch(4)
    assert value("total_variation", prediction, truth, torch.ones(2, 1, 6, 6)).item() == 0


@pytest.mark.parametrize("name", PICTURE_TERMS)
def test_terms_are_float32_under_autocast(name: str) -> None:
    prediction, truth, mask = big_batch(5)
    expected = TERMS[name](loss_inputs(prediction, truth, mask, looker=vgg())).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = TERMS[name](loss_inputs(prediction.bfloat16(), truth, mask, looker=vgg()))
    assert loss.dtype == torch.float32
    # bf16 has 8 bits, 0.4 %; features and their differences pass through three blocks of it.
    assert loss.item() == pytest.approx(expected, rel=0.05 if name in VGG_TERMS else 0.02)


def test_perceptual_and_style_are_their_equations() -> None:
    """Features from the network, everything after them in numpy."""
    prediction, truth, mask = big_batch(9)
    looker = vgg()
    composite = torch.where(mask > 0, truth, prediction)
    features = {
        name: [pool.numpy().astype("f8") for pool in looker.pools(picture)]
        for name, picture in {"P": prediction, "K": composite, "T": truth}.items()
    }

    def gram(psi: np.ndarray) -> np.ndarray:
        channels, height, width = psi.shape[1:]
        return np.einsum("bchw,bdhw->bcd", psi, psi) / (channels * height * width)

    def gap(one: str, kind) -> float:
        pairs = zip(features[one], features["T"], strict=True)
        return sum(np.abs(kind(a) - kind(b)).mean() for a, b in pairs)

    expected = {
        "perceptual": gap("P", lambda psi: psi) + gap("K", lambda psi: psi),
        "style_output": gap("P", gram),
        "style_composite": gap("K", gram),
    }
    for name in VGG_TERMS:
        found = TERMS[name](loss_inputs(prediction, truth, mask, looker=looker)).item()
        assert found == pytest.approx(expected[name], rel=FLOAT32_SUM)


def test_spectral_loss_sees_power_and_not_phases() -> None:
    truth = torch.randn(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    mask = torch.zeros(1, 1, 32, 32)
    assert value("spectral", truth.transpose(-1, -2), truth, mask).item() == pytest.approx(
        0, abs=1e-12
    )  # float64
    # Twice the field has four times the power in every ring.
    assert value("spectral", 2 * truth, truth, mask).item() == pytest.approx(np.log(4), rel=1e-10)


def test_cross_entropy() -> None:
    logits, classes = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0, 2, 1, 1, 0]),
    )
    shares = np.exp(logits.numpy().astype("f8"))
    shares /= shares.sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(5), classes.numpy()]).mean()
    assert WeightedLoss({"cross_entropy": 1.0})(logits, classes, {}).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_the_sum_is_weighted() -> None:
    prediction, truth, mask = batch(6)
    loss = WeightedLoss({"valid": 1.0, "hole": 6.0, "total_variation": 0.1})
    expected = sum(w * value(name, prediction, truth, mask).item() for name, w in loss.weights.items())
    found = loss(prediction, truth, {"valid": mask})
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=FLOAT32_SUM)
    assert set(loss.terms(prediction, truth, {"valid": mask})) == {"valid", "hole", "total_variation"}


class Counting(VGG16):
    """Counts what it looks at."""

    looks = 0

    def pools(self, x: torch.Tensor, n: int = 3) -> list[torch.Tensor]:
        self.looks += 1
        return super().pools(x, n)


@pytest.mark.parametrize(
    ("weights", "looks"),
    [
        ({"hole": 1.0, "perceptual": 0.0, "style_output": 0.0}, 0),
        ({"style_output": 1.0}, 2),
        ({"style_composite": 1.0}, 2),
        ({"perceptual": 1.0, "style_output": 1.0, "style_composite": 1.0}, 3),
    ],
)
def test_each_picture_is_looked_at_once_and_only_if_needed(weights: dict, looks: int) -> None:
    prediction, truth, mask = big_batch(7)
    looker = Counting(3, blocks=3, widths=(2, 2, 2))
    WeightedLoss(weights, looker)(prediction, truth, {"valid": mask})
    assert looker.looks == looks


def test_terms_say_what_they_lack() -> None:
    prediction, truth, mask = batch(7)
    with pytest.raises(RecipeError, match="perceptual and style terms need a VGG16"):
        WeightedLoss({"style_output": 1.0})(prediction, truth, {"valid": mask})
    with pytest.raises(RecipeError, match="the physical term needs the sky's spectrum and noise"):
        WeightedLoss({"physical": 1.0})(prediction, truth, {"valid": mask, "x": truth})


def test_it_travels_to_another_process() -> None:
    prediction, truth, mask = batch(8)
    loss = WeightedLoss({"hole": 2.0})
    again = pickle.loads(pickle.dumps(loss))
    assert again(prediction, truth, {"valid": mask}).item() == loss(prediction, truth, {"valid": mask}).item()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"total_variaton": 1.0},
            f"unknown loss term 'total_variaton'; did you mean 'total_variation'? known: {', '.join(TERMS)}",
        ),
        ({"zzz": 1.0}, f"unknown loss term 'zzz'; known: {', '.join(TERMS)}"),
        ({"hole": -1.0}, "loss term 'hole' has weight -1.0; expected a number of at least 0"),
        ({"hole": float("nan")}, "loss term 'hole' has weight nan; expected a number of at least 0"),
        ({"hole": 0.0}, "no loss term has a weight above 0; give at least one, such as hole = 1"),
        ({}, "no loss term has a weight above 0; give at least one, such as hole = 1"),
    ],
)
def test_impossible_weights_are_refused(weights: dict, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        WeightedLoss(weights)
    assert str(caught.value) == message
