"""Many maps with one mask, in this process or by any executor: what they share is made once.

Inputs: arrays, paths or a function of an index; a mask. Outputs: `FilledMap`, one for each, as they are ready.

The first map is filled here, which prepares the plan for all. The others go to the executor's workers, which map the
plan's file into memory. A map's seed follows from the seed and its index alone, so that its fill is the same whatever
the executor, the order and the number of workers.
"""

import inspect
import itertools
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._machine import available_cores, most_threads, one_blas_thread
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MapError, kept_warnings
from cmbinpaint.files.fits import read_map
from cmbinpaint.pipeline.executors import refuse_closed, refuse_unpicklable, run_all
from cmbinpaint.pipeline.inpaint import inpaint_map
from cmbinpaint.pipeline.planning import loaded_plan, plan_inpainting
from cmbinpaint.problem.numbers import is_whole, validate_seed
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.problem.result import InpaintInfo

# Options of `inpaint_map` that say what is assumed of the sky: a plan with a sky model takes their place.
_KNOWN = ("cl", "fwhm", "beam", "noise_std", "noise_cov", "colored_noise_cl", "sky_model")
# Those that `inpaint_maps` has itself.
_OWN = {"sky", "mask", "plan", "seed", "progress", "return_info"}


@dataclass(frozen=True, eq=False)
class FilledMap:
    """One of many maps.

    Attributes
    ----------
    index, name
        Which map: its place in `skies`, and its path or ``"map 3"``.
    filled
        As `inpaint_map` returns it; None if it failed.
    error
        Why it failed, else None.
    seed
        Give it to `inpaint_map` for the same fill of this map alone; None of predictions.
    warnings
        Texts of the warnings of this map.
    seconds
        Wall time of this map, input included.
    info
        With ``return_info=True`` what `inpaint_map` says of the fill.
    """

    index: int
    name: str
    filled: Any
    error: Exception | None = None
    seed: int | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    info: InpaintInfo | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    """What all maps have in common; sent with each.

    The plan is an object here, and a file for workers; None: the holes are each map's own.
    """

    plan: InpaintingPlan | Path | None
    options: dict[str, Any]
    field: Any
    threads: int
    with_info: bool

    def fill(self, sky: "_Sky") -> FilledMap:
        """Read and fill one map."""
        start = time.perf_counter()
        with kept_warnings(silent=True) as warned, most_threads(self.threads):
            values, said = sky.read(self.options, self.field)
            plan = _loaded(self.plan) if isinstance(self.plan, Path) else self.plan
            options = self.options | said
            filled, info = inpaint_map(values, plan=plan, seed=sky.seed, return_info=True, **options)
        return FilledMap(
            sky.index, sky.name, filled, None, info.seed, tuple(warned), time.perf_counter() - start,
            info if self.with_info else None,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Sky:
    """One map as it was given, and its seed."""

    index: int
    name: str
    given: Any
    seed: int | None

    def read(self, options: dict[str, Any], field: Any) -> tuple[Any, dict[str, Any]]:
        """The map, and what its file says of it."""
        given = self.given(self.index) if callable(self.given) else self.given
        if not isinstance(given, str | os.PathLike):
            return given, {}
        sky, info = read_map(given, field, nest=bool(options.get("nest")), unit=options.get("unit"))
        polconv = options.get("polconv") or (info.polcconv if info.fields.n > 1 else None)
        return sky, {"unit": info.unit, "polconv": polconv}


def inpaint_maps(
    skies: Sequence[Any] | Callable[[int], Any],
    mask: Any = None,
    *,
    executor: Executor | None = None,
    n: int | None = None,
    indices: Iterable[int] | None = None,
    plan: InpaintingPlan | str | os.PathLike[str] | None = None,
    seed: int | np.random.Generator | None = None,
    field: int | str | tuple[int | str, ...] = 0,
    ordered: bool = False,
    threads: int | None = None,
    progress: Watch | None = None,
    return_info: bool = False,
    **options: Any,
) -> Iterator[FilledMap]:
    """Fill many maps that share a mask, and yield each as it is ready; a map that fails is named and the rest goes on.

    Parameters
    ----------
    skies
        Maps as `inpaint_map` takes them, or their paths: a list, an array (n, npix) or (n, k, npix); or a function that
        returns map i or its path, called where the map is filled.
    mask
        As in `inpaint_map`; None without a plan: the holes are each map's own, and nothing is shared.
    executor
        Any `concurrent.futures.Executor`: of processes, threads, MPI (``mpi4py.futures.MPIPoolExecutor()``), Dask
        (``client.get_executor()``). None: one map after the other, here. What a process was at that died is done again.
    n
        How many maps a function has.
    indices
        Which maps are filled, of those; None: all. ``range(rank, n, size)`` is one of `size` shares.
    plan
        From `plan_inpainting`, or the file of one that all workers can read; instead of `mask`. Without a file one is
        written to the folder of temporary files, which workers on other machines do not see.
    seed
        Of all maps; that of map i follows from it and from i. None: a fresh one.
    field
        Of files: the column, or those of Q, U or T, Q, U, as in `read_map`.
    ordered
        Whether results come in the order of `indices`.
    threads
        Of each worker; None: 1, and without an executor all cores. Fills do not depend on it.
    progress
        Called with a `Progress` of stage ``"maps"`` after each.
    return_info
        Whether each result has its `InpaintInfo`.
    **options
        As in `inpaint_map`.

    Yields
    ------
    FilledMap
        In no order unless `ordered`. Those not taken yet are bounded: a slow reader slows the work down.

    Raises
    ------
    CmbInpaintError
        If the executor is closed, or an option is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> skies, mask = np.random.default_rng(0).standard_normal((3, 768)), np.arange(768) > 20
    >>> [done.name for done in inpaint_maps(skies, mask, seed=1) if done.error is None]
    ['map 0', 'map 1', 'map 2']
    """
    _validate(skies, executor, options)
    chosen = _chosen(skies, n, indices)
    own = plan_inpainting(mask, nest=bool(options.get("nest"))) if mask is not None and plan is None else plan
    if mask is not None and plan is not None:
        raise CmbInpaintError("plan and mask were given; the plan holds its mask: give one or the other")
    alone = executor is None
    job = _Job(
        Path(own) if isinstance(own, str | os.PathLike) else own,
        options,
        field,
        (available_cores() if alone else 1) if threads is None else threads,
        return_info,
    )
    base = None if options.get("fill") == "prediction" else validate_seed(seed)
    todo = (_sky(skies, i, None if base is None else map_seed(base, i)) for i in chosen)
    return _results(job, todo, len(chosen), executor, ordered, progress)


def map_seed(seed: int, index: int) -> int:
    """The seed of map `index` of an ensemble: whatever the others."""
    state = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def _results(
    job: _Job,
    todo: Iterator[_Sky],
    total: int,
    executor: Executor | None,
    ordered: bool,
    progress: Watch | None,
) -> Iterator[FilledMap]:
    """Yield what comes back, errors as results."""
    said: set[str] = set()
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        begun: list[tuple[_Sky, Any]] = []
        shared = job
        if executor is not None:
            refuse_closed(executor)
            shared, begun = _shared(job, todo, stack)
        rest = run_all(shared.fill, todo, executor, ordered=ordered)
        for done, (sky, result) in enumerate(itertools.chain(begun, rest), start=1):
            if isinstance(result, Exception):
                result = FilledMap(sky.index, sky.name, None, result, sky.seed)
            for text in result.warnings:
                if text not in said:
                    warnings.warn(f"{result.name}: {text}", CmbInpaintWarning, stacklevel=2)
            said.update(result.warnings)
            if progress is not None:
                progress(Progress("maps", done, total))
            yield result if job.with_info else replace(result, info=None)


def _shared(job: _Job, todo: Iterator[_Sky], stack: ExitStack) -> tuple[_Job, list[tuple[_Sky, Any]]]:
    """The job for workers, its plan in a file; and the maps that were filled here to prepare it, as a rule one."""
    plan, begun = job.plan, list[tuple[_Sky, Any]]()
    if not isinstance(plan, InpaintingPlan):
        return job, begun
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cmbinpaint-"))) / "shared.plan"
    given = (plan.sky_model, job.options.get("sky_model"), job.options.get("cl"))
    if all(one is None for one in given):  # each map has its own sky model: the mask alone is shared
        InpaintingPlan(plan.nside, plan.valid, plan.targets, plan.excluded).save(path)
        return replace(job, plan=path), begun
    here = replace(job, threads=available_cores(), with_info=True)
    for sky, result in run_all(here.fill, todo, None):
        begun.append((sky, result))
        if isinstance(result, FilledMap) and result.info is not None:
            plan.save(path, sky_model=result.info.sky_model)
            break
    options = {name: value for name, value in job.options.items() if name not in _KNOWN}
    return replace(job, plan=path, options=options), begun


def _loaded(path: Path) -> InpaintingPlan:
    """The plan of a file, for a worker."""
    try:
        return loaded_plan(path)
    except FileNotFoundError:
        raise CmbInpaintError(
            f"this worker does not see the plan's file {path}: save the plan where all workers can read it, and "
            "give plan=PATH"
        ) from None


def _validate(skies: Any, executor: Any, options: dict[str, Any]) -> None:
    known = set(inspect.signature(inpaint_map).parameters) - _OWN
    unknown = sorted(set(options) - known)
    if unknown:
        raise CmbInpaintError(
            f"inpaint_maps has no option {unknown[0]!r}; those of inpaint_map: {', '.join(sorted(known))}"
        )
    if executor is not None and not isinstance(executor, Executor):
        raise CmbInpaintError(
            f"executor is a {type(executor).__name__}; expected a concurrent.futures.Executor (of Dask: "
            "client.get_executor())"
        )
    if callable(skies):
        refuse_unpicklable(skies, executor, "skies")
    elif isinstance(skies, str | bytes | os.PathLike) or not hasattr(skies, "__getitem__"):
        raise MapError(
            f"skies is a {type(skies).__name__}; give a list of maps or paths, an array (n, npix), or a function of "
            "the index"
        )
    elif getattr(skies, "ndim", 2) == 1 and np.asarray(skies).dtype.kind in "fiu":
        raise MapError(f"skies has shape {np.shape(skies)}, one map's; give (n, npix), or a list of maps")


def _chosen(skies: Any, n: int | None, indices: Iterable[int] | None) -> list[int]:
    """The indices of the maps that are filled."""
    if callable(skies):
        if n is None and indices is None:
            raise CmbInpaintError(
                "skies is a function; say how many maps it has with n=, or which with indices="
            )
    elif n is not None:
        raise CmbInpaintError(f"n is the number of maps of a function; {len(skies)} maps were given: omit it")
    else:
        n = len(skies)
    if n is not None and not is_whole(n, 0):
        raise CmbInpaintError(f"n is {n!r}; give a whole number of maps")
    chosen = list(range(int(n))) if indices is None and n is not None else list(indices or ())
    for i in chosen:
        if not is_whole(i, 0) or (n is not None and i >= n):
            raise CmbInpaintError(f"index {i!r} was asked for; there are {n} maps, counted from 0")
    if len(set(chosen)) < len(chosen):
        raise CmbInpaintError("indices has one twice; each map is filled once")
    return [int(i) for i in chosen]


def _sky(skies: Any, i: int, seed: int | None) -> _Sky:
    given = skies if callable(skies) else skies[i]
    return _Sky(i, os.fspath(given) if isinstance(given, str | os.PathLike) else f"map {i}", given, seed)
