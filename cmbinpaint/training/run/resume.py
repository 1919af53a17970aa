"""Where a run begins: random weights, another network's, or a checkpoint, and whether it belongs to this recipe.

Inputs: a recipe, a run's folder, a fresh `TrainingState`. Outputs: the network; the state of the checkpoint, and its
`Position`; the final weights.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from cmbinpaint.errors import CheckpointError, CmbInpaintWarning, RecipeError
from cmbinpaint.networks.store import load_into, load_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.run.checkpoint import (
    Checkpoint,
    TensorDict,
    list_checkpoints,
    load_latest,
    read_checkpoint,
)
from cmbinpaint.training.run.position import Position
from cmbinpaint.training.run.state import TrainingState

logger = logging.getLogger(__name__)

# What a resumed run may change without changing its outcome.
_FREE = {
    "name",
    "workers",
    "threads",
    "checkpoint_every",
    "validate_every",
    "log_every",
    "validation_batches",
    "keep_checkpoints",
}
_FIXED = {"seed", "model"}
_JUDGES = {"validate_every", "validation_batches"}  # of epochs, where a stage has patience


def initial_network(recipe: Recipe) -> nn.Module:
    """Make the recipe's network, with random weights or those of the network that it names in `start`.

    Raises
    ------
    RecipeError
        If the network to start from is not the recipe's.
    WeightsError
        If its weights are missing or damaged.
    """
    network = build_model(recipe.model)
    if recipe.start is None:
        return network
    card, tensors = load_weights(recipe.start)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != {name: tensor.shape for name, tensor in network.state_dict().items()}:
        theirs = {"family": card.family, **card.architecture}
        raise RecipeError(
            f"recipe: start is {recipe.start!r}, the weights of {theirs}, and "
            f"[model] is {dict(recipe.model)}; give weights of the same network, or make [model] theirs"
        )
    load_into(network, tensors)
    return network


def restore(
    state: TrainingState, out: Path, recipe: Recipe, *, resume: bool, resume_from: str | Path | None
) -> tuple[Position, Mapping[str, Any]]:
    """Bring `state` to the checkpoint that the run goes on from, if there is one.

    Parameters
    ----------
    state
        As made for the recipe.
    out
        The run's folder.
    recipe
        What the run does.
    resume
        False refuses a folder with checkpoints.
    resume_from
        A checkpoint, or the name of one of this run's: the run goes back to it. One of another run is only begun
        from: if `out` holds checkpoints already, the newest of them is taken, so that a job that is started again
        loses nothing.

    Returns
    -------
    Where the run stands, and its last losses.

    Raises
    ------
    CheckpointError
        If the checkpoint is absent, not whole, or of another recipe or architecture.
    """
    folder = out / "checkpoints"
    if not resume and list_checkpoints(folder):
        raise CheckpointError(
            f"{folder} holds checkpoints of an earlier run; resume it, or use another folder"
        )
    checkpoint = _choose(folder, resume, resume_from)
    if checkpoint is None:
        return Position(), {}
    _compare_recipes(checkpoint, recipe)
    position = Position.from_mapping(checkpoint.position, checkpoint.step, recipe.plan)
    state.restore(checkpoint)
    logger.info("resumed at step %d", state.step)
    return position, checkpoint.losses


def final_checkpoint(out_dir: str | Path, *, best: bool = False) -> Checkpoint:
    """The checkpoint that is shipped: the newest whole one of a run, or the best.

    Parameters
    ----------
    out_dir
        The run's folder.
    best
        Take the checkpoint of lowest validation loss in the stage that the newest is in.

    Returns
    -------
    Checkpoint
        Its `ema` is what is validated.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    folder = Path(out_dir) / "checkpoints"
    checkpoint = load_latest(folder)
    if checkpoint is None:
        raise CheckpointError(f"{out_dir} holds no checkpoints; train first, or name the run's own folder")
    if best:
        step = checkpoint.position.get("best_step")
        if step is None:
            raise CheckpointError(f"{out_dir} has no validation yet; take the newest weights, or train on")
        return read_checkpoint(folder / f"step_{step:08d}")
    return checkpoint


def final_weights(out_dir: str | Path, *, best: bool = False) -> TensorDict:
    """The running mean of the weights in `final_checkpoint`, as the network's `load_state_dict` takes it."""
    return final_checkpoint(out_dir, best=best).ema


def _choose(folder: Path, resume: bool, resume_from: str | Path | None) -> Checkpoint | None:
    if resume_from is None:
        return load_latest(folder) if resume else None
    path = Path(resume_from)
    if not path.exists() and path.name == str(resume_from):
        path = folder / path
    if not path.is_dir():
        found = ", ".join(p.name for p in list_checkpoints(folder)) or "none"
        raise CheckpointError(f"there is no checkpoint {str(resume_from)!r}; {folder} holds {found}")
    own = path.resolve().parent == folder.resolve()
    return read_checkpoint(path) if own or not list_checkpoints(folder) else load_latest(folder)


def _compare_recipes(checkpoint: Checkpoint, recipe: Recipe) -> None:
    try:
        old = Recipe.from_mapping(checkpoint.recipe).to_mapping()
    except RecipeError as error:
        raise CheckpointError(f"the checkpoint's recipe cannot be read: {error}") from error
    new = recipe.to_mapping()
    free = _FREE - _JUDGES if any(stage.patience is not None for stage in recipe.plan) else _FREE
    changed = [key for key in new if old.get(key) != new[key] and key not in free]
    if "seed" in changed:
        raise CheckpointError(
            f"the checkpoint was trained with seed {old.get('seed')}, the recipe says {new['seed']}; "
            "restore the seed, or use another output folder"
        )
    # A changed [model] is left to the comparison of tensors, which says more.
    if others := [key for key in changed if key not in _FIXED]:
        warnings.warn(
            f"the recipe's {', '.join(others)} changed since the checkpoint; the run goes on, but will not "
            "equal an uninterrupted one",
            CmbInpaintWarning,
            stacklevel=4,
        )
