"""The one factory of what training reads: a recipe's ``[data]`` table becomes a stream of batches.

Inputs: the table and a seed. Outputs: an object with `batch(index, split)`, a pure function.

| kind | inputs | stream | batches |
| --- | --- | --- | --- |
| "sky-stream" (default) | "guess" (default) | `SkyStream` | `PatchBatch`: x, valid, spread, truth |
| "sky-stream" | "holes" | `FlatStream` | `HoleBatch`: x, valid, truth |
| "stored" | | `StoredStream` | `HoleBatch` |
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.flat import FlatStream
from cmbinpaint.training.data.masks import build_masks
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.sky import PatchBatch, SkyStream
from cmbinpaint.training.data.stored import StoredStream
from cmbinpaint.training.recipes.checks import check_choice, check_keys

__all__ = ["AnyStream", "PatchBatch", "build_stream"]

AnyStream = SkyStream | FlatStream | StoredStream


def build_stream(data: Mapping[str, Any], seed: int) -> AnyStream:
    """Make the stream that a recipe's ``[data]`` table describes.

    Parameters
    ----------
    data
        ``kind``, ``inputs`` and the stream's own options. Kind "stored" takes ``folder`` (its data set) and
        ``verify`` ("hashes" or "sizes"); streams of holes take a ``masks`` table (`masks.build_masks`).
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
    kind = options.pop("kind", "sky-stream")
    check_choice("[data]", "kind", kind, ("sky-stream", "stored"))
    if kind == "stored":
        return _stored(options, seed)
    inputs = options.pop("inputs", "guess")
    check_choice("[data]", "inputs", inputs, ("guess", "holes"))
    if inputs == "holes":
        _check(options, FlatStream, [])
        return FlatStream(seed=seed, **_with_masks(options))
    _check(options, SkyStream, [])
    if isinstance(options.get("masks"), Mapping):
        raise RecipeError(
            f"[data] masks is {options['masks']!r}; with inputs = 'guess' it is a number of masks, tables are "
            "for kind = 'stored' and inputs = 'holes'"
        )
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
    hidden = {"seed", "splits", "skies"} if stream is not SkyStream else {"seed", "splits"}
    own = [f.name for f in fields(stream) if f.name not in hidden]
    check_keys("[data]", options, ["kind", *(["inputs"] if not more else []), *more, *own])


def _with_masks(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "masks": build_masks(options["masks"])} if "masks" in options else options
