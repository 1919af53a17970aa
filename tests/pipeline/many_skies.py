"""Skies for tests of many maps, as functions of an index that other processes can import."""

import os
import signal
from functools import cache
from pathlib import Path

import healpy as hp
import numpy as np

from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky

NSIDE, FWHM, NOISE = 8, 0.3, 3.0
NPIX = 12 * NSIDE**2
CL = fiducial_cl(3 * NSIDE - 1)
MASK = np.abs(hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1]) > 15
MODEL = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=NOISE)
N = 6


@cache
def sky(i: int) -> np.ndarray:
    return simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, noise_std=NOISE, seed=i)


def one_is_bad(i: int) -> np.ndarray:
    return sky(i)[:700] if i == 2 else sky(i)


def one_kills(i: int) -> np.ndarray:
    if i == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return sky(i)


class OneKillsOnce:
    """The first process that meets map 3 dies, and leaves a file that says so."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __call__(self, i: int) -> np.ndarray:
        if i == 3 and not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return sky(i)
