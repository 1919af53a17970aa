"""CoMBInE's network: a U-Net of partial convolutions with batch norm.

Inputs: a picture `(B, C, H, W)` with holes and its mask. Outputs: a picture without holes.
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
_WORTH_SPREADING = 16  # px: in smaller pictures making the wider weights costs more than it saves
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
            raise CmbInpaintError(f"got final={final!r}; expected one of {', '.join(get_args(Final))}")
        if len(decoder) != len(encoder) - 1:
            raise CmbInpaintError(
                f"got {len(encoder)} encoder levels with {len(decoder)} decoder levels; expected "
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
            _DecoderLevel(below, skip, out, norm=i < len(decoder), leak=leaks[i])
            for i, (below, skip, out) in enumerate(zip([widths[-1], *decoder], skips, outs, strict=True))
        )
        self.last = nn.Conv2d(channels, channels, 1)
        self.final = final
        self._norm_frozen = False

    @classmethod
    def from_preset(cls, name: str, channels: int = 1, final: Final = "linear") -> "PConvUNet":
        """Make CoMBInE's `unet128` (7 levels, 2.2 M weights) or `unet512` (8 levels, 32 M)."""
        if name not in PRESETS:
            near = get_close_matches(name, PRESETS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise CmbInpaintError(f"got preset {name!r}; expected one of {', '.join(PRESETS)}{hint}")
        return cls(channels, **PRESETS[name], final=final)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Draw the whole picture; the caller puts back what was observed.

        Parameters
        ----------
        x
            `(B, C, H, W)`, anything in holes; H and W multiples of `factor`.
        valid
            `(B, 1, H, W)` or `(1, 1, H, W)`: 0 is a hole, above 0 observed.

        Returns
        -------
        Tensor
            `(B, C, H, W)`, the network's own answer everywhere, in observed pixels too.
        """
        return self.forward_with_mask(x, valid)[0]

    def forward_with_mask(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the picture and the mask left over, `(B, 1, H, W)`: all 1 if the network is deep enough."""
        self._check_size(x)
        stack = [(x, valid.to(torch.float32))]
        for level in self.encoder:
            stack.append(level(*stack[-1]))
        u, seen = stack.pop()
        for level in self.decoder:
            u, seen = level((u, seen), stack.pop())
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
            raise CmbInpaintError(f"got a picture of shape {tuple(image.shape)}; expected (B, C, H, W)")
        batch, _, height, width = image.shape
        if height % self.factor or width % self.factor or not height or not width:
            raise CmbInpaintError(
                f"got a picture of {height} x {width} px; expected multiples of {self.factor}: each of the "
                f"{len(self.encoder)} levels halves it. Pad with holes, or use a shallower network"
            )
        norms = self.training and (not self._norm_frozen)
        if norms and batch * height * width == self.factor**2:
            raise CmbInpaintError(
                f"got a batch of one picture of {height} x {width} px in training; expected at least 2: "
                "batch norm has one value per channel at the bottom"
            )


class _Level(nn.Module):
    """Partial convolution, batch norm, activation; the mask passes by."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int, norm: bool, leak: float | None
    ) -> None:
        super().__init__()
        self._complete(PartialConv2d(in_channels, out_channels, kernel, stride), norm, leak)

    def _complete(self, conv: PartialConv2d, norm: bool, leak: float | None) -> None:
        self.conv = conv
        if leak is not None:
            self.conv.reset_parameters(nn.init.calculate_gain("leaky_relu", leak))
        self.norm = nn.BatchNorm2d(conv.out_channels) if norm else None
        self.leak = leak

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y, mask = self.conv(x, mask)
        return self._activated(y), mask

    def _activated(self, y: Tensor) -> Tensor:
        if self.norm is not None:
            y = self.norm(y)  # moves holes off 0; the next layer does not read them
        return y if self.leak is None else functional.leaky_relu(y, self.leak)


class _DecoderLevel(_Level):
    """A level whose input is two: features from below, doubled, and those of the encoder's level above."""

    def __init__(self, below: int, above: int, out_channels: int, *, norm: bool, leak: float | None) -> None:
        nn.Module.__init__(self)
        self._complete(_JoinedConv(below, above, out_channels), norm, leak)

    def forward(  # type: ignore[override]
        self, below: tuple[Tensor, Tensor], above: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        y, mask = self.conv(below, above)
        return self._activated(y), mask


class _JoinedConv(PartialConv2d):
    """`PartialConv2d((below, above), out, 3)` of `below` doubled by nearest neighbor and of `above`, faster.

    A convolution is linear, so each part is convolved apart and large pictures are never joined. Doubling and then
    convolving with w is a transposed convolution of stride 2 with w spread over 2 x 2 pixels: 16 products a pixel
    of `below` where there were 36, and the doubled features are never made.
    """

    def __init__(self, below: int, above: int, out_channels: int) -> None:
        super().__init__((below, above), out_channels, 3)

    def forward(  # type: ignore[override]
        self, below: tuple[Tensor, Tensor], above: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Convolve (features, mask) `(B, C, h, w)` from below and `(B, C, 2h, 2w)` from above."""
        masks = torch.cat([_double(below[1]), above[1].expand(below[1].shape[0], -1, -1, -1)], dim=1)
        if below[0].shape[-1] < _WORTH_SPREADING:
            both = torch.cat([_double(below[0]), above[0].to(below[0].dtype)], dim=1)
            return super().forward(both, masks)
        count = self._count(masks > 0)
        filled = count > 0
        low, high = self.weight.split(self.groups, dim=1)
        y = functional.conv_transpose2d(_observed(*below), _spread(low), stride=2, padding=1)
        y = y + functional.conv2d(_observed(*above), high, padding=1)
        y = y * torch.where(filled, self.window / count, 0.0).to(y.dtype)
        if self.bias is not None:
            y = torch.addcmul(y, self.bias.to(y.dtype).view(1, -1, 1, 1), filled.to(y.dtype))
        return y, filled.to(above[1].dtype)


def _observed(x: Tensor, mask: Tensor) -> Tensor:
    """`x` with 0 in holes, whatever is under them."""
    if x.device.type == "cpu" and bool(
        (mask > 0).all()
    ):  # deep levels: looking at the mask costs next to nothing
        return x
    return torch.where(mask > 0, x, 0.0)


def _spread(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) to the (in, out, 4, 4) of the transposed convolution that doubles first."""
    flipped = weight.flip(2, 3)
    wide = functional.pad(flipped, (0, 1)) + functional.pad(flipped, (1, 0))
    return (functional.pad(wide, (0, 0, 0, 1)) + functional.pad(wide, (0, 0, 1, 0))).transpose(0, 1)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
