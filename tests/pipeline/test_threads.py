"""The same call gives the same bits, whatever the threads; a forked child fills maps as its parent did."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import hashlib, os, sys, time, warnings
import numpy as np
from cmbinpaint import inpaint_map
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.sims import fiducial_cl, simulate_sky
warnings.simplefilter("ignore", CmbInpaintWarning)
cl = fiducial_cl(150)
sky = simulate_sky(cl, 64, fwhm=0.05, noise_std=3.0, seed=0, lmax=150)
mask = np.abs(np.arange(sky.size) / sky.size - 0.5) > 0.1
def fill(**known):
    return hashlib.sha256(inpaint_map(sky, mask, seed=1, **known).tobytes()).hexdigest()[:16]
"""


def run(code: str, threads: int) -> list[str]:
    """What the code prints in a process of so many threads, after the script."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + code],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.split()


def test_the_same_call_gives_the_same_bits_for_any_number_of_threads() -> None:
    code = "print(*(fill() for _ in range(3)), *(fill(cl=cl, fwhm=0.05, noise_std=3.0) for _ in range(3)))"
    first, *others = (run(code, threads) for threads in (1, 2, 4))
    assert first == others[0] == others[1]
    assert len(set(first[:3])) == len(set(first[3:])) == 1 and first[0] != first[3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_fills_a_map_after_its_parent_did() -> None:
    code = """
known = dict(cl=cl, fwhm=0.05, noise_std=3.0)
print(fill(**known), flush=True)
child = os.fork()
if child == 0:
    print(fill(**known), flush=True)
    os._exit(0)
end = time.monotonic() + 120
while os.waitpid(child, os.WNOHANG)[0] == 0:
    if time.monotonic() > end:
        os.kill(child, 9)
        sys.exit("the child stands still")
    time.sleep(0.05)
"""
    parent, child = run(code, 2)
    assert parent == child
