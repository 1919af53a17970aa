"""A small sky, filled, for tests of reports: cheap, and the same for all of them."""

import functools
from typing import NamedTuple

import numpy as np

from cmbinpaint import InpaintInfo, inpaint_map
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims import fiducial_cl, simulate_sky
from tests.validation.worlds import valid_at


class World(NamedTuple):
    """(npix,) maps in µK, RING; (10, npix) fills."""

    plan: InpaintingPlan
    target: np.ndarray
    before: np.ndarray
    fills: np.ndarray
    info: InpaintInfo


@functools.cache
def world(nside: int = 16) -> World:
    """A band, discs and single pixels, ten realizations."""
    target = simulate_sky(fiducial_cl(3 * nside - 1), nside, fwhm=0.15, noise_std=2.0, seed=5)
    valid = valid_at(nside).copy()
    valid[np.arange(7, valid.size, 97)] = False
    before = np.where(valid, target, np.nan)
    plan = InpaintingPlan.from_valid(valid)
    fills, info = inpaint_map(
        before, plan=plan, unit="uK", n_realizations=10, seed=1, model="gaussian", return_info=True
    )
    return World(plan, target, before, fills, info)
