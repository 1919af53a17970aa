"""Two processes that share a batch take the step that one takes with all of it."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbinpaint.errors import DeviceError, RecipeError
from cmbinpaint.training.run.checkpoint import read_checkpoint
from cmbinpaint.training.run.distributed import Shard, World, join_world

SCRIPT = """
import sys
from dataclasses import dataclass
import numpy as np
from cmbinpaint.training import Recipe, train

@dataclass(frozen=True)
class Batch:
    x: np.ndarray
    valid: np.ndarray
    truth: np.ndarray

class Stream:
    def batch(self, index, split="train"):
        rng = np.random.default_rng([index, len(split)])
        truth = rng.standard_normal((4, 1, 16, 16)).astype("f4")
        valid = (rng.random((4, 1, 16, 16)) > 0.3).astype("f4")
        return Batch(np.where(valid > 0, truth, np.float32(0)), valid, truth)

stages = [{"name": "a", "epochs": 1, "steps_per_epoch": 3}]
stages += [{"name": "b", "epochs": 1, "steps_per_epoch": 3, "freeze_encoder_norm": True}]
recipe = Recipe.from_mapping({
    "name": "shared", "seed": 1, "stage": stages, "loss": {"hole": 6.0, "valid": 1.0}, "accumulate": 2,
    "ema_decay": 0.5, "workers": 0, "threads": 1, "log_every": 1, "validation_batches": 1,
    "model": {"family": "pconv", "encoder": [[4, 5], [6, 3]], "decoder": [5]},
    "optimizer": {"algorithm": "adamw", "lr": 1e-3, "warmup_steps": 0, "schedule": "constant"},
})
train(recipe, sys.argv[1], device="cpu", stream=Stream())
"""

# A batch norm takes away its convolution's bias: that has no gradient but rounding, which Adam scales up. The biases
# and the means that hold them differ, and nothing else does.
BLIND = {
    f"{level}.{what}" for level in ("encoder.1", "decoder.0") for what in ("conv.bias", "norm.running_mean")
}


def start(folder: Path, rank: int, size: int, port: int) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if size > 1:
        environment |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_equal_one_with_the_double_batch(tmp_path: Path) -> None:
    port = free_port()
    children = [start(tmp_path / "two", rank, 2, port) for rank in (0, 1)] + [
        start(tmp_path / "one", 0, 1, 0)
    ]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    for step, absolute in ((3, 1e-6), (6, 2e-4)):
        one, two = (
            read_checkpoint(tmp_path / n / "checkpoints" / f"step_{step:08d}") for n in ("one", "two")
        )
        for group in ("model", "ema"):
            ours, theirs = getattr(one, group), getattr(two, group)
            assert ours.keys() == theirs.keys()
            for name in ours.keys() - BLIND:
                # float32 sums in another order. In stage two the held norm lets the blind biases' noise through: a
                # thirtieth of the 6e-3 that six steps can move a weight.
                torch.testing.assert_close(theirs[name], ours[name], rtol=1e-5, atol=absolute)
    read = [(tmp_path / name / "training.csv").read_text().splitlines() for name in ("one", "two")]
    losses = [[[float(v) for v in row.split(",")[3:6]] for row in rows[1:]] for rows in read]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    scores = [
        json.loads((tmp_path / n / "checkpoints" / "step_00000006" / "manifest.json").read_text())
        for n in ("one", "two")
    ]
    found, expected = (score["losses"]["validation"]["hole_rms"] for score in scores)
    assert found == pytest.approx(expected, rel=1e-4)
    start_weights = read_checkpoint(tmp_path / "one" / "checkpoints" / "step_00000003").model[
        "encoder.0.conv.weight"
    ]
    moved = (one.model["encoder.0.conv.weight"] - start_weights).abs().max()
    assert moved > 1e-3, "it moved far more than the tolerance"


@dataclass(frozen=True)
class Rows:
    x: np.ndarray
    truth: np.ndarray


class Numbered:
    def batch(self, index: int, split: str = "train") -> Rows:
        return Rows(np.arange(6.0)[:, None] + index, np.arange(6))


def test_shards_are_a_partition() -> None:
    parts = [Shard(Numbered(), rank, 3).batch(10) for rank in range(3)]
    assert sorted(np.concatenate([part.truth for part in parts]).tolist()) == list(range(6))
    assert all(np.array_equal(part.x[:, 0] - 10, part.truth) for part in parts)


def test_a_batch_that_cannot_be_shared() -> None:
    with pytest.raises(RecipeError, match="a batch of 6 cannot be shared equally by 4 processes"):
        Shard(Numbered(), 0, 4).batch(0)


def test_one_process_needs_no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_world("cpu") as (world, device):
        assert (world, device.type) == (World(0, 1), "cpu")
        assert world.highest(3) == 3 and float(world.mean(torch.tensor(2.0))) == 2.0
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with (
        pytest.raises(
            DeviceError, match=re.escape("WORLD_SIZE is 2 but LOCAL_RANK is not set; start several")
        ),
        join_world("cpu"),
    ):
        pass
