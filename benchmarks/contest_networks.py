"""Networks of the contest that are no option of the package: half the step, free data, two scales, solver steps.

Takes: a batch's `x, valid, spread, conditions`, as `LinearUNet` does. Gives: the fields with better holes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint.nn.linear import LinearUNet, detrended

_TINY = 1e-12  # energy of a direction that leads nowhere


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


class SolverSteps(nn.Module):
    """Steps of conjugate gradients towards the exact mean, the linear network as their preconditioner.

    With P the inverse covariance of the observation, the mean solves ``P_hh x = -P_hd d``. Each step asks the network
    what the residual says and goes to the minimum of the energy ½ xᵀ P x among all directions so far: they are made
    conjugate to one another one by one, since a network is no symmetric matrix, and the energy cannot rise whatever it
    says. Untrained, the preconditioner is the guess's variance.
    """

    STEPS = 3

    def __init__(self, precision: Callable[[], np.ndarray], **options: Any) -> None:
        super().__init__()
        self.network = LinearUNet(**options)
        # No buffer: what is known is not saved.
        self.precision = torch.from_numpy(precision().astype(np.float32))

    def forward(self, x: Tensor, valid: Tensor, spread: Tensor, conditions: Tensor) -> Tensor:
        hole = (valid <= 0).expand_as(x)

        def pull(field: Tensor) -> Tensor:
            with torch.autocast(
                field.device.type, enabled=False
            ):  # what is known is applied in single precision
                made = (field.flatten(2) @ self.precision).reshape(field.shape)
            return torch.where(hole, made, 0.0)

        residual = -pull(x)
        taken: list[tuple[Tensor, Tensor]] = []  # directions of energy one, and P times them
        for _ in range(self.STEPS):
            better = self.network(spread.square() * residual, valid, spread, conditions).float()
            along = torch.where(hole, better, 0.0)
            moved = pull(along)
            for before, pulled in taken:
                share = _dot(along, pulled)
                along, moved = along - share * before, moved - share * pulled
            size = _dot(along, moved).clamp(min=_TINY).rsqrt()
            along, moved = along * size, moved * size
            step = _dot(along, residual)
            x, residual = x + step * along, residual - step * moved
            taken.append((along, moved))
        return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)
