"""Resident memory over the epochs of a training: flat, or growing?

python benchmarks/memory.py data-old -o benchmarks/results/training_memory.json

unet128 on a stored data set, loss of pixels and of pool1 to pool3 of the shipped VGG16, each epoch with its validation
and checkpoint, one data worker. Written down is what the training process and its worker hold after each epoch: all
of it, and what is their own (pages of the mapped data set are the system's, which takes them back when it needs them).
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from cmbinpaint.training import Recipe, train


def resident_MiB(process: int, what: str = "VmRSS") -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def children() -> list[int]:
    return [
        int(c) for c in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    table = Recipe.read("combine128-short").to_mapping()
    table["data"] |= {"folder": str(args.data), "verify": "sizes"}
    table["stage"] = [{"name": "all", "epochs": args.epochs, "steps_per_epoch": args.steps}]
    table |= {"validation_batches": 4, "threads": 1}
    rows: list[dict[str, float]] = []

    def watch(step: int, steps: int, loss: float) -> None:
        if step % args.steps == 1:  # the epoch before has been validated and saved
            row: dict[str, float] = {"step": step}
            for key, what in (("", "VmRSS"), (", own", "RssAnon")):
                row[f"training{key}"] = resident_MiB(os.getpid(), what)
                row[f"workers{key}"] = sum(resident_MiB(child, what) for child in children())
            rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        train(Recipe.from_mapping(table), folder, device="cpu", progress=watch)
    result = {"what": "resident memory in MiB after the first step of each epoch", "epochs": rows}
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
