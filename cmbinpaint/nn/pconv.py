"""The partial convolution: a convolution that knows which pixels are observed.

Inputs: features `(B, C, H, W)` with one mask channel per group of channels. Outputs: features and their mask.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint._machine import memory_of_machine
from cmbinpaint.errors import CmbInpaintError


class PartialConv2d(nn.Module):
    """Partial convolution of Liu et al. 2018, eq. 1 and 2, with one mask channel per group of channels.

    With `x` the features, `m` their mask and `W` the weights, at each output pixel::

        y = W · (x ⊙ m) · window / count + b    where count > 0, else 0
        m' = 1                                  where count > 0, else 0

    `count` is the number of observed entries in the window, over its pixels **and** the input channels, and
    `window` is what `count` would be with nothing missing. The channels of a group share one mask, so that
    `count = Σ_g C_g · box(m_g)`: exact at a fraction of the cost of a mask for each channel. A skip
    connection is two groups, `PartialConv2d((C_a, C_b), ...)`.

    What is under a hole is never read: it may be NaN. Padding counts as a hole. An empty window gives 0,
    not the bias, and stays a hole.

    Parameters
    ----------
    in_channels
        Channels of the input, or of each of its groups.
    out_channels
        Channels of the output; they share one mask.
    kernel_size, stride, dilation
        As in `torch.nn.Conv2d`, square.
    padding
        Pixels added on each side; None keeps the size at stride 1 and needs an odd kernel.
    bias
        Whether there is a bias `b`.

    Raises
    ------
    CmbInpaintError
        An even kernel without padding, a size below 1, or (when called) features and mask that do not fit.

    References
    ----------
    Liu et al. 2018, "Image Inpainting for Irregular Holes Using Partial Convolutions", arXiv 1804.07723.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.groups = (in_channels,) if isinstance(in_channels, int) else tuple(in_channels)
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        _check_sizes(self.groups, out_channels, kernel_size, stride, dilation, padding)
        self.padding = dilation * (kernel_size - 1) // 2 if padding is None else padding
        self.window = sum(self.groups) * kernel_size**2
        self.weight = nn.Parameter(torch.empty(out_channels, sum(self.groups), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw normal weights of std `gain/√window` and a bias of 0: with gain 1 the variance is kept."""
        nn.init.normal_(self.weight, std=gain / math.sqrt(self.window))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve what is observed.

        Parameters
        ----------
        x
            Features `(B, sum of in_channels, H, W)`; anything, NaN too, where the mask is 0.
        mask
            `(B, groups, H, W)` or `(1, groups, H, W)` for all of the batch: 0 is a hole, above 0 observed.

        Returns
        -------
        y
            `(B, out_channels, H', W')`, 0 in what stays a hole.
        mask
            `(B, 1, H', W')` (or `(1, 1, H', W')`), in its dtype.
        """
        self._check_shapes(x, mask)
        observed = mask > 0
        count = self._count(observed)
        filled = count > 0
        # Never x * m: NaN · 0 is NaN.
        y = functional.conv2d(
            torch.where(self._to_channels(observed), x, 0.0),
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
        count = count.to(torch.promote_types(y.dtype, torch.float32))
        y = y * torch.where(filled, self.window / count, 0.0).to(y.dtype)
        if self.bias is not None:  # only where something was seen; y is exactly 0 elsewhere
            y = torch.addcmul(y, self.bias.to(y.dtype).view(1, -1, 1, 1), filled.to(y.dtype))
        return y, filled.to(mask.dtype)

    def _count(self, observed: Tensor) -> Tensor:
        """Return the observed entries in each window, `(B, 1, H', W')`: whole numbers, exact in float32."""
        # Pooling is exact everywhere; a convolution would round in half precision and in TF32.
        boxes = functional.pad(observed.to(torch.float32), (self.padding,) * 4)
        if self.dilation == 1:
            boxes = functional.avg_pool2d(boxes, self.kernel_size, self.stride, divisor_override=1)
        else:
            boxes = self._dilated_box(boxes)
        return sum(
            (size * boxes[:, g : g + 1] for g, size in enumerate(self.groups)), torch.zeros(()).to(boxes)
        )

    def _dilated_box(self, padded: Tensor) -> Tensor:
        """Sum over a window with gaps, one shift at a time."""
        reach = self.dilation * (self.kernel_size - 1)
        rows, cols = padded.shape[-2] - reach, padded.shape[-1] - reach
        shifts = range(0, reach + 1, self.dilation)
        lines = torch.stack([padded[..., i : i + rows, :] for i in shifts]).sum(0)
        boxes = torch.stack([lines[..., j : j + cols] for j in shifts]).sum(0)
        return boxes[..., :: self.stride, :: self.stride]

    def _to_channels(self, observed: Tensor) -> Tensor:
        """Give each channel the mask of its group; a single group broadcasts."""
        if len(self.groups) == 1:
            return observed
        parts = [observed[:, g : g + 1].expand(-1, size, -1, -1) for g, size in enumerate(self.groups)]
        return torch.cat(parts, dim=1)

    def _check_shapes(self, x: Tensor, mask: Tensor) -> None:
        channels = sum(self.groups)
        if x.ndim != 4 or x.shape[1] != channels:
            raise CmbInpaintError(
                f"got features of shape {tuple(x.shape)}; expected (B, {channels}, H, W): "
                f"this layer was made for in_channels={self.groups}"
            )
        expected = (len(self.groups), *x.shape[2:])
        if mask.ndim != 4 or mask.shape[1:] != expected or mask.shape[0] not in (1, x.shape[0]):
            raise CmbInpaintError(
                f"got a mask of shape {tuple(mask.shape)} with features of shape {tuple(x.shape)}; "
                f"expected {(x.shape[0], *expected)}: one mask channel for each group of channels"
            )

    def extra_repr(self) -> str:
        """Return what `print(layer)` shows."""
        return (
            f"{self.groups}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, bias={self.bias is not None}"
        )


def _check_sizes(
    groups: tuple[int, ...],
    out_channels: int,
    kernel_size: int,
    stride: int,
    dilation: int,
    padding: int | None,
) -> None:
    sizes = {"out_channels": out_channels, "kernel_size": kernel_size, "stride": stride, "dilation": dilation}
    if not groups or min(groups) < 1:
        raise CmbInpaintError(f"got in_channels={groups}; expected one number of at least 1 for each group")
    for name, size in sizes.items():
        if size < 1:
            raise CmbInpaintError(f"got {name}={size}; expected at least 1")
    if padding is None and kernel_size % 2 == 0:
        raise CmbInpaintError(
            f"got kernel_size={kernel_size} without padding; an even kernel cannot keep the size: "
            "give padding, or an odd kernel_size"
        )
    if padding is not None and padding < 0:
        raise CmbInpaintError(f"got padding={padding}; expected at least 0, or None to keep the size")
    if (size := 4 * sum(groups) * out_channels * kernel_size**2) > memory_of_machine():
        raise CmbInpaintError(
            f"in_channels={groups}, out_channels={out_channels} and kernel_size={kernel_size} make "
            f"{size / 2**30:.3g} GiB of weights, more than this machine has"
        )
