"""Bins of hole depth and of hole width: how far a pixel is from data decides how well it can be filled.

Inputs: an inpainting plan, errors as maps. Outputs: `DepthBins`, mean squares by depth; the width class of each hole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.holes import hole_labels, hole_sizes

# Upper edges in pixels; the last bin is open. Depths of one-pixel holes go from 0.80 to 1.04.
DEPTH_EDGES = (1.3, 2.3, 4.3, 8.3)
# Upper edges of the classes of holes by width, in pixels; a hole of one pixel is 1.13 wide, the last class is open.
WIDTH_EDGES = (1.2, 10.0, 70.0)
HOLE_WIDTHS = ("holes of one pixel", "up to 10 px wide", "up to 70 px wide", "wider holes")


@dataclass(frozen=True, eq=False)
class DepthBins:
    """The targets of a plan, sorted by depth: bin i holds `edges[i-1] < depth <= edges[i]`, the last is open.

    Of several Stokes parameters each has bins of its own, one parameter's after the other's.

    Parameters
    ----------
    pixels
        (n,) int64, RING: the pixels, in ascending order; of maps (k, npix) as if they were one row.
    bin_of
        (n,) int64: the bin of each.
    edges
        Upper edges of all bins but the last, in pixels, ascending and above 0.
    stokes
        The Stokes parameters, one letter each.

    Raises
    ------
    MaskError
        If the edges do not ascend from above 0, or the pixels and bins do not belong together.

    Examples
    --------
    >>> bins = DepthBins(np.array([3, 4, 9]), np.array([0, 1, 1]), (1.3,))
    >>> bins.labels, bins.counts.tolist(), bins.mean(np.array([1.0, 2.0, 4.0])).tolist()
    (('(0, 1.3]', '(1.3, ∞)'), [1, 2], [1.0, 3.0])
    """

    pixels: IntArray
    bin_of: IntArray
    edges: tuple[float, ...] = DEPTH_EDGES
    stokes: str = "T"
    counts: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        edges = tuple(float(edge) for edge in self.edges)
        if not all(a < b for a, b in pairwise((0.0, *edges))):
            raise MaskError(
                f"got depth edges {self.edges!r}; expected pixels in ascending order, all above 0"
            )
        if self.pixels.shape != self.bin_of.shape or self.pixels.ndim != 1:
            raise MaskError(
                f"got {self.pixels.shape} pixels and {self.bin_of.shape} bins; expected a bin for each pixel"
            )
        object.__setattr__(self, "edges", edges)
        if self.bin_of.size and not 0 <= self.bin_of.min() <= self.bin_of.max() < self.n:
            raise MaskError(f"the bins go beyond 0 to {self.n - 1}, which {len(edges)} edges make")
        object.__setattr__(self, "counts", np.bincount(self.bin_of, minlength=self.n))

    @classmethod
    def of(
        cls, plan: InpaintingPlan, edges: Sequence[float] = DEPTH_EDGES, *, within: BoolArray | None = None
    ) -> Self:
        """Sort the targets of a plan, or those of them that lie `within` a bool RING region, as the plan's arrays."""
        chosen = plan.targets if within is None else plan.targets & within
        pixels = np.flatnonzero(chosen)
        bin_of = np.digitize(plan.depth.reshape(-1)[pixels], edges, right=True)
        stokes = Fields.of(len(np.atleast_2d(plan.targets))).stokes
        bin_of += pixels // chosen.shape[-1] * (len(edges) + 1)
        return cls(pixels, bin_of, tuple(edges), stokes)

    @property
    def n(self) -> int:
        """How many bins."""
        return len(self.stokes) * (len(self.edges) + 1)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the bins of one Stokes parameter, depths in pixels: `(0, 1.3]`, ..., `(8.3, ∞)`."""
        limits = ["0", *(f"{edge:g}" for edge in self.edges), "∞"]
        return tuple(f"({low}, {high}{')' if high == '∞' else ']'}" for low, high in pairwise(limits))

    def at(self, sky: FloatArray) -> FloatArray:
        """(n,) the values of a RING map, (npix,) or (k, npix), in `pixels`."""
        return sky.reshape(-1)[self.pixels]

    def mean(self, values: FloatArray) -> FloatArray:
        """Means by bin of values in `pixels`, (n,) to (bins,); NaN in empty bins."""
        total = np.bincount(self.bin_of, weights=values, minlength=self.n)
        return np.divide(total, self.counts, out=np.full(self.n, np.nan), where=self.counts > 0)

    def mean_square(self, sky: FloatArray) -> FloatArray:
        """(bins,) mean squares of a RING map, an error say; NaN in empty bins."""
        return self.mean(np.square(self.at(sky)))


def hole_width_classes(plan: InpaintingPlan) -> IntArray:
    """As the plan's arrays, int64: the class in `HOLE_WIDTHS` of the hole that each target belongs to; -1 elsewhere.

    A hole is as wide as a disc of its area. At nside 128 point sources are up to 10 px wide, extended regions up to 70,
    and the Galactic cut is wider.
    """
    rows = []
    for targets in np.atleast_2d(plan.targets):
        labels = hole_labels(~targets)
        widths = 2 * np.sqrt(hole_sizes(labels) / np.pi)
        classes = np.concatenate([[-1], np.digitize(widths, WIDTH_EDGES, right=True)])
        rows.append(classes[labels].astype(np.int64))
    return np.stack(rows).reshape(plan.targets.shape)
