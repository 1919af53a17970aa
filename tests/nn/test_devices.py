"""Devices by name, and whether they compute in bfloat16."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cmbinpaint.errors import DeviceError
from cmbinpaint.nn.devices import computes_bf16, find_device


def test_an_absent_device_lists_those_there() -> None:
    assert find_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="device 'cuda:99' is not available; use 'auto' or one of: cpu"):
        find_device("cuda:99")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the kernel lists no flags of the CPU")
def test_bf16_is_what_the_kernel_says_of_the_cpu() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    assert computes_bf16(torch.device("cpu")) == ("avx512_bf16" in flags or "amx_bf16" in flags)
    assert not computes_bf16(torch.device("meta"))


FORK = """
import os, time
import torch
from cmbinpaint.nn.devices import find_device
from cmbinpaint.nn.unet import PConvUNet
network = PConvUNet(1, ((16, 5), (16, 3)), (16,)).to(find_device("cpu"))
torch.set_num_threads(2)
x, valid = torch.randn(2, 1, 64, 64), (torch.rand(2, 1, 64, 64) > 0.3).float()
def work():
    network(x, valid).sum().backward()
work()
child = os.fork()
if child == 0:
    work()
    os._exit(7)
until = time.monotonic() + 30
while time.monotonic() < until:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        print("the child ended with", os.waitstatus_to_exitcode(status))
        break
    time.sleep(0.05)
else:
    os.kill(child, 9)
    print("the child stands still")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_computes_after_its_parent_did() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "the child ended with 7\n"
