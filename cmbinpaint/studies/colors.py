"""Distributions of color: how often each intensity of red, green, blue and grey is in a picture and in its prediction.

Inputs: a trained network, targets, masks. Outputs: `ColorStudy`.

Temperatures are rendered with a map of 256 colors between T_min and T_max; grey is 0.2989 R + 0.5870 G + 0.1140 B. The
Gaussian fits are of maximum likelihood: mean and standard deviation of all pixels. A color that a map draws at many
temperatures is not distributed as a Gaussian, whatever the field: `misfit` is its distance from the fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, Float32Array, FloatArray
from cmbinpaint.problem.progress import Watch
from cmbinpaint.studies.patch_study import check_masks, fills, pictures_of, rows_of, stacked
from cmbinpaint.training.data.planck_colors import LIMIT_uK, luma, render
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import State, Trained
from cmbinpaint.validation.sky_statistics import ks_distance

CHANNELS = ("red", "green", "blue", "grey")
# Of intensity, from 0 to 1. A map has 256 colors, and a channel takes some fifty values: finer bins would be a comb.
BINS = 25


@dataclass(frozen=True, eq=False)
class Distribution:
    """Intensities of the four channels; leading axes are those of the pictures.

    Attributes
    ----------
    mean, std
        (..., 4) of the Gaussian fit.
    misfit
        (..., 4) Kolmogorov-Smirnov distance from that Gaussian.
    density
        (..., 4, BINS) fraction of pixels per unit of intensity.
    """

    mean: FloatArray
    std: FloatArray
    misfit: FloatArray
    density: FloatArray


@dataclass(frozen=True, eq=False)
class ColorStudy:
    """Colors at several states of a training, behind several masks, of several patches.

    Attributes
    ----------
    name
        Of the network.
    states, masks
        First two axes of `prediction`; the third is that of patches.
    target
        (patches, ...) of the targets.
    prediction
        (states, masks, patches, ...) of the network's own pictures.
    colors, colors_uK
        The map of colors, and T_min and T_max.
    """

    name: str
    states: tuple[State, ...]
    masks: tuple[str, ...]
    target: Distribution
    prediction: Distribution
    colors: str
    colors_uK: tuple[float, float]

    @property
    def edges(self) -> FloatArray:
        """(BINS+1,) of `density`."""
        return np.linspace(0.0, 1.0, BINS + 1)

    def percent(self, what: str) -> FloatArray:
        """(states, masks, patches, 4) difference of the fits' "mean" or "std", signed, in percent of the target's.

        CoMBInE drops the sign, and makes a percentage of grey by weighing those of the colors; here grey is a
        channel of its own.
        """
        return 100 * (getattr(self.prediction, what) / getattr(self.target, what) - 1)

    def rows(self) -> list[dict[str, Any]]:
        """One row for each state, mask and channel: means over patches, and the scatter of percentages over patches."""
        rows = []
        for s, m, head in rows_of(self.states, self.masks):
            for c, channel in enumerate(CHANNELS):
                row = {**head, "channel": channel, "patches": len(self.target.mean)}
                for key in ("mean", "std", "misfit"):
                    row[f"target_{key}"] = float(getattr(self.target, key)[:, c].mean())
                    row[f"prediction_{key}"] = float(getattr(self.prediction, key)[s, m, :, c].mean())
                for key in ("mean", "std"):
                    values = self.percent(key)[s, m, :, c]
                    row[f"{key}_percent"] = float(values.mean())
                    row[f"{key}_percent_scatter"] = float(values.std())
                rows.append(row)
        return rows

    def facts(self) -> dict[str, Any]:
        """What the numbers refer to."""
        return {
            "network": self.name, "colors": self.colors, "colors_uK": self.colors_uK,
            "grey": "0.2989 R + 0.5870 G + 0.1140 B", "unit": "full scale of a color",
            "percent": "prediction's over the target's, less 1; scatter: standard deviation over patches",
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Panels:
    """One patch behind several masks, as temperatures and as pictures.

    Attributes
    ----------
    masks
        Names; `valid`: (masks, side, side), True = observed.
    target, prediction
        (side, side) and (masks, side, side), µK.
    drawn
        (masks, side, side, 3) the prediction as RGB: of a network that draws pictures, its own.
    colors, colors_uK
        The map of colors, and T_min and T_max.
    step_arcmin
        The pixel's side.
    """

    masks: tuple[str, ...]
    valid: BoolArray
    target: Float32Array
    prediction: FloatArray
    drawn: Float32Array
    colors: str
    colors_uK: tuple[float, float]
    step_arcmin: float

    @property
    def target_rgb(self) -> Float32Array:
        """(side, side, 3) the target as RGB."""
        return render(self.target, *self.colors_uK, self.colors)

    @property
    def difference_uK(self) -> FloatArray:
        """(masks, side, side) |prediction - target|."""
        return np.abs(self.prediction - self.target)

    @property
    def difference_rgb(self) -> FloatArray:
        """(masks, side, side) mean over red, green and blue of the pictures' absolute difference."""
        return np.abs(self.drawn.astype(np.float64) - self.target_rgb).mean(-1)


