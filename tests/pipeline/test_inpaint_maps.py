"""Many maps: the same bits whatever the executor, order and shares; what fails or dies is named, the rest goes on."""

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbinpaint import FilledMap, inpaint_map, inpaint_maps, plan_inpainting, write_map
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, MaskError
from cmbinpaint.gaussian import hole_posterior
from cmbinpaint.pipeline.executors import WorkerDiedError
from cmbinpaint.pipeline.inpaint_maps import map_seed
from tests.pipeline.many_skies import (
    CL,
    FWHM,
    MASK,
    MODEL,
    NOISE,
    NPIX,
    N,
    OneKillsOnce,
    one_is_bad,
    one_kills,
    sky,
)  # fmt: skip

SEED = 5


@pytest.fixture(scope="module")
def start() -> Any:
    """How processes start: from one that has imported all already, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cmbinpaint.pipeline.inpaint_maps", "tests.pipeline.many_skies"])
    return context


@pytest.fixture(scope="module")
def processes(start: Any) -> Iterator[Executor]:
    with ProcessPoolExecutor(2, start) as pool:
        yield pool


@pytest.fixture(scope="module")
def serial() -> dict[int, np.ndarray]:
    return filled(inpaint_maps(sky, MASK, n=N, sky_model=MODEL, seed=SEED))


def filled(results: Iterator[FilledMap]) -> dict[int, np.ndarray]:
    """The maps by index; none may have failed."""
    found = {}
    for result in results:
        assert result.error is None, result.error
        found[result.index] = result.filled
    return found


def assert_same(found: dict[int, np.ndarray], expected: dict[int, np.ndarray]) -> None:
    assert sorted(found) == sorted(expected)
    for i, one in expected.items():
        np.testing.assert_array_equal(found[i], one)


def test_each_map_is_what_inpaint_map_makes_of_it(serial: dict[int, np.ndarray]) -> None:
    for i, one in serial.items():
        alone = inpaint_map(sky(i), MASK, sky_model=MODEL, seed=map_seed(SEED, i))
        np.testing.assert_array_equal(one, alone)
        np.testing.assert_array_equal(one[MASK], sky(i)[MASK])
    # Absolute values: seeds differ, and holes are as wide as skies.
    assert len({map_seed(SEED, i) for i in range(1000)}) == 1000 and map_seed(0, 0) == 4334430513956379144
    stds = [one[~MASK].std() / one[MASK].std() for one in serial.values()]
    assert 0.7 < np.mean(stds) < 1.4


def test_processes_threads_order_and_shares_give_the_same_bits(
    processes: Executor, serial: dict[int, np.ndarray], tmp_path: Path
) -> None:
    known: dict[str, Any] = {"sky_model": MODEL, "seed": SEED}
    assert_same(filled(inpaint_maps(sky, MASK, executor=processes, n=N, **known)), serial)
    with ThreadPoolExecutor(4) as threads:
        assert_same(filled(inpaint_maps(sky, MASK, executor=threads, n=N, **known)), serial)
    backwards = inpaint_maps(
        sky, MASK, executor=processes, indices=range(N - 1, -1, -1), ordered=True, **known
    )
    order = [result.index for result in backwards]
    assert order == list(range(N - 1, -1, -1))
    shares: dict[int, np.ndarray] = {}
    for rank in range(4):
        shares |= filled(inpaint_maps([sky(i) for i in range(N)], MASK, indices=range(rank, N, 4), **known))
    assert_same(shares, serial)
    plan = plan_inpainting(MASK, sky_model=MODEL).save(tmp_path / "a.plan")
    skies = np.stack([sky(i) for i in range(N)])
    assert_same(filled(inpaint_maps(skies, plan=plan, executor=processes, seed=SEED)), serial)
    given = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE}
    assert_same(filled(inpaint_maps(sky, MASK, executor=processes, n=N, seed=SEED, **given)), serial)


def test_weights_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], hole_posterior.factor_holes
    monkeypatch.setattr(hole_posterior, "factor_holes", lambda *a, **k: made.append(1) or make(*a, **k))
    with ThreadPoolExecutor(3) as threads:
        for executor in (None, threads):
            made.clear()
            assert len(list(inpaint_maps(sky, MASK, executor=executor, n=N, sky_model=MODEL))) == N
            assert len(made) == 1


def test_one_bad_map_is_named_and_the_rest_goes_on(
    processes: Executor, serial: dict[int, np.ndarray]
) -> None:
    for executor in (None, processes):
        results = list(inpaint_maps(one_is_bad, MASK, executor=executor, n=N, sky_model=MODEL, seed=SEED))
        (bad,) = [result for result in results if result.error is not None]
        assert (bad.index, bad.name, bad.filled) == (2, "map 2", None)
        assert "a map of 700 pixels is not a HEALPix map" in str(bad.error)
        good = {result.index: result.filled for result in results if result is not bad}
        assert_same(good, {i: one for i, one in serial.items() if i != 2})


def test_mixed_nside_is_named() -> None:
    skies = [sky(0), np.zeros(192), sky(1)]
    results = list(inpaint_maps(skies, MASK, sky_model=MODEL))
    assert [type(result.error) for result in results] == [type(None), MaskError, type(None)]
    assert str(results[1].error) == "the plan is for nside 8, the map has 4; make a plan for it"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals as on POSIX")
def test_a_process_that_dies_is_replaced_and_what_kills_it_again_is_named(
    serial: dict[int, np.ndarray], start: Any, tmp_path: Path
) -> None:
    known: dict[str, Any] = {"n": N, "sky_model": MODEL, "seed": SEED}
    with ProcessPoolExecutor(2, start) as pool:
        results = list(inpaint_maps(one_kills, MASK, executor=pool, **known))
    (dead,) = [result for result in results if result.error is not None]
    assert dead.index == 3 and isinstance(dead.error, WorkerDiedError)
    assert "died: it was killed, or memory ran out" in str(dead.error)
    good = {result.index: result.filled for result in results if result is not dead}
    assert_same(good, {i: one for i, one in serial.items() if i != 3})
    with ProcessPoolExecutor(2, start) as pool:
        assert_same(
            filled(inpaint_maps(OneKillsOnce(tmp_path / "flag"), MASK, executor=pool, **known)), serial
        )
    assert (tmp_path / "flag").exists()


def test_files_are_read_where_they_are_filled(tmp_path: Path, processes: Executor) -> None:
    paths = [write_map(tmp_path / f"{i}.fits", sky(i) * 1e-6, unit="K_CMB") for i in range(3)]
    paths.insert(1, tmp_path / "none.fits")
    results = {r.index: r for r in inpaint_maps(paths, MASK, executor=processes, sky_model=MODEL, seed=SEED)}
    assert results[1].name == str(paths[1]) and isinstance(results[1].error, CmbInpaintError | OSError)
    expected = inpaint_map(sky(1) * 1e-6, MASK, sky_model=MODEL, unit="K", seed=map_seed(SEED, 2))
    np.testing.assert_array_equal(results[2].filled, expected)


def test_without_a_sky_model_each_map_has_its_own(processes: Executor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        for result in inpaint_maps(sky, MASK, n=3, executor=processes, seed=SEED, return_info=True):
            alone, info = inpaint_map(sky(result.index), MASK, seed=result.seed, return_info=True)
            np.testing.assert_array_equal(result.filled, alone)
            assert result.info is not None and result.info.sky_model.digest == info.sky_model.digest


def test_a_warning_is_given_once_and_kept_with_each_map() -> None:
    skies = [sky(i).copy() for i in range(2)]
    for one in skies:
        one[np.flatnonzero(MASK)[0]] = np.nan
    with pytest.warns(CmbInpaintWarning) as caught:
        results = list(inpaint_maps(skies, MASK, sky_model=MODEL))
    assert [str(w.message)[:55] for w in caught] == [
        "map 0: 1 pixels that the mask calls observed are NaN, U"
    ]
    assert all(len(result.warnings) == 1 for result in results)


def test_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    before = (list(warnings.filters), warnings.showwarning)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: inpaint_map(sky(i), MASK, sky_model=MODEL), range(8)))
    assert (list(warnings.filters), warnings.showwarning) == before


def test_progress_counts_maps() -> None:
    seen: list[str] = []
    results = inpaint_maps(sky, MASK, n=2, sky_model=MODEL, progress=lambda p: seen.append(str(p)))
    assert len(list(results)) == 2 and seen == ["maps 1/2", "maps 2/2"]


class Broken(Executor):
    """An executor of its own kind, whose workers are all gone."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise RuntimeError("no worker is left")


