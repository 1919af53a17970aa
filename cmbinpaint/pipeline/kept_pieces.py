"""A folder in which a long estimate keeps what it has finished: killed, it goes on from there, with the same bits.

Inputs: a folder. Outputs: its seed; stores for pieces of one setup; the folder as it was before.

Pieces lie in a folder of their setup's digest, so that those of another are never taken.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from cmbinpaint._files import held_folder, write_whole
from cmbinpaint.errors import CmbInpaintError, OutputError
from cmbinpaint.files.result_store import ResultStore
from cmbinpaint.problem.numbers import validate_seed

_SEED, _LARGEST = "seed", 2**32
_DIGITS = 16


@contextmanager
def kept_in(folder: str | os.PathLike[str] | None) -> Iterator[Path | None]:
    """The folder, made if it is absent; no other process may work in it meanwhile.

    Raises
    ------
    CmbInpaintError
        If it is no path, or another process works there.
    """
    if folder is None:
        yield None
        return
    if not isinstance(folder, str | os.PathLike):
        raise CmbInpaintError(f"folder is a {type(folder).__name__}; give a path, or None to keep nothing")
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path} ({error.strerror}); give another") from None
    with held_folder(path, "works", OutputError):
        yield path


def kept_seed(folder: Path | None, seed: int | np.random.Generator | None) -> int:
    """The seed given; if there is none that of the folder, which keeps a fresh one."""
    if folder is None or seed is not None:
        return validate_seed(seed)
    path = folder / _SEED
    if not path.exists():
        write_whole(path, f"{validate_seed(None) % _LARGEST}\n")
    try:
        return int(path.read_text(encoding="utf-8"))
    except ValueError:
        raise OutputError(f"{path} holds no seed; remove it, or give a seed") from None


def store_of(folder: Path, stage: str, digest: str) -> ResultStore:
    """Where the pieces of a stage are kept, for what `digest` says."""
    return ResultStore(folder / digest[:_DIGITS] / stage, digest)


def remove_pieces(folder: Path) -> None:
    """Remove what was kept, and the folder if nothing else is in it."""
    for piece in folder.glob(f"{'[0-9a-f]' * _DIGITS}/*/[0-9]*.npz"):
        piece.unlink()
    (folder / _SEED).unlink(missing_ok=True)
    for stage in (*folder.glob(f"{'[0-9a-f]' * _DIGITS}/*"), *folder.glob("[0-9a-f]" * _DIGITS), folder):
        with suppress(OSError):
            stage.rmdir()
