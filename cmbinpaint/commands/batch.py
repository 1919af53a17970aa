"""`cmbinpaint batch`: many maps with one mask, on one machine or many; interrupted, it goes on where it was.

Inputs: maps, where their holes are, what is known of the sky. Outputs: a folder of files, each written atomically; a
line of JSON for each fill.
"""

import argparse
import glob
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cmbinpaint._machine import available_cores
from cmbinpaint.commands import _common as common
from cmbinpaint.commands import _input as source
from cmbinpaint.commands import _outputs as outputs
from cmbinpaint.commands._batch_folder import open_batch, status_of, summary, write_moments_of
from cmbinpaint.commands._known import add_sky_arguments
from cmbinpaint.commands._pools import threads_of, workers
from cmbinpaint.commands._slurm import job_script
from cmbinpaint.commands._units import SAVED, Batch, Unit, units_of
from cmbinpaint.errors import CmbInpaintError, OutputError

STOPPED = 138  # as a shell says of a process that SIGUSR1 ended
_PLAN = "batch.plan"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `batch`."""
    parser.epilog = (
        "examples:\n"
        "  cmbinpaint batch 'sims/*.fits' --mask mask.fits --cl cl.txt --noise-std 10 --outdir filled --workers 4\n"
        "  cmbinpaint batch 'sims/*.fits' --mask mask.fits --outdir filled --print-slurm 20 > job.sh\n"
        "  cmbinpaint batch 'sims/*.fits' --mask mask.fits --outdir filled --summary\n"
        "The same command again makes what is missing. A map's seed follows from --seed and its name."
    )
    parser.add_argument("maps", metavar="MAPS", nargs="+", help="files, or patterns in quotes: 'sims/*.fits'")
    parser.add_argument("--outdir", metavar="D", type=Path, required=True, help="folder of the results")
    add = parser.add_argument_group("input").add_argument
    add("--mask", metavar="FILE", type=Path, help="FITS mask of all maps, 1 = observed")
    source.add_map_arguments(add)
    add = parser.add_argument_group("how to fill").add_argument
    add("--model", metavar="M", default="default", help="see `cmbinpaint models`; default: default")
    add("--fill", choices=["realization", "prediction"], default="realization", help="default: realization")
    add("--realizations", metavar="N", type=common.count, help="of each map; default: one, without a number")
    add(
        "--first-realization",
        metavar="K",
        type=common.natural,
        default=0,
        help="index of the first; default 0",
    )
    add("--seed", metavar="S", type=common.natural, help="of all maps; default: a fresh one, kept in D")
    add("--refine", metavar="N", type=common.natural, help="conjugate-gradient steps towards the exact mean")
    add("--guard", metavar="N", type=common.natural, default=0, help="rings beside holes not used as data")
    add("--device", metavar="D", default="auto", help="auto (default), cpu, cuda, mps")
    add("--no-noise", action="store_true", help="realizations of the signal alone: no noise in the holes")
    add_sky_arguments(parser)
    add = parser.add_argument_group("what is written").add_argument
    add("--save", metavar="KINDS", type=_kinds, default=("map",),
        help="map (default), holes (filled pixels alone; `collect` puts them back), alm, cl; with commas")  # fmt: skip
    add("--mean-map", metavar="FILE", type=Path, help="mean of all fills, when all are made; with --save map")
    add("--std-map", metavar="FILE", type=Path, help="their standard deviation")
    add = parser.add_argument_group("where").add_argument
    add("--workers", metavar="W", type=common.positive_int, help="processes; they share the cores; default 1")
    add(
        "--mpi",
        action="store_true",
        help="under mpiexec -n N python -m mpi4py.futures -m cmbinpaint batch ...",
    )
    add("--dask", metavar="ADDRESS", help="a Dask scheduler, as tcp://host:8786")
    add("--shard", metavar="I/N", type=_shard, default=(1, 1), help="the I-th of N shares, counted from 1")
    add(
        "--plan",
        metavar="FILE",
        type=Path,
        help="what all maps share; default: D/batch.plan, made if it is absent",
    )
    add("--summary", action="store_true", help="say what is done, failed and left; fill nothing")
    add("--print-slurm", metavar="TASKS", type=common.positive_int, nargs="?", const=10,
        help="print a job script of so many tasks (default 10); fill nothing")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Fill what is missing, or say what is."""
    _refuse_contradictions(args)
    args.maps = paths = _inputs(args.maps)
    first, n = args.first_realization, args.realizations
    numbers = None if n is None else range(first, first + n)
    _refuse_same_names(paths, args.outdir)
    if args.print_slurm is not None:
        print(_script(args, paths, n or 1), end="")
        return 0
    outputs.refuse_folder(args.outdir)
    outputs.refuse_outputs(args, [path for path in (args.mean_map, args.std_map) if path], overwrite=True)
    args.plan = args.outdir / _PLAN if args.plan is None else args.plan
    if args.summary:
        for line in summary(args, units_of(paths, numbers)):
            print(line)
        return 0
    args.outdir.mkdir(parents=True, exist_ok=True)
    batch = open_batch(args, threads_of(args))
    share = units_of(paths, numbers, args.shard)
    left = [unit for unit in share if batch.missing(unit)]
    failed, stopped = _run(batch, left)
    done = len(share) - len(left)
    if done:
        print(f"{done} of {len(share)} were there already", file=sys.stderr)
    if failed:
        raise CmbInpaintError(
            f"{len(failed)} of {len(share)} failed, the others are done: "
            + "; ".join(failed[:5])
            + ("" if len(failed) <= 5 else "; ... (--summary lists all)")
        )
    if stopped:
        print("stopped by SIGUSR1; the same command goes on", file=sys.stderr)
        return STOPPED
    if args.mean_map or args.std_map:
        write_moments_of(batch, units_of(paths, numbers))
    return 0


