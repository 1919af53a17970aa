"""Training throughput of unet128, one channel: this package against a plain partial convolution and bare convolutions.

python benchmarks/training.py -o benchmarks/results/training_unet128.json

All variants take the same batch, weights and loss (valid, hole, total variation; no VGG), forward, backward and
optimizer step, in turns in one process, so that what else the machine does hits all alike. `plain` is the layer of the
reference implementations: a mask with as many channels as the features, counted by a second convolution with weights
of one, in fp32. `bare` is the same stack of convolutions without masks, norms and activations.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cmbinpaint.nn.losses import WeightedLoss
from cmbinpaint.nn.unet import PRESETS, PConvUNet
from cmbinpaint.training.data.shapes import draw_mask

LOSS = WeightedLoss({"valid": 1.0, "hole": 6.0, "total_variation": 0.1})


class PlainPConv(nn.Module):
    """Partial convolution with a mask for each channel (Liu et al. 2018, eq. 1-2), as plain as it is written."""

    def __init__(self, ins: int, outs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ins, outs, kernel, stride, kernel // 2)
        self.register_buffer("ones", torch.ones(outs, ins, kernel, kernel))
        self.options = {"stride": stride, "padding": kernel // 2}

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            count = functional.conv2d(mask, self.ones, **self.options)
            seen = (count > 0).float()
            ratio = self.ones[0].numel() / (count + 1e-8) * seen
        y = functional.conv2d(x * mask, self.conv.weight, None, **self.options) * ratio
        return y + self.conv.bias.view(1, -1, 1, 1) * seen, seen


class PlainUNet(nn.Module):
    """CoMBInE's U-Net of `PlainPConv`."""

    def __init__(self) -> None:
        super().__init__()
        encoder, decoder = PRESETS["unet128"]["encoder"], PRESETS["unet128"]["decoder"]
        widths = [1, *(w for w, _ in encoder)]
        self.encoder = nn.ModuleList(PlainPConv(widths[i], w, k, 2) for i, (w, k) in enumerate(encoder))
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(w) if i else nn.Identity() for i, (w, _) in enumerate(encoder)
        )
        outs = [*decoder, 1]
        below = [widths[-1], *decoder]
        self.decoder = nn.ModuleList(
            PlainPConv(b + s, o, 3, 1) for b, s, o in zip(below, widths[-2::-1], outs, strict=True)
        )
        self.denorms = nn.ModuleList(nn.BatchNorm2d(o) for o in decoder)
        self.last = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        skips = [(x, mask)]
        for conv, norm in zip(self.encoder, self.norms, strict=True):
            y, m = conv(*skips[-1])
            skips.append((functional.relu(norm(y)), m))
        u, m = skips.pop()
        for level, conv in enumerate(self.decoder):
            above, m_above = skips.pop()
            u = torch.cat([functional.interpolate(u, scale_factor=2), above], 1)
            m = torch.cat([functional.interpolate(m, scale_factor=2), m_above], 1)
            u, m = conv(u, m)
            if level < len(self.denorms):
                u = functional.leaky_relu(self.denorms[level](u), 0.2)
        return self.last(u)


class BareConvolutions(nn.Module):
    """The same convolutions on inputs of the same shapes, each apart: what the hardware gives."""

    def __init__(self, batch: int, side: int) -> None:
        super().__init__()
        shapes, layers = [], []
        plain = PlainUNet()
        size = side
        for layer in plain.encoder:
            shapes.append((batch, layer.conv.in_channels, size, size))
            layers.append(nn.Conv2d(*_sizes(layer.conv), stride=2, padding=layer.conv.padding))
            size //= 2
        for layer in plain.decoder:
            size *= 2
            shapes.append((batch, layer.conv.in_channels, size, size))
            layers.append(nn.Conv2d(*_sizes(layer.conv), padding=1))
        self.layers = nn.ModuleList(layers)
        self.inputs = [
            torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_(shape[1] > 1)
            for shape in shapes
        ]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.stack(
            [layer(u).float().sum() for layer, u in zip(self.layers, self.inputs, strict=True)]
        )


def _sizes(conv: nn.Conv2d) -> tuple[int, int, int]:
    return conv.in_channels, conv.out_channels, conv.kernel_size[0]


def stepper(model: nn.Module, batch: dict[str, Tensor], *, bf16: bool) -> Callable[[], None]:
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    bare = isinstance(model, BareConvolutions)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(batch["x"], batch["valid"])
        loss = out.sum() if bare else LOSS(out, batch["truth"], {"valid": batch["valid"]})
        loss.backward()
        if not bare:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--batch", type=int, default=3, help="patches (CoMBInE's old data set: 3, the new one: 16)"
    )
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    valid = torch.from_numpy(
        np.stack([draw_mask(args.side, rng) for _ in range(args.batch)])[:, None]
    ).float()
    truth = torch.randn(args.batch, 1, args.side, args.side)
    layout = {"memory_format": torch.channels_last}
    batch = {"x": (truth * valid).contiguous(**layout), "valid": valid.contiguous(**layout), "truth": truth}
    variants = {
        "ours, fp32": stepper(PConvUNet.from_preset("unet128"), batch, bf16=False),
        "ours, bf16": stepper(PConvUNet.from_preset("unet128"), batch, bf16=True),
        "plain, fp32": stepper(PlainUNet(), batch, bf16=False),
        "bare, fp32": stepper(BareConvolutions(args.batch, args.side), batch, bf16=False),
        "bare, bf16": stepper(BareConvolutions(args.batch, args.side), batch, bf16=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(args.rounds + 1):
        for name, step in variants.items():
            start = time.perf_counter()
            step()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    rate = {name: args.batch / float(np.median(times)) for name, times in seconds.items()}
    best = {name: args.batch / min(times) for name, times in seconds.items()}
    result = {
        "what": "training throughput of unet128, one channel, patches per second (median; best of the rounds)",
        "options": {k: v for k, v in vars(args).items() if k != "output"},
        "patches_per_s": rate,
        "best_patches_per_s": best,
        "over_plain": {name: rate[name] / rate["plain, fp32"] for name in ("ours, fp32", "ours, bf16")},
        "share_of_bare": {p: rate[f"ours, {p}"] / rate[f"bare, {p}"] for p in ("fp32", "bf16")},
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "cpu": platform.processor(),
            "torch": torch.__version__,
        },
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
