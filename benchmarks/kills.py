"""SIGKILL and SIGTERM at random moments of commands: does a rerun complete, and equal the undisturbed run?

nice -n 10 python benchmarks/kills.py --kills 100 --seed 1 -o benchmarks/results/kills.json

`inpaint --realizations`, `batch` in one process and in three, `simulate`, `dataset`, `train` and `validate`, small
ones, in turns. Each is a process forked from this one, which has imported everything, so that signals hit the work;
it is sent SIGKILL or SIGTERM after a random time within that of an undisturbed run, now and then twice. Checked
are: how it ended; no file under a final name that cannot be read whole; the inputs, bit for bit; that the same
command again ends with 0, leaves nothing beside and what the undisturbed run left: maps and their headers, weights,
optimizer and random states, arrays and tables.
"""

import argparse
import faulthandler
import hashlib
import io
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from astropy.io import fits
from safetensors.torch import load

# What the commands import later, and would be killed in.
import cmbinpaint.commands.batch
import cmbinpaint.commands.dataset
import cmbinpaint.commands.inpaint
import cmbinpaint.commands.simulate
import cmbinpaint.commands.train
import cmbinpaint.commands.validate
import cmbinpaint.plots
import cmbinpaint.sims.theory
import cmbinpaint.training
import cmbinpaint.training.data.build
import cmbinpaint.training.data.shards
import cmbinpaint.validation.validation_text  # noqa: F401
from cmbinpaint import cli, load_plan
from cmbinpaint.files.fits import write_map
from cmbinpaint.sims.skies import simulate_sky

RECIPE = """
name = "killed"
seed = 7
workers = 0
threads = 1
checkpoint_every = 3
validate_every = 10
validation_batches = 2
ema_decay = 0.9
log_every = 1
loss = { hole = 6.0, valid = 1.0, spectral = 0.1 }
data = { kind = "flat", side = 64, batch_size = 2 }
model = { family = "pconv", encoder = [[8, 5], [12, 3], [16, 3]], decoder = [12, 8] }
optimizer = { warmup_steps = 0 }
stage = [
  { name = "one", epochs = 2, steps_per_epoch = 10 },
  { name = "two", epochs = 1, steps_per_epoch = 10, freeze_encoder_norm = true },
]
"""
DATA = """
name = "killed"
seed = 3
ns = [0.7, 1.3]
skies = 6
patches = 10
side = 32
margin = 2
step_arcmin = 40.0
lmax = 300
split = [0.5, 0.25, 0.25]
skies_per_shard = 1
"""
COMMANDS = {
    "inpaint": "inpaint map.fits --mask mask.fits -o out/filled.fits --realizations 6 --seed 2",
    "batch": "batch sims/*.fits --mask mask16.fits --cl cl.txt --noise-std 3 --seed 2 --realizations 3 "
    "--save map,holes,cl --outdir out/batch",
    "batch-workers": "batch sims/*.fits --mask mask16.fits --cl cl.txt --noise-std 3 --seed 2 --realizations 3 "
    "--outdir out/batch --workers 2",
    "simulate": "simulate --nside 128 --cl cl.txt --seed 1 --noise-std 3 -o out/sky.fits --overwrite",
    "dataset": "dataset data.toml -o out/set --workers 0",
    "train": "train recipe.toml -o out/run --device cpu",
    "validate": "validate --nside 32 --skies 6 --model kriging -o out/validation",
}
# Cards, entries and columns that say when or how fast.
_CLOCKS = ("DATE", "CHECKSUM", "DATASUM")
_TIMES = ("second", "time", "machine", "patches_per", "data_wait")


@dataclass
class Tally:
    """What was seen of a command."""

    kills: dict[str, int] = field(default_factory=lambda: {"SIGKILL": 0, "SIGTERM": 0})
    runs: int = 0
    finished_before: int = 0
    faults: list[str] = field(default_factory=list)