def channels(rgb: AnyArray) -> FloatArray:
    """(..., 3) colors to (..., 4): red, green, blue, grey."""
    return np.concatenate([np.asarray(rgb, dtype=np.float64), luma(rgb)[..., None]], axis=-1)


def distribution(pictures: AnyArray) -> Distribution:
    """The colors of (n, side, side, 3) pictures, each for itself."""
    values = channels(pictures).reshape(len(pictures), -1, len(CHANNELS))
    mean, std = values.mean(1), values.std(1)
    scaled = (values - mean[:, None]) / np.where(std > 0, std, 1.0)[:, None]
    misfit = [[ks_distance(one[:, c]) for c in range(len(CHANNELS))] for one in scaled]
    # What is drawn by a network may leave [0, 1] by rounding alone; it belongs to the bins at the ends.
    bins = np.clip((values * BINS).astype(np.int64), 0, BINS - 1)
    count = [[np.bincount(one[:, c], minlength=BINS) for c in range(len(CHANNELS))] for one in bins]
    return Distribution(mean, std, np.array(misfit), np.array(count) * (BINS / values.shape[1]))


def study_colors(
    trained: Trained, targets: Targets, masks: Mapping[str, BoolArray], states: Sequence[State], *,
    colors_uK: tuple[float, float] = (-LIMIT_uK, LIMIT_uK), colors: str = "planck", watch: Watch | None = None,
) -> ColorStudy:  # fmt: skip
    """Measure the colors of all targets and of their predictions, behind each mask, at each state.

    Parameters
    ----------
    trained, states
        The network, and when.
    targets
        The patches.
    masks
        (side, side) by name, True = observed.
    colors_uK, colors
        T_min and T_max, and the map of colors (`planck_colors.COLOR_MAPS`). A network that draws
        pictures is compared in its own colors.
    watch
        Called with the `Progress` of the fills.

    Raises
    ------
    MaskError
        If a mask hides all or nothing.
    MapError
        If T_min is not below T_max, or the map of colors unknown.
    """
    check_masks(masks)
    target = distribution(render(targets.truth, *colors_uK, colors))
    parts = [
        distribution(pictures_of(fill, colors_uK, colors))
        for fill in fills(trained, targets, masks, states, watch)
    ]
    prediction = stacked(parts, (len(states), len(masks)))
    return ColorStudy(trained.name, tuple(states), tuple(masks), target, prediction, colors, colors_uK)


def fill_panels(
    trained: Trained, targets: Targets, masks: Mapping[str, BoolArray], *,
    colors_uK: tuple[float, float] = (-LIMIT_uK, LIMIT_uK), colors: str = "planck",
) -> Panels:  # fmt: skip
    """Fill the first of the targets behind each mask, at the last state; see `study_colors`."""
    check_masks(masks)
    one = targets[:1]
    found = list(fills(trained, one, masks, trained.states[-1:], None))
    return Panels(
        masks=tuple(masks),
        valid=np.stack(list(masks.values())),
        target=one.truth[0],
        prediction=np.concatenate([fill.field_uK for fill in found]),
        drawn=np.concatenate([pictures_of(fill, colors_uK, colors) for fill in found]),
        colors=colors,
        colors_uK=colors_uK,
        step_arcmin=targets.step_arcmin,
    )
