"""Memory over the epochs of a training: flat or growing, and on a data set larger than what is allowed.

    python benchmarks/memory.py data-old -o benchmarks/results/training_memory.json
    python benchmarks/memory.py data-new --allow 0.6 --epochs 2 -o benchmarks/results/training_larger.json

unet128 on a stored data set, each epoch with its validation and checkpoint. Written down is, after each epoch, what the
training process and its worker hold: all of it (VmRSS), and what is their own (RssAnon; pages of the mapped data set
are the system's, which takes them back when it needs them).

Without --allow: every loss term, one data worker, epochs of --steps. With --allow SHARE: the terms of pixels, an epoch
reads every training patch, and the one process that reads and trains may, from its second step on, have no more address
space (RLIMIT_AS, which counts mapped files whether resident or not) than it has without the data set, and SHARE of the
data set's size: what it maps of the set and all that its own memory grows must fit in there. At the end it tries to
hold the whole set, which that limit must refuse.
"""

import argparse
import json
import math
import os
import resource
import tempfile
from pathlib import Path

import numpy as np

from cmbinpaint.training import Recipe, train
from cmbinpaint.training.data.reader import StoredSkies

MiB = 1 << 20
BATCH = 16


def status_MiB(process: int, what: str) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def children() -> list[int]:
    return [
        int(c) for c in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()
    ]


def mapped_MiB(folder: Path) -> float:
    """Address space of this process that holds files of a folder."""
    total = 0
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        if str(folder.resolve()) in line:
            start, end = line.split()[0].split("-")
            total += int(end, 16) - int(start, 16)
    return total / MiB


def set_MiB(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.npy")) / MiB


def allow(folder: Path, share: float) -> float:
    """Limit this process's address space; gives the limit in MiB."""
    limit = status_MiB(os.getpid(), "VmSize") - mapped_MiB(folder) + share * set_MiB(folder)
    resource.setrlimit(resource.RLIMIT_AS, (int(limit * MiB),) * 2)
    return limit


def refuses_the_whole(folder: Path) -> bool:
    """Whether the limit at hand lets the set be read into memory."""
    try:
        whole = [np.load(path) for path in sorted(folder.glob("*.npy"))]
    except MemoryError:
        return True
    return not whole


def make_recipe(args: argparse.Namespace) -> Recipe:
    table = Recipe.read("combine128-short").to_mapping()
    table["data"] |= {"folder": str(args.data)}
    table |= {"validation_batches": 4, "threads": 1}
    if args.allow is not None:
        table["data"] |= {"batch_size": BATCH}
        table["loss"] |= dict.fromkeys(("perceptual", "style_output", "style_composite"), 0.0)
        table |= {"workers": 0}
        args.steps = math.ceil(StoredSkies.open(args.data, verify="sizes").count("train") / BATCH)
    table["stage"] = [{"name": "all", "epochs": args.epochs, "steps_per_epoch": args.steps}]
    return Recipe.from_mapping(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--allow", type=float, metavar="SHARE")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    recipe, me = make_recipe(args), os.getpid()
    rows: list[dict[str, float]] = []
    highest = {"own": 0.0, "of the set, mapped": 0.0, "address space": 0.0}
    limit: list[float] = []

    def watch(step: int, steps: int, loss: float) -> None:
        if args.allow is not None and not limit:
            limit.append(allow(args.data, args.allow))
        now = status_MiB(me, "RssAnon"), mapped_MiB(args.data), status_MiB(me, "VmSize")
        for key, value in zip(highest, now, strict=True):
            highest[key] = max(highest[key], value)
        if step % args.steps == 1:  # the epoch before has been validated and saved
            row: dict[str, float] = {"step": step}
            for key, what in (("", "VmRSS"), (", own", "RssAnon")):
                row[f"training{key}"] = status_MiB(me, what)
                row[f"workers{key}"] = sum(status_MiB(child, what) for child in children())
            rows.append(row)

    with tempfile.TemporaryDirectory() as folder:
        done = train(recipe, folder, device="cpu", progress=watch)
    result = {
        "what": "memory in MiB after the first step of each epoch, and the most after any step",
        "finished": done.finished,
        "steps": done.step,
        "epochs": rows,
        "highest": highest,
    }
    if args.allow is not None:
        result |= {
            "data set": set_MiB(args.data),
            "address space allowed": limit[0],
            "allowed for the set and all growth": args.allow * set_MiB(args.data),
            "own at the end": status_MiB(me, "RssAnon"),
            "the set as a whole is refused": refuses_the_whole(args.data),
        }
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
