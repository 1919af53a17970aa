"""Training a network, from a recipe to weights; safe to interrupt at any moment.

Inputs: a `Recipe` and an output folder. Outputs: checkpoints, logs, and in the end the weights with their card.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from cmbinpaint._files import held_folder
from cmbinpaint.errors import CheckpointError, RecipeError
from cmbinpaint.training.data.classes import ClassStream
from cmbinpaint.training.data.loader import RowsOfProcess, Stream
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.recipes.recipe_sections import StageRecipe
from cmbinpaint.training.run.distributed import World, join_world
from cmbinpaint.training.run.export import export_weights
from cmbinpaint.training.run.loop import Progress, Run
from cmbinpaint.training.run.objective import AnyScore, check_model
from cmbinpaint.training.run.process_state import StopSignals, private_torch
from cmbinpaint.training.run.resume import initial_network, restore
from cmbinpaint.training.run.state import TrainingState


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes
    ----------
    out_dir
        Its folder.
    step, steps
        Optimizer steps done, and wanted: those done and those that the stages leave at most.
    loss
        Loss of the last step; NaN before the first.
    score
        The last validation of this call; None if there was none.
    signal
        The signal that stopped it; None otherwise.
    weights
        The card of the trained network (`export.export_weights`); None of an unfinished run, in other processes
        than the first, or when the network was given.
    """

    out_dir: Path
    step: int
    steps: int
    loss: float
    score: AnyScore | None
    signal: int | None
    weights: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    recipe: Recipe | str | Path,
    out_dir: str | Path,
    *,
    resume: bool = True,
    resume_from: str | Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    stop_after: int | None = None,
    stream: Stream | None = None,
    model: nn.Module | None = None,
) -> TrainResult:
    """Train a network.

    Parameters
    ----------
    recipe
        What to do, or the TOML file that says it.
    out_dir
        Folder of logs and checkpoints; made if absent.
    resume
        Go on from the newest whole checkpoint in `out_dir`; False refuses a folder that has one.
    resume_from
        Go on from this checkpoint instead; see `resume.restore`.
    device
        ``"auto"`` (an accelerator if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    progress
        Called as ``progress(step, steps, loss)`` after each step, instead of the bar shown on a terminal.
    stop_after
        Stop, resumable, after this many steps of this call.
    stream, model
        Instead of those that the recipe describes.

    Returns
    -------
    TrainResult
        Steps done, the last loss and validation, and the signal that stopped it, if one did.

    Raises
    ------
    CheckpointError
        If the folder's checkpoints do not belong to this recipe, none is whole, another process trains there, or the
        disk is full.
    ConvergenceError
        If the loss or its gradient is not finite; the last good state is kept.
    DeviceError
        If the device is not available.
    RecipeError
        If the recipe's data, model, start or stages do not fit each other.
    WeightsError
        If the weights that the recipe starts with are not available or damaged.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    out = Path(out_dir)
    with join_world(device) as (world, place), private_torch(recipe, place):
        network = model or initial_network(recipe)
        check_model(network, recipe)
        streams = _open_streams(recipe, stream, world)
        state = TrainingState(network, recipe, place, world)
        with _held(out, first=world.first):
            position, losses = restore(state, out, recipe, resume=resume, resume_from=resume_from)
            world.wait()  # all have read before the first one writes
            with StopSignals() as stop:
                run = Run(recipe, out, state, position, losses, streams, stop, progress)
                run.check_later_stages()
                run.go(stop_after)
            step, steps = state.step, state.step + run.position.steps_left(recipe.plan)
            result = TrainResult(out, step, steps, run.loss, run.score, run.signal or None)
            if result.finished and model is None and world.first:
                return replace(result, weights=export_weights(out))
            return result


def _open_streams(recipe: Recipe, stream: Stream | None, world: World) -> list[Stream]:
    """The stream of each stage, this process's rows of it; stages with the same data share one."""
    opened: dict[str, Stream] = {}
    streams = []
    for stage in recipe.plan:
        table = {**recipe.data, **stage.data}
        key = "" if stream is not None else json.dumps(table, sort_keys=True, default=str)
        if key not in opened:
            source = stream if stream is not None else _build(table, recipe.seed, stage)
            if recipe.classes is not None:
                source = ClassStream(source, recipe.classes.crop)  # type: ignore[arg-type]
            opened[key] = source if world.size == 1 else RowsOfProcess(source, world.rank, world.size)
        streams.append(opened[key])
    return streams


def _build(table: Mapping[str, Any], seed: int, stage: StageRecipe) -> Stream:
    from cmbinpaint.training.data.build import build_stream  # a given stream needs no simulator

    try:
        return build_stream(table, seed)
    except RecipeError as error:
        if not stage.data:
            raise
        raise RecipeError(f"{stage.where} data = {stage.data}: {error}") from error


def _held(out: Path, *, first: bool) -> AbstractContextManager[None]:
    """The folder as this run's own; of several processes the first holds it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot make the folder {out} ({error.strerror}); give another") from error
    return held_folder(out, "trains", CheckpointError) if first else nullcontext()
