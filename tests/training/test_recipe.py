"""Recipes: what TOML says is what runs; anything else is refused with a hint."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import RecipeError
from cmbinpaint.training import OptimizerRecipe, Recipe, list_recipes
from cmbinpaint.training.recipe import LOSS_TERMS

GOOD = {"name": "x", "seed": 0, "steps": 1000}


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**63),
    steps=st.integers(100, 10**7),
    lr=st.floats(1e-6, 1.0),
    clip=st.none() | st.floats(0.1, 10),
    loss=st.dictionaries(st.sampled_from(LOSS_TERMS), st.floats(0.01, 100), min_size=1),
    precision=st.sampled_from(["fp32", "bf16"]),
    threads=st.none() | st.integers(1, 64),
)
def test_json_round_trip(
    seed: int, steps: int, lr: float, clip: float | None, loss: dict, precision: str, threads: int | None
) -> None:
    optimizer = OptimizerRecipe(lr=lr, grad_clip=clip)
    recipe = Recipe("r", seed, steps, {"sides": (64, 128)}, {"family": "f"}, optimizer, loss, threads=threads)
    again = Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping())))
    assert again.to_mapping() == recipe.to_mapping()
    assert again.optimizer == recipe.optimizer


def test_reads_toml(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "a"\nseed = 0\nsteps = 200\nloss = { hole = 6.0, valid = 1.0 }\n'
        "[optimizer]\nlr = 2e-4\nbetas = [0.9, 0.99]\n[data]\nsides = [64]\n[model]\nfamily = 'linear'\n"
    )
    recipe = Recipe.read(path)
    assert (recipe.loss, recipe.data, recipe.model) == (
        {"hole": 6.0, "valid": 1.0}, {"sides": [64]}, {"family": "linear"},
    )  # fmt: skip
    assert recipe.optimizer.betas == (0.9, 0.99)


@pytest.mark.parametrize("name", list_recipes())
def test_packaged_recipes_are_recipes(name: str) -> None:
    assert Recipe.read(name).steps > 0


@pytest.mark.parametrize(
    "change, text",
    [
        ({"step": 5}, "unknown key 'step'; did you mean 'steps'?"),
        ({"zzz": 5}, "unknown key 'zzz'; known: name, seed, steps"),
        ({"optimizer": {"lrr": 1.0}}, "[optimizer] unknown key 'lrr'; did you mean 'lr'?"),
        ({"loss": {"hole_l1": 1.0}}, "[loss] unknown key 'hole_l1'; did you mean 'hole'?"),
        ({"loss": {"hole": -1.0}}, "[loss] hole is -1.0; it must be at least 0.0"),
        ({"loss": {"hole": 0.0}}, "[loss] has no term with a positive weight; known: valid, hole"),
        ({"loss": "hole"}, "loss is 'hole'; write a table [loss]"),
        ({"optimizer": 1}, "optimizer is 1; write a table [optimizer]"),
        ({"steps": 1.5}, "steps is 1.5, a float; give a whole number"),
        ({"steps": True}, "steps is True, a bool; give a whole number"),
        ({"steps": 0}, "steps is 0; give 1 or more"),
        ({"seed": -1}, "seed is -1; give 0 or more"),
        ({"name": ""}, "name is ''; give the run a name"),
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"precision": "fp16"}, "precision is 'fp16'; known: fp32, bf16; did you mean 'bf16'?"),
        ({"precision": ["fp32"]}, "precision is ['fp32']; known: fp32, bf16"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be below 1.0"),
        ({"optimizer": {"schedule": "cosin"}}, "schedule is 'cosin'; known: cosine, constant; did you mean 'cosine'?"),
        ({"optimizer": {"lr": "fast"}}, "lr is 'fast', a str; give a number"),
        ({"optimizer": {"lr": 0.0}}, "lr is 0.0; it must be above 0.0"),
        ({"optimizer": {"lr": float("inf")}}, "lr is inf; it must be finite"),
        ({"optimizer": {"lr": float("nan")}}, "lr is nan; it must be above 0.0"),
        ({"optimizer": {"betas": 0.9}}, "betas is 0.9; give two numbers from 0 to below 1"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "betas is 1.0; it must be below 1.0"),
        ({"optimizer": {"warmup_steps": 2000}}, "warmup_steps is 2000, more than the run's 1000 steps"),
    ],
)  # fmt: skip
def test_what_is_refused(change: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        Recipe.from_mapping({**GOOD, **change})


def test_missing_keys_are_named() -> None:
    with pytest.raises(RecipeError, match="steps is missing; a recipe needs name, seed and steps"):
        Recipe.from_mapping({"name": "a", "seed": 0})


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read recipe 'nowhere.toml' \(No such file or directory\)"):
        Recipe.read("nowhere.toml")
    with pytest.raises(RecipeError, match=r"Is a directory"):
        Recipe.read(tmp_path)
    path = tmp_path / "bad.toml"
    path.write_text("name = ")
    with pytest.raises(RecipeError, match=r"bad\.toml is not TOML: Invalid value"):
        Recipe.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="is not TOML"):
        Recipe.read(path)
    path.write_text("name = 'a'\nseed = 1\nstesp = 2")
    with pytest.raises(RecipeError, match=r"bad\.toml: recipe: unknown key 'stesp'; did you mean 'steps'"):
        Recipe.read(path)


def test_mutating_the_table_does_not_change_the_recipe() -> None:
    table = tomllib.loads("name='a'\nseed=1\nsteps=200\n[data]\nk=1")
    recipe = Recipe.from_mapping(table)
    table["data"]["k"] = 2
    assert recipe.data == {"k": 1}