def make_inputs(folder: Path) -> None:
    """What the commands read."""
    nside = 32
    ell = np.arange(2, 400)
    cl = np.concatenate([[0, 0], 6e3 / (ell * (ell + 1.0))])
    sky = simulate_sky(cl, nside, fwhm=np.radians(4), noise_std=3.0, pixwin=True, seed=4)
    (folder / "cl.txt").write_text(
        "# ell C_ell [uK^2]\n" + "".join(f"{i} {c:.6e}\n" for i, c in enumerate(cl))
    )
    write_map(folder / "map.fits", sky.astype("f4"), unit="uK_CMB")
    write_map(folder / "mask.fits", (np.random.default_rng(0).random(sky.size) > 0.1).astype("u1"), unit=None)
    (folder / "sims").mkdir()
    write_map(folder / "mask16.fits", np.arange(3072) > 300, unit=None)
    for seed in range(3):
        sky = simulate_sky(cl, 16, fwhm=np.radians(4), noise_std=3.0, pixwin=True, seed=seed)
        write_map(folder / "sims" / f"{seed}.fits", sky.astype("f4"), unit="uK_CMB")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "data.toml").write_text(DATA)


def start(words: list[str], folder: Path) -> int:
    """Fork a process that runs a command in a folder; its number."""
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(quiet, descriptor)
    os.dup2(os.open(folder / "out" / ".stderr", os.O_CREAT | os.O_APPEND | os.O_WRONLY), 2)
    faulthandler.enable()
    os._exit(cli.main(words))


def end(child: int) -> int:
    """Its exit code; of one that a signal ended, the signal's number, negative."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(path: Path) -> Any:
    """What a file says, times apart; an error if it is not whole."""
    raw = path.read_bytes()
    match path.suffix:
        case ".fits":
            with fits.open(io.BytesIO(raw), memmap=False, checksum=True) as hdus:
                cards = [[str(c) for c in hdu.header.cards if c.keyword not in _CLOCKS] for hdu in hdus]
                return cards, hashlib.sha256(np.asarray(hdus[1].data).tobytes()).hexdigest()
        case ".safetensors":
            return {n: hashlib.sha256(t.float().numpy().tobytes()).hexdigest() for n, t in load(raw).items()}
        case ".json":
            return timeless(json.loads(raw))
        case ".csv":
            head, *rows = (line.split(",") for line in raw.decode().splitlines())
            kept = [i for i, name in enumerate(head) if not any(word in name for word in _TIMES)]
            return [[row[i] for i in kept] for row in rows if len(row) == len(head)]
        case ".npz":
            with np.load(path) as arrays:
                return {n: hashlib.sha256(arrays[n].tobytes()).hexdigest() for n in arrays if not is_time(n)}
        case ".png":
            if not raw.endswith(b"IEND\xaeB`\x82"):
                raise ValueError(f"{path} breaks off")
            return None
        case ".jsonl":  # what was done in which run
            return None
        case ".plan":
            return load_plan(path).digest, hashlib.sha256(raw).hexdigest()
        case ".md":  # of the numbers in the .json beside
            return None
        case _:
            return hashlib.sha256(raw).hexdigest()


def is_time(name: str) -> bool:
    return any(word in name for word in _TIMES)


def timeless(value: Any) -> Any:
    """JSON without entries that are times, and hashes of files that hold such."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not is_time(k)}
    return [timeless(entry) for entry in value] if isinstance(value, list) else value


def snapshot(folder: Path) -> dict[str, Any]:
    """All files below a folder, hidden ones by name alone."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (".stderr", ".lock")
    )
    hidden = {path: any(part.startswith(".") for part in path.relative_to(folder).parts) for path in files}
    return {
        str(path.relative_to(folder)): "hidden" if is_hidden else contents(path)
        for path, is_hidden in hidden.items()
    }


def digests(folder: Path) -> dict[str, str]:
    """The inputs."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def fresh(inputs: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    (folder / "out").mkdir()
    return folder


