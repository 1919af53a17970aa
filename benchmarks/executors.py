"""Many maps by every kind of executor: the same bits as one after the other, with a worker killed on the way too.

python benchmarks/executors.py serial threads spawn fork
python benchmarks/executors.py dask                    (pip install distributed)
mpiexec -n 3 python -m mpi4py.futures benchmarks/executors.py mpi                    (pip install mpi4py mpich)
python benchmarks/executors.py time --nside 256 --maps 100    (one process, then two, of one thread each; when idle)

One line for each: how many maps are equal to the bit, which failed, seconds. `dask-killed` and `spawn-killed` kill one
of two workers when a third of the maps is filled: Dask gives its maps to others, a process pool is replaced.
"""

import argparse
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint import inpaint_maps, plan_inpainting
from cmbinpaint._machine import available_cores
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

NOISE_STD = 3.0


@cache
def setting(nside: int) -> tuple[np.ndarray, SkyModel]:
    model = SkyModel.from_theory(
        fiducial_cl(3 * nside - 1), nside, fwhm=3 * pixel_size(nside), noise_std=NOISE_STD
    )
    return planck_like_mask(nside, seed=0), model


class Skies:
    """Simulated skies by index, for any worker; `first` as many are one, so that time is that of filling."""

    def __init__(self, nside: int, first: int = 1 << 30) -> None:
        self.nside, self.first = nside, first

    def __call__(self, index: int) -> np.ndarray:
        return sky(self.nside, index % self.first)


@cache
def sky(nside: int, seed: int) -> np.ndarray:
    cl = fiducial_cl(3 * nside - 1)
    return simulate_sky(cl, nside, fwhm=3 * pixel_size(nside), pixwin=True, noise_std=NOISE_STD, seed=seed)


@contextmanager
def dask(workers: int) -> Iterator[tuple[Executor, list[int]]]:
    """A local cluster, and the numbers of its workers' processes."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor(), list(client.run(os.getpid).values())


@contextmanager
def executor_of(kind: str, workers: int) -> Iterator[tuple[Executor | None, list[int]]]:
    if kind == "serial":
        yield None, []
    elif kind == "threads":
        with ThreadPoolExecutor(workers) as pool:
            yield pool, []
    elif kind == "dask":
        with dask(workers) as both:
            yield both
    elif kind == "mpi":
        from mpi4py.futures import MPIPoolExecutor

        with MPIPoolExecutor() as pool:
            yield pool, []
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context(kind)) as pool:
            list(pool.map(abs, range(4 * workers)))
            yield pool, list(pool._processes)


def run(kind: str, nside: int, n: int, workers: int, *, skies: Any = None) -> tuple[dict[int, Any], float]:
    """The results by index, and seconds; of `KIND-killed` one worker dies on the way."""
    mask, model = setting(nside)
    kind, killed = kind.removesuffix("-killed"), kind.endswith("-killed")
    found: dict[int, Any] = {}
    with executor_of(kind, workers) as (executor, processes):
        begun = time.perf_counter()
        for result in inpaint_maps(
            skies or Skies(nside), mask, n=n, executor=executor, sky_model=model, seed=1
        ):
            found[result.index] = result
            if killed and len(found) == n // 3:
                os.kill(processes[0], signal.SIGKILL)
        seconds = time.perf_counter() - begun
    return found, seconds


def compare(kinds: list[str], nside: int, n: int, workers: int) -> list[dict[str, Any]]:
    expected, _ = run("serial", nside, n, workers)
    rows = []
    for kind in kinds:
        found, seconds = run(kind, nside, n, workers)
        equal = sum(np.array_equal(found[i].filled, expected[i].filled) for i in found)
        failed = {i: str(result.error) for i, result in found.items() if result.error is not None}
        rows.append({"executor": kind, "maps": n, "equal": equal, "failed": failed, "seconds": seconds})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure(nside: int, n: int) -> list[dict[str, Any]]:
    """One process and two, of one thread each: seconds of all maps but the first, which prepares the plan."""
    mask, model = setting(nside)
    plan = plan_inpainting(mask, sky_model=model)
    rows: list[dict[str, Any]] = []
    for workers in (1, 2):
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            seen = []
            for result in inpaint_maps(Skies(nside, 4), plan=plan, n=n, executor=pool, seed=1):
                seen.append(time.perf_counter())
                if result.error is not None:
                    raise result.error
        # Workers start and read the plan with their first maps.
        steady = (seen[-1] - seen[2 * workers]) / (len(seen) - 1 - 2 * workers)
        rows.append({"workers": workers, "maps": n, "seconds_a_map": steady, "load": os.getloadavg()[0]})
        print(json.dumps(rows[-1]), flush=True)
    print(f"two processes over one: {rows[0]['seconds_a_map'] / rows[1]['seconds_a_map']:.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = ["serial", "threads", "spawn", "fork", "spawn-killed", "dask", "dask-killed", "mpi", "time"]
    parser.add_argument("kinds", nargs="+", choices=kinds, metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--nside", type=int, default=16)
    parser.add_argument("--maps", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if chosen := [kind for kind in args.kinds if kind != "time"]:
        rows += compare(chosen, args.nside, args.maps, args.workers)
    if "time" in args.kinds:
        rows += measure(args.nside, args.maps)
    if args.output is not None:
        found = {
            "what": "many maps by executors",
            "nside": args.nside,
            "cores": available_cores(),
            "rows": rows,
        }
        args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
