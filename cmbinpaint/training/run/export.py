"""From a run's checkpoint to weights that others can load: a card and a safetensors file.

Inputs: a run's folder. Outputs: ``NAME.json`` and ``NAME-HASH.safetensors`` in it (`cmbinpaint.networks.store`).
"""

import re
from pathlib import Path

from cmbinpaint import __version__
from cmbinpaint.errors import CheckpointError
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import save_weights
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.run.checkpoint import Checkpoint
from cmbinpaint.training.run.resume import final_checkpoint

_UNKNOWN = "NOASSERTION"  # SPDX's word where the license of weights is not known
_NORMALIZATION = {
    "pconv": "temperature over the rms of the training set's field; three channels: clipped RGB in [0, 1]",
    "vgg16": "temperature over the rms of the training set's field; ±3 mapped to [0, 1], not clipped",
}
_LIMITS = {
    "pconv": "Figures are of its own validation batches: validate it before use.",
    "vgg16": "Features for perceptual and style terms; it fills no map.",
}


def export_weights(out_dir: str | Path, *, best: bool = False) -> Path:
    """Write the weights of a run's newest checkpoint, with their card, into its folder.

    Parameters
    ----------
    out_dir
        The run's folder.
    best
        Take the checkpoint of lowest validation loss instead; see `resume.final_checkpoint`.

    Returns
    -------
    Path
        Of the card. `cmbinpaint inpaint --model` takes it for a network of family 'pconv', ``[perceptual] weights`` for
        one of family 'vgg16'.

    Raises
    ------
    CheckpointError
        If the run has no checkpoint, or the disk is full.
    WeightsError
        If the weights are not finite.
    """
    out = Path(out_dir)
    checkpoint = final_checkpoint(out, best=best)
    card = _describe(checkpoint, Recipe.from_mapping(checkpoint.recipe))
    try:
        save_weights(out, card, checkpoint.ema, max_bytes=None)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the weights to {out} ({error.strerror}); the checkpoints are kept: make room, then the "
            "same command writes them"
        ) from error
    return out / f"{card.name}.json"


def _describe(checkpoint: Checkpoint, recipe: Recipe) -> Card:
    architecture = dict(recipe.model)
    family = str(architecture.pop("family"))
    return Card(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", recipe.name).strip("-._") or "network",
        family=family,
        architecture=architecture,
        data=dict(recipe.data),
        recipe=recipe.to_mapping(),
        normalization=_NORMALIZATION[family],
        seed=recipe.seed,
        steps=checkpoint.step,
        commit="",
        license=_UNKNOWN,
        version=__version__,
        figures=dict(checkpoint.losses),
        limits=(_LIMITS[family],),
    )
