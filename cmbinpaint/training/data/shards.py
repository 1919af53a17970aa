"""Making a stored data set: shard by shard, resumable at any moment.

Inputs: a `DataSetRecipe` and a folder. Outputs: shards, spectra and manifest on disk.

A shard is a pure function of the recipe and the spectra, and appears under its name whole. What a killed run left is
completed by the next; the outcome is, byte for byte, that of an undisturbed run with the same libraries.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._files import held_folder, write_whole
from cmbinpaint._types import AnyArray, FloatArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.training.data.loader import read_batches
from cmbinpaint.training.data.manifest import (
    MANIFEST,
    SPECTRA,
    Manifest,
    Shard,
    file_hash,
    read_manifest,
    write_manifest,
)
from cmbinpaint.training.data.skies import DataSetRecipe, class_spectra, field_rms, sky_patches

_STOP = ".stop"  # while it exists no worker goes on
Progress = Callable[[int, int], None]


def build_dataset(
    recipe: DataSetRecipe | str | Path,
    folder: str | Path,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Manifest:
    """Make a data set, or complete one.

    Parameters
    ----------
    recipe
        What to make, or the TOML file that says it.
    folder
        Where; made if absent. What an interrupted run left there is kept, after checking it.
    workers
        Processes that simulate; 0: this one does. The files are the same.
    progress
        Called as ``progress(done, shards)``, at the start and after each shard.

    Returns
    -------
    The finished set's manifest.

    Raises
    ------
    DataSetError
        If the folder holds another recipe's set or anything else, another process works on it, or the disk is full.
    """
    recipe = recipe if isinstance(recipe, DataSetRecipe) else DataSetRecipe.read(recipe)
    root = Path(folder)
    try:
        _take_folder(root)
        with held_folder(root, "makes the data set", DataSetError):
            _clean(root)
            try:
                return _complete(root, _begin(root, recipe), workers, progress)
            finally:
                _clean(root)
    except OSError as error:
        raise DataSetError(
            f"cannot write to {root} ({error.strerror}); what is done is kept: make room, then the same "
            "command goes on"
        ) from error


def _take_folder(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    foreign = [p.name for p in root.iterdir() if not p.name.startswith(".")]
    if foreign and MANIFEST not in foreign and foreign != [SPECTRA]:
        raise DataSetError(
            f"{root} holds {sorted(foreign)[0]!r} and no data set; give an empty or a new folder"
        )


def _clean(root: Path) -> None:
    """Remove what a run that ended early left: half files, and its word to stop."""
    for leftover in (*root.glob(".*.part"), root / _STOP):
        leftover.unlink(missing_ok=True)


def _begin(root: Path, recipe: DataSetRecipe) -> Manifest:
    """What an earlier run left, or a new manifest without shards."""
    if not (root / MANIFEST).exists():
        _check_space(root, recipe.n_bytes)
        spectra = class_spectra(recipe)
        write_whole(root / SPECTRA, _npy(spectra))
        rms = tuple(field_rms(spectrum) for spectrum in spectra)
        manifest = Manifest(recipe, rms, __version__, {SPECTRA: file_hash(root / SPECTRA)})
        write_manifest(root, manifest)
        return manifest
    manifest = read_manifest(root)
    old, new = manifest.recipe.to_mapping(), recipe.to_mapping()
    if changed := [key for key in new if old[key] != new[key]]:
        key = changed[0]
        raise DataSetError(
            f"{root} holds a data set with {key} = {old[key]!r}, the recipe says {new[key]!r}; "
            "give another folder, or the recipe that it began with"
        )
    whole = {name: digest for name, digest in manifest.hashes.items() if _is_whole(root / name, digest)}
    if SPECTRA not in whole:
        raise DataSetError(
            f"{root / SPECTRA} is missing or damaged; remove the folder and make the set again"
        )
    manifest = replace(manifest, hashes=whole)
    _check_space(root, recipe.n_bytes * len(manifest.missing) // len(manifest.shards))
    return manifest


def _complete(root: Path, manifest: Manifest, workers: int, progress: Progress | None) -> Manifest:
    missing, total = manifest.missing, len(manifest.shards)
    tell = progress or (lambda done, total: None)
    tell(total - len(missing), total)
    if missing:
        maker = _Maker(root, manifest.recipe, missing)
        made = read_batches(maker, range(len(missing)), workers=min(workers, len(missing)))
        with closing(made), _stopping(root):
            for number, digest in enumerate(made, 1):
                manifest = replace(manifest, hashes={**manifest.hashes, missing[number - 1].file: digest})
                write_manifest(root, manifest)
                tell(total - len(missing) + number, total)
    else:
        write_manifest(root, manifest)
    return manifest


@contextmanager
def _stopping(root: Path) -> Iterator[None]:
    """When the run ends early, have workers drop the shard in progress: whoever stops a run may not wait for long."""
    try:
        yield
    except BaseException:
        (root / _STOP).touch()
        raise


@dataclass(frozen=True)
class _Maker:
    """Makes shard number `index` of `shards`, writes it, and gives its sha256; a `loader.Stream`."""

    root: Path
    recipe: DataSetRecipe
    shards: tuple[Shard, ...]

    def batch(self, index: int, split: str = "train") -> str:
        shard = self.shards[index]
        spectrum: FloatArray = np.load(self.root / SPECTRA, allow_pickle=False)[shard.label]
        patches = []
        for sky in shard.skies:
            if (self.root / _STOP).exists():
                raise DataSetError(f"{shard.file} was dropped: the run that makes the data set stopped")
            patches.append(sky_patches(self.recipe, spectrum, shard.label, sky))
        write_whole(self.root / shard.file, _npy(np.concatenate(patches)))
        return file_hash(self.root / shard.file)


def _npy(array: AnyArray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and file_hash(path) == digest


def _check_space(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataSetError(
            f"the data set needs {needed / 1e9:.2f} GB and {root} has {free / 1e9:.2f} GB free; "
            "make room, or lower skies or patches"
        )
