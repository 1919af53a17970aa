"""Checkpoints: whole or skipped, whatever is done to their files."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import CheckpointError, CmbInpaintWarning
from cmbinpaint.training.run.checkpoint import (
    Checkpoint,
    check_fits,
    list_checkpoints,
    load_latest,
    read_checkpoint,
    save_checkpoint,
)


def state(step: int) -> Checkpoint:
    weights = {"a.weight": torch.full((2, 3), float(step)), "n": torch.tensor(step)}
    return Checkpoint(
        step=step,
        recipe={"seed": 1, "name": "x"},
        model=weights,
        ema={"a.weight": torch.ones(2, 3)},
        optimizer={"a.weight/exp_avg": torch.zeros(2, 3), "a.weight/step": torch.tensor(1.0)},
        random={"cpu": torch.arange(9, dtype=torch.uint8)},
    )


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "c", state(7))
    assert path.name == "step_00000007"
    found = read_checkpoint(path)
    assert (found.step, found.recipe) == (7, {"seed": 1, "name": "x"})
    for group in ("model", "ema", "optimizer", "random"):
        expected = getattr(state(7), group)
        assert getattr(found, group).keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(getattr(found, group)[name], tensor, rtol=0, atol=0)


def test_the_last_three_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        save_checkpoint(tmp_path, state(step))
    assert [path.name[-1] for path in list_checkpoints(tmp_path)] == ["3", "4", "5"]


def test_pinned_ones_stay_and_zero_keeps_all(tmp_path: Path) -> None:
    for step in range(1, 7):
        save_checkpoint(tmp_path / "some", state(step), keep=2, pinned=(2,))
        save_checkpoint(tmp_path / "all", state(step), keep=0)
    assert [path.name[-1] for path in list_checkpoints(tmp_path / "some")] == ["2", "5", "6"]
    assert len(list_checkpoints(tmp_path / "all")) == 6


def test_position_and_losses_travel_along(tmp_path: Path) -> None:
    told = replace(state(3), position={"stage": 1, "best": 0.1}, losses={"training": 0.30000000000000004})
    found = read_checkpoint(save_checkpoint(tmp_path, told))
    assert (found.position, found.losses) == (told.position, told.losses)
    assert read_checkpoint(save_checkpoint(tmp_path, state(4))).position == {}


FULL_DISK = """
import resource, sys, torch
from cmbinpaint.errors import CheckpointError
from cmbinpaint.training.run.checkpoint import Checkpoint, list_checkpoints, load_latest, save_checkpoint
def state(step, size):
    weights = {"w": torch.full((size,), float(step))}
    return Checkpoint(step, {"seed": 1}, weights, weights, weights, {"cpu": torch.zeros(1, dtype=torch.uint8)})
save_checkpoint(sys.argv[1], state(1, 10))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a file of more cannot be written
try:
    save_checkpoint(sys.argv[1], state(2, 100_000))
except CheckpointError as error:
    print(error)
print([path.name for path in list_checkpoints(sys.argv[1])], load_latest(sys.argv[1]).model["w"][0].item())
"""


def test_no_room_for_a_checkpoint(tmp_path: Path) -> None:
    """A real write that the system refuses halfway."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = child.stdout.splitlines()
    assert re.fullmatch(
        r"cannot write checkpoint .*step_00000002 \(File too large\); earlier checkpoints are untouched: make room.*",
        lines[0],
    )
    assert lines[1] == "['step_00000001'] 1.0"
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"], "nothing half is left"


