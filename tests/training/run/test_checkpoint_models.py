"""Trainings opened for analyses: the states they hold, what their networks draw, what cannot be opened."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbinpaint.errors import CheckpointError, CmbInpaintWarning, DataSetError, MaskError, WeightsError
from cmbinpaint.nn.models import build_model
from cmbinpaint.training import OptimizerRecipe, Recipe, train
from cmbinpaint.training.data.planck_colors import to_rgb
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.recipes.recipe_sections import ClassesRecipe
from cmbinpaint.training.run.checkpoint import read_checkpoint
from cmbinpaint.training.run.checkpoint_models import Trained, TrainedClassifier


def test_a_training_has_its_states(small_training: Path) -> None:
    trained = Trained.open(small_training)
    assert [(state.step, state.stage) for state in trained.states] == [(4, 1), (8, 1), (12, 2)]
    assert Trained.open(small_training / "checkpoints").states == trained.states


def test_the_stage_is_the_checkpoints_own(small_training: Path, tmp_path: Path) -> None:
    """As where patience ended a stage before its last step."""
    shutil.copytree(small_training, tmp_path / "run")
    manifest = tmp_path / "run" / "checkpoints" / "step_00000008" / "manifest.json"
    told = json.loads(manifest.read_text())
    told["position"]["stage"] = 1
    manifest.write_text(json.dumps(told))
    assert [(s.step, s.stage) for s in Trained.open(tmp_path / "run").states] == [(4, 1), (8, 2), (12, 2)]


def test_a_damaged_newest_state_is_passed_over(small_training: Path, tmp_path: Path) -> None:
    shutil.copytree(small_training, tmp_path / "run")
    with (tmp_path / "run" / "checkpoints" / "step_00000012" / "ema.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.warns(CmbInpaintWarning, match="damaged checkpoint skipped"):
        trained = Trained.open(tmp_path / "run")
    assert [state.step for state in trained.states] == [4, 8]


def test_a_fill_is_the_networks_own(small_training: Path) -> None:
    trained = Trained.open(small_training)
    targets = take_targets(trained.data, 5, 0)
    valid = circle(32, 9.0)
    state = trained.states[1]
    found = trained.filler(state, targets).fill(targets.data, valid)
    assert found.rgb is None
    checkpoint = read_checkpoint(small_training / "checkpoints" / "step_00000008")
    network = build_model(checkpoint.recipe["model"]).eval()
    network.load_state_dict(checkpoint.ema)
    for field, truth in zip(found.field_uK, targets.truth, strict=True):
        mean, std = truth[valid].mean(), truth[valid].std()
        x = torch.from_numpy(np.where(valid, (truth - mean) / std, 0).astype("f4"))[None, None]
        with torch.no_grad():
            expected = network(x, torch.from_numpy(valid)[None, None].float())[0, 0].numpy()
        # float32 through a few layers, other batch
        np.testing.assert_allclose(field, expected * std + mean, rtol=1e-4, atol=1e-2)


def test_nothing_under_a_hole_is_read(small_training: Path) -> None:
    trained = Trained.open(small_training)
    targets = take_targets(trained.data, 2, 0)
    valid = circle(32, 9.0)
    filler = trained.filler(trained.states[-1], targets)
    poisoned = np.where(valid, targets.data, np.float32(np.nan))
    np.testing.assert_array_equal(
        filler.fill(poisoned, valid).field_uK, filler.fill(targets.data, valid).field_uK
    )


def test_a_network_that_ships_fills_patches(tmp_path: Path) -> None:
    trained = Trained.open("combine128")
    stream = {"kind": "flat", "side": 128, "step_arcmin": 6.87}
    targets = take_targets(stream, 8, 1)
    valid = circle(128, 4.0)
    error = trained.filler(trained.states[0], targets).fill(targets.data, valid).field_uK - targets.truth
    inside = targets.truth[:, ~valid]
    assert np.sqrt(np.mean(error[:, ~valid] ** 2)) < 0.9 * inside.std(), "better than zeros"
    assert len(trained.states) == 1


def test_pictures_come_as_rgb_and_as_temperatures(small_set: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        "rgb", 0, 1, data={"kind": "stored", "folder": str(small_set), "batch_size": 2, "channels": 3},
        model={"family": "pconv", "encoder": [[4, 3]], "decoder": [], "channels": 3}, workers=0, threads=1,
        optimizer=OptimizerRecipe(warmup_steps=0), validation_batches=0,
    )  # fmt: skip
    train(recipe, tmp_path, device="cpu", progress=lambda *_: None)
    trained = Trained.open(tmp_path)
    targets = take_targets(trained.data, 2, 0)
    found = trained.filler(trained.states[-1], targets).fill(targets.data, circle(32, 5.0))
    assert found.rgb is not None and found.rgb.shape == (2, 32, 32, 3)
    assert found.field_uK.shape == (2, 32, 32) and np.abs(found.field_uK).max() <= 300
    # the temperature's own color is the table's nearest to what was drawn
    shown, drawn = to_rgb(found.field_uK)[0, 3, 4], found.rgb[0, 3, 4]
    table = to_rgb(np.linspace(-299, 299, 256))
    assert np.sum((shown - drawn) ** 2) == pytest.approx(np.sum((table - drawn) ** 2, axis=1).min(), rel=1e-5)


def test_what_cannot_be_opened_is_refused(small_training: Path, small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="holds no checkpoints; name the folder that `cmbinpaint train` wrote"
    ):
        Trained.open(small_set)
    with pytest.raises(WeightsError, match="did you mean 'combine128'"):
        Trained.open("combine182")
    trained = Trained.open(small_training)
    targets = take_targets(trained.data, 1, 0)
    filler = trained.filler(trained.states[0], targets)
    with pytest.raises(MaskError, match="all pixels of the patch are masked"):
        filler.fill(targets.data, np.zeros((32, 32), bool))
    with pytest.raises(MaskError, match=re.escape("patches of (32, 32) px with a mask of (16, 16)")):
        filler.fill(targets.data, np.ones((16, 16), bool))
    with pytest.raises(WeightsError, match="no classifier"):
        TrainedClassifier.open(small_training)


def test_a_classifier_classifies(small_set: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        "c", 1, 60, loss={"cross_entropy": 1.0}, classes=ClassesRecipe(), ema_decay=0.5, workers=0, threads=1,
        data={"kind": "stored", "folder": str(small_set), "batch_size": 8}, validation_batches=0,
        model={"family": "vgg16", "classes": 2, "blocks": 2, "widths": [6, 8]},
        optimizer=OptimizerRecipe(lr=1e-2, warmup_steps=0),
    )  # fmt: skip
    train(recipe, tmp_path, device="cpu", progress=lambda *_: None)
    classifier = TrainedClassifier.open(tmp_path)
    targets = take_targets(None, 100, 0, folder=small_set, split="train")
    found = classifier.classify(targets.truth, targets.rms_uK)
    assert classifier.classes == 2 and np.mean(found == targets.labels) > 0.8, "by chance it would be half"
    with pytest.raises(WeightsError, match="of family 'vgg16', which fills no patches; expected 'pconv'"):
        trained = Trained.open(tmp_path)
        trained.filler(trained.states[0], targets)


def test_targets_are_chosen_by_the_seed(small_set: Path) -> None:
    skies = StoredSkies.open(small_set)
    some = take_targets(None, 4, 5, folder=small_set)
    again, other = (take_targets(None, 4, seed, folder=small_set) for seed in (5, 6))
    np.testing.assert_array_equal(some.truth, again.truth)
    assert not np.array_equal(some.truth, other.truth)
    every = skies.patches("validation")
    assert all(any(np.array_equal(patch, one) for one in every) for patch in some.truth)
    even = take_targets(None, 2, 5, folder=small_set, per_class=True)
    assert even.labels.tolist() == [0, 0, 1, 1] and len(take_targets(None, 999, 0, folder=small_set)) == len(
        every
    )
    assert even.fiducial == 0 and even.rms_uK == skies.rms_uK


def test_without_truth_nothing_is_analyzed(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no target is known: combine128 comes without its data"):
        take_targets(None, 1, 0, name="combine128")
    with pytest.raises(
        DataSetError, match=r"no target is known: the data set of x was in .*gone, which does not exist"
    ):
        take_targets({"kind": "stored", "folder": str(tmp_path / "gone")}, 1, 0, name="x")


def test_simulated_patches_are_targets_too() -> None:
    data = {"kind": "flat", "side": 32, "step_arcmin": 20.0, "noise_uK": 30.0}
    targets = take_targets(data, 40, 2)
    assert targets.truth.shape == (40, 32, 32) and targets.noise_uK == 30.0
    # 40 patches of 32² px of white noise: its standard deviation is known to 0.4 %
    assert (targets.data - targets.truth).std() == pytest.approx(30.0, rel=0.015)
    assert targets.truth.std() == pytest.approx(targets.rms_uK, rel=0.15)  # long waves are few
