"""What each stage of a recipe reads.

Inputs: a `Recipe`, the processes. Outputs: one `loader.Stream` per stage.
"""

import json

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.classes import ClassStream
from cmbinpaint.training.data.loader import RowsOfProcess, Stream
from cmbinpaint.training.data.sets import build_stream
from cmbinpaint.training.recipes.recipe import Recipe


def open_streams(recipe: Recipe, stream: Stream | None, rank: int, size: int) -> list[Stream]:
    """The stream of each stage, its rows of process `rank` of `size`; stages with the same data share one."""
    opened: dict[str, Stream] = {}
    streams = []
    for stage in recipe.plan:
        table = {**recipe.data, **stage.data}
        key = "" if stream is not None else json.dumps(table, sort_keys=True, default=str)
        if key not in opened:
            try:
                source = stream or build_stream(table, recipe.seed)
            except RecipeError as error:
                if not stage.data:
                    raise
                raise RecipeError(f"{stage.where} data = {stage.data}: {error}") from error
            if recipe.classes is not None:
                source = ClassStream(source, recipe.classes.crop)  # type: ignore[arg-type]
            opened[key] = source if size == 1 else RowsOfProcess(source, rank, size)
        streams.append(opened[key])
    return streams
