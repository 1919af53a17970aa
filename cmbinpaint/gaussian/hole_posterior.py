"""The hole pixels' approximate distribution under a sky model.

Inputs: a mask and a sky model. Outputs: `HoleFactor`, or `GivenB` of Q and U; the signal's
standard deviation at each depth.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray
from cmbinpaint.gaussian.conditioning_sets import NEAREST
from cmbinpaint.gaussian.large_scale_b import GivenB, LargeScaleB, large_scale_b
from cmbinpaint.gaussian.pixel_noise import floored_noise, signal_rms, stokes_rms
from cmbinpaint.gaussian.vecchia import HoleFactor, factor_holes
from cmbinpaint.gaussian.vecchia_polarization import factor_polarization
from cmbinpaint.problem.model import HolePosterior
from cmbinpaint.problem.plan import Factors
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields

_Part = TypeVar("_Part", HoleFactor, LargeScaleB)

# Neighbors of Q and U where a pixel's noise exceeds their rms: the solver takes no more steps than with `NEAREST` (at
# nside 128 with noise of 1.6, 3, 8 and 76 times the rms 6, 5, 4, 3 for 7, 5, 4, 3) and the factor weighs half.
_NOISY_NEAREST = 8
# Draws of the hole pixels that give the standard deviation of a bin (bins hold many pixels), and their seed.
_DRAWS, _DRAW_SEED = 8, 0
# Least standard deviation of the signal, over the noise, that is reported.
_LEAST_STD = 0.1


def hole_factor(
    valid: BoolArray,
    sky_model: SkyModel,
    *,
    nearest: int | None = None,
    targets: BoolArray | None = None,
    quiet: bool = True,
    threads: int | None = None,
    kept: Factors | None = None,
) -> HoleFactor:
    """Condition the hole pixels on the data and on one another, coarse to fine.

    Parameters
    ----------
    valid
        (npix,) bool, RING; one pixel at least of either kind.
    sky_model
        Of T, or of Q and U. Noise below the floor of the solvers is raised to it. A hole pixel's observation has the
        mean weight of data.
    nearest, targets
        As in `factor_holes`; None: `NEAREST`, or fewer of Q and U that are mostly noise.
    quiet
        Without a warning of noise below the floor, for the solver warns of it itself.
    threads
        None: all available cores.
    kept
        A plan's factors: one that fits is taken from there, else the one made is put there.

    Raises
    ------
    SpectrumError
        If there is no signal.
    """
    kept = {} if kept is None else kept
    nearest = _neighbors(valid, sky_model) if nearest is None else nearest
    slot, key = f"{sky_model.fields.value}{nearest}", _key(valid, sky_model, targets)
    make = _factor_polarization if sky_model.fields is Fields.QU else _factor_temperature
    return _kept_or_made(kept, slot, key, lambda: make(valid, sky_model, nearest, targets, quiet, threads))


def polarization_posterior(
    valid: BoolArray, sky_model: SkyModel, *, threads: int | None = None, kept: Factors | None = None
) -> HolePosterior:
    """The distribution of Q and U in holes, given what B may be on large scales too; otherwise as `hole_factor`."""
    kept = {} if kept is None else kept
    factor = hole_factor(valid, sky_model, threads=threads, kept=kept)
    slot, key = "B", f"{_key(valid, sky_model, None)} {_neighbors(valid, sky_model)}"

    def make() -> LargeScaleB:
        with np.errstate(over="ignore"):  # data that tell nothing have infinite noise
            noise = [np.mean(np.square(row / factor.noise_std)) for row in _data_noise(valid, sky_model)]
        return large_scale_b(factor, sky_model, float(np.mean(noise)), threads=threads)

    known = _kept_or_made(kept, slot, key, make)
    return GivenB(factor, known, threads=threads) if known.root.size else factor


def part_of_plan(numbers: dict[str, Any], arrays: dict[str, AnyArray]) -> HoleFactor | LargeScaleB:
    """One of a plan's factors, made again from the arrays in its file."""
    return (LargeScaleB if "root" in arrays else HoleFactor).of_arrays(numbers, arrays)


def _kept_or_made(kept: Factors, slot: str, key: str, make: Callable[[], _Part]) -> _Part:
    """What is kept in the slot if it is for this key, else what is made, which takes its place."""
    found = kept.get(slot)
    if found is None or found[0] != key:
        found = kept[slot] = key, make()
    return cast(_Part, found[1])


