"""Loss terms against sums over single pixels, and their weighted sum."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import RecipeError
from cmbinpaint.nn.losses import TERMS, WeightedLoss

FLOAT32_SUM = 1e-5  # sums of some hundred float32 terms of order one


def batch(seed: int, channels: int = 2, side: int = 6, coverage: float = 0.6):
    generator = torch.Generator().manual_seed(seed)
    prediction, truth = torch.randn(2, 2, channels, side, side, generator=generator)
    mask = (torch.rand(2, 1, side, side, generator=generator) < coverage).float()
    return prediction, truth, mask


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
@pytest.mark.parametrize("name", sorted(TERMS))
def test_terms_are_their_equations(name: str, seed: int, coverage: float) -> None:
    tensors = batch(seed, coverage=coverage)
    assert TERMS[name](*tensors).item() == pytest.approx(by_hand(name, *tensors), rel=FLOAT32_SUM)


@pytest.mark.parametrize("name", sorted(TERMS))
def test_terms_have_finite_gradients_and_vanish_where_they_should(name: str) -> None:
    prediction, truth, mask = batch(1)
    TERMS[name](prediction.requires_grad_(), truth, mask).backward()
    assert torch.isfinite(prediction.grad).all()
    observed = (mask > 0).expand_as(prediction)
    blind = ~observed if name == "valid" else observed
    assert (prediction.grad[blind] == 0).all()
    assert (prediction.grad[~blind] != 0).any()


@pytest.mark.parametrize("name", ["hole", "hole_squared", "valid"])
def test_a_perfect_prediction_costs_nothing(name: str) -> None:
    _, truth, mask = batch(2)
    assert TERMS[name](truth, truth, mask).item() == 0


def test_valid_loss_never_reads_under_holes() -> None:
    prediction, truth, mask = batch(3)
    expected = TERMS["valid"](prediction, truth, mask)
    junk = torch.where(mask > 0, prediction, float("nan")).requires_grad_()
    loss = TERMS["valid"](junk, truth, mask)
    assert loss.item() == expected.item()
    loss.backward()
    assert torch.isfinite(junk.grad).all()


def test_total_variation_of_a_picture_without_holes_is_zero() -> None:
    prediction, truth, _ = batch(4)
    assert TERMS["total_variation"](prediction, truth, torch.ones(2, 1, 6, 6)).item() == 0


@pytest.mark.parametrize("name", sorted(TERMS))
def test_terms_are_float32_under_autocast(name: str) -> None:
    prediction, truth, mask = batch(5)
    with torch.autocast("cpu", torch.bfloat16):
        loss = TERMS[name](prediction.bfloat16(), truth, mask)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(TERMS[name](prediction, truth, mask).item(), rel=0.02)  # bf16: 0.4 %


def test_the_sum_is_weighted() -> None:
    tensors = batch(6)
    loss = WeightedLoss({"valid": 1.0, "hole": 6.0, "total_variation": 0.1})
    expected = sum(w * TERMS[name](*tensors).item() for name, w in loss.weights.items())
    assert loss(*tensors).shape == ()
    assert loss(*tensors).item() == pytest.approx(expected, rel=FLOAT32_SUM)
    assert set(loss.terms(*tensors)) == {"valid", "hole", "total_variation"}


def test_a_weight_of_zero_costs_nothing() -> None:
    def never(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this term was computed")

    loss = WeightedLoss({"hole": 1.0, "dear": 0.0}, known={**TERMS, "dear": never})
    tensors = batch(7)
    assert loss(*tensors).item() == TERMS["hole"](*tensors).item()
    with pytest.raises(RuntimeError, match="was computed"):
        WeightedLoss({"dear": 1.0}, known={"dear": never})(*tensors)


def test_it_travels_to_another_process() -> None:
    tensors = batch(8)
    loss = WeightedLoss({"hole": 2.0})
    assert pickle.loads(pickle.dumps(loss))(*tensors).item() == loss(*tensors).item()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"total_variaton": 1.0},
            "unknown loss term 'total_variaton'; did you mean 'total_variation'? "
            "known: valid, hole, hole_squared, total_variation",
        ),
        ({"zzz": 1.0}, "unknown loss term 'zzz'; known: valid, hole, hole_squared, total_variation"),
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
