"""The realizations of one job: their names, and which of them are there already.

Inputs: a `Filling`, where it writes. Outputs: paths by index, the indices that are left to do.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint.commands._fill import Filling
from cmbinpaint.errors import CmbInpaintWarning, OutputError

if TYPE_CHECKING:
    from cmbinpaint.files.fits import MapInfo


def realization_paths(output: Path, indices: Iterable[int]) -> dict[int, Path]:
    """Return OUT_000.fits and so on; however many there are, realization i has the same name."""
    stem, dot, ending = output.name.partition(".fits")
    return {i: output.with_name(f"{stem}_{i:03d}{dot}{ending}") for i in indices}


def still_to_do(paths: Mapping[int, Path], filling: Filling) -> list[int]:
    """Return which realizations no earlier run of the same job wrote; its seed is taken if none was given.

    Raises
    ------
    OutputError
        If a file under one of the names came from another job, or is in another ordering or unit.
    """
    wanted, own = filling.digest(), filling.request.info
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        there = {i: _info_of(path, own.column) for i, path in paths.items() if path.exists()}
    if there and filling.request.args.seed is None:
        filling.seed = next(iter(there.values())).header.get("SEED", filling.seed)
    for i, found in there.items():
        differs = [
            what
            for what, same in {
                "with another map, mask, model, sky model or options": found.header.get("JOB") == wanted,
                "with another seed": found.header.get("SEED") == filling.seed,
                "as another realization": found.header.get("REALIZ") == i,
                f"in {found.ordering} ordering": found.ordering == own.ordering,
                f"in {found.unit or 'no unit'}": found.unit == own.unit,
            }.items()
            if not same
        ]
        if differs:
            raise OutputError(
                f"{paths[i]} exists already and was made {differs[0]}; give another -o, or --overwrite to "
                "make all realizations again"
            )
    return [i for i in paths if i not in there]


def _info_of(path: Path, column: str) -> "MapInfo":
    """Return what a file says of the filled column, or of its first where that is absent."""
    from cmbinpaint.files import fits

    named = any(c.name == column for c in fits.describe(path))
    return fits.read_map(path, column if named else 0)[1]
