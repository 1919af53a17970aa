"""Compute devices by name. Inputs: a name. Outputs: an available torch device.

Whoever imports this may fork: in a child of a process in which torch has computed, OpenMP waits for threads that the
fork did not copy, without end; on one thread it waits for none.
"""

import os

import torch

from cmbinpaint.errors import DeviceError

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def find_device(name: str) -> torch.device:
    """The torch device of that name; ``"auto"`` is the first accelerator, or the CPU.

    Raises
    ------
    DeviceError
        If it is not available; the message lists those that are.
    """
    there = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        return torch.device(there[1] if len(there) > 1 else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in there:
        raise DeviceError(f"device {name!r} is not available; use 'auto' or one of: {', '.join(there)}")
    return torch.device(wanted)


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
