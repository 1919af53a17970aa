"""Records of single skies or other pieces: a folder of small files, written atomically, each saying what it belongs to.

Inputs: arrays by name. Outputs: the same again, in another process or on another day.

A record is a .npz file without pickled objects, written beside its name and renamed. It holds the digest of what
it was made of; a record of something else is refused, never mixed in.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._files import whole_or_nothing
from cmbinpaint._types import AnyArray
from cmbinpaint.errors import CmbInpaintError

_DIGEST = "made_of"


@dataclass(frozen=True)
class ResultStore:
    """Records of one kind in their folder.

    Parameters
    ----------
    folder
        Made when the first record is written.
    digest
        Of all that determines the records.
    """

    folder: Path
    digest: str

    def path(self, index: int) -> Path:
        """The file of record `index`."""
        return self.folder / f"{index:04d}.npz"

    def has(self, index: int) -> bool:
        """Whether the record exists and is complete.

        Raises
        ------
        CmbInpaintError
            If it exists but was made of something else.
        """
        return self.path(index).exists() and bool(self.read(index))

    def read(self, index: int) -> dict[str, AnyArray]:
        """The arrays of one record.

        Raises
        ------
        CmbInpaintError
            If it is damaged or was made of something else.
        """
        path = self.path(index)
        try:
            # Opened here: numpy leaves the files open in which it finds no archive.
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise CmbInpaintError(f"{path} is not a record ({error}); remove it and run again") from None
        found = str(arrays.pop(_DIGEST, ""))
        if found != self.digest:
            raise CmbInpaintError(
                f"{path} is a record of another setup, model or version ({found[:12] or 'unnamed'}, expected "
                f"{self.digest[:12]}); give another folder, or overwrite to start over"
            )
        return arrays

    def write(self, index: int, arrays: Mapping[str, AnyArray]) -> None:
        """Write one record beside its name, then rename it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(index)
        stored: dict[str, Any] = {_DIGEST: np.array(self.digest), **arrays}
        with whole_or_nothing(path) as stream:
            np.savez_compressed(stream, **stored)

    def discard_others(self) -> int:
        """Remove the records of something else, and damaged ones; return how many."""
        count = 0
        for path in sorted(self.folder.glob("[0-9]*.npz")):
            try:
                self.read(int(path.stem))
            except CmbInpaintError:
                path.unlink()
                count += 1
        return count

    def stack(self, n: int) -> dict[str, AnyArray]:
        """The records 0 to n-1, each array with the skies along a new first axis."""
        rows = [self.read(index) for index in range(n)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