def test_leftovers_are_swept_and_never_read(tmp_path: Path) -> None:
    (tmp_path / ".step_00000009.1.part").mkdir()
    assert load_latest(tmp_path) is None
    save_checkpoint(tmp_path, state(1))
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_damaged_futures_do_not_crowd_out_the_present(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        save_checkpoint(tmp_path, state(step), keep=4)
    for step in (20, 30, 40):
        (tmp_path / f"step_000000{step}" / "ema.safetensors").write_bytes(b"")
    with pytest.warns(CmbInpaintWarning, match="damaged checkpoint skipped"):
        assert load_latest(tmp_path).step == 10  # type: ignore[union-attr]
    save_checkpoint(tmp_path, state(15))
    assert load_latest(tmp_path).step == 15  # type: ignore[union-attr]


def edit_manifest(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return damage


def truncate(name: str, size: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:size])

    return damage


DAMAGE = {
    "absent file": (lambda f: (f / "ema.safetensors").unlink(), "cannot be read (No such file"),
    "absent manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "truncated": (truncate("model.safetensors", 30), "model.safetensors: sha256 is"),
    "empty": (truncate("optimizer.safetensors", 0), "optimizer.safetensors: sha256 is"),
    "half manifest": (truncate("manifest.json", 40), "manifest.json: not JSON"),
    "deep manifest": (lambda f: (f / "manifest.json").write_text("[" * 100_000), "manifest.json: not JSON"),
    "device": (
        lambda f: [(f / "ema.safetensors").unlink(), (f / "ema.safetensors").symlink_to("/dev/zero")],
        "ema.safetensors: cannot be read (not a regular file)",
    ),
    "manifest not utf-8": (lambda f: (f / "manifest.json").write_bytes(b"\xff"), "manifest.json: not JSON"),
    "other format": (edit_manifest(lambda m: m.update(format=99)), "not a checkpoint manifest of format 1"),
    "position": (edit_manifest(lambda m: m.update(position=3)), "position is 3; a table is needed"),
    "no step": (edit_manifest(lambda m: m.pop("step")), "step, recipe or files is absent"),
    "no hash": (edit_manifest(lambda m: m["files"].pop("ema.safetensors")), "does not name 'ema.safetensors'"),
    "path that leaves": (
        edit_manifest(lambda m: m["files"].update({"../../etc/passwd": "0"})),
        "names the file '../../etc/passwd'; a checkpoint holds only",
    ),
    "absolute path": (edit_manifest(lambda m: m["files"].update({"/etc/passwd": "0"})), "names the file '/etc/passwd'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_falls_back_to_the_one_before(tmp_path: Path, kind: str) -> None:
    damage, text = DAMAGE[kind]
    save_checkpoint(tmp_path, state(1))
    damage(save_checkpoint(tmp_path, state(2)))  # type: ignore[operator]
    with pytest.warns(CmbInpaintWarning, match=re.escape(text)):
        assert load_latest(tmp_path).step == 1  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "step_00000001")
    with (
        pytest.warns(CmbInpaintWarning, match=re.escape(text)),
        pytest.raises(CheckpointError, match=r"none of the 1 checkpoints in .* is whole .*; start in another folder"),
    ):  # fmt: skip
        load_latest(tmp_path)


@settings(deadline=None, max_examples=25)
@given(
    position=st.integers(0, 10**6), bit=st.integers(0, 7), name=st.sampled_from(["model", "ema", "optimizer"])
)
def test_a_flipped_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, position: int, bit: int, name: str
) -> None:
    folder = tmp_path_factory.mktemp("c")
    path = save_checkpoint(folder, state(1)) / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256 is"):
        read_checkpoint(path.parent)


def test_a_hash_that_agrees_with_garbage(tmp_path: Path) -> None:
    import hashlib

    folder = save_checkpoint(tmp_path, state(1))
    (folder / "ema.safetensors").write_bytes(b"garbage")
    digest = hashlib.sha256(b"garbage").hexdigest()
    edit_manifest(lambda m: m["files"].update({"ema.safetensors": digest}))(folder)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_checkpoint(folder)


def test_nan_is_neither_saved_nor_read(tmp_path: Path) -> None:
    bad = state(1)
    bad.model["a.weight"][0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"model: tensor 'a.weight' holds NaN or infinity"):
        save_checkpoint(tmp_path, bad)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, state(1))

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cmbinpaint.training.run.checkpoint.write_whole", full)
    with pytest.raises(
        CheckpointError, match=r"\(No space left on device\); earlier checkpoints are untouched"
    ):
        save_checkpoint(tmp_path, state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


@pytest.mark.parametrize(
    "found, text",
    [
        ({}, "the checkpoint has no tensor 'a', which this network needs"),
        ({"a": torch.ones(3)}, "tensor 'a' is float32 (3,) in the checkpoint and float32 (2,) in this network"),
        ({"a": torch.ones(2).int()}, "tensor 'a' is int32 (2,) in the checkpoint and float32 (2,) in this network"),
        ({"a": torch.ones(2), "b": torch.ones(1)}, "the checkpoint's tensor 'b' is unknown to this network"),
    ],
)  # fmt: skip
def test_the_first_tensor_that_differs_is_named(found: dict, text: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(text)):
        check_fits(found, {"a": torch.ones(2)})
