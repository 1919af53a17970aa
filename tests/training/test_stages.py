"""Stages: bit-exact across their borders, ended by patience, and CoMBInE's presets run through all three."""

import csv
import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from cmbinpaint.errors import CheckpointError, CmbInpaintWarning, RecipeError
from cmbinpaint.networks.store import load_weights
from cmbinpaint.training import OptimizerRecipe, Recipe, StageRecipe, final_weights, load_latest, train
from cmbinpaint.training.run.checkpoint import list_checkpoints, read_checkpoint
from cmbinpaint.training.run.logs import Meter

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


toy, toy_stream = load("toy"), load("toy_stream")


class Freezable(toy.ToyModel):  # type: ignore[name-defined, misc]
    """The toy with a norm that a stage can hold."""

    frozen = False

    def freeze_encoder_norm(self, flag: bool = True) -> None:
        self.frozen = flag
        self.norm.requires_grad_(not flag)
        self.norm.train(self.training and not flag)


STAGES = (
    StageRecipe("zero", 1, 3, lr=2e-2),
    StageRecipe("one", 2, 2),
    StageRecipe("two", 1, 3, lr=1e-3, freeze_encoder_norm=True),
)


def recipe(**changes: object) -> Recipe:
    options: dict = {"steps": None, "stage": STAGES, "checkpoint_every": 2, "keep_checkpoints": 0}
    return toy.toy_recipe(**{**options, **changes})


def run(
    folder: Path, *, resume_from: object = None, stop_after: int | None = None, **changes: object
) -> object:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Freezable()
    return train(
        recipe(**changes), folder, device="cpu", stream=toy_stream.ToyStream(), model=model, stop_after=stop_after,
        resume_from=resume_from, progress=lambda *_: None,
    )  # fmt: skip


def assert_equal_checkpoints(one: Path, two: Path) -> None:
    a, b = read_checkpoint(one), read_checkpoint(two)
    for group in ("model", "ema", "optimizer", "random"):
        first, second = getattr(a, group), getattr(b, group)
        assert first.keys() == second.keys()
        for name, tensor in first.items():
            assert torch.equal(tensor, second[name]), f"{group} {name}"
    assert a.position == b.position


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    result = run(folder)
    assert (result.step, result.steps, result.finished) == (10, 10, True)  # type: ignore[attr-defined]
    return folder


def test_every_epoch_has_a_checkpoint_with_its_losses(straight: Path) -> None:
    kept = [path.name for path in list_checkpoints(straight / "checkpoints")]
    # Every second step, epochs' ends at 3, 5, 7 and 10, and 9, the best of its stage.
    assert kept == [f"step_{step:08d}" for step in range(2, 11)]
    manifest = json.loads((straight / "checkpoints" / "step_00000007" / "manifest.json").read_text())
    assert manifest["position"]["stage"] == 1 and manifest["position"]["step"] == 4
    assert manifest["losses"]["training"] > 0 and manifest["losses"]["validation"]["hole"] > 0
    rows = [line.split(",")[:3] for line in (straight / "validation.csv").read_text().splitlines()[1:]]
    assert rows == [
        ["3", "1", "1"],
        ["5", "2", "1"],
        ["6", "2", "2"],
        ["7", "2", "2"],
        ["9", "3", "1"],
        ["10", "3", "1"],
    ]


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 8])
def test_interrupted_at_and_between_borders(tmp_path: Path, straight: Path, cut: int) -> None:
    assert not run(tmp_path, stop_after=cut).finished  # type: ignore[attr-defined]
    assert run(tmp_path).finished  # type: ignore[attr-defined]
    last = Path("checkpoints") / "step_00000010"
    assert_equal_checkpoints(straight / last, tmp_path / last)


@pytest.mark.parametrize("step", [2, 3, 5, 7, 8])
def test_any_checkpoint_can_be_gone_on_from(tmp_path: Path, straight: Path, step: int) -> None:
    origin = straight / "checkpoints" / f"step_{step:08d}"
    assert run(tmp_path, resume_from=origin).finished  # type: ignore[attr-defined]
    last = Path("checkpoints") / "step_00000010"
    assert_equal_checkpoints(straight / last, tmp_path / last)


def test_going_back_in_ones_own_folder(tmp_path: Path, straight: Path) -> None:
    run(tmp_path)
    result = run(tmp_path, resume_from="step_00000004", stop_after=1)
    assert result.step == 5  # type: ignore[attr-defined]
    kept = [path.name for path in list_checkpoints(tmp_path / "checkpoints")]
    assert kept[-1] == "step_00000005", "what came after was another future"
    assert (tmp_path / "training.csv").read_text().splitlines()[-1].startswith("5,2,1,")
    run(tmp_path)
    last = Path("checkpoints") / "step_00000010"
    assert_equal_checkpoints(straight / last, tmp_path / last)


