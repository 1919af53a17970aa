"""VGG16: a classifier of patches, whose first pools say how alike two patches look.

Inputs: pictures `(B, C, H, W)`, temperatures over the field's rms or RGB within [0, 1]. Outputs: class logits, or the
features pool1, pool2, pool3.

Temperatures enter over the field's rms, with -3 to 3 mapped to [0, 1] and nothing clipped: a clipped pixel would
have no gradient, and one pixel in 370 of a Gaussian field is beyond. The features, and with them the weights of the
style terms, depend on that mapping.

The losses look at pool1 to pool3. The weights that ship, `vgg16-cmb`, were trained with these three blocks alone;
blocks 4 and 5 and the fully connected head are for whoever trains or brings a whole VGG16.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from cmbinpaint.errors import WeightsError

Head = Literal["pool", "fc"]
Scale = Literal["rms", "unit"]
Statistics = Literal["cmb", "imagenet"]

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each block; a pool ends it
WIDTHS = (64, 128, 256, 512, 512)
SIGMAS = 3.0  # temperatures of ± this many rms are mapped to [0, 1]
_GRID, _HIDDEN = 7, 4096  # of torchvision's fully connected head
# Mean and standard deviation of what is in [0, 1]: of a CMB map by the mapping itself, of photographs as torchvision
# has them.
_STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "cmb": ((0.5,) * 3, (1 / (2 * SIGMAS),) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class VGG16(nn.Module):
    """VGG16 (configuration D), with torchvision's names of tensors.

    Parameters
    ----------
    channels
        1 for temperature, 3 for RGB.
    classes
        Logits that come out; None: no head, for `pools` alone.
    blocks
        How many of the five blocks (convolutions and a pool) there are.
    widths
        Channels of each block.
    head
        "pool": the mean over each feature map, then one linear layer, for any size of picture. "fc": the three
        fully connected layers of the original on a 7 x 7 grid.
    scale
        "rms": temperatures over the field's rms come, and are mapped to [0, 1]; "unit": they are in [0, 1].
    statistics
        Mean and standard deviation that normalize what is in [0, 1]: "cmb" or "imagenet".

    Attributes
    ----------
    architecture
        The constructor's arguments, as JSON can hold them.

    Raises
    ------
    WeightsError
        Options that are unknown or do not fit each other; when called, a picture of other channels, or one too
        small for the pools.

    References
    ----------
    Simonyan & Zisserman 2014, arXiv 1409.1556, table 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        channels: int = 1,
        classes: int | None = None,
        blocks: int = 5,
        widths: Sequence[int] = WIDTHS,
        head: Head = "pool",
        scale: Scale = "rms",
        statistics: Statistics = "cmb",
    ) -> None:
        super().__init__()
        if channels not in (1, 3) or not 1 <= blocks <= len(CONVOLUTIONS) or len(widths) < blocks:
            raise WeightsError(
                f"got VGG16 with channels={channels}, blocks={blocks}, widths={tuple(widths)}; expected 1 or 3 "
                f"channels, 1 to {len(CONVOLUTIONS)} blocks and a width for each"
            )
        for name, value, known in (
            ("head", head, Head),
            ("scale", scale, Scale),
            ("statistics", statistics, Statistics),
        ):
            _check_option(name, value, get_args(known))
        self.architecture = {
            "channels": channels, "classes": classes, "blocks": blocks, "widths": list(widths[:blocks]),
            "head": head, "scale": scale, "statistics": statistics,
        }  # fmt: skip
        self.channels, self.scale = channels, scale
        self.features = _convolutions(channels, widths[:blocks])
        self.head = None if classes is None else head
        if classes is not None:
            self.classifier = _classifier(widths[blocks - 1], classes, head)
        for name, values in zip(("mean", "std"), _STATISTICS[statistics], strict=True):
            table = torch.tensor(values) if channels == 3 else torch.tensor(values).mean(0, keepdim=True)
            self.register_buffer(name, table.view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, `(B, classes)`."""
        if self.head is None:
            raise WeightsError("this VGG16 was made without classes; use pools(), or make it with classes=n")
        u = self.features(self._normalized(x))
        if self.head == "pool":
            return self.classifier(u.mean((-2, -1)))
        u = nn.functional.adaptive_avg_pool2d(u, _GRID)
        return self.classifier(u.flatten(1))

    def pools(self, x: Tensor, n: int = 3) -> list[Tensor]:
        """Return the first `n` pools' features: `(B, widths[i], H / 2^(i+1), W / 2^(i+1))`."""
        u, found = self._normalized(x), []
        for layer in self.features:
            u = layer(u)
            if isinstance(layer, nn.MaxPool2d):
                found.append(u)
                if len(found) == n:
                    break
        return found

    def _normalized(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise WeightsError(
                f"got a picture of shape {tuple(x.shape)}; this VGG16 expects (B, {self.channels}, H, W)"
            )
        if self.scale == "rms":
            x = x / (2 * SIGMAS) + 0.5
        return (x - self.mean) / self.std


def fit_state(network: VGG16, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Choose from a state dict with torchvision's names what `network` has, its head apart.

    Parameters
    ----------
    network
        Says which tensors are needed, and of which shapes.
    state
        For example torchvision's `vgg16().state_dict()`; blocks and heads that `network` lacks are ignored.
    where
        Names the weights in errors.

    Returns
    -------
    The features' tensors by name. Three-channel weights for one channel: the first convolution is **summed** over
    its input channels, as for a grey picture. One-channel weights for three channels: a third
    of them each, so that the network sees the mean of the channels.

    Raises
    ------
    WeightsError
        Naming the first tensor that is missing or has another shape.
    """
    fitted = {}
    for name, own in network.state_dict().items():
        if not name.startswith("features."):
            continue
        if name not in state:
            raise WeightsError(f"{where}: lacks the tensor {name!r} {tuple(own.shape)} of VGG16; {_EXPECTED}")
        found = state[name]
        if name == "features.0.weight" and found.ndim == 4 and found.shape[1] != own.shape[1]:
            if (found.shape[1], own.shape[1]) == (3, 1):
                found = found.sum(1, keepdim=True)
            elif (found.shape[1], own.shape[1]) == (1, 3):
                found = found.expand(-1, 3, -1, -1) / 3
        if found.shape != own.shape:
            raise WeightsError(
                f"{where}: tensor {name!r} has shape {tuple(state[name].shape)}, VGG16 has {tuple(own.shape)}; "
                f"{_EXPECTED}"
            )
        if not found.is_floating_point() or not bool(found.isfinite().all()):
            raise WeightsError(
                f"{where}: tensor {name!r} holds values that are not finite; download it again"
            )
        fitted[name] = found.to(own.dtype)
    return fitted


_EXPECTED = "give a state dict with torchvision's names (vgg16, not vgg16_bn)"


def _check_option(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise WeightsError(f"got VGG16 {name}={value!r}; known: {', '.join(known)}{hint}")


def _convolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, count in zip(widths, CONVOLUTIONS, strict=False):
        for _ in range(count):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            layers += [conv, nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _classifier(width: int, classes: int, head: Head) -> nn.Sequential:
    if head == "pool":
        return nn.Sequential(nn.Linear(width, classes))
    return nn.Sequential(
        nn.Linear(width * _GRID**2, _HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Dropout(),
        nn.Linear(_HIDDEN, classes),
    )  # fmt: skip
