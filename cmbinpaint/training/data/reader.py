"""Reading a stored data set: verified when opened, memory-mapped, never in memory as a whole.

Inputs: a folder that ``cmbinpaint dataset`` made. Outputs: patches in µK with their class, by number.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray, IntArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.training.data.manifest import SPECTRA, Manifest, file_hash, read_manifest
from cmbinpaint.training.data.splits import SPLITS

Verify = Literal["hashes", "sizes"]
_OPEN_SHARDS = 32  # mapped at one time


class StoredSkies:
    """A data set on disk.

    Patches are numbered from 0 within each split, sky after sky, class after class. The object travels to worker
    processes as folder and manifest; each maps the files for itself.

    Parameters
    ----------
    folder
        Where it lies.
    manifest
        Its manifest, complete.
    """

    splits = SPLITS

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest, self.recipe = folder, manifest, manifest.recipe
        self._shards = {
            split: [shard for shard in manifest.shards if shard.split == split] for split in SPLITS
        }
        sizes = {
            split: [len(shard.skies) * self.recipe.patches for shard in shards]
            for split, shards in self._shards.items()
        }
        self._starts = {
            split: np.concatenate([[0], np.cumsum(n)]).astype(np.int64) for split, n in sizes.items()
        }
        self._labels = {
            split: np.repeat([shard.label for shard in shards], sizes[split]).astype(np.int64)
            for split, shards in self._shards.items()
        }
        self._maps: OrderedDict[str, Float32Array] = OrderedDict()

    @classmethod
    def open(cls, folder: str | Path, *, verify: Verify = "hashes") -> "StoredSkies":
        """Open a finished data set.

        Parameters
        ----------
        folder
            Where it lies.
        verify
            ``"hashes"`` reads every file once and compares its sha256; ``"sizes"`` looks at their sizes alone.

        Raises
        ------
        DataSetError
            If it is unfinished, or a file is missing, damaged, or of the wrong shape; the file is named.
        """
        if verify not in get_args(Verify):
            raise DataSetError(f"verify is {verify!r}; known: {', '.join(get_args(Verify))}")
        root = Path(folder)
        manifest = read_manifest(root)
        if manifest.missing:
            raise DataSetError(
                f"{root} is unfinished: {len(manifest.missing)} of {len(manifest.shards)} shards are not made, "
                f"the first {manifest.missing[0].file!r}; the `cmbinpaint dataset` that began it goes on"
            )
        skies = cls(root, manifest)
        skies._verify(by_hash=verify == "hashes")
        return skies

    @property
    def rms_uK(self) -> float:
        """rms of the field over all classes: what temperatures are divided by."""
        return float(np.sqrt(np.mean(np.square(self.manifest.class_rms_uK))))

    @property
    def ns(self) -> tuple[float, ...]:
        """The classes' spectral indices."""
        return self.recipe.ns

    def count(self, split: str) -> int:
        """Patches in a split."""
        return int(self._starts[self._known(split)][-1])

    def labels(self, split: str) -> IntArray:
        """(count,) the class of every patch of a split."""
        return self._labels[self._known(split)]

    def spectra(self) -> FloatArray:
        """(classes, lmax+1) C_ell in µK² of the stored fields."""
        return np.load(self.folder / SPECTRA, allow_pickle=False)

    def patch(self, split: str, number: int) -> Float32Array:
        """(stored_side, stored_side) µK: one patch with its margin, read-only, still on disk."""
        starts = self._starts[self._known(split)]
        if not 0 <= number < starts[-1]:
            raise DataSetError(f"patch {number} of {split!r} was asked for; it has {starts[-1]}, from 0")
        place = int(np.searchsorted(starts, number, side="right")) - 1
        return self._map(self._shards[split][place].file)[number - starts[place]]

    def patches(self, split: str, numbers: Any = None) -> Float32Array:
        """(n, side, side) µK: the middles of patches, without margins; all of the split by default."""
        chosen = range(self.count(split)) if numbers is None else numbers
        inside = slice(self.recipe.margin, self.recipe.margin + self.recipe.side)
        out = np.empty((len(chosen), self.recipe.side, self.recipe.side), dtype=np.float32)
        for row, number in enumerate(chosen):
            out[row] = self.patch(split, int(number))[inside, inside]
        return out

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "manifest": self.manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def _known(self, split: str) -> str:
        if split not in SPLITS:
            raise DataSetError(f"split is {split!r}; known: {', '.join(SPLITS)}")
        return split

    def _map(self, name: str) -> Float32Array:
        if name in self._maps:
            self._maps.move_to_end(name)
            return self._maps[name]
        try:
            mapped = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataSetError(f"{self.folder / name}: cannot be read ({error}); {_REMEDY}") from error
        self._maps[name] = mapped
        if len(self._maps) > _OPEN_SHARDS:
            self._maps.popitem(last=False)
        return mapped

    def _verify(self, *, by_hash: bool) -> None:
        side = self.recipe.stored_side
        if by_hash:
            self._verify_hash(SPECTRA)
        for shard in self.manifest.shards:
            if by_hash:
                self._verify_hash(shard.file)
            found = self._map(shard.file)
            expected = (len(shard.skies) * self.recipe.patches, side, side)
            if found.shape != expected or found.dtype != np.float32:
                raise DataSetError(
                    f"{self.folder / shard.file}: holds {found.dtype} {found.shape}, the manifest says float32 "
                    f"{expected}; {_REMEDY}"
                )

    def _verify_hash(self, name: str) -> None:
        path, expected = self.folder / name, self.manifest.hashes[name]
        try:
            found = file_hash(path)
        except OSError as error:
            raise DataSetError(f"{path}: missing or unreadable ({error.strerror}); {_REMEDY}") from error
        if found != expected:
            raise DataSetError(
                f"{path}: damaged, its sha256 is {found[:12]} and the manifest says {expected[:12]}; {_REMEDY}"
            )


_REMEDY = "the `cmbinpaint dataset` that made the set makes this file again"
