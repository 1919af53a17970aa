"""Making data sets: killed at any moment they are completed to the very same bytes."""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmbinpaint._files import held_folder
from cmbinpaint.errors import DataSetError
from cmbinpaint.training.data.manifest import read_manifest, write_manifest
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.shards import build_dataset
from cmbinpaint.training.data.skies import DataSetRecipe

SCRIPT = """
import json, sys
from cmbinpaint.training.data.shards import build_dataset
from cmbinpaint.training.data.skies import DataSetRecipe
build_dataset(DataSetRecipe.from_mapping(json.loads(sys.argv[1])), sys.argv[2])
"""


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def unstarted(recipe: DataSetRecipe, built: Path, folder: Path) -> None:
    """Leave what a run leaves before its first shard: CAMB, which takes longest, has run."""
    folder.mkdir(exist_ok=True)
    (folder / "spectra.npy").write_bytes((built / "spectra.npy").read_bytes())
    whole = read_manifest(built)
    hashes = {"spectra.npy": whole.hashes["spectra.npy"]}
    write_manifest(folder, replace(whole, recipe=recipe, hashes=hashes))


def test_a_finished_set_holds_what_its_recipe_says(tiny: DataSetRecipe, built: Path) -> None:
    manifest = read_manifest(built)
    assert manifest.recipe == tiny and not manifest.missing
    assert json.loads((built / "manifest.json").read_text())["complete"] is True
    names = {shard.file for shard in manifest.shards}
    assert set(content(built)) == names | {"manifest.json", "spectra.npy"}
    # 2 classes; of 6 skies 2 each for validation and test, 2 for training; 2 skies a file.
    assert tiny.split_sizes == (2, 2, 2) and len(names) == 6


def test_workers_change_nothing(tiny: DataSetRecipe, built: Path, copy: Path) -> None:
    for path in copy.glob("t*.npy"):
        path.unlink()
    seen: list[tuple[int, int]] = []
    build_dataset(tiny, copy, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert content(copy) == content(built)
    assert seen == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]


def test_a_killed_run_is_completed_to_the_same_bytes(
    tiny: DataSetRecipe, built: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    unstarted(tiny, built, folder)
    run = subprocess.Popen([sys.executable, "-c", SCRIPT, json.dumps(tiny.to_mapping()), str(folder)])
    deadline = time.monotonic() + 60
    while len(list(folder.glob("t*.npy"))) + len(list(folder.glob("v*.npy"))) < 2:
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    run.kill()
    run.wait()
    with pytest.raises(DataSetError, match=r"is unfinished: \d of 6 shards are not made, the first"):
        StoredSkies.open(folder)
    build_dataset(tiny, folder)
    assert content(folder) == content(built)


def test_what_is_damaged_is_made_again(tiny: DataSetRecipe, built: Path, copy: Path) -> None:
    victim = copy / "test_c01_0000.npy"
    spoiled = bytearray(victim.read_bytes())
    spoiled[-5] ^= 1
    victim.write_bytes(bytes(spoiled))
    (copy / ".train_c00_0000.npy.99.part").write_bytes(b"half")
    build_dataset(tiny, copy)
    assert content(copy) == content(built)


def test_another_recipes_set_is_left_alone(tiny: DataSetRecipe, built: Path, copy: Path) -> None:
    text = "holds a data set with seed = 3, the recipe says 4; give another folder"
    with pytest.raises(DataSetError, match=re.escape(text)):
        build_dataset(replace(tiny, seed=4), copy)
    (copy / "spectra.npy").write_bytes(b"")
    with pytest.raises(DataSetError, match=r"spectra\.npy is missing or damaged; remove the folder"):
        build_dataset(tiny, copy)


def test_a_folder_with_other_things_is_refused(tiny: DataSetRecipe, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(
        DataSetError, match=r"holds 'thesis\.tex' and no data set; give an empty or a new folder"
    ):
        build_dataset(tiny, tmp_path)


def test_a_folder_in_use_is_refused(tiny: DataSetRecipe, built: Path, copy: Path) -> None:
    with (
        held_folder(copy, "makes the data set", DataSetError),
        pytest.raises(DataSetError, match=f"another process \\({os.getpid()} on .*\\) makes the data set in"),
    ):
        build_dataset(tiny, copy)
    build_dataset(tiny, copy)
    assert content(copy) == content(built)


def test_a_stopped_run_does_not_wait_for_its_shards(tiny: DataSetRecipe, built: Path, tmp_path: Path) -> None:
    class Stopped(BaseException):
        pass

    def stop(number: int, frame: object) -> None:
        raise Stopped

    def start(done: int, total: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, 2.5)

    slow = replace(tiny, skies=12_000, skies_per_shard=3000)  # a shard takes half a minute or more
    unstarted(slow, built, tmp_path)
    handler = signal.signal(signal.SIGALRM, stop)
    begun = time.monotonic()
    try:
        with pytest.raises(Stopped):
            build_dataset(slow, tmp_path, workers=1, progress=start)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert time.monotonic() - begun < 12
    assert set(content(tmp_path)) == {"manifest.json", "spectra.npy"}


def test_too_little_room_is_seen_before_work(tmp_path: Path) -> None:
    huge = DataSetRecipe(name="huge", seed=0, skies=10**6, ns=tuple(np.linspace(0.5, 1.5, 99)))
    with pytest.raises(DataSetError, match=r"needs 101376\.00 GB and .* GB free; make room, or lower skies"):
        build_dataset(huge, tmp_path)


@contextlib.contextmanager
def small_disk(n_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond this: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_what_is_done(tiny: DataSetRecipe, built: Path, copy: Path) -> None:
    victim = copy / "train_c01_0000.npy"
    victim.unlink()
    with (
        small_disk(8000),
        pytest.raises(DataSetError, match=r"cannot write to .* \(File too large\); what is done is"),
    ):
        build_dataset(tiny, copy)
    assert not victim.exists() and not list(copy.glob(".*.part"))
    build_dataset(tiny, copy)
    assert content(copy) == content(built)


def test_shards_are_numpy_files(built: Path) -> None:
    shard = np.load(built / "validation_c00_0000.npy", mmap_mode="r", allow_pickle=False)
    assert shard.shape == (6, 24, 24) and shard.dtype == np.float32
    assert os.stat(built / "validation_c00_0000.npy").st_size == 128 + 6 * 24 * 24 * 4
