"""A network as it was at each checkpoint of its training, or of a card, ready to fill patches.

Inputs: a training folder, or the name or file of a network; patches in µK with a mask. Outputs: predictions.

Predictions are the network's own pictures, observed pixels included: CoMBInE's family redraws those, and how well
is a question of its own. Whoever fills a map puts the data back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cmbinpaint._types import BoolArray, Float32Array, FloatArray, IntArray
from cmbinpaint.errors import CheckpointError, MaskError, WeightsError
from cmbinpaint.networks.cutting import Scaling
from cmbinpaint.networks.store import load_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.training.data.examples import Rendering
from cmbinpaint.training.data.planck_colors import LIMIT_uK, from_rgb
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.run.checkpoint import (
    check_fits,
    list_checkpoints,
    load_latest,
    read_checkpoint,
    read_position,
    step_of,
)

_BATCH = 16
_FILLS = "pconv"  # the family that fills patches


@dataclass(frozen=True)
class State:
    """A network at one moment of its training.

    Attributes
    ----------
    step
        Optimizer steps done.
    stage
        The stage it is in, from 1.
    path
        Its checkpoint; None for a network that ships.
    """

    step: int
    stage: int
    path: Path | None


@dataclass(frozen=True, eq=False)
class Fill:
    """Predictions for n patches.

    Attributes
    ----------
    field_uK
        (n, side, side) temperatures.
    rgb
        (n, side, side, 3) in [0, 1], of networks that draw pictures; None of others.
    """

    field_uK: FloatArray
    rgb: Float32Array | None = None


@dataclass(frozen=True)
class Trained:
    """A training, or a network that has been trained.

    Attributes
    ----------
    name
        Of the recipe, or of the network.
    model
        Its architecture, for `build_model`.
    data
        The recipe's ``[data]`` table; None where a network does not come with its recipe.
    seed
        Of the training.
    states
        From the first step to the last.
    shipped
        Name or file of a network.
    """

    name: str
    model: Mapping[str, Any]
    data: Mapping[str, Any] | None
    seed: int
    states: tuple[State, ...]
    shipped: str | Path | None = None

    @classmethod
    def open(cls, what: str | Path) -> "Trained":
        """Open a training folder (or its ``checkpoints``), or a network by its name or file.

        Raises
        ------
        CheckpointError
            If a folder holds no checkpoint, or none that can be read.
        WeightsError
            If there is no such network.
        """
        path = Path(what)
        if not path.is_dir():
            card, _ = load_weights(what)
            architecture = {"family": card.family, **card.architecture}
            return cls(card.name, architecture, None, card.seed, (State(card.steps, 1, None),), what)
        folder = path if list_checkpoints(path) else path / "checkpoints"
        found = list_checkpoints(folder)
        if not found:
            raise CheckpointError(
                f"{path} holds no checkpoints; name the folder that `cmbinpaint train` wrote, or a network"
            )
        newest = load_latest(folder)  # damaged ones after it are skipped, with a warning
        assert newest is not None  # there are some: it would have refused
        recipe = Recipe.from_mapping(newest.recipe)
        states = (
            State(step_of(path), read_position(path).get("stage", 0) + 1, path)
            for path in found
            if step_of(path) <= newest.step
        )
        return cls(recipe.name, recipe.model, recipe.data, recipe.seed, tuple(states))

    def network(self, state: State) -> nn.Module:
        """The network at a state, with the weights that are validated and shipped.

        Raises
        ------
        CheckpointError, WeightsError
            If weights are damaged, or of another architecture.
        """
        network = build_model(self.model).eval().requires_grad_(False)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        tensors = self._tensors(state)
        check_fits(tensors, network.state_dict())
        network.load_state_dict(tensors)
        return network

    def filler(self, state: State, targets: Targets) -> "PatchFiller":
        """What fills patches like `targets`, as of a state."""
        family = self.model.get("family")
        if family != _FILLS:
            raise WeightsError(
                f"{self.name} is a network of family {family!r}, which fills no patches; expected {_FILLS!r}"
            )
        limit = float((self.data or {}).get("limit_uK", LIMIT_uK))
        return PatchFiller(self.network(state), targets, limit)

    def _tensors(self, state: State) -> Mapping[str, Tensor]:
        if self.shipped is not None:
            return load_weights(self.shipped)[1]
        if state.path is None:
            raise CheckpointError(f"step {state.step} of {self.name} has no checkpoint")
        return read_checkpoint(state.path).ema


class PatchFiller:
    """A network and what it is given besides the patches.

    Parameters
    ----------
    network
        Of the family that fills.
    targets
        Says the field's rms, pixel and spectrum.
    limit_uK
        Where the colors of a network that draws pictures end.
    """

    def __init__(self, network: nn.Module, targets: Targets, limit_uK: float = LIMIT_uK) -> None:
        self.network, self.targets, self.limit_uK = network, targets, limit_uK
        self.channels = int(getattr(network, "architecture", {}).get("channels", 1))

    def fill(self, data_uK: Float32Array | FloatArray, valid: BoolArray) -> Fill:
        """Predict n patches behind one mask.

        Parameters
        ----------
        data_uK
            (n, side, side); not read in holes.
        valid
            (side, side) bool, True = observed.

        Raises
        ------
        MaskError
            If nothing is observed, or shapes differ.
        """
        if data_uK.shape[1:] != valid.shape:
            raise MaskError(
                f"got patches of {data_uK.shape[1:]} px with a mask of {valid.shape}; they must agree"
            )
        if not valid.any():
            raise MaskError(
                "all pixels of the patch are masked: nothing is observed, so nothing can be filled"
            )
        parts = [self._batch(data_uK[i : i + _BATCH], valid) for i in range(0, len(data_uK), _BATCH)]
        drawn = np.concatenate(parts)
        if self.channels == 3:
            rgb = np.moveaxis(drawn, 1, -1)
            return Fill(from_rgb(rgb, -self.limit_uK, self.limit_uK), rgb)
        return Fill(drawn[:, 0].astype(np.float64))

    def _batch(self, data_uK: Float32Array | FloatArray, valid: BoolArray) -> Float32Array:
        """(n, C, side, side): µK, or RGB."""
        shown = np.broadcast_to(valid, data_uK.shape)
        fields = np.where(valid, data_uK, 0.0)
        if self.channels == 3:
            batch = Rendering(3, self.targets.rms_uK, self.limit_uK).hide(fields, None, shown)
            return self._drawn(batch.x, valid)
        scaling = Scaling.of(fields, shown)  # as on maps
        x = np.where(valid, scaling.apply(fields), np.float32(0))
        return scaling.undo(self._drawn(x[:, None], valid)[:, 0])[:, None].astype(np.float32)

    def _drawn(self, x: Float32Array, valid: BoolArray) -> Float32Array:
        with torch.inference_mode():
            mask = torch.from_numpy(valid.astype(np.float32))[None, None]
            return np.asarray(self.network(torch.from_numpy(x), mask).numpy())


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """A classifier of patches from its training.

    Attributes
    ----------
    name
        Of its recipe.
    network
        Gives logits.
    """

    name: str
    network: nn.Module

    @classmethod
    def open(cls, folder: str | Path) -> "TrainedClassifier":
        """The newest state of a classifier's training.

        Raises
        ------
        WeightsError
            If the folder holds another network.
        CheckpointError
            If it holds none.
        """
        trained = Trained.open(folder)
        if trained.model.get("family") != "vgg16" or not trained.model.get("classes"):
            raise WeightsError(
                f"{folder} is the training of {trained.name!r}, no classifier; train one with "
                "`cmbinpaint train vgg16-cmb`"
            )
        return cls(trained.name, trained.network(trained.states[-1]))

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return int(self.network.architecture["classes"])  # type: ignore[index]

    def classify(self, patches_uK: FloatArray | Float32Array, rms_uK: float) -> IntArray:
        """(n,) the class of each of (n, side, side) patches."""
        found = []
        with torch.inference_mode():
            for i in range(0, len(patches_uK), _BATCH):
                x = (patches_uK[i : i + _BATCH, None] / rms_uK).astype(np.float32)
                found.append(self.network(torch.from_numpy(x)).argmax(1).numpy())
        return np.concatenate(found)