def _neighbors(valid: BoolArray, sky_model: SkyModel) -> int:
    """How many nearest neighbors each hole pixel has."""
    if sky_model.fields is not Fields.QU:
        return NEAREST
    levels = [np.broadcast_to(level, valid.shape)[valid] for level in np.asarray(sky_model.noise_std)]
    noise = np.mean([np.mean(np.square(level)) for level in levels]) ** 0.5
    return _NOISY_NEAREST if noise > np.mean(stokes_rms(sky_model)) else NEAREST


def _key(valid: BoolArray, sky_model: SkyModel, targets: BoolArray | None) -> str:
    """A hash of what a factor follows from but the number of neighbors."""
    state = hashlib.sha256(sky_model.digest.encode())
    for mask in (valid, targets):
        state.update(b"" if mask is None else np.packbits(mask).tobytes())
    return state.hexdigest()


def _factor_temperature(
    valid: BoolArray, sky_model: SkyModel, nearest: int, targets: BoolArray | None, quiet: bool,
    threads: int | None,
) -> HoleFactor:  # fmt: skip
    signal_cl = sky_model.signal_cl
    std = floored_noise(sky_model.noise_std, valid, signal_rms(signal_cl), quiet=quiet)
    in_holes = float(np.mean(1.0 / np.square(std))) ** -0.5
    if np.ndim(sky_model.noise_std) == 0:
        noise: float | FloatArray = float(std[0])
    else:
        noise = np.zeros(valid.size)
        noise[valid] = std
    del std  # a map's worth of memory
    return factor_holes(valid, signal_cl, noise, in_holes, nearest=nearest, targets=targets, threads=threads)


def _factor_polarization(
    valid: BoolArray, sky_model: SkyModel, nearest: int, targets: BoolArray | None, quiet: bool,
    threads: int | None,
) -> HoleFactor:  # fmt: skip
    noise, weight = np.zeros((2, valid.size)), []
    for row, std in zip(noise, _data_noise(valid, sky_model, quiet=quiet), strict=True):
        row[valid] = std
        weight.append(np.mean(1.0 / np.square(std)))
    in_holes = float(np.mean(weight)) ** -0.5
    return factor_polarization(
        valid, sky_model.signal_cl, noise, in_holes, nearest=nearest, targets=targets, threads=threads
    )


def _data_noise(valid: BoolArray, sky_model: SkyModel, *, quiet: bool = True) -> Iterator[FloatArray]:
    """(n_valid,) noise of the data, of Q, then of U."""
    for level, rms in zip(np.asarray(sky_model.noise_std), stokes_rms(sky_model), strict=True):
        yield floored_noise(level, valid, rms, quiet=quiet)


def std_by_depth(
    factor: HolePosterior, edges: Sequence[float], *, npix: int | None = None
) -> tuple[AnyArray, FloatArray]:
    """The depth bin of each hole pixel, and the signal's posterior standard deviation in each bin.

    Parameters
    ----------
    factor
        Of the holes.
    edges
        (n,) depths in pixels between the bins.
    npix
        Of a factor of Q and U the pixels of a map: each has bins of its own.

    Returns
    -------
    bin_of
        (n_holes,) int8.
    std
        (n + 1,) unit, of Q and U twice as many; where noise dominates, not below a tenth of it.
    """
    n = len(edges) + 1
    bin_of = np.digitize(factor.depth, edges, right=True).astype(np.int8)
    if npix is not None:
        bin_of += (factor.holes // npix * n).astype(np.int8)
    rng = np.random.default_rng(_DRAW_SEED)
    squares = np.zeros(factor.holes.size)
    for _ in range(_DRAWS):
        squares += np.square(factor.draw(rng))
    count = np.bincount(bin_of, minlength=n if npix is None else 2 * n)
    variance = np.bincount(bin_of, weights=squares, minlength=count.size) / np.maximum(count * _DRAWS, 1)
    # Draws hold the noise; where it dominates they cannot show the little that the signal adds.
    return bin_of, np.sqrt(np.maximum(variance - factor.noise_std**2, (_LEAST_STD * factor.noise_std) ** 2))
