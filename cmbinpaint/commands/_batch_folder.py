"""The folder of a batch: whose it is, what was done, what is left, and the mean of all.

Inputs: the command's arguments. Outputs: `Batch`; lines of JSON; `--mean-map` and `--std-map`.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cmbinpaint._files import write_whole
from cmbinpaint.commands import _common as common
from cmbinpaint.commands._units import Batch, Unit, card_of, digest_of
from cmbinpaint.errors import CmbInpaintWarning, OutputError, PlanError

_JOB, _STATUS = "batch.json", "status"
# Cards that say something of one fill.
_OF_ONE = ("REALIZ", "STEPS", "REMAINS", "REMAINSP", "MAPFILE", "MAPSHA", "JOB")


def open_batch(args: argparse.Namespace, threads: int) -> Batch:
    """The folder's batch, made by its first run, which keeps the seed there.

    Raises
    ------
    OutputError
        If the folder holds another batch.
    """
    path, digest = args.outdir / _JOB, digest_of(args)
    own = {"batch": digest, "seed": common.fresh_seed() if args.seed is None else args.seed}
    text = json.dumps(own | {"command": common.command_line(args.argv)}, indent=1) + "\n"
    while not path.exists():  # several shares may begin at once: one of them writes it
        try:
            write_whole(path, text, replace=False)
        except (FileExistsError, BlockingIOError):
            time.sleep(0.05)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        seed = int(found["seed"])
        differs = found["batch"] != digest
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is damaged ({error}); remove it, or give another --outdir") from None
    if differs:
        raise OutputError(
            f"{args.outdir} holds a batch with another mask, model, version or options ({path}); give another --outdir"
        )
    if args.seed is not None and args.seed != seed:
        raise OutputError(f"{args.outdir} holds a batch with --seed {seed}; give it, or another --outdir")
    return Batch(args, seed, digest, threads)


@contextmanager
def status_of(args: argparse.Namespace) -> Iterator[Any]:
    """Yield a function that says what became of a piece, on standard output and in D/status."""
    folder = args.outdir / _STATUS
    folder.mkdir(exist_ok=True)
    part, of = args.shard
    with (folder / f"{part}-of-{of}.jsonl").open("a", encoding="utf-8") as stream:

        def tell(unit: Unit, result: Any, failed: list[str]) -> None:
            if isinstance(result, OutputError | PlanError):
                raise result
            if isinstance(result, Exception):
                failed.append(f"{unit.name}: {result}")
                result = {
                    "map": str(unit.path),
                    "realization": unit.realization,
                    "status": "failed",
                    "error": str(result),
                }
            for text in result.get("warnings", ()):
                warnings.warn(text, CmbInpaintWarning, stacklevel=2)
            line = json.dumps(result)
            stream.write(line + "\n")
            stream.flush()
            print(line, flush=True)

        yield tell


def summary(args: argparse.Namespace, units: list[Unit]) -> Iterator[str]:
    """What is done, failed and left, of all shares, in lines."""
    if not (args.outdir / _JOB).exists():
        yield f"0 of {len(units)} done, 0 failed, {len(units)} left"
        return
    batch = open_batch(args, 1)
    left = {(str(unit.path), unit.realization): unit for unit in units if batch.missing(unit)}
    failed: dict[Any, str] = {}
    for path in sorted((args.outdir / _STATUS).glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, KeyError):  # a process that was killed broke off in a line
                said = json.loads(line)
                key = (said["map"], said["realization"])
                if said["status"] == "failed" and key in left:
                    failed[key] = said["error"]
    print(
        f"{len(units) - len(left)} of {len(units)} done, {len(failed)} failed, {len(left) - len(failed)} left"
    )
    for key, error in failed.items():
        yield f"failed: {left[key].name}: {' '.join(error.split())}"


def write_moments_of(batch: Batch, units: list[Unit]) -> None:
    """Write mean and standard deviation over all fills, once all shares are done."""
    from cmbinpaint.commands._moments import moments, moments_columns
    from cmbinpaint.files import fits

    args = batch.args
    if waiting := sum(1 for unit in units if batch.missing(unit)):
        print(f"--mean-map and --std-map wait for {waiting} fills of other shares", file=sys.stderr)
        return
    paths = [batch.outputs(unit)["map"] for unit in units]
    for path in (args.mean_map, args.std_map):
        if path is not None and path.exists() and card_of(path, "BATCH") != batch.digest:
            raise OutputError(f"{path} exists already and is not of this batch; give another name")
    columns = filled_columns(paths[0])
    made = dict(zip(("mean", "standard deviation"), moments(paths, columns), strict=True))
    info = fits.read_map(paths[0], columns)[1]
    for path, what in ((args.mean_map, "mean"), (args.std_map, "standard deviation")):
        if path is not None:
            cards: dict[str, Any] = dict.fromkeys(_OF_ONE)
            cards |= {"BATCH": batch.digest, "SEED": batch.seed, "NFILLS": len(paths)}
            cards["CONTENT"] = (what, "over all fills")
            names = info.field if what == "mean" else moments_columns(info)
            fits.write_map(path, made[what], info=info, column=names, overwrite=True, provenance=cards)
            print(json.dumps({"status": "done", "files": [str(path)], "fills": len(paths)}), flush=True)


def filled_columns(path: Path) -> str | tuple[str, ...]:
    """The columns of a result that were filled."""
    named = str(card_of(path, "FILLCOL"))
    return tuple(named.split(",")) if "," in named else named
