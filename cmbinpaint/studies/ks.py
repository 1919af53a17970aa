"""Kolmogorov-Smirnov tests of filled pixels, with the null that correlated pixels need.

Inputs: hole pixels of filled and of true skies. Outputs: `KSTest`.

Tabulated probabilities are for independent values. Pixels of a sky are correlated, so true skies fail the table far
too often; here the null is the distance of true skies themselves. A test that finds nothing means little unless it is
known what it would have found: `detectable` is the loss of standard deviation that half of such skies would show.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kstwo

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.validation.sky_statistics import ks_distance

LEVEL = 0.05
_LOSSES = np.linspace(0.0, 0.6, 61)


@dataclass(frozen=True, eq=False)
class KSTest:
    """Distances of skies from the normal distribution of their model.

    Attributes
    ----------
    null
        (m,) of true skies; `limit` is their 95 % point.
    distance
        (n,) of filled ones.
    p
        (n,) fraction of true skies at least as far.
    rejected, rejected_by_table
        Fraction of filled skies beyond the 95 % point of true skies, and beyond the table's.
    true_rejected_by_table
        Fraction of true skies beyond the table's: 5 % if pixels were independent.
    detectable
        Loss of standard deviation of which half of all skies would be beyond the 95 % point; NaN if not below 60 %.
    pixels
        How many of each sky.
    """

    null: FloatArray
    limit: float
    distance: FloatArray
    p: FloatArray
    rejected: float
    rejected_by_table: float
    true_rejected_by_table: float
    detectable: float
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "skies": self.distance.size, "pixels": self.pixels, "mean_distance": float(self.distance.mean()),
            "mean_distance_of_true_skies": float(self.null.mean()), "median_p": float(np.median(self.p)),
            "rejected_at_5_percent": self.rejected, "rejected_by_table": self.rejected_by_table,
            "true_skies_rejected_by_table": self.true_rejected_by_table,
            "detectable_loss_of_std": self.detectable,
        }  # fmt: skip


def ks_test(filled: FloatArray, true: FloatArray) -> KSTest:
    """Test filled skies against true ones.

    Parameters
    ----------
    filled
        (n, pixels) values in holes, over the sky model's standard deviation.
    true
        (m, pixels) the same of true skies, twenty or more.

    Raises
    ------
    CmbInpaintError
        If there are fewer than twenty true skies: their 95 % point is not known.
    """
    if len(true) < round(1 / LEVEL):
        raise CmbInpaintError(
            f"{len(true)} true skies given; the 95 % point of a null needs {round(1 / LEVEL)} or more: ask for more "
            "skies"
        )
    null, distance = (np.array([ks_distance(sky) for sky in skies]) for skies in (true, filled))
    limit = float(np.quantile(null, 1 - LEVEL))
    table = float(kstwo.isf(LEVEL, true.shape[1]))
    return KSTest(
        null=null,
        limit=limit,
        distance=distance,
        p=np.array([(1 + np.sum(null >= d)) / (1 + null.size) for d in distance]),
        rejected=float(np.mean(distance > limit)),
        rejected_by_table=float(np.mean(distance > table)),
        true_rejected_by_table=float(np.mean(null > table)),
        detectable=_detectable(true, limit),
        pixels=int(true.shape[1]),
    )


def _detectable(true: FloatArray, limit: float) -> float:
    """The least loss, to a percent, of which half of all skies lie beyond the limit; found by halving."""

    def shown(loss: float) -> bool:
        return bool(np.mean([ks_distance((1 - loss) * sky) > limit for sky in true]) >= 0.5)

    low, high = 0, _LOSSES.size - 1
    if not shown(_LOSSES[high]):
        return float("nan")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(_LOSSES[middle]) else (middle + 1, high)
    return float(_LOSSES[low])
