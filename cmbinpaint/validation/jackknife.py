"""Figures from independent skies, with errors that come from the skies themselves.

Inputs: samples, skies along the first axis. Outputs: `Estimate`s.

A figure is a function of means over skies (a ratio of mean squares, say); its standard error is the jackknife's
(Efron & Stein 1981, Ann. Stat. 9, 586), which needs no model of how numerator and denominator are correlated.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from cmbinpaint._types import FloatArray


class Estimate(NamedTuple):
    """Values and their standard errors, of one shape; errors are NaN where one sky is all there is."""

    value: FloatArray
    error: FloatArray


def jackknife(statistic: Callable[..., FloatArray], *samples: Any) -> Estimate:
    """A function of means over skies, and its standard error.

    Parameters
    ----------
    statistic
        Takes the mean of each sample; works along leading axes too, as numpy's functions do.
    samples
        (n_skies, ...) each.
    """
    arrays = [np.asarray(sample, dtype=np.float64) for sample in samples]
    n = arrays[0].shape[0]
    value = np.asarray(statistic(*(a.mean(axis=0) for a in arrays)))
    if n < 2:
        return Estimate(value, np.full(value.shape, np.nan))
    without = np.asarray(statistic(*((a.sum(axis=0) - a) / (n - 1) for a in arrays)))
    squares = np.square(without - without.mean(axis=0)).sum(axis=0)
    return Estimate(value, np.sqrt(squares * (n - 1) / n))


def ratio_of_means(top: Any, bottom: Any) -> Estimate:
    """The mean of one sample over the mean of another; NaN where that is 0."""
    return jackknife(_ratio, top, bottom)


def rms_ratio(top: Any, bottom: Any) -> Estimate:
    """The root of the ratio of two samples of mean squares."""
    return jackknife(lambda a, b: np.sqrt(_ratio(a, b)), top, bottom)


def mean(sample: Any) -> Estimate:
    """The mean over skies."""
    return jackknife(lambda a: a, sample)


def stack_estimates(estimates: Sequence[Estimate]) -> Estimate:
    """Estimates of one shape along a new first axis."""
    return Estimate(*(np.stack(parts) for parts in zip(*estimates, strict=True)))


def _ratio(top: FloatArray, bottom: FloatArray) -> FloatArray:
    bottom = np.asarray(bottom)
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom != 0)
