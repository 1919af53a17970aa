"""Gross differences: mean and standard deviation of |prediction - target|, on temperatures and on pictures of them.

Inputs: a trained network, targets, masks. Outputs: `DifferenceStudy`.

CoMBInE gives a difference in percent of the target's mean color. That suits pictures, whose values lie in [0, 1] and
have a mean; a temperature fluctuation has mean zero, and a percentage of it would be of any size. Temperatures are
therefore taken over the rms of the field, over all patches of the study: one number, the same for every patch, hole and
checkpoint, in which a fill with zeros scores 80 % (the mean of a Gaussian's absolute value) in large holes.

The regions are: all pixels of the network's own picture, as CoMBInE counts (it redraws observed pixels); the same with
the observed pixels put back, as a map is filled; the holes; and the holes by depth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.problem.progress import Watch
from cmbinpaint.studies.patch_study import check_masks, depth_regions, fills, pictures_of, rows_of, stacked
from cmbinpaint.training.data.planck_colors import LIMIT_uK, render
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import State, Trained

ALL, KEPT, HOLES = "all, as drawn", "all, observed kept", "holes"
KINDS = ("temperature", "rgb")


@dataclass(frozen=True, eq=False)
class Difference:
    """|prediction - target| of n patches in several regions, NaN in regions without pixels.

    Attributes
    ----------
    mean, std
        (n, regions) over the region's pixels (and colors), in µK, or in units of the full scale of a color.
    percent
        (n, regions) the mean in percent: of the field's rms, or of the target's mean color over the whole patch.
    """

    mean: FloatArray
    std: FloatArray
    percent: FloatArray


@dataclass(frozen=True, eq=False)
class DifferenceStudy:
    """Differences at several states of a training, behind several masks, of several patches.

    Attributes
    ----------
    name
        Of the network.
    states, masks
        What the first two axes are; `hole_fraction`: (masks,) fraction of hole pixels.
    regions
        What the last axis is; `pixels`: (masks, regions) how many.
    temperature, rgb
        Each array is (states, masks, patches, regions).
    rms_uK
        What percentages of temperature refer to.
    colors_uK
        Where colors end.
    """

    name: str
    states: tuple[State, ...]
    masks: tuple[str, ...]
    hole_fraction: FloatArray
    regions: tuple[str, ...]
    pixels: FloatArray
    temperature: Difference
    rgb: Difference
    rms_uK: float
    colors_uK: tuple[float, float]

    @property
    def patches(self) -> int:
        """How many patches."""
        return int(self.temperature.mean.shape[2])

    def kind(self, kind: str) -> Difference:
        """The differences of "temperature" or "rgb"."""
        return {"temperature": self.temperature, "rgb": self.rgb}[kind]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each state, mask, region and kind: means over patches, and their scatter between patches.

        `mean` and `std` are those of the pixels of a patch; `mean_scatter` and so on are standard deviations over
        patches, the error bars of CoMBInE's figures (0 for one patch).
        """
        rows = []
        for s, m, head in rows_of(self.states, self.masks):
            for (r, region), kind in product(enumerate(self.regions), KINDS):
                row = {
                    **head, "hole_fraction": float(self.hole_fraction[m]), "region": region,
                    "pixels": int(self.pixels[m, r]), "kind": kind, "patches": self.patches,
                }  # fmt: skip
                for key in ("mean", "std", "percent"):
                    values = getattr(self.kind(kind), key)[s, m, :, r]
                    row[key], row[f"{key}_scatter"] = float(values.mean()), float(values.std())
                rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        """What the numbers refer to."""
        return {
            "network": self.name, "patches": self.patches, "rms_uK": self.rms_uK, "colors_uK": self.colors_uK,
            "percent_of": {"temperature": "the field's rms", "rgb": "the target's mean color"},
            "mean_std_unit": {"temperature": "uK", "rgb": "full scale of a color"},
            "scatter": "standard deviation over patches",
        }  # fmt: skip


def study_differences(
    trained: Trained, targets: Targets, masks: Mapping[str, BoolArray], states: Sequence[State], *,
    colors_uK: tuple[float, float] = (-LIMIT_uK, LIMIT_uK), watch: Watch | None = None,
) -> DifferenceStudy:  # fmt: skip
    """Measure differences of all targets, behind each mask, at each state.

    Parameters
    ----------
    trained, states
        The network, and when.
    targets
        The patches.
    masks
        (side, side) by name, True = observed.
    colors_uK
        Where the colors of the pictures end: T_min and T_max.
    watch
        Called with the `Progress` of the fills.

    Raises
    ------
    MaskError
        If a mask hides all or nothing.
    MapError
        If T_min is not below T_max.
    """
    check_masks(masks)
    pictures = render(targets.truth, *colors_uK)
    rms = float(np.sqrt(np.mean(np.square(targets.truth, dtype=np.float64))))
    mean_color = np.asarray(np.mean(pictures, axis=(1, 2, 3), dtype=np.float64))
    regions = [regions_of(valid) for valid in masks.values()]
    temperature, rgb = [], []
    for i, fill in enumerate(fills(trained, targets, masks, states, watch)):
        drawn, where = pictures_of(fill, colors_uK).astype(np.float64), regions[i % len(masks)]
        difference = np.abs(fill.field_uK - targets.truth)[..., None]
        temperature.append(measure(difference, where, np.full(len(targets), rms)))
        rgb.append(measure(np.abs(drawn - pictures), where, mean_color))
    lead = (len(states), len(masks))
    return DifferenceStudy(
        name=trained.name,
        states=tuple(states),
        masks=tuple(masks),
        hole_fraction=np.array([np.mean(~valid) for valid in masks.values()]),
        regions=tuple(regions[0]),
        pixels=np.array([[np.count_nonzero(region) for region in each.values()] for each in regions]),
        temperature=stacked(temperature, lead),
        rgb=stacked(rgb, lead),
        rms_uK=rms,
        colors_uK=colors_uK,
    )


def regions_of(valid: BoolArray) -> dict[str, BoolArray]:
    """The regions of a study by name, (side, side) each."""
    everywhere = np.ones_like(valid)
    return {ALL: everywhere, KEPT: everywhere, HOLES: ~valid, **depth_regions(valid)}


def measure(difference: FloatArray, regions: Mapping[str, BoolArray], scale: FloatArray) -> Difference:
    """Of (n, side, side, channels) absolute differences; percentages of (n,) `scale`."""
    columns = []
    for name, region in regions.items():
        values = np.where(regions[HOLES][..., None], difference, 0.0) if name == KEPT else difference
        inside = values[:, region].reshape(len(difference), -1)
        empty = np.full(len(difference), np.nan)
        columns.append((inside.mean(1), inside.std(1)) if inside.size else (empty, empty))
    mean, std = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    return Difference(mean, std, 100 * mean / scale[:, None])
