"""What training reads: a recipe's ``[data]`` table becomes a stream of batches.

Inputs: the table and a seed. Outputs: an object with `batch(index, split)`, a pure function.

| kind | stream | batches |
| --- | --- | --- |
| "sky" (default) | `SkyStream`: patches as the pipeline cuts them, simulated | `HoleBatch`: x, valid, truth |
| "flat" | `FlatStream`: flat patches of one sky, simulated | the same |
| "stored" | `StoredStream`: patches of a data set | the same |
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.flat import FlatStream
from cmbinpaint.training.data.masks import build_masks
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.sky import SkyStream
from cmbinpaint.training.data.stored import StoredStream
from cmbinpaint.training.recipes.checks import check_choice, check_keys

AnyStream = SkyStream | FlatStream | StoredStream


def build_stream(data: Mapping[str, Any], seed: int) -> AnyStream:
    """Make the stream that a recipe's ``[data]`` table describes.

    Parameters
    ----------
    data
        ``kind`` and the stream's own options. Kind "stored" takes ``folder`` (its data set) and
        ``verify`` ("hashes" or "sizes"); kinds "flat" and "stored" take a ``masks`` table (`masks.build_masks`).
    seed
        Seed of the stream.

    Raises
    ------
    RecipeError
        For an unknown or absent option, or one out of range.
    DataSetError
        If the data set is not whole.
    """
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    kind = options.pop("kind", "sky")
    check_choice("[data]", "kind", kind, ("sky", "flat", "stored"))
    if kind == "stored":
        return _stored(options, seed)
    if kind == "flat":
        _check(options, FlatStream, [])
        return FlatStream(seed=seed, **_with_masks(options))
    _check(options, SkyStream, [])
    return SkyStream(seed=seed, **options)


def _stored(options: dict[str, Any], seed: int) -> StoredStream:
    _check(options, StoredStream, ["folder", "verify"])
    folder = options.pop("folder", None)
    if not isinstance(folder, str | Path):
        raise RecipeError(
            f"[data] folder is {folder!r}; kind = 'stored' needs the folder of a data set, made by "
            "`cmbinpaint dataset`"
        )
    skies = StoredSkies.open(folder, verify=options.pop("verify", "hashes"))
    return StoredStream(seed=seed, skies=skies, **_with_masks(options))


def _check(options: Mapping[str, Any], stream: type[Any], more: list[str]) -> None:
    hidden = {"seed"} if stream is not StoredStream else {"seed", "skies"}
    own = [f.name for f in fields(stream) if f.name not in hidden]
    check_keys("[data]", options, ["kind", *more, *own])


def _with_masks(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "masks": build_masks(options["masks"])} if "masks" in options else options
