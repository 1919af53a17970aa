"""The linear family: linear in the data, non-linear in the mask (the idea of Münchmeyer & Smith 2019).

Inputs: a field with a first guess in its holes, the mask, the guess's spread. Outputs: the field with better holes.

The optimal fill of a Gaussian field is linear in the data; only its coefficients depend, in a complicated way, on
the mask and the sky model. So the data path has convolutions and no activation, bias or norm, and each of its layers
is multiplied by gates from an ordinary network that sees the mask, the spread and the conditions, never the data:

    u_{i+1} = gate_i(mask, spread, conditions) * PConv_i(u_i)
    prediction = x + (1 - mask) * spread * u_last

where `x` is the data with the kriged guess in its holes and `spread` the guess's standard deviation, both known
before any network runs. Partial convolutions (Liu et al. 2018) keep holes and the patch's border out of the sums.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint.errors import WeightsError
from cmbinpaint.nn.inputs import N_CONDITIONS
from cmbinpaint.nn.pconv import PartialConv2d

_SPREAD_FLOOR = 1e-3  # of the field's rms; far below what any noise leaves


class LinearUNet(nn.Module):
    """A U-Net of partial convolutions, linear in the data, gated by the mask.

    Parameters
    ----------
    widths
        Channels of the data path at 1/2, 1/4, ... of the patch's resolution.
    gate_widths
        Channels of the gating network at the same levels.
    n_conditions
        Length of the vector of conditions (`cmbinpaint.nn.inputs.conditions`).
    head_width
        Channels at full resolution, before the last convolution.

    References
    ----------
    Münchmeyer & Smith 2019, arXiv:1905.05846; Liu et al. 2018, arXiv:1804.07723, eq. 1-2.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 48, 96, 128, 128),
        gate_widths: Sequence[int] = (16, 24, 48, 64, 64),
        n_conditions: int = N_CONDITIONS,
        head_width: int = 4,
    ) -> None:
        super().__init__()
        if len(widths) != len(gate_widths):
            raise WeightsError(
                f"{len(widths)} widths but {len(gate_widths)} gate widths; give one of each a level"
            )
        self.factor = 2 ** len(widths)
        self.gates = GateNet(gate_widths, widths, n_conditions, head_width)
        ins = [0, *widths[:-1]]
        self.stem = PartialConv2d((1, 1), widths[0], 5, stride=2, bias=False)
        self.downs = nn.ModuleList(
            [nn.Identity()] + [_conv(i, o, stride=2) for i, o in zip(ins[1:], widths[1:], strict=True)]
        )
        self.encoders = nn.ModuleList([_conv(w, w, gain=0.3) for w in widths])
        below = [*widths[1:], 0]
        self.merges = nn.ModuleList([_conv(b + w, w) for b, w in zip(below, widths, strict=True)])
        self.decoders = nn.ModuleList([_conv(w, w, gain=0.3) for w in widths])
        self.narrow = nn.Conv2d(widths[0], 2 * head_width, 1, bias=False)
        self.head = PartialConv2d((2 * head_width, 1, 1), head_width, 3, bias=False)
        self.last = nn.Conv2d(head_width, 1, 1, bias=False)
        nn.init.zeros_(self.last.weight)  # training starts from the guess itself

    def forward(self, x: Tensor, valid: Tensor, spread: Tensor, conditions: Tensor) -> Tensor:
        """Improve the guess in the holes.

        Parameters
        ----------
        x
            (B, R, H, W): R fields that share a mask, over their rms, a guess in the holes.
        valid
            (B, 1, H, W): 1 where observed, 0 in holes.
        spread
            (B, 1, H, W): the guess's standard deviation over the rms; not read where valid.
        conditions
            (B, n_conditions).

        Returns
        -------
        Tensor
            (B, R, H, W): `x` where valid, the prediction in the holes.
        """
        batch, n_fields, height, width = x.shape
        if height % self.factor or width % self.factor:
            raise WeightsError(
                f"patches of {height}x{width} px; this network needs multiples of {self.factor}"
            )
        hole = 1 - valid
        spread = torch.where(valid > 0, 0.0, spread.clamp(min=_SPREAD_FLOOR))
        gates = self.gates(valid, spread, conditions)
        u = self._correction(detrended(x).reshape(batch * n_fields, 1, height, width), valid, gates)
        return x + hole * spread * u.reshape(batch, n_fields, height, width)

    def _correction(self, x: Tensor, valid: Tensor, gates: dict[str, Tensor]) -> Tensor:
        valid = valid.repeat_interleave(x.shape[0] // valid.shape[0], 0)
        ones = torch.ones_like(valid)
        masks = torch.cat([valid, ones], 1)
        u, _ = self.stem(torch.cat([x, x], 1), masks)
        skips = []
        for level, (down, encode) in enumerate(zip(self.downs, self.encoders, strict=True)):
            if level:
                u = down(u)
            u = _gated(gates[f"down{level}"], u)
            u = u + _gated(gates[f"encode{level}"], encode(u))
            skips.append(u)
        u = skips.pop()
        for level in reversed(range(len(self.merges))):
            if level < len(self.merges) - 1:
                u = torch.cat([_up(u), skips.pop()], 1)
            u = _gated(gates[f"merge{level}"], self.merges[level](u))
            u = u + _gated(gates[f"decode{level}"], self.decoders[level](u))
        u = _up(self.narrow(u))
        u, _ = self.head(torch.cat([u, x, x], 1), torch.cat([ones, masks], 1))
        return self.last(_gated(gates["head"], u))


class GateNet(nn.Module):
    """The ordinary U-Net that sees the mask and the sky model and sets the data path's gates."""

    def __init__(
        self, widths: Sequence[int], data_widths: Sequence[int], n_conditions: int, head: int
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(n_conditions, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        ins = [3, *widths[:-1]]
        self.downs = nn.ModuleList(
            [_conv(i, o, stride=2, kernel=5 if i == 3 else 3) for i, o in zip(ins, widths, strict=True)]
        )
        self.styles = nn.ModuleList([nn.Linear(64, 2 * w) for w in widths])
        below = [*widths[1:], 0]
        self.merges = nn.ModuleList([_conv(b + w, w) for b, w in zip(below, widths, strict=True)])
        self.heads = nn.ModuleDict()
        for level, (w, c) in enumerate(zip(widths, data_widths, strict=True)):
            for name in ("down", "encode", "merge", "decode"):
                self.heads[f"{name}{level}"] = _gate_head(w, c)
        self.fine = nn.Conv2d(widths[0] + 3, 16, 3, padding=1)
        self.heads["head"] = _gate_head(16, head)

    def forward(self, valid: Tensor, spread: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Gates by layer name, each (B, C, h, w) at its layer's resolution."""
        known = torch.cat([valid, spread, torch.log10(spread + _SPREAD_FLOOR) / 3 + 1], 1)
        style = self.embed(conditions)
        gates: dict[str, Tensor] = {}
        skips = []
        g = known
        for level, (down, styling) in enumerate(zip(self.downs, self.styles, strict=True)):
            scale, shift = styling(style)[:, :, None, None].chunk(2, 1)
            g = functional.silu(down(g) * (1 + scale) + shift)
            skips.append(g)
            for name in ("down", "encode"):
                gates[f"{name}{level}"] = _bounded(self.heads[f"{name}{level}"](g))
        g = skips.pop()
        for level in reversed(range(len(self.merges))):
            if level < len(self.merges) - 1:
                g = torch.cat([_up(g), skips.pop()], 1)
            g = functional.silu(self.merges[level](g))
            for name in ("merge", "decode"):
                gates[f"{name}{level}"] = _bounded(self.heads[f"{name}{level}"](g))
        fine = functional.silu(self.fine(torch.cat([_up(g), known], 1)))
        gates["head"] = _bounded(self.heads["head"](fine))
        return gates


def _gate_head(ins: int, outs: int) -> nn.Conv2d:
    """Gates start at 1 almost everywhere: training starts from an ordinary linear network."""
    head = nn.Conv2d(ins, outs, 1)
    nn.init.normal_(head.weight, std=1e-2)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return head


def _bounded(logits: Tensor) -> Tensor:
    """A gate between -1 and 3, 1 at zero: unbounded gates of nine layers multiplied make training diverge."""
    return 1 + 2 * torch.tanh(logits / 2)


def _conv(ins: int, outs: int, *, stride: int = 1, kernel: int = 3, gain: float = 0.7) -> nn.Conv2d:
    conv = nn.Conv2d(ins, outs, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.normal_(conv.weight, std=gain / (ins * kernel**2) ** 0.5)
    return conv


def detrended(x: Tensor) -> Tensor:
    """`x` (B, R, H, W) without its mean and gradient: both go through from guess to prediction unchanged."""
    height, width = x.shape[-2:]
    row = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None]
    col = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype)[None, :]
    x = x - x.mean((-2, -1), keepdim=True)
    for slope in (row, col):
        x = x - slope * ((x * slope).mean((-2, -1), keepdim=True) / slope.square().mean())
    return x


def _gated(gate: Tensor, u: Tensor) -> Tensor:
    """Multiply each mask's gates into all of its fields: (B, C, h, w) by (B R, C, h, w)."""
    batch = gate.shape[0]
    return (u.unflatten(0, (batch, -1)) * gate[:, None]).flatten(0, 1)


def _up(u: Tensor) -> Tensor:
    return functional.interpolate(u, scale_factor=2, mode="nearest")
