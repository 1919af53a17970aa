"""What each stage of a recipe reads, and how a batch becomes tensors.

Inputs: a `Recipe`, the processes. Outputs: one `loader.Stream` per stage; tensors on a device.
"""

import json
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.loader import RowsOfProcess, Stream
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.run.classifier import ClassStream
from cmbinpaint.training.run.distributed import World


def open_streams(recipe: Recipe, stream: Stream | None, world: World) -> list[Stream]:
    """The stream of each stage; stages with the same data share one."""
    opened: dict[str, Stream] = {}
    streams = []
    for stage in recipe.plan:
        table = {**recipe.data, **stage.data}
        if stream is not None:
            source: Stream = stream
        elif (key := json.dumps(table, sort_keys=True, default=str)) in opened:
            source = opened[key]
        else:
            from cmbinpaint.training.data.sets import build_stream  # a given stream needs no simulator

            try:
                source = opened[key] = build_stream(table, recipe.seed)
            except RecipeError as error:
                if not stage.data:
                    raise
                raise RecipeError(f"{stage.where} data = {stage.data}: {error}") from error
        if recipe.classes is not None:
            source = ClassStream(source, recipe.classes.crop)  # type: ignore[arg-type]
        streams.append(source if world.size == 1 else RowsOfProcess(source, world.rank, world.size))
    return streams


def to_tensors(batch: Any, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """A batch as the network's inputs by name, and the truth apart; images are channels-last."""
    tensors = {}
    for f in fields(batch):
        tensor = torch.from_numpy(getattr(batch, f.name)).to(device)
        tensors[f.name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    truth = tensors.pop("truth")
    return tensors, truth
