"""The hole pixels' approximate distribution under a sky model.

Inputs: a mask and a sky model. Outputs: `HoleFactor`, and the signal's standard deviation at each depth.
"""

from collections.abc import Sequence

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.gaussian.conditioning_sets import NEAREST
from cmbinpaint.gaussian.pixel_noise import floored_noise, signal_rms
from cmbinpaint.gaussian.vecchia import HoleFactor, factor_holes
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.sims.sky_model import SkyModel

# Draws of the hole pixels that give the standard deviation of a bin (bins hold many pixels), and their seed.
_DRAWS, _DRAW_SEED = 8, 0
# Least standard deviation of the signal, over the noise, that is reported.
_LEAST_STD = 0.1


def hole_factor(
    valid: BoolArray,
    sky_model: SkyModel,
    *,
    nearest: int = NEAREST,
    targets: BoolArray | None = None,
    quiet: bool = True,
    threads: int | None = None,
) -> HoleFactor:
    """Condition the hole pixels on the data and on one another, coarse to fine.

    Parameters
    ----------
    valid
        (npix,) bool, RING; one pixel at least of either kind.
    sky_model
        Noise below the floor of the solvers is raised to it. A hole pixel's observation has the mean weight of data.
    nearest, targets
        As in `factor_holes`.
    quiet
        Without a warning of noise below the floor, for the solver warns of it itself.
    threads
        None: all available cores.

    Raises
    ------
    SpectrumError
        If there is no signal.
    """
    signal_cl = sky_model.signal_cl
    std = floored_noise(sky_model.noise_std, valid, signal_rms(signal_cl), quiet=quiet)
    in_holes = float(np.mean(1.0 / np.square(std))) ** -0.5
    noise = np.zeros(valid.size)
    noise[valid] = std
    return factor_holes(valid, signal_cl, noise, in_holes, nearest=nearest, targets=targets, threads=threads)


def std_by_depth(factor: HolePosterior, edges: Sequence[float]) -> tuple[AnyArray, FloatArray]:
    """The depth bin of each hole pixel, and the signal's posterior standard deviation in each bin.

    Parameters
    ----------
    factor
        Of the holes.
    edges
        (n,) depths in pixels between the bins.

    Returns
    -------
    bin_of
        (n_holes,) int8.
    std
        (n + 1,) unit; where noise dominates, not below a tenth of it.
    """
    bin_of = np.digitize(factor.depth, edges, right=True).astype(np.int8)
    rng = np.random.default_rng(_DRAW_SEED)
    squares = np.zeros(factor.holes.size)
    for _ in range(_DRAWS):
        squares += np.square(factor.draw(rng))
    count = np.bincount(bin_of, minlength=len(edges) + 1)
    variance = np.bincount(bin_of, weights=squares, minlength=count.size) / np.maximum(count * _DRAWS, 1)
    # Draws hold the noise; where it dominates they cannot show the little that the signal adds.
    return bin_of, np.sqrt(np.maximum(variance - factor.noise_std**2, (_LEAST_STD * factor.noise_std) ** 2))


def bins_of_holes(
    holes: list[IntArray], rms: list[float], temperature: HolePosterior | None, edges: Sequence[float]
) -> tuple[AnyArray, FloatArray]:
    """The bin of each value in a hole, by Stokes parameter and depth, and the signal's posterior std in each bin.

    Parameters
    ----------
    holes
        The hole pixels of each Stokes parameter.
    rms
        The signal's of each: what counts, in one bin for all depths, where there is no factor.
    temperature
        The factor of T, the first of them.
    edges
        Depths in pixels between the bins.
    """
    bins, std, n = [], [], 0
    for i, pixels in enumerate(holes):
        bin_of, level = np.zeros(pixels.size, dtype=np.int8), np.array([rms[i]])
        if i == 0 and temperature is not None:
            bin_of, level = std_by_depth(temperature, edges)
        bins.append(bin_of + n)
        std.append(level)
        n += level.size
    return np.concatenate(bins), np.concatenate(std)