def test_a_closed_executor_is_refused_before_the_work() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(
        CmbInpaintError, match=r"takes no work \(cannot schedule .*is it closed\? Make a new one"
    ):
        next(inpaint_maps(one_kills, MASK, n=N, executor=pool))
    with pytest.raises(CmbInpaintError, match=r"takes no work \(no worker is left\)"):
        next(inpaint_maps(one_kills, MASK, n=N, executor=Broken()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": None}, "skies is a function; say how many maps it has with n="),
        ({"n": 2.5}, "n is 2.5; give a whole number of maps"),
        ({"indices": [0, 6]}, "index 6 was asked for; there are 6 maps, counted from 0"),
        ({"indices": [1, 1]}, "indices has one twice"),
        ({"executor": 4}, r"executor is a int; expected a concurrent.futures.Executor"),
        ({"refin": 4}, "inpaint_maps has no option 'refin'; those of inpaint_map: "),
        ({"skies": "a.fits"}, "skies is a str; give a list of maps or paths"),
        ({"skies": np.zeros(NPIX)}, r"skies has shape \(768,\), one map's"),
        ({"skies": [np.zeros(NPIX)]}, "n is the number of maps of a function; 1 maps were given"),
        ({"plan": "none.plan"}, "plan and mask were given"),
    ],
)
def test_bad_calls_are_refused_before_the_work(change: dict[str, Any], says: str) -> None:
    call: dict[str, Any] = {"skies": sky, "mask": MASK, "n": N} | change
    with pytest.raises(CmbInpaintError, match=says):
        inpaint_maps(**call)


def test_a_function_that_processes_cannot_import_is_refused(processes: Executor) -> None:
    with pytest.raises(CmbInpaintError, match=r"skies cannot be sent to processes .*top of a module"):
        inpaint_maps(lambda i: sky(i), MASK, n=N, executor=processes)
