"""kill -9 at random moments of a short training: does every resumed run end with the uninterrupted run's weights?

python benchmarks/kill.py --kills 20 --seed 1 -o benchmarks/results/kill.json

The training is the real command on simulated patches, in two stages, with a data worker and a checkpoint every third
step. Each child is killed at a random moment after it first touches its folder; the next one resumes. When a training
ends it is compared bit for bit with the uninterrupted one, and another begins until the kills are spent.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from cmbinpaint.training import load_latest
from cmbinpaint.training.run.checkpoint import list_checkpoints

RECIPE = """
name = "killed"
seed = 7
workers = 1
threads = 1
checkpoint_every = 3
validate_every = 10
validation_batches = 2
ema_decay = 0.9
log_every = 1
loss = { hole = 6.0, valid = 1.0, spectral = 0.1 }
[data]
kind = "flat"
side = 64
batch_size = 2
[model]
family = "pconv"
encoder = [[8, 5], [12, 3], [16, 3]]
decoder = [12, 8]
[optimizer]
warmup_steps = 0
[[stage]]
name = "one"
epochs = 3
steps_per_epoch = 20
[[stage]]
name = "two"
epochs = 2
steps_per_epoch = 20
freeze_encoder_norm = true
"""


def start(recipe: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "cmbinpaint", "train", str(recipe), "-o", str(folder), "--device", "cpu"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def newest(folder: Path) -> float:
    return max(
        (path.stat().st_mtime for path in (folder, folder / "training.csv") if path.exists()), default=0.0
    )


def kill_once(recipe: Path, folder: Path, delay: float) -> bool:
    """Start, wait until the run has begun to work, then kill after `delay` seconds; False if it ended before."""
    before = newest(folder)
    child = start(recipe, folder)
    while newest(folder) == before and child.poll() is None:
        time.sleep(0.005)
    try:
        child.wait(timeout=delay)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return True
    return False


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_latest(folder / "checkpoints")
    if found is None:
        raise RuntimeError(f"{folder} holds no checkpoint")
    groups = {"model": found.model, "ema": found.ema, "optimizer": found.optimizer, "random": found.random}
    return {
        f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()
    }


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        recipe = root / "killed.toml"
        recipe.write_text(RECIPE)
        begun = time.monotonic()
        if start(recipe, root / "straight").wait():
            raise RuntimeError("the uninterrupted run failed")
        length = time.monotonic() - begun
        expected = weights(root / "straight")
        moments, agree, run = [], [], 0
        while len(moments) < args.kills:
            folder = root / f"run{run}"
            if kill_once(recipe, folder, rng.uniform(0, 0.4 * length)):
                done = list_checkpoints(folder / "checkpoints")
                moments.append(int(done[-1].name[5:]) if done else 0)
                print(f"kill {len(moments)}: the newest checkpoint is of step {moments[-1]}", flush=True)
                if len(moments) < args.kills:
                    continue
                if start(recipe, folder).wait():
                    raise RuntimeError("a resumed run failed")
            agree.append(equal(weights(folder), expected))
            run += 1
        result = {
            "what": "kill -9 at random moments; the step of the newest checkpoint after each kill",
            "kills": len(moments),
            "moments": moments,
            "trainings": len(agree),
            "equal_to_the_uninterrupted_run": agree,
            "seconds_uninterrupted": length,
            "machine": {"cores": len(os.sched_getaffinity(0)), "torch": torch.__version__},
        }
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
