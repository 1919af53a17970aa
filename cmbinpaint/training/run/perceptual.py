"""The VGG16 that perceptual and style terms look through.

Inputs: "vgg16-cmb", or a state dict's file. Outputs: a frozen `VGG16` of three blocks.

A ``.pth`` file is read with ``weights_only=True``, the one place of the package where anything is unpickled; it holds
tensors or is refused.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cmbinpaint.errors import WeightsError
from cmbinpaint.networks.store import HOME, load_weights
from cmbinpaint.nn.losses import POOLS
from cmbinpaint.nn.vgg import VGG16, WIDTHS, Scale, Statistics, fit_state

SHIPPED = HOME / "perceptual"
_PICKLED = (".pth", ".pt")


def list_vgg() -> list[str]:
    """Names of the VGG16 weights that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def load_vgg(weights: str, channels: int, scale: Scale = "rms") -> VGG16:
    """Make a frozen VGG16 up to pool3; torch's random state stays as it is.

    Parameters
    ----------
    weights
        A name from `list_vgg`, the path of a card (.json) written by `cmbinpaint.networks.store.save_weights`, whose
        network may have widths of its own, or the path of a state dict with torchvision's names (``.safetensors`` or
        ``.pth``), taken to be ImageNet's.
    channels, scale
        See `VGG16`.

    Raises
    ------
    WeightsError
        If it is absent or does not fit; the first tensor that differs is named.
    """
    path = SHIPPED / f"{weights}.json" if weights in list_vgg() else Path(weights)
    statistics: Statistics = "cmb"
    widths: Sequence[int] = WIDTHS
    state: Mapping[str, Tensor]
    if path.suffix == ".json":
        card, state = load_weights(path)
        if card.family != "vgg16":
            raise WeightsError(f"{path} is of a network of family {card.family!r}; expected 'vgg16'")
        widths = card.architecture.get("widths", WIDTHS)
    else:
        state, statistics = _read_state(path), "imagenet"
    with torch.random.fork_rng(
        devices=[]
    ):  # a resumed run would draw its initial weights, unused, a second time
        network = VGG16(channels, blocks=POOLS, widths=widths, scale=scale, statistics=statistics)
    network.load_state_dict(fit_state(network, state, str(weights)))
    return network.eval().requires_grad_(False)


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        known = ", ".join(list_vgg()) or "none"
        raise WeightsError(
            f"[perceptual] weights {str(path)!r} is not a file; give a .safetensors or .pth state dict, or one of: "
            f"{known}"
        )
    try:
        if path.suffix not in _PICKLED:
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} is not a state dict that can be read safely ({first}); download it again"
        ) from error
    return _tensors_of(loaded, path)


def _tensors_of(loaded: Any, path: Path) -> Mapping[str, Tensor]:
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsError(
            f"{path} holds a {type(loaded).__name__}; expected a state dict: tensors by name, alone"
        )
    return loaded
