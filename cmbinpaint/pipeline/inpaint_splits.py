"""Split maps of one sky, filled so that their cross spectrum is that of the sky.

Inputs: splits with independent noise, their masks and noise. Outputs: the same maps without holes.

Filled apart, each split invents its own sky where it has holes, and their cross spectrum lacks its power. Here one draw
of the signal, given all splits, goes into the holes of each, with noise of that split's own: white noise in a hole
knows nothing of the data, and the splits' coadd by inverse variance holds all that they say of the signal.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmbinpaint._machine import one_blas_thread
from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintError, MapError, SpectrumError
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation, realization_rng
from cmbinpaint.problem.noise import noise_of
from cmbinpaint.problem.numbers import is_whole, validate_seed
from cmbinpaint.problem.options import validate_known, validate_types
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.problem import Problem
from cmbinpaint.problem.progress import Clock, Watch
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields

# Where every pixel is observed by some split, steps towards the mean of the signal among uneven noise: each leaves a
# third of the error if noise levels differ by a factor of two.
STEPS_WITHOUT_HOLES = 20


def inpaint_splits(
    splits: Sequence[Any],
    mask: Any = None,
    *,
    noise_std: Sequence[Any] | None = None,
    cl: FloatArray | None = None,
    fwhm: float | None = None,
    beam: FloatArray | None = None,
    n_realizations: int | None = None,
    seed: int | None = None,
    nest: bool = False,
    unit: str | None = None,
    polconv: str | None = None,
    progress: Watch | None = None,
) -> list[Any]:
    """Fill splits of one sky with one realization of its signal, and noise of each split's own.

    Cross spectra of the filled splits are then unbiased, and their differences hold noise alone. Splits that are filled
    apart, by `inpaint_map`, have different skies in their holes: their cross spectrum is too low by up to the fraction
    of the sky that is filled; with one seed for both also their noise is the same there.

    Parameters
    ----------
    splits
        Two maps or more of one nside, unit and Stokes parameters, each as `inpaint_map` takes it, with the same beam,
        calibration and offset, and independent white noise (colored noise would have to be drawn for all together).
    mask
        As in `inpaint_map`, or a plan, for all splits, or a list of one for each: a pixel that one split misses and
        another has is filled with what the other tells of its signal.
    noise_std
        The noise of each split, as in `inpaint_map`, above 0. None: from the splits' products, one level for each.
    cl, fwhm, beam, seed, nest, unit, polconv, progress
        As in `inpaint_map`. The signal is drawn up to 3*nside-1: give `cl` as far.
    n_realizations
        Makes so many fills of each split; None: one.

    Returns
    -------
    list
        For each split its filled map, in the form it came in; with `n_realizations` a leading axis. Observed pixels are
        returned bit for bit. Realization i depends on `seed` and i only.

    Raises
    ------
    MapError, MaskError, SpectrumError
        If the splits do not agree with one another, or something is missing.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> sky, mask = rng.standard_normal(768), np.arange(768) > 60
    >>> splits = [sky + 0.5 * rng.standard_normal(768) for _ in range(2)]
    >>> first, second = inpaint_splits(splits, mask, noise_std=[0.5, 0.5], seed=1)
    >>> bool(np.array_equal(first[mask], splits[0][mask]))
    True
    """
    validate_types(None, None, progress, {"nest": nest})
    validate_known(cl, fwhm, beam, None, None)
    if n_realizations is not None and not is_whole(n_realizations, 1):
        raise CmbInpaintError(
            f"n_realizations is {n_realizations!r}; give 1 or more, or None for one map each"
        )
    base, clock = validate_seed(seed), Clock(progress)
    known = cl is not None or noise_std is not None
    with one_blas_thread():
        problems = _problems(splits, mask, nest=nest, unit=unit, polconv=polconv, assume_microkelvin=known)
        values = [np.where(p.plan.valid, p.sky.values * p.factor, 0.0) for p in problems]
        noise = _levels(noise_std, problems, values)
        coadd, weight = _coadd(problems, values, noise)
        seen = weight > 0
        whole = Problem.make(coadd, seen, unit=problems[0].work_unit, assume_microkelvin=known)
        # Where nothing is observed no noise is read.
        std = np.where(seen, 1 / np.sqrt(np.where(seen, weight, 1.0)), 1.0)
        with clock.stage("sky model"):
            model = whole.assume_sky(cl=cl, fwhm=fwhm, beam=beam, noise_std=std, whole=True)
        with clock.stage("plan"):
            signals = _Signals(whole, model)
        made: list[list[FloatArray]] = [[] for _ in problems]
        for index in range(n_realizations or 1):
            rng = realization_rng(base, index)
            signal = signals.draw(rng, progress)
            for maps, problem, level in zip(made, problems, noise, strict=True):
                maps.append((signal + level * rng.standard_normal(signal.shape)) / problem.factor)
    return [
        problem.sky.to_user_format(np.stack(maps) if n_realizations else maps[0], problem.plan.targets)
        for problem, maps in zip(problems, made, strict=True)
    ]


def _problems(splits: Sequence[Any], mask: Any, **options: Any) -> list[Problem]:
    """Validate each split with its mask, and that they are maps of one sky."""
    if isinstance(splits, str | bytes) or not np.iterable(splits) or len(splits) < 2:
        raise MapError("splits are two maps of one sky or more: inpaint_splits([a, b], mask)")
    masks = list(mask) if isinstance(mask, list | tuple) else [mask] * len(splits)
    if len(masks) != len(splits):
        raise MapError(
            f"{len(splits)} splits and {len(masks)} masks were given; give one mask for all, or one each"
        )
    problems = []
    for sky, one in zip(splits, masks, strict=True):
        name = "plan" if isinstance(one, InpaintingPlan) else "mask"
        problems.append(Problem.make(sky, **{name: one}, **options))
    first = problems[0]
    for i, j in itertools.combinations(range(len(problems)), 2):
        if _is_same(problems[i], problems[j]):
            raise MapError(
                f"splits {i + 1} and {j + 1} are the same map; splits have independent noise: give others"
            )
    for i, other in enumerate(problems[1:], start=2):
        for what, a, b in (
            ("nside", first.plan.nside, other.plan.nside),
            ("Stokes parameters", ", ".join(first.fields.stokes), ", ".join(other.fields.stokes)),
            ("unit", first.work_unit, other.work_unit),
        ):
            if a != b:
                raise MapError(f"splits are of one sky: the first has {what} {a}, split {i} has {b}")
    if first.constant is not None:
        raise MapError("the first split is constant; splits are maps with independent noise")
    return problems


def _is_same(a: Problem, b: Problem) -> bool:
    """Whether two maps are equal where both have data."""
    if a.plan.valid.shape != b.plan.valid.shape:
        return False
    both = a.plan.valid & b.plan.valid
    return bool(both.any() and np.array_equal(a.sky.values[both], b.sky.values[both]))


def _levels(noise_std: Any, problems: list[Problem], values: list[FloatArray]) -> list[FloatArray]:
    """The noise of each pixel of each split, of the maps' shape."""
    if noise_std is None:
        noise_std = _measured(problems, values)
    if not isinstance(noise_std, list | tuple | np.ndarray) or len(noise_std) != len(problems):
        raise SpectrumError(f"noise_std is to be a list of the noise of each of the {len(problems)} splits")
    levels = [noise_of(one, p.plan, nest=p.nest) for one, p in zip(noise_std, problems, strict=True)]
    full = []
    for number, (level, problem) in enumerate(zip(levels, problems, strict=True), start=1):
        std = np.asarray(level, dtype=np.float64)
        if std.ndim == 1 and problem.fields is not Fields.T:
            std = std[:, None]
        std = np.broadcast_to(std, problem.plan.valid.shape)
        if not np.all(std[problem.plan.valid] > 0):
            raise SpectrumError(
                f"the noise of split {number} is 0 in data; two splits differ by noise: give its level"
            )
        full.append(std)
    return full


