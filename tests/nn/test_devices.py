"""Devices by name, and whether they compute in bfloat16."""

from pathlib import Path

import pytest
import torch

from cmbinpaint.errors import DeviceError
from cmbinpaint.nn.devices import computes_bf16, find_device


def test_an_absent_device_lists_those_there() -> None:
    assert find_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="device 'cuda:99' is not there; use 'auto' or one of: cpu"):
        find_device("cuda:99")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel lists no flags of the CPU")
def test_bf16_is_what_the_kernel_says_of_the_cpu() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    assert computes_bf16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)
    assert not computes_bf16(torch.device("meta"))
