"""The seed's network: a U-Net of partial convolutions with batch norm.

Takes: a picture `(B, C, H, W)` with holes and its mask. Gives: a picture without holes. Floor: 1.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.nn.pconv import PartialConv2d

Final = Literal["linear", "sigmoid"]

_LEAK = 0.2
# Encoder: (channels, kernel) of each level. Decoder: channels from the bottom up, before the picture's own.
PRESETS: dict[str, dict[str, Any]] = {
    "unet128": {
        "encoder": ((32, 7), (64, 5), *((128, 3),) * 5),
        "decoder": (128, 128, 128, 128, 128, 32),
    },
    "unet512": {
        "encoder": ((64, 7), (128, 5), (256, 5), *((512, 3),) * 5),
        "decoder": (512, 512, 512, 512, 256, 128, 64),
    },
}


class PConvUNet(nn.Module):
    """A U-Net of partial convolutions (Liu et al. 2018, section 3.2).

    Each encoder level is a partial convolution of stride 2, batch norm (but for the first) and ReLU. Each
    decoder level doubles features and mask by nearest neighbor, joins them with those of the encoder's level
    above (the last one: with the picture itself) and applies a partial convolution 3 px wide, batch norm (but
    for the last) and LeakyReLU(0.2). A 1 px convolution ends it.

    With `final="linear"`, for temperatures, the last level has no LeakyReLU: on a single channel it would
    treat cold and hot differently just before the output.

    Parameters
    ----------
    channels
        Of the picture: 1 for temperature, 3 for RGB.
    encoder
        `(channels, kernel)` of each level, from the top.
    decoder
        Channels of each level but the last, from the bottom: one fewer than the encoder has levels.
    final
        "linear", or "sigmoid" for pictures within [0, 1].

    Attributes
    ----------
    factor
        Height and width must be multiples of it: 2 to the number of levels.
    architecture
        The constructor's arguments, as JSON can hold them: `PConvUNet(**architecture)` is this network.

    Raises
    ------
    CmbInpaintError
        Levels that do not match, an unknown `final`, or (when called) a size that cannot be halved `levels`
        times, and one value per channel to normalize in training.

    References
    ----------
    Liu et al. 2018, arXiv 1804.07723; Montefalcone et al. 2020, arXiv 2011.01433.
    """

    def __init__(
        self,
        channels: int,
        encoder: Sequence[Sequence[int]],
        decoder: Sequence[int],
        final: Final = "linear",
    ) -> None:
        super().__init__()
        if final not in get_args(Final):
            raise CmbInpaintError(f"final={final!r} came; expected one of {', '.join(get_args(Final))}")
        if len(decoder) != len(encoder) - 1:
            raise CmbInpaintError(
                f"{len(encoder)} encoder levels came with {len(decoder)} decoder levels; expected "
                f"{len(encoder) - 1}: the last one has the picture's channels"
            )
        self.architecture = {
            "channels": channels,
            "encoder": [list(level) for level in encoder],
            "decoder": list(decoder),
            "final": final,
        }
        self.factor = 2 ** len(encoder)
        widths = [channels, *(width for width, _ in encoder)]
        self.encoder = nn.ModuleList(
            _Level(widths[i], width, kernel, stride=2, norm=i > 0, leak=0.0)
            for i, (width, kernel) in enumerate(encoder)
        )
        outs = [*decoder, channels]
        skips = widths[-2::-1]
        leaks = [_LEAK] * len(decoder) + [None if final == "linear" else _LEAK]
        self.decoder = nn.ModuleList(
            _Level((below, skip), out, 3, norm=i < len(decoder), leak=leaks[i])
            for i, (below, skip, out) in enumerate(zip([widths[-1], *decoder], skips, outs, strict=True))
        )
        self.last = nn.Conv2d(channels, channels, 1)
        self.final = final
        self._norm_frozen = False

    @classmethod
    def from_preset(cls, name: str, channels: int = 1, final: Final = "linear") -> "PConvUNet":
        """Make the seed's `unet128` (7 levels, 2.2 M weights) or `unet512` (8 levels, 32 M)."""
        if name not in PRESETS:
            near = get_close_matches(name, PRESETS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CmbInpaintError(f"preset {name!r} came; expected one of {', '.join(PRESETS)}{hint}")
        return cls(channels, **PRESETS[name], final=final)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Draw the whole picture anew; what was observed is for the caller to put back.

        Parameters
        ----------
        image
            `(B, C, H, W)`, anything in holes; H and W multiples of `factor`.
        mask
            `(B, 1, H, W)` or `(1, 1, H, W)`: 0 is a hole, above 0 observed.

        Returns
        -------
        `(B, C, H, W)`.
        """
        return self.forward_with_mask(image, mask)[0]

    def forward_with_mask(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the picture and the mask left over, `(B, 1, H, W)`: all 1 if the network is deep enough."""
        self._check_size(image)
        stack = [(image, mask.to(torch.float32))]
        for level in self.encoder:
            stack.append(level(*stack[-1]))
        u, seen = stack.pop()
        for level in self.decoder:
            above, seen_above = stack.pop()
            # (B, C_below + C_above, 2h, 2w) and its two masks
            u = torch.cat([_double(u), above.to(u.dtype)], dim=1)
            u, seen = level(u, torch.cat([_double(seen), seen_above], dim=1))
        u = self.last(u)
        return (torch.sigmoid(u) if self.final == "sigmoid" else u), seen

    def freeze_encoder_norm(self, flag: bool = True) -> None:
        """Hold the encoder's batch norm, statistics and weights, as the recipe's second stage does.

        In training its statistics count the zeros of holes, so they are learned first and then held
        (Liu et al. 2018, section 4.2). It outlives `train()` and `eval()`.
        """
        self._norm_frozen = flag
        for norm in self._encoder_norms():
            norm.train(self.training and not flag)
            norm.requires_grad_(not flag)

    def train(self, mode: bool = True) -> "PConvUNet":
        """Set training mode, but for a frozen norm."""
        super().train(mode)
        if self._norm_frozen:
            for norm in self._encoder_norms():
                norm.eval()
        return self

    def _encoder_norms(self) -> list[nn.BatchNorm2d]:
        return [module for module in self.encoder.modules() if isinstance(module, nn.BatchNorm2d)]

    def _check_size(self, image: Tensor) -> None:
        if image.ndim != 4:
            raise CmbInpaintError(f"a picture of shape {tuple(image.shape)} came; expected (B, C, H, W)")
        batch, _, height, width = image.shape
        if height % self.factor or width % self.factor or not height or not width:
            raise CmbInpaintError(
                f"a picture of {height} x {width} px came; expected multiples of {self.factor}: each of the "
                f"{len(self.encoder)} levels halves it. Pad with holes, or use a shallower network"
            )
        norms = self.training and (not self._norm_frozen)
        if norms and batch * height * width == self.factor**2:
            raise CmbInpaintError(
                f"a batch of one picture of {height} x {width} px came in training; expected at least 2: "
                "batch norm has one value per channel at the bottom"
            )


class _Level(nn.Module):
    """Partial convolution, batch norm, activation; the mask passes by."""

    def __init__(
        self,
        in_channels: int | tuple[int, ...],
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        norm: bool,
        leak: float | None,
    ) -> None:
        super().__init__()
        self.conv = PartialConv2d(in_channels, out_channels, kernel, stride)
        if leak is not None:
            self.conv.reset_parameters(nn.init.calculate_gain("leaky_relu", leak))
        self.norm = nn.BatchNorm2d(out_channels) if norm else None
        self.leak = leak

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y, mask = self.conv(x, mask)
        if self.norm is not None:
            y = self.norm(y)  # moves holes off 0; the next layer does not read them
        return (y if self.leak is None else functional.leaky_relu(y, self.leak)), mask


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