def _measured(problems: list[Problem], values: list[FloatArray]) -> list[Any]:
    """(k,) the noise of each split: its mean square, less its products with the others, where both are observed."""
    levels = []
    for i, (own, problem) in enumerate(zip(values, problems, strict=True)):
        found = []
        for j in (j for j in range(len(values)) if j != i):
            both = problem.plan.valid & problems[j].plan.valid
            if not both.any(axis=-1).all():
                raise SpectrumError(
                    f"splits {i + 1} and {j + 1} have no pixel in common to measure noise; give noise_std"
                )
            a, b = (_centered(sky, both) for sky in (own, values[j]))
            found.append(np.sum(a * (a - b), axis=-1) / np.count_nonzero(both, axis=-1))
        variance = np.atleast_1d(np.mean(found, axis=0))
        if not np.all(variance > 0):
            raise SpectrumError(f"no noise is seen in split {i + 1}: are the splits one map? Give noise_std")
        if problem.fields is not Fields.T:
            variance[-2:] = variance[-2:].mean()
        levels.append(np.sqrt(variance) if problem.fields is not Fields.T else np.sqrt(variance)[0])
    return levels


def _centered(sky: FloatArray, seen: BoolArray) -> FloatArray:
    """The map less its mean where it is seen, 0 elsewhere."""
    mean = np.sum(sky, axis=-1, where=seen, keepdims=True) / np.count_nonzero(seen, axis=-1, keepdims=True)
    return np.where(seen, sky - mean, 0.0)


def _coadd(
    problems: list[Problem], values: list[FloatArray], noise: list[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """The mean of the splits by inverse variance, and its own, both 0 where no split has data."""
    total, weight = np.zeros(values[0].shape), np.zeros(values[0].shape)
    for problem, sky, level in zip(problems, values, noise, strict=True):
        one = np.divide(1.0, np.square(level), out=np.zeros(level.shape), where=problem.plan.valid)
        total += one * sky
        weight += one
    return np.divide(total, weight, out=total, where=weight > 0), weight


class _Signals:
    """Draws of the signal, given the coadd of the splits."""

    def __init__(self, coadd: Problem, sky_model: SkyModel) -> None:
        self._coadd, self._model = coadd, sky_model
        self._solver = GaussianSolver(coadd.plan.valid, sky_model)

    def draw(self, rng: np.random.Generator, watch: Watch | None) -> FloatArray:
        """The signal in all pixels, in the unit of the work, monopole and dipole in."""
        simulated, noise = draw_observation(self._model, rng)
        valid = self._coadd.plan.valid
        difference = np.where(valid, self._coadd.observed - simulated - noise, 0.0)
        if valid.all():
            steps = STEPS_WITHOUT_HOLES
            solution = self._solver.solve(
                difference, start=difference, steps=steps, watch=watch, overwrite=True
            )
        else:
            solution = self._solver.solve(difference, watch=watch, overwrite=True)
        return self._coadd.to_map(simulated + solution.mean)