def test_a_job_begun_from_another_run_loses_nothing_when_started_again(
    tmp_path: Path, straight: Path
) -> None:
    origin = straight / "checkpoints" / "step_00000003"
    run(tmp_path, resume_from=origin, stop_after=2)
    assert run(tmp_path, resume_from=origin, stop_after=1).step == 6  # type: ignore[attr-defined]


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    run(tmp_path, stop_after=2)
    with pytest.raises(CheckpointError, match=r"no checkpoint 'step_7'; .* holds step_00000002"):
        run(tmp_path, resume_from="step_7")


def test_stages_set_rate_norm_and_optimizer(straight: Path) -> None:
    rows = [line.split(",") for line in (straight / "training.csv").read_text().splitlines()]
    lr = rows[0].index("lr")
    found = [float(row[lr]) for row in rows[1:]]
    # Two steps of warm-up to the stage's own rate, then its cosine (here at its end: a hundredth), each stage anew.
    expected = [1e-2, 2e-2, 2e-2, 5e-3, 1e-2, 1e-2, 1e-4, 5e-4, 1e-3, 1e-3]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    folder = straight / "checkpoints"
    states = {step: read_checkpoint(folder / f"step_{step:08d}") for step in (3, 4, 7, 10)}
    assert float(states[3].optimizer["last.weight/step"]) == 3
    assert float(states[4].optimizer["last.weight/step"]) == 1, "it forgets the stage before"
    for name in ("norm.weight", "norm.running_mean"):
        assert not torch.equal(states[4].model[name], states[7].model[name])
        assert torch.equal(states[7].model[name], states[10].model[name]), "held in the last stage"
    assert "norm.weight/exp_avg" not in states[10].optimizer


def test_patience_ends_a_stage(tmp_path: Path) -> None:
    """With a rate of nearly nothing no epoch is better than the first by more than rounding."""
    stages = (StageRecipe("still", 9, 2, lr=1e-30, patience=2), StageRecipe("next", 1, 2))
    result = run(tmp_path, stage=stages, optimizer=OptimizerRecipe(warmup_steps=0), ema_decay=0.0)
    assert result.finished and result.step == result.steps < 20  # type: ignore[attr-defined]
    rows = [line.split(",")[:3] for line in (tmp_path / "validation.csv").read_text().splitlines()[1:]]
    assert rows[-1][1:] == ["2", "1"]


def test_the_best_is_kept(tmp_path: Path) -> None:
    """A rate that spoils everything after the first epoch: its checkpoint outlives the newest two."""
    stage = (StageRecipe("s", 6, 2, lr=1e-3),)
    run(
        tmp_path,
        stage=stage,
        optimizer=OptimizerRecipe(lr=1e-3, warmup_steps=0),
        stop_after=2,
        keep_checkpoints=2,
    )
    worse = {
        "stage": (StageRecipe("s", 6, 2, lr=3.0),),
        "optimizer": OptimizerRecipe(lr=1e-3, warmup_steps=0),
    }
    with pytest.warns(CmbInpaintWarning, match="the recipe's stage changed"):
        run(tmp_path, **worse, keep_checkpoints=2)
    kept = [path.name[-2:] for path in list_checkpoints(tmp_path / "checkpoints")]
    assert kept == ["02", "10", "12"]
    best = final_weights(tmp_path, best=True)
    second = read_checkpoint(tmp_path / "checkpoints" / "step_00000002")
    assert all(torch.equal(tensor, second.ema[name]) for name, tensor in best.items())
    assert not torch.equal(best["last.weight"], final_weights(tmp_path)["last.weight"])


def test_there_is_no_best_without_validation(tmp_path: Path) -> None:
    run(tmp_path, validation_batches=0, stop_after=2)
    with pytest.raises(CheckpointError, match="has no validation yet"):
        final_weights(tmp_path, best=True)


def test_a_network_without_norm_cannot_follow(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=re.escape("[[stage]] 'two': freeze_encoder_norm needs a network")):
        train(recipe(), tmp_path, device="cpu", stream=toy_stream.ToyStream(), model=toy.toy_model())
    assert not list_checkpoints(tmp_path / "checkpoints")


@dataclass(frozen=True)
class HoleBatch:
    x: np.ndarray
    valid: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Squares:
    """White fields behind a square hole."""

    side: int
    channels: int

    def batch(self, index: int, split: str = "train") -> HoleBatch:
        rng = np.random.default_rng([index, len(split)])
        truth = rng.standard_normal((2, self.channels, self.side, self.side)).astype(np.float32)
        if self.channels == 3:
            truth = 1 / (1 + np.exp(-truth))
        valid = np.ones((2, 1, self.side, self.side), np.float32)
        valid[..., 20:50, 30:60] = 0
        return HoleBatch(np.where(valid > 0, truth, np.float32(0)), valid, truth)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("preset", "side"), [("unet128", 128), ("unet512", 256)])