def undisturbed(words: list[str], folder: Path) -> tuple[dict[str, Any], float]:
    """What a run leaves, and its seconds."""
    begun = time.monotonic()
    if code := end(start(words, folder)):
        raise RuntimeError(f"{words} ended with {code}: {(folder / 'out' / '.stderr').read_text()}")
    return snapshot(folder / "out"), time.monotonic() - begun


def disturb(words: list[str], folder: Path, delay: float, number: signal.Signals) -> int:
    """Run, send a signal after `delay` seconds; the exit code."""
    child = start(words, folder)
    time.sleep(delay)
    os.kill(child, number)  # one that has ended is a zombie, and takes it
    return end(child)


def one_run(
    words: list[str], folder: Path, expected: dict[str, Any], length: float, rng: Any, tally: Tally
) -> None:
    """Kill, perhaps twice, then run to the end; what is wrong goes to the tally."""
    before, tally.runs = digests(folder), tally.runs + 1
    for _ in range(2 if rng.random() < 0.3 else 1):
        number = signal.SIGKILL if rng.random() < 0.5 else signal.SIGTERM
        delay = rng.uniform(0, length)
        code = disturb(words, folder, delay, number)
        tally.kills[number.name] += 1
        tally.finished_before += code == 0
        where = f"{number.name} after {delay:.3f} s"
        # -15: the command had not begun yet.
        if code not in (0, -number, 143 if number == signal.SIGTERM else 0):
            said = (folder / "out" / ".stderr").read_text()[-2000:]
            tally.faults.append(f"{where}: ended with {code}: {said}")
        try:
            snapshot(folder / "out")
        except Exception as error:
            tally.faults.append(f"{where}: half a file: {type(error).__name__}: {error}")
    if code := end(start(words, folder)):
        said = (folder / "out" / ".stderr").read_text().splitlines()[-1:]
        tally.faults.append(f"{where}: the rerun ended with {code}: {said}")
        return
    found = snapshot(folder / "out")
    # Which checkpoints are kept besides the last hangs on where the run was stopped.
    kept = {
        n
        for n in found.keys() | expected.keys()
        if "/checkpoints/" not in n or (n in found and n in expected)
    }
    if different := sorted(n for n in kept if found.get(n, ()) != expected.get(n, ())):
        tally.faults.append(f"{where}: {different[:3]} differ from the undisturbed run's")
    if digests(folder) != before:
        tally.faults.append(f"{where}: an input was changed")


def run_all(kills: int, seed: int, names: list[str], say: Callable[..., None] = print) -> dict[str, Any]:
    """All commands in turns, until the kills are spent."""
    rng, tallies = np.random.default_rng(seed), {name: Tally() for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        inputs, folder = Path(scratch) / "inputs", Path(scratch) / "run"
        inputs.mkdir()
        if end_of(make_inputs, inputs):
            raise RuntimeError("the inputs could not be made")
        expected = {name: undisturbed(COMMANDS[name].split(), fresh(inputs, folder)) for name in names}
        while sum(sum(t.kills.values()) for t in tallies.values()) < kills:
            name = min(names, key=lambda n: sum(tallies[n].kills.values()))
            known = len(tallies[name].faults)
            one_run(COMMANDS[name].split(), fresh(inputs, folder), *expected[name], rng, tallies[name])
            for fault in tallies[name].faults[known:]:
                say(f"{name}: {fault}", flush=True)
    return {
        "what": "signals at random moments; the rerun compared with an undisturbed run",
        "seed": seed,
        "commands": {name: {**vars(tally), "seconds": expected[name][1]} for name, tally in tallies.items()},
        "machine": {"cores": len(os.sched_getaffinity(0)), "torch": torch.__version__},
    }


def end_of(function: Callable[[Path], None], folder: Path) -> int:
    """Run a function in a process of its own: this one stays without threads, which do not survive a fork."""
    child = os.fork()
    if not child:
        function(folder)
        os._exit(0)
    return end(child)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=COMMANDS, action="append")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    text = json.dumps(run_all(args.kills, args.seed, args.only or list(COMMANDS)), indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
