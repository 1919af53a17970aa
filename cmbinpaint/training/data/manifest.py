"""The manifest of a stored data set: what it holds, and the sha256 of every file.

Inputs: a folder. Outputs: `Manifest`, checked when read, written whole.

``manifest.json`` is written beside its name, synced and renamed; while a set is being made it says
``"complete": false`` and lists the files that are done. It names no file that its recipe does not make: nothing
outside the folder is ever opened.
"""

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cmbinpaint._files import read_regular, write_whole
from cmbinpaint.errors import CmbInpaintError, DataSetError
from cmbinpaint.training.data.skies import DataSetRecipe, split_skies
from cmbinpaint.training.data.splits import SPLITS

MANIFEST = "manifest.json"
SPECTRA = "spectra.npy"
FORMAT = 2
_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Shard:
    """One file of patches: `skies` of one class and one split, (n, stored_side, stored_side) float32 µK."""

    file: str
    split: str
    label: int
    skies: tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """What a data set's folder holds.

    Attributes
    ----------
    recipe
        What it is made from.
    class_rms_uK
        rms of each class's field, from its spectrum.
    version
        Of the package that began it.
    hashes
        sha256 by file name: `SPECTRA` and the shards that are done.
    """

    recipe: DataSetRecipe
    class_rms_uK: tuple[float, ...]
    version: str
    hashes: Mapping[str, str]

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, done or not, in the order of the patches' numbers."""
        return plan_shards(self.recipe)

    @property
    def missing(self) -> tuple[Shard, ...]:
        """The shards that are not done."""
        return tuple(shard for shard in self.shards if shard.file not in self.hashes)


def plan_shards(recipe: DataSetRecipe) -> tuple[Shard, ...]:
    """The files of a data set: by split, then class, then sky."""
    skies = [split_skies(recipe, label) for label in range(len(recipe.ns))]
    plan = []
    for split in SPLITS:
        for label, by_split in enumerate(skies):
            chosen, size = by_split[split], recipe.skies_per_shard
            for number, start in enumerate(range(0, len(chosen), size)):
                name = f"{split}_c{label:02d}_{number:04d}.npy"
                plan.append(Shard(name, split, label, tuple(chosen[start : start + size])))
    return tuple(plan)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` atomically."""
    table = {
        "format": FORMAT,
        "complete": not manifest.missing,
        "version": manifest.version,
        "recipe": manifest.recipe.to_mapping(),
        "class_rms_uK": list(manifest.class_rms_uK),
        "sha256": dict(sorted(manifest.hashes.items())),  # whatever the order in which they were done
    }
    write_whole(folder / MANIFEST, json.dumps(table, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    DataSetError
        If it is absent, damaged, of another format, or names what no data set of its recipe holds.
    """
    path = folder / MANIFEST
    try:
        table = json.loads(read_regular(path))
    except OSError as error:
        raise DataSetError(
            f"{folder} is not a data set: {MANIFEST} cannot be read ({error.strerror}); "
            "make one with `cmbinpaint dataset`"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path}: not JSON ({error}); make the data set again") from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise DataSetError(f"{path}: not a data set's manifest of format {FORMAT}; make the data set again")
    try:
        recipe = DataSetRecipe.from_mapping(table["recipe"])
        rms = tuple(float(value) for value in table["class_rms_uK"])
        hashes = {str(name): str(digest) for name, digest in table["sha256"].items()}
        version = str(table["version"])
    except CmbInpaintError as error:
        raise DataSetError(f"{path}: {error}") from error
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataSetError(f"{path}: an entry is absent or of the wrong type ({error})") from error
    if len(rms) != len(recipe.ns) or not all(0 < value < float("inf") for value in rms):
        raise DataSetError(
            f"{path}: class_rms_uK is {list(rms)}; {len(recipe.ns)} positive numbers are needed"
        )
    planned = {SPECTRA, *(shard.file for shard in plan_shards(recipe))}
    for name, digest in hashes.items():
        if name not in planned:
            raise DataSetError(f"{path}: names the file {name!r}, which its recipe does not make")
        if not _HASH.fullmatch(digest):
            raise DataSetError(
                f"{path}: the sha256 of {name!r} is {digest!r}; 64 hexadecimal digits are needed"
            )
    if SPECTRA not in hashes:
        raise DataSetError(f"{path}: lacks the sha256 of {SPECTRA!r}")
    return Manifest(recipe, rms, version, hashes)


def file_hash(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
