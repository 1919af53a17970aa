"""Recipes: what TOML says is what runs; anything else is refused with a hint."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import training
from cmbinpaint.errors import RecipeError
from cmbinpaint.training import OptimizerRecipe, Recipe, list_recipes
from cmbinpaint.training.recipes.recipe import LOSS_TERMS
from cmbinpaint.training.recipes.recipe_sections import SkyRecipe, StageRecipe

TWO = [{"name": "a", "epochs": 2, "steps_per_epoch": 200}, {"name": "b", "epochs": 1, "steps_per_epoch": 200}]
GOOD = {"name": "x", "seed": 0, "steps": 1000}


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**63),
    steps=st.integers(100, 10**7),
    lr=st.floats(1e-6, 1.0),
    clip=st.none() | st.floats(0.1, 10),
    loss=st.dictionaries(st.sampled_from(LOSS_TERMS[:-1]), st.floats(0.01, 100), min_size=1),
    precision=st.sampled_from(["fp32", "bf16", "auto"]),
    sky=st.builds(
        SkyRecipe, st.floats(0.5, 30), st.floats(1e-3, 1), st.floats(0, 60), st.none() | st.floats(1, 200)
    ),
    epochs=st.lists(st.integers(2, 9), max_size=3),
    threads=st.none() | st.integers(1, 64),
)
def test_json_round_trip(
    seed: int, steps: int, lr: float, clip: float | None, loss: dict, precision: str, threads: int | None,
    sky: SkyRecipe, epochs: list[int],
) -> None:  # fmt: skip
    optimizer = OptimizerRecipe(lr=lr, grad_clip=clip)
    stages = tuple(
        StageRecipe(str(i), n, 100, patience=1, data={"only_patch": 0}, freeze_encoder_norm=i > 0)
        for i, n in enumerate(epochs)
    )
    recipe = Recipe(
        "r", seed, None if epochs else steps, {"sides": (64, 128)}, {"family": "f"}, optimizer, loss,
        threads=threads, sky=sky, stage=stages, precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    assert recipe.steps == (100 * sum(epochs) if epochs else steps)
    again = Recipe.from_mapping(json.loads(json.dumps(recipe.to_mapping())))
    assert again.to_mapping() == recipe.to_mapping()
    assert again.optimizer == recipe.optimizer and again == Recipe.from_mapping(again.to_mapping())


def test_a_path_is_written_as_its_text(tmp_path: Path) -> None:
    recipe = Recipe("r", 0, 1000, data={"kind": "stored", "folder": tmp_path})
    assert json.loads(json.dumps(recipe.to_mapping()))["data"]["folder"] == str(tmp_path)


def test_reads_toml(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "a"\nseed = 0\nsteps = 200\nloss = { hole = 6.0, valid = 1.0 }\n'
        "[optimizer]\nlr = 2e-4\nbetas = [0.9, 0.99]\n[data]\nsides = [64]\n[model]\nfamily = 'pconv'\n"
    )
    recipe = Recipe.read(path)
    assert (recipe.loss, recipe.data, recipe.model) == (
        {"hole": 6.0, "valid": 1.0}, {"sides": [64]}, {"family": "pconv"},
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
        ({"precision": "fp16"}, "precision is 'fp16'; known: fp32, bf16, auto; did you mean 'bf16'?"),
        ({"precision": ["fp32"]}, "precision is ['fp32']; known: fp32, bf16, auto"),
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


@pytest.mark.parametrize(
    "stages, more, text",
    [
        ([TWO[0], {**TWO[1], "epoch": 1}], {}, "[[stage]] unknown key 'epoch'; did you mean 'epochs'?"),
        ([{"name": "a", "epochs": 1}], {}, "[[stage]] lacks 'steps_per_epoch'"),
        (TWO, {"steps": 5}, "steps is 5 and there are stages; drop steps, they say how many"),
        ([TWO[0], {**TWO[1], "name": "a"}], {}, "[[stage]] 'a': is the second stage of that name"),
        ([{**TWO[0], "patience": 2}], {}, "'a': patience is 2, with 2 epochs at most it can never end the stage"),
        ([{**TWO[0], "patience": 1}], {"validation_batches": 0}, "patience looks at the validation loss, and"),
        ([{**TWO[0], "freeze_encoder_norm": True}], {}, "'a': freezes the encoder's norm before any stage has"),
        ([{**TWO[0], "freeze_encoder_norm": 1}], {}, "freeze_encoder_norm is 1; give true or false"),
        ([{**TWO[0], "epochs": 0}], {}, "[[stage]] 'a': epochs is 0; give 1 or more"),
        ([{**TWO[0], "lr": 0.0}], {}, "[[stage]] 'a': lr is 0.0; it must be above 0.0"),
        ([{**TWO[0], "name": ""}], {}, "[[stage]] name is ''; give the stage a name"),
        ([{**TWO[0], "data": 3}], {}, "[[stage]] 'a': data is 3; write data = { key = value }"),
        (TWO, {"optimizer": {"warmup_steps": 300}}, "warmup_steps is 300, more than stage 'b''s 200 steps"),
        ("a", {}, "stage is 'a'; write tables [[stage]]"),
        (["a"], {}, "stage is 'a'; write a table [[stage]]"),
    ],
)  # fmt: skip
def test_contradictory_stages_are_refused(stages: object, more: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        Recipe.from_mapping({"name": "x", "seed": 0, "stage": stages, **more})


@pytest.mark.parametrize(
    "change, text",
    [
        ({"perceptual": {"weight": "x"}}, "[perceptual] unknown key 'weight'; did you mean 'weights'?"),
        ({"perceptual": {"scale": "sigma"}}, "[perceptual] scale is 'sigma'; known: rms, unit"),
        ({"perceptual": {"weights": ""}}, "[perceptual] weights is ''; give 'vgg16-cmb' or a file"),
        ({"loss": {"physical": 1.0}}, "[loss] physical needs the sky: write a table [sky]"),
        ({"sky": {"step_arcmin": 6.87}}, "[sky] lacks 'noise_over_rms'"),
        ({"sky": {"step_arcmin": 6.87, "noise_over_rms": 0}}, "[sky] noise_over_rms is 0; it must be above 0.0"),
        ({"sky": {"step_arcmin": 6.87, "noise_over_rms": 1, "fwhm_arcmin": -1}}, "[sky] fwhm_arcmin is -1"),
        ({"loss": {"cross_entropy": 1.0}}, "[classes] and the loss term cross_entropy need each other"),
        ({"classes": {}}, "[classes] and the loss term cross_entropy need each other"),
        ({"loss": {"cross_entropy": 1.0, "hole": 1.0}, "classes": {}}, "['cross_entropy', 'hole'] are together"),
        ({"classes": {"crop": 4}}, "[classes] crop is 4; give 8 or more"),
        ({"keep_checkpoints": -1}, "keep_checkpoints is -1; give 0 or more"),
    ],
)  # fmt: skip
def test_contradictory_tables_are_refused(change: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        Recipe.from_mapping({**GOOD, **change})


def test_the_seeds_recipes_are_the_seeds() -> None:
    """Figures of the seed: batch 3, 10 x 2000 steps, then 25 + 17 epochs of 10 000, 1000 of validation."""
    full = Recipe.read("combine128")
    assert [(s.epochs, s.steps_per_epoch, s.lr, s.freeze_encoder_norm) for s in full.stage] == [
        (10, 2000, None, False), (25, 10_000, 1e-4, False), (17, 10_000, 5e-5, True),
    ]  # fmt: skip
    assert (full.steps, full.data["batch_size"], full.validation_batches) == (440_000, 3, 1000)
    assert full.loss == {
        "valid": 1, "hole": 6, "perceptual": 0.05, "style_output": 120, "style_composite": 120,
        "total_variation": 0.1,
    }  # fmt: skip
    new = Recipe.read("combine128-new")
    assert (new.data["batch_size"], new.data["balanced"], new.validation_batches) == (16, True, 625)
    assert {s.steps_per_epoch for s in new.stage[1:]} == {6250}
    for name in ("combine128_rgb", "combine128-new"):
        other = Recipe.read(name)
        assert (other.name, other.loss, other.optimizer) == (name, full.loss, full.optimizer)
        assert [(s.name, s.lr) for s in other.stage] == [(s.name, s.lr) for s in full.stage]


def shape(value: object) -> object:
    """A table with every number that says how much is done struck out."""
    counts = {
        "epochs", "steps_per_epoch", "patience", "steps", "checkpoint_every", "validate_every", "log_every",
        "validation_batches",
    }  # fmt: skip
    if isinstance(value, dict):
        return {
            key: type(item) if key in counts and item is not None else shape(item)
            for key, item in value.items()
        }
    return [shape(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("full", ["combine128", "combine128_rgb", "combine128-new", "combine128-sky"])
def test_short_recipes_are_the_full_ones_with_other_numbers(full: str) -> None:
    short, whole = Recipe.read(f"{full}-short").to_mapping(), Recipe.read(full).to_mapping()
    assert (short.pop("name"), whole.pop("name")) == (f"{full}-short", full)
    if whole["data"]["kind"] == "stored":
        folders = short["data"].pop("folder"), whole["data"].pop("folder")
        assert folders[0] == f"{folders[1]}-small"
    assert shape(short) == shape(whole)


@pytest.mark.parametrize("full", ["combine128", "combine128_rgb", "combine128-new", "combine128-sky"])
def test_short_recipes_state_their_cost_and_share(full: str) -> None:
    """The patches and the share of the schedule in the file's head are those of its numbers."""
    path = Path(training.__file__).parent / "recipes" / f"{full}-short.toml"
    head = path.read_text(encoding="utf-8").split("\nname")[0].replace("\n#", "")
    short, whole = Recipe.read(path), Recipe.read(full)
    batch = short.data["batch_size"]
    assert " + ".join(str(stage.steps) for stage in short.stage) + f" steps of {batch} patches" in head
    stated = re.search(r"\((\d+) of ([\d.]+) million, ([\d.]+) %\)", head)
    assert stated is not None and "Cost: " in head
    assert short.data["kind"] != "stored" or "Needs its data set: cmbinpaint dataset data-" in head
    assert int(stated[1]) == short.steps * batch
    # Rounded to two digits or more.
    assert float(stated[2]) == pytest.approx(whole.steps * batch / 1e6, rel=0.01)
    assert float(stated[3]) == pytest.approx(100 * short.steps / whole.steps, rel=0.03)


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


def test_a_data_sets_recipe_trains_nothing() -> None:
    with pytest.raises(
        RecipeError, match=r"'data-new' is a data set's recipe, for `cmbinpaint dataset`; to train"
    ):
        Recipe.read("data-new")


def test_a_folder_named_like_a_packaged_recipe_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "combine128-short").mkdir()
    assert Recipe.read("combine128-short").name == "combine128-short"


def test_mutating_the_table_does_not_change_the_recipe() -> None:
    table = tomllib.loads("name='a'\nseed=1\nsteps=200\n[data]\nk=1")
    recipe = Recipe.from_mapping(table)
    table["data"]["k"] = 2
    assert recipe.data == {"k": 1}