def _run(batch: Batch, left: list[Unit]) -> tuple[list[str], bool]:
    """Make these pieces, say what was done with each; what failed, and whether SIGUSR1 came."""
    from cmbinpaint.pipeline.executors import refuse_closed, run_all

    failed: list[str] = []
    if not left:
        return failed, False
    queue = iter(left)
    with _told_to_stop() as stop, workers(batch.args) as executor, status_of(batch.args) as tell:
        todo = iter(lambda: None if stop() else next(queue, None), None)
        if executor is not None:
            refuse_closed(executor)
            if batch.args.cl is not None and not batch.args.plan.exists():
                _prepare(batch, todo, tell, failed)
        for unit, result in run_all(batch.make, todo, executor, stop=stop):
            tell(unit, result, failed)
            if executor is None:
                batch.save_plan()
        return failed, stop()


def _prepare(batch: Batch, todo: Iterator[Unit], tell: Any, failed: list[str]) -> None:
    """Fill one map here, with all cores: its plan is then read by all workers."""
    from cmbinpaint.pipeline.executors import run_all

    here = replace(batch, threads=available_cores())
    for unit, result in run_all(here.make, todo, None):
        tell(unit, result, failed)
        if not isinstance(result, Exception):
            here.save_plan()
            return


@contextmanager
def _told_to_stop() -> Iterator[Any]:
    """Yield a function that says whether SIGUSR1 came, which batch systems send before the time is up."""
    came: list[int] = []
    if not hasattr(signal, "SIGUSR1"):
        yield lambda: False
        return
    try:
        before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGUSR1, before)


def _script(args: argparse.Namespace, paths: list[Path], n: int) -> str:
    from cmbinpaint.commands._cost import estimate
    from cmbinpaint.problem.plan import InpaintingPlan

    read = argparse.Namespace(**vars(args) | {"map": paths[0]})
    sky, info = source.read_sky(read)
    plan: InpaintingPlan = source.read_masks(read, sky, info, args.guard)
    cost = estimate(~plan.filled, args.model, info.fields.n)
    return job_script(args, len(paths) * n, cost.seconds, cost.bytes)


def _inputs(patterns: list[str]) -> list[Path]:
    """The files that the patterns match, sorted, each once."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        matched = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not matched:
            raise CmbInpaintError(
                f"{pattern} matches no file; give maps, or a pattern in quotes, as 'sims/*.fits'"
            )
        found |= dict.fromkeys(Path(path) for path in matched if not Path(path).is_dir())
    if not found:
        raise CmbInpaintError(f"{' '.join(patterns)} matches folders only; give maps, as 'sims/*.fits'")
    return list(found)


def _refuse_same_names(paths: list[Path], folder: Path) -> None:
    """Refuse two maps of one output name, and maps among the outputs, which the next run would fill again."""
    seen: dict[str, Path] = {}
    for path in paths:
        if path.parent.resolve() == folder.resolve():
            raise OutputError(
                f"{path} is in --outdir {folder}, where results are written; give another folder"
            )
        stem = Unit(path, None).stem
        if stem in seen:
            raise OutputError(
                f"{seen[stem]} and {path} would both be written as {stem}_filled.fits; fill them into two folders, or "
                "rename one"
            )
        seen[stem] = path


def _refuse_contradictions(args: argparse.Namespace) -> None:
    many = {"--workers": args.workers is not None, "--mpi": args.mpi, "--dask": args.dask is not None}
    if sum(many.values()) > 1:
        raise CmbInpaintError(
            f"{' and '.join(n for n, given in many.items() if given)} were given; give one of them"
        )
    if args.fill == "prediction" and (args.realizations is not None or args.no_noise):
        raise CmbInpaintError(
            "--realizations and --no-noise are for --fill realization; a prediction is one map, and has no noise"
        )
    if (args.mean_map or args.std_map) and "map" not in args.save:
        raise CmbInpaintError("--mean-map and --std-map are made of the filled maps; add map to --save")


def _kinds(text: str) -> tuple[str, ...]:
    """Parse what is saved."""
    kinds = tuple(dict.fromkeys(one.strip() for one in text.split(",")))
    for kind in kinds:
        if kind not in SAVED:
            raise argparse.ArgumentTypeError(f"got {kind!r}; known: {', '.join(SAVED)}")
    return kinds


def _shard(text: str) -> tuple[int, int]:
    """Parse a share: `2/8` is the second of eight."""
    part, slash, of = text.partition("/")
    if slash and part.isdecimal() and of.isdecimal() and 1 <= int(part) <= int(of):
        return int(part), int(of)
    raise argparse.ArgumentTypeError(f"got {text!r}; expected I/N with 1 <= I <= N, as 2/8")