def test_the_seeds_presets_run_through_all_stages(
    tmp_path: Path, thin_vgg: Path, preset: str, side: int, channels: int
) -> None:
    """Thin networks of CoMBInE's depth and kernels, every loss term through a thin VGG16, norm held at last."""
    name = "combine128" if channels == 1 else "combine128_rgb"
    full = Recipe.read(name).to_mapping()
    full["perceptual"]["weights"] = str(thin_vgg)
    stages = [{**stage, "epochs": 1, "steps_per_epoch": 1} for stage in full["stage"]]
    table = {
        **full, "stage": stages, "validation_batches": 1, "workers": 0, "threads": 1, "precision": "fp32",
        "model": {**full["model"], "preset": preset, "thinner": 16},
    }  # fmt: skip
    result = train(
        Recipe.from_mapping(table),
        tmp_path,
        device="cpu",
        stream=Squares(side, channels),
        progress=lambda *_: None,
    )
    assert result.finished and result.step == 3
    rows = (tmp_path / "training.csv").read_text().splitlines()
    terms = list(full["loss"])
    assert len(terms) == 6
    assert rows[0].startswith(",".join(["step,stage,epoch,loss", *terms, "gradient_norm"]))
    assert [row.split(",")[1] for row in rows[1:]] == ["1", "2", "3"]
    assert all(np.isfinite(float(value)) for row in rows[1:] for value in row.split(","))
    assert all(float(value) > 0 for row in rows[1:] for value in row.split(",")[3 : 4 + len(terms)])
    last = load_latest(tmp_path / "checkpoints")
    before = read_checkpoint(tmp_path / "checkpoints" / "step_00000002")
    assert last is not None
    held = [n for n in last.model if n.startswith("encoder") and "norm" in n]
    assert held and all(torch.equal(last.model[n], before.model[n]) for n in held)
    assert not torch.equal(last.model["decoder.0.norm.weight"], before.model["decoder.0.norm.weight"])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (
            {"only_patch": 0, "balanced": True},
            "[data] only_patch and balanced contradict each other; drop one",
        ),
        ({"only_patches": 0}, "[data] unknown key 'only_patches'; did you mean 'only_patch'?"),
        ({"only_patch": 99}, "[data] only_patch is 99; the set has 8 training patches, from 0"),
    ],
)
def test_a_stages_contradictory_data_are_its_own(tmp_path: Path, wide: Path, data: dict, text: str) -> None:
    stages = (*STAGES[:2], StageRecipe("odd", 1, 3, data=data))
    bad = recipe(stage=stages, data={"kind": "stored", "folder": str(wide)})
    with pytest.raises(RecipeError, match=re.escape(f"[[stage]] 'odd': data = {data}: {text}")):
        train(bad, tmp_path, device="cpu", model=Freezable())


def test_interrupted_with_every_term(tmp_path: Path, thin_vgg: Path) -> None:
    """What the terms need is made anew by each call, and draws no random numbers."""
    table = Recipe.read("combine128-short").to_mapping()
    table["stage"] = [{**stage, "epochs": 1, "steps_per_epoch": 1} for stage in table["stage"]]
    table["model"] |= {"thinner": 16}
    table["perceptual"] |= {"weights": str(thin_vgg)}
    table |= {"validation_batches": 1, "workers": 0, "threads": 1, "precision": "fp32"}
    options: dict = {"device": "cpu", "stream": Squares(128, 1), "progress": lambda *_: None}
    train(Recipe.from_mapping(table), tmp_path / "straight", **options)
    for _ in range(3):
        train(Recipe.from_mapping(table), tmp_path / "cut", stop_after=1, **options)
    last = Path("checkpoints") / "step_00000003"
    assert_equal_checkpoints(tmp_path / "straight" / last, tmp_path / "cut" / last)


@pytest.mark.parametrize("name", ["combine128-short", "combine128_rgb-short", "combine128-new-short"])
def test_short_recipes_run_whole_on_their_kind_of_data(
    tmp_path: Path, wide: Path, thin_vgg: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored patches of two classes, thin networks, one step a stage; data, masks and terms are the recipe's."""
    table = Recipe.read(name).to_mapping()
    table["stage"] = [
        {**stage, "epochs": 1, "steps_per_epoch": 1, "patience": None} for stage in table["stage"]
    ]
    table["data"] |= {"folder": str(wide)}
    table["model"] |= {"thinner": 16}
    table["perceptual"] |= {"weights": str(thin_vgg)}
    table |= {"validation_batches": 1, "workers": 0, "threads": 1, "precision": "fp32"}
    counted: list[int] = []
    add = Meter.add
    monkeypatch.setattr(Meter, "add", lambda self, *args: (counted.append(args[2]), add(self, *args)))
    result = train(Recipe.from_mapping(table), tmp_path, device="cpu", progress=lambda *_: None)
    assert result.finished and result.step == 3
    assert counted == 3 * [table["data"]["batch_size"]], "a patch of three channels is one patch"
    assert result.weights == tmp_path / f"{name}.json" and load_weights(result.weights)[0].family == "pconv"
    for log in ("training.csv", "validation.csv"):
        rows = list(csv.DictReader((tmp_path / log).read_text(encoding="utf-8").splitlines()))
        assert [row["stage"] for row in rows] == ["1", "2", "3"]
        assert all(0 < float(row[term]) < np.inf for row in rows for term in table["loss"])
