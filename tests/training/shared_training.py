"""Two short trainings, by one process or as one of several: `python shared_training.py FOLDER PORT PORT`."""

import os
import sys
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_file

from cmbinpaint.nn.models import build_model
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


NORMS = {"family": "pconv", "encoder": [[4, 5], [6, 3]], "decoder": [5]}
NO_NORM = {"family": "pconv", "encoder": [[6, 5]], "decoder": []}


def run(name, model, stages, folder):
    recipe = Recipe.from_mapping(
        {
            "name": name,
            "seed": 1,
            "stage": stages,
            "loss": {"hole": 6.0, "valid": 1.0},
            "accumulate": 2,
            "ema_decay": 0.5,
            "workers": 0,
            "threads": 1,
            "log_every": 1,
            "validation_batches": 1,
            "model": model,
            "optimizer": {"algorithm": "adamw", "lr": 1e-3, "warmup_steps": 0, "schedule": "constant"},
        }
    )
    torch.manual_seed(0)
    network = build_model(model)
    result = train(
        recipe, f"{folder}/{name}", device="cpu", stream=Stream(), model=network, progress=lambda *_: None
    )
    whole = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(whole, f"{folder}/{name}_{os.environ.get('RANK', 0)}.safetensors")
    return result


def main(folder, ports=()):
    os.environ.update(zip(["MASTER_PORT"], ports[:1], strict=False))
    run("equal", NO_NORM, [{"name": "a", "epochs": 1, "steps_per_epoch": 3}], folder)
    os.environ.update(zip(["MASTER_PORT"], ports[1:], strict=False))
    stages = [{"name": "a", "epochs": 1, "steps_per_epoch": 2}]
    stages += [{"name": "b", "epochs": 1, "steps_per_epoch": 2, "freeze_encoder_norm": True}]
    run("norms", NORMS, stages, folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
