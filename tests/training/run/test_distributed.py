"""Two processes that share a batch take the step that one takes with all of it, but for batch norm."""

import importlib.util
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
from safetensors.torch import load_file

from cmbinpaint.errors import DeviceError, RecipeError
from cmbinpaint.nn.models import build_model
from cmbinpaint.training.data.loader import RowsOfProcess
from cmbinpaint.training.run.checkpoint import read_checkpoint
from cmbinpaint.training.run.distributed import World, join_world, synchronize_batch_norm

SCRIPT = Path(__file__).parents[1] / "shared_training.py"


def start(folder: Path, rank: int, ports: list[int]) -> subprocess.Popen:
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *map(str, ports)], env=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The trainings of shared_training.py by one process, this one, and by two."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    ports = [free_port(), free_port()]  # one for each training: a second group on one port waits for ever
    children = [start(two, rank, ports) for rank in (0, 1)]
    try:
        spec = importlib.util.spec_from_file_location("shared_training", SCRIPT)
        assert spec and spec.loader
        sys.modules["shared_training"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.main(one)
        assert [child.wait(timeout=300) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
            child.wait()
    return one, two


def test_two_processes_take_the_step_of_one_with_the_whole_batch(folders: tuple[Path, Path]) -> None:
    one, two = (read_checkpoint(folder / "equal" / "checkpoints" / "step_00000003") for folder in folders)
    for group in ("model", "ema"):
        ours, theirs = getattr(one, group), getattr(two, group)
        assert ours.keys() == theirs.keys() and ours
        for name in ours:  # float32 sums in another order
            torch.testing.assert_close(theirs[name], ours[name], rtol=1e-5, atol=1e-6)
    read = [(folder / "equal" / "training.csv").read_text().splitlines() for folder in folders]
    losses = [[[float(v) for v in row.split(",")[3:6]] for row in rows[1:]] for rows in read]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    found, expected = two.losses["validation"]["hole_rms"], one.losses["validation"]["hole_rms"]
    assert found == pytest.approx(expected, rel=1e-4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = build_model({"family": "pconv", "encoder": [[6, 5]], "decoder": []}).state_dict()
    moved = (one.model["encoder.0.conv.weight"] - first["encoder.0.conv.weight"]).abs().max()
    assert moved > 1e-3, "it moved far more than the tolerance"


def test_batch_norm_is_each_processs_and_its_running_means_the_firsts(folders: tuple[Path, Path]) -> None:
    """On CPUs; the processes never part, and the encoder's norm is held in the last stage."""
    first, second = (load_file(folders[1] / f"norms_{rank}.safetensors") for rank in (0, 1))
    alone = load_file(folders[0] / "norms_0.safetensors")
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    mean = "encoder.1.norm.running_mean"
    assert not torch.allclose(first[mean], alone[mean], rtol=1e-3), "two rows of four have another mean"
    kept = read_checkpoint(folders[1] / "norms" / "checkpoints" / "step_00000002").model
    assert torch.equal(kept[mean], first[mean]) and float(kept[mean].abs().max()) > 0


def test_on_cuda_torchs_own_layer_synchronizes() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert synchronize_batch_norm(network, World(0, 2), cpu) is network
    assert synchronize_batch_norm(network, World(0, 1), cuda) is network
    assert isinstance(synchronize_batch_norm(network, World(0, 2), cuda)[1], torch.nn.SyncBatchNorm)  # type: ignore[index]


@dataclass(frozen=True)
class Rows:
    x: np.ndarray
    truth: np.ndarray


class Numbered:
    def batch(self, index: int, split: str = "train") -> Rows:
        return Rows(np.arange(6.0)[:, None] + index, np.arange(6))


def test_shards_are_a_partition() -> None:
    parts = [RowsOfProcess(Numbered(), rank, 3).batch(10) for rank in range(3)]
    assert sorted(np.concatenate([part.truth for part in parts]).tolist()) == list(range(6))
    assert all(np.array_equal(part.x[:, 0] - 10, part.truth) for part in parts)


def test_a_batch_that_cannot_be_shared() -> None:
    with pytest.raises(RecipeError, match="a batch of 6 cannot be shared equally by 4 processes"):
        RowsOfProcess(Numbered(), 0, 4).batch(0)


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
