"""Networks of the contest that are no option of the package: half the step, free data, two scales.

Takes: a batch's `x, valid, spread, conditions`, as `LinearUNet` does. Gives: the fields with better holes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint.nn.linear import LinearUNet, detrended


class HalfPixel(nn.Module):
    """The linear network on a grid of half the step; its correction is averaged back."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.network = LinearUNet(**options)

    def forward(self, x: Tensor, valid: Tensor, spread: Tensor, conditions: Tensor) -> Tensor:
        fine = functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False)
        seen, width = (functional.interpolate(a, scale_factor=2, mode="nearest") for a in (valid, spread))
        change = functional.avg_pool2d(self.network(fine, seen, width, conditions) - fine, 2)
        return torch.where(valid > 0, x, x + change)


class FreeData(LinearUNet):
    """The linear network, free to change observed pixels too, at the scale of their noise."""

    NOISE = 0.03  # over the rms, of the only sky model it is trained for

    def forward(self, x: Tensor, valid: Tensor, spread: Tensor, conditions: Tensor) -> Tensor:
        batch, n_fields, height, width = x.shape
        gates = self.gates(valid, spread, conditions)
        u = self._correction(detrended(x).reshape(batch * n_fields, 1, height, width), valid, gates)
        scale = torch.where(valid > 0, self.NOISE, spread.clamp(min=self.NOISE))
        return x + scale * u.reshape(batch, n_fields, height, width)


class TwoScales(nn.Module):
    """A group of one temperature channel at two pixels a step, margin included, then the patch at one.

    What the coarse group makes of its field is added to the guess that the fine one sees.
    """

    def __init__(self, margin: int, **options: Any) -> None:
        super().__init__()
        self.margin = margin
        levels = slice(0, len(options["widths"]) - 1)  # half the pixels, a level less
        less = {k: options[k][levels] for k in ("widths", "gate_widths")}
        self.coarse, self.fine = LinearUNet(**{**options, **less}), LinearUNet(**options)

    def forward(self, x: Tensor, valid: Tensor, spread: Tensor, conditions: Tensor) -> Tensor:
        field, width = (functional.avg_pool2d(a, 2) for a in (x, spread))
        seen = (functional.avg_pool2d(valid, 2) == 1).to(x.dtype)
        change = self.coarse(field, seen, width, conditions) - field
        change = functional.interpolate(change, scale_factor=2, mode="bilinear", align_corners=False)
        first = torch.where(valid > 0, x, x + change)
        m = self.margin
        here = (..., slice(m, -m), slice(m, -m))
        made = self.fine(first[here], valid[here], spread[here], conditions)
        return x + functional.pad(made - x[here], (m, m, m, m))
