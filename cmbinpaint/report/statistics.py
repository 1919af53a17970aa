"""Numbers about the values in holes: their distribution beside the observed sky's, and by depth.

Inputs: the maps of a report. Outputs: `OnePoint`, `DepthRow`.
"""

from dataclasses import dataclass

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.report.fields import Maps
from cmbinpaint.validation.depths import DepthBins

_SPAN = 4.5  # of the histogram, in standard deviations of the observed sky
_FEWEST_BINS, _MOST_BINS = 12, 60
_PIXELS_PER_BIN = 50  # in the holes, on average


@dataclass(frozen=True)
class Moments:
    """Of one set of pixels: how many, mean and standard deviation in the map's unit, skewness, excess kurtosis."""

    n: int
    mean: float
    std: float
    skewness: float
    kurtosis: float

    @classmethod
    def of(cls, values: FloatArray) -> "Moments":
        """Moments of (n,) values; higher ones of a constant are 0."""
        mean, std = float(values.mean()), float(values.std())
        scaled = (values - mean) / (std or 1.0)
        kurtosis = float(np.mean(scaled**4)) - 3.0 if std else 0.0
        return cls(int(values.size), mean, std, float(np.mean(scaled**3)), kurtosis)


@dataclass(frozen=True, eq=False)
class OnePoint:
    """Distributions of temperatures, about the mean of the observed sky.

    Attributes
    ----------
    edges
        (n+1,) of the bins.
    densities
        Name to (n,) probability density, 1 over the unit: `"observed"`, `"filled"`, and `"target"` in the same holes
        where it is known. Values beyond the edges are counted in no bin, but in the norm.
    moments
        The same names to `Moments`.
    """

    edges: FloatArray
    densities: dict[str, FloatArray]
    moments: dict[str, Moments]

    @property
    def gaussian(self) -> FloatArray:
        """(n,) the density at the bins' centers of a Gaussian as wide as the observed sky."""
        seen = self.moments["observed"]
        x = (0.5 * (self.edges[1:] + self.edges[:-1]) - seen.mean) / (seen.std or 1.0)
        return np.exp(-0.5 * x**2) / (np.sqrt(2 * np.pi) * (seen.std or 1.0))

    @classmethod
    def of(cls, maps: Maps, valid: BoolArray, offset: float) -> "OnePoint":
        """Compare the holes with the pixels used as data, with `offset` subtracted from both."""
        parts = {"observed": maps.before[valid] - offset, "filled": maps.filled[maps.holes] - offset}
        if maps.target is not None:
            parts["target"] = maps.target[maps.holes] - offset
        moments = {name: Moments.of(values) for name, values in parts.items()}
        span = _SPAN * (moments["observed"].std or 1.0)
        n = int(np.clip(moments["filled"].n // _PIXELS_PER_BIN, _FEWEST_BINS, _MOST_BINS))
        edges = np.linspace(-span, span, n + 1)
        densities = {
            name: np.histogram(values, edges)[0] / (values.size * (edges[1] - edges[0]))
            for name, values in parts.items()
        }
        return cls(edges, densities, moments)


@dataclass(frozen=True)
class DepthRow:
    """Filled pixels of one depth: how many, and root mean squares in the map's unit; None where not known.

    Attributes
    ----------
    depth
        The bin in words, pixels.
    n_pixels
        In it.
    filled, target
        Rms of the filled values and of the target's, about the observed mean.
    difference
        Rms of filled less target.
    error
        Rms of the error map.
    """

    depth: str
    n_pixels: int
    filled: float
    target: float | None
    difference: float | None
    error: float | None


def depth_rows(maps: Maps, plan: InpaintingPlan, offset: float) -> tuple[DepthRow, ...]:
    """Return a row for each bin of depth that holds pixels."""
    bins = DepthBins.of(plan)

    def rms(values: FloatArray | None) -> list[float | None]:
        return [None] * bins.n if values is None else np.sqrt(bins.mean(np.square(values))).tolist()

    filled = bins.at(maps.filled) - offset
    target = None if maps.target is None else bins.at(maps.target) - offset
    error = None if maps.error is None else bins.at(maps.error)
    difference = None if target is None else filled - target
    with np.errstate(invalid="ignore"):
        columns = [bins.labels, bins.counts.tolist(), *map(rms, (filled, target, difference, error))]
    return tuple(DepthRow(*row) for row in zip(*columns, strict=True) if row[1])
