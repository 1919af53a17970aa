"""Mean and standard deviation of a series of realizations, as maps of their own.

Inputs: a `Filling`, the files of the series. Outputs: `--mean-map` and `--std-map`.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint.commands._fill import Filling
from cmbinpaint.errors import CmbInpaintWarning, FitsError, OutputError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo

_CONTENTS = {"mean_map": "mean", "std_map": "standard deviation"}


def moments_to_write(filling: Filling, indices: list[int]) -> dict[Path, str]:
    """Return the files that are left to do, with their content; those of the same series are done.

    Raises
    ------
    OutputError
        If another file has one of the names, and is not to be replaced.
    """
    args = filling.request.args
    wanted = {
        getattr(args, name): what for name, what in _CONTENTS.items() if getattr(args, name) is not None
    }
    if args.overwrite:
        return wanted
    left = {}
    for path, what in wanted.items():
        if not os.path.lexists(path):
            left[path] = what
        elif not _is_of(filling, indices, path, what):
            raise OutputError(
                f"{path} exists already and is not the {what} of this series; give another, or --overwrite"
            )
    return left


def _is_of(filling: Filling, indices: list[int], path: Path, what: str) -> bool:
    try:
        found = _read(path)[1]
    except FitsError:
        return False
    cards = filling.series_cards(indices, what)
    said = {
        key: value[0]
        for key, value in cards.items()
        if key in ("JOB", "SEED", "REALIZ", "NREALIZ", "CONTENT")
    }
    own = filling.request.info
    same = all(found.header.get(key) == value for key, value in said.items())
    return same and (found.ordering, found.unit) == (own.ordering, own.unit)


def write_moments(filling: Filling, paths: Mapping[int, Path], wanted: Mapping[Path, str]) -> Iterator[Path]:
    """Read the series from its files, once, and write what is wanted of it; yield each path when it is there."""
    if not wanted:
        return
    from cmbinpaint.files import fits

    info, first = filling.request.info, next(iter(paths.values()))
    # What was assumed of the sky was said when the first map was made, by an earlier run perhaps.
    history = _read(first, info.field)[1].history
    made = dict(zip(_CONTENTS.values(), moments(list(paths.values()), info.field), strict=True))
    for path, what in wanted.items():
        fits.write_map(
            path,
            made[what].astype(info.dtype if info.dtype.startswith("float") else "float64"),
            info=info,
            column=info.field if what == "mean" else moments_columns(info),
            overwrite=filling.request.args.overwrite,
            provenance=filling.series_cards(list(paths), what),
            history=history,
        )
        yield path


def moments_columns(info: "MapInfo") -> str | tuple[str, ...]:
    """Return the names of a standard deviation's columns."""
    names = tuple(f"{name}_STD" for name in info.names)
    return names if info.columns else names[0]


def moments(paths: list[Path], column: str | tuple[str, ...]) -> "tuple[FloatArray, FloatArray]":
    """Return mean and standard deviation, RING, UNSEEN where the maps hold nothing (Welford's sums)."""
    import numpy as np

    from cmbinpaint.sphere.maps import UNSEEN

    first = _values(paths[0], column)
    mean, squares = first.copy(), np.zeros_like(first)
    for count, path in enumerate(paths[1:], start=2):
        values = _values(path, column)
        off = values - mean
        mean += off / count
        squares += off * (values - mean)
    std, unknown = np.sqrt(squares / (len(paths) - 1)), np.isnan(first)
    return np.where(unknown, UNSEEN, mean), np.where(unknown, UNSEEN, std)


def _values(path: Path, column: str | tuple[str, ...]) -> "FloatArray":
    """Return the filled columns of a file, NaN where it holds nothing."""
    import numpy as np

    from cmbinpaint.sphere.maps import is_unseen

    values = _read(path, column)[0].astype(np.float64)
    return np.where(is_unseen(values), np.nan, values)


def _read(path: Path, column: int | str | tuple[str, ...] = 0) -> "tuple[AnyArray, MapInfo]":
    """Read what an earlier run of this command wrote; its warnings were given then."""
    from cmbinpaint.files import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        return fits.read_map(path, column)
