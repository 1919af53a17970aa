"""Stages end when they should, and a position survives its way through a manifest."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import CheckpointError
from cmbinpaint.training.recipes.recipe_sections import StageRecipe
from cmbinpaint.training.run.position import Position

TWO = (StageRecipe("a", 3, 2, patience=1), StageRecipe("b", 2, 5))


def walk(losses: list[float], stage: StageRecipe) -> Position:
    """One validation at each epoch's end."""
    position = Position()
    for loss in losses:
        for _ in range(stage.steps_per_epoch):
            position = position.advanced()
        position = position.validated(loss, 100 + position.step, stage)
    return position


@settings(deadline=None, max_examples=100)
@given(losses=st.lists(st.floats(0, 1), min_size=1, max_size=12), patience=st.integers(1, 4))
def test_patience_counts_epochs_since_the_lowest_loss(losses: list[float], patience: int) -> None:
    stage = StageRecipe("s", 50, 3, patience=patience)
    position = walk(losses, stage)
    first_lowest = losses.index(min(losses))
    assert (position.best, position.best_step) == (min(losses), 100 + 3 * (first_lowest + 1))
    assert position.stale == len(losses) - 1 - first_lowest
    assert position.over(stage) == (position.stale >= patience)


def test_a_stage_ends_with_its_epochs() -> None:
    stage = TWO[1]
    position = walk([1.0, 0.5], stage)
    assert position.over(stage) and not walk([1.0], stage).over(stage)
    assert (position.epoch(stage), Position(step=5).epoch(stage), Position(step=6).epoch(stage)) == (2, 1, 2)


def test_a_validation_within_an_epoch_costs_no_patience() -> None:
    stage = StageRecipe("s", 9, 4, patience=1)
    position = walk([1.0], stage).advanced().validated(2.0, 5, stage)
    assert position.stale == 0
    better = walk([1.0], stage).advanced().validated(0.5, 105, stage)
    for _ in range(3):
        better = better.advanced()
    assert better.validated(2.0, 108, stage).stale == 0, "this epoch had the lowest loss, before its end"
    stale = Position(step=5, best=1.0, stale=1)
    assert not stale.over(stage), "a stage ends with an epoch"


def test_steps_that_are_left() -> None:
    assert Position().steps_left(TWO) == 16
    assert Position(step=1).steps_left(TWO) == 15
    assert Position(step=4, best=0.1, stale=1).steps_left(TWO) == 10  # the first stage is over
    assert Position(stage=1, step=7).steps_left(TWO) == 3
    assert Position(stage=1, step=10).steps_left(TWO) == 0


def test_the_best_of_a_stage_is_known_until_the_next_has_one() -> None:
    after = Position(stage=0, step=6, best=0.1, best_step=6, checked=5).next_stage()
    assert after == Position(stage=1, best_step=6, checked=5)
    assert after.validated(5.0, 11, TWO[1]).best_step == 11


@given(st.floats(0, 1e9) | st.none(), st.integers(0, 1))
def test_json_round_trip(best: float | None, stage: int) -> None:
    position = Position(stage, 3, best, 7, 2, checked=8)
    again = Position.from_mapping(json.loads(json.dumps(position.to_mapping())), 99, TWO)
    assert again == position
    assert Position.from_mapping({}, 12, TWO) == Position(step=12, checked=12)
    earlier = {key: value for key, value in position.to_mapping().items() if key != "checked"}
    assert Position.from_mapping(earlier, 9, TWO) == replace(position, checked=9), "before `checked` was kept"


def test_what_is_no_position_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match="the checkpoint is in stage 3, the recipe has 2; use the recipe"
    ):
        Position.from_mapping(Position(stage=2).to_mapping(), 0, TWO)
    with pytest.raises(CheckpointError, match=r"position has entries \['checked', 'stage'\]; expected"):
        Position.from_mapping({"stage": 0}, 0, TWO)
    for key, value in (("stale", "x"), ("step", True), ("best", "low"), ("best_step", 1.5), ("step", -1)):
        with pytest.raises(CheckpointError, match=rf"position has {key} = {value!r}, which no run has"):
            Position.from_mapping({**Position().to_mapping(), key: value}, 0, TWO)


def test_a_loss_that_is_not_finite_is_no_best() -> None:
    position = Position().validated(math.nan, 2, TWO[0])
    assert (position.best, position.best_step, position.checked) == (None, None, 2)
    assert position.validated(0.5, 4, TWO[0]).best == 0.5
