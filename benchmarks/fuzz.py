"""Damaged files, recipes and command lines by the ten thousand: read right, refused, or what?

nice -n 10 python benchmarks/fuzz.py --cases 100000 --seed 1 -o benchmarks/results/fuzz.json
python benchmarks/fuzz.py --seed 1 --show maps 1234 FOLDER

Each case is a pure function of seed, target and number. A child process, forked, works on some hundreds of them at a
time; a case that takes over 30 s is counted as a hang, and another child goes on behind it. The counts are written
after every few hundred, and the same command goes on where it stopped. `--show` makes one case again in a folder, with
its traceback.

Outcomes: "right": what was read is what others read of the same bytes; "unchecked": read, and no other program reads
it; "refused": the package's own error; "foreign": any other error; "hang"; "changed": silently another value.
"""

import argparse
import json
import os
import resource
import select
import signal
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from fuzz_case import UNCHECKED, Maker
from fuzz_commands import command_case
from fuzz_maps import map_case, spectrum_case
from fuzz_networks import card_case, checkpoint_case, recipe_case, weights_case

from cmbinpaint.errors import CmbInpaintError

# How many of a hundred cases are of each.
TARGETS: dict[str, tuple[int, Maker]] = {
    "maps": (40, map_case), "spectra": (25, spectrum_case), "cards": (10, card_case), "weights": (8, weights_case),
    "recipes": (10, recipe_case), "checkpoints": (4, checkpoint_case), "command lines": (3, command_case),
}  # fmt: skip
CHUNK = 500
LIMIT = 30.0  # seconds
MEMORY = 8 << 30
OUTCOMES = ("right", "unchecked", "refused", "foreign", "hang", "changed")
FAULTS = OUTCOMES[3:]


def rng_of(seed: int, target: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(target.encode()), number])


def outcome_of(target: str, state: dict[str, Any], seed: int, number: int, folder: Path) -> tuple[str, str]:
    """What becomes of a case, and what is to be said of it."""
    case = TARGETS[target][1](state, rng_of(seed, target, number), folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = case()
    except CmbInpaintError as error:
        return ("refused", "") if str(error).strip() else ("foreign", "an error without words")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return "foreign", f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"[:500]
    if found is None:
        return "right", ""
    return ("unchecked", "") if found == UNCHECKED else ("changed", found[:500])


def work(target: str, seed: int, first: int, last: int, out: TextIO) -> None:
    """The child: a line for each case."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    state = dict[str, Any]()
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(first, last):
            outcome, said = outcome_of(target, state, seed, number, Path(scratch))
            print(json.dumps([number, outcome, said]), file=out, flush=True)


def start(target: str, seed: int, first: int, last: int) -> tuple[int, int]:
    """Fork a child, which has all imported; its number, and where its lines come."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    with os.fdopen(writing, "w", encoding="utf-8", errors="replace") as out:
        work(target, seed, first, last, out)
    os._exit(0)


def lines_of(child: int, descriptor: int) -> Iterator[str | int]:
    """Lines of a child as they come, then its exit code; it is killed if it is stuck."""
    rest, before = b"", 0.0
    while True:
        if not select.select([descriptor], [], [], LIMIT)[0]:
            if is_stuck(child, before):
                os.kill(child, signal.SIGKILL)
                break
            continue
        block = os.read(descriptor, 1 << 16)
        if not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        yield from (line.decode() for line in lines)
        before = state_of(child)[1]
    os.close(descriptor)
    yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_stuck(child: int, before: float) -> bool:
    """Whether a process that says nothing waits, or has worked for `LIMIT` seconds: a loaded machine is no hang."""
    state, seconds = state_of(child)
    return state == "S" or seconds - before > LIMIT


def state_of(child: int) -> tuple[str, float]:
    """A process's state as Linux names it, and the processor seconds it has used."""
    state, *numbers = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2].split()
    return state, sum(map(int, numbers[10:12])) / os.sysconf("SC_CLK_TCK")


def do_chunk(target: str, seed: int, first: int, last: int) -> tuple[dict[str, int], list[Any]]:
    """Counts by outcome, and the faults found."""
    counts, found, at = dict.fromkeys(OUTCOMES, 0), [], first
    while at < last:
        for line in lines_of(*start(target, seed, at, last)):
            if isinstance(line, str):
                number, outcome, said = json.loads(line)
            elif at >= last:
                break
            else:  # silent for long, or dead: this case's fault
                number, outcome, said = (
                    at,
                    "hang" if line == -signal.SIGKILL else "foreign",
                    f"the process ended: {line}",
                )
            at = number + 1
            counts[outcome] += 1
            if outcome in FAULTS:
                found.append([target, number, outcome, said])
    return counts, found


def fuzz(cases: int, seed: int, output: Path | None, only: str | None) -> dict[str, Any]:
    """All chunks that are left, target after target in turns."""
    fresh = {"seed": seed, "counts": {t: dict.fromkeys(OUTCOMES, 0) for t in TARGETS}, "found": []}
    result = json.loads(output.read_text("utf-8")) if output and output.exists() else fresh
    if result["seed"] != seed:
        raise SystemExit(f"{output} is of seed {result['seed']}")
    wanted = {t: cases * share // 100 for t, (share, _) in TARGETS.items() if only in (None, t)}

    def share_done(target: str) -> float:
        return sum(result["counts"][target].values()) / max(wanted[target], 1)

    while (target := min(wanted, key=share_done)) and share_done(target) < 1:
        first = sum(result["counts"][target].values())
        counts, found = do_chunk(target, seed, first, min(first + CHUNK, wanted[target]))
        for outcome, count in counts.items():
            result["counts"][target][outcome] += count
        result["found"] += found
        for line in found:
            print(*line, flush=True)
        if output:
            beside = output.with_suffix(".part")
            beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            beside.replace(output)
    return result


def table(result: dict[str, Any]) -> str:
    """Markdown of the counts."""
    rows = [["", *OUTCOMES], ["---"] * (len(OUTCOMES) + 1)]
    rows += [[target, *(str(counts[o]) for o in OUTCOMES)] for target, counts in result["counts"].items()]
    rows += [["all", *(str(sum(c[o] for c in result["counts"].values())) for o in OUTCOMES)]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", metavar="TARGET")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--show", nargs=3, metavar=("TARGET", "NUMBER", "FOLDER"))
    args = parser.parse_args()
    if args.show:
        folder = Path(args.show[2])
        folder.mkdir(parents=True, exist_ok=True)
        return print(
            TARGETS[args.show[0]][1]({}, rng_of(args.seed, args.show[0], int(args.show[1])), folder)()
        )
    return print(table(fuzz(args.cases, args.seed, args.output, args.only)))


if __name__ == "__main__":
    main()
