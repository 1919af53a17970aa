"""What studies of patches share: the masks, the moments of a training, the pixels by depth.

Inputs: a trained network, targets. Outputs: masks by name, states, regions of a patch.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.plane.shapes import circle
from cmbinpaint.training.data.masks import Bounded, RandomShapes
from cmbinpaint.training.run.checkpoint_models import State, Trained
from cmbinpaint.validation.depths import DEPTH_EDGES

RADII_PX = tuple(range(5, 70, 5))  # the seed's thirteen, in a patch of 128 px
_SIDE = 128
RANDOM = "random shapes"

Progress = Callable[[int, int], None]


def random_mask(side: int, seed: int) -> BoolArray:
    """The one mask of random shapes of a study, (side, side), True = observed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(8,)))
    return Bounded(RandomShapes()).draw(1, side, rng)[0]


def circles(side: int, radii_px: Sequence[float] = RADII_PX) -> dict[str, BoolArray]:
    """Centered circles by name; radii are those in a patch of 128 px, in others they scale with the side."""
    return {f"r = {r * side / _SIDE:g} px": circle(side, r * side / _SIDE) for r in radii_px}


def seed_masks(side: int, seed: int, radii_px: Sequence[float] = RADII_PX) -> dict[str, BoolArray]:
    """The seed's masks by name: centered circles and one of random shapes."""
    return {**circles(side, radii_px), RANDOM: random_mask(side, seed)}


def check_masks(masks: Mapping[str, BoolArray]) -> None:
    """Refuse masks that leave nothing to do.

    Raises
    ------
    MaskError
        If a mask hides all of the patch or nothing of it; it is named.
    """
    for name, valid in masks.items():
        if not valid.any():
            raise MaskError(
                f"mask {name!r} hides all pixels of the patch: nothing is observed, so nothing can be filled"
            )
        if valid.all():
            raise MaskError(f"mask {name!r} has no hole: there is nothing to fill and to judge")


def take_states(trained: Trained, *, last: bool) -> tuple[State, ...]:
    """All states of a training, or the last one alone.

    Raises
    ------
    CheckpointError
        If all are wanted and there is one.
    """
    if last:
        return trained.states[-1:]
    trained.needs_several()
    return trained.states


def patch_depth(valid: BoolArray) -> FloatArray:
    """(side, side) distance of each hole pixel's center from the nearest observed one, in pixels; 0 where observed."""
    return np.asarray(distance_transform_edt(~valid), dtype=np.float64)


def depth_regions(valid: BoolArray) -> dict[str, BoolArray]:
    """Hole pixels by depth, in the bins of `DepthBins`."""
    depth = patch_depth(valid)
    limits = [0.0, *DEPTH_EDGES, np.inf]
    names = [f"{low:g}-{high:g} px" for low, high in zip(limits[:-2], DEPTH_EDGES, strict=True)]
    bins = zip([*names, f"> {DEPTH_EDGES[-1]:g} px"], limits[:-1], limits[1:], strict=True)
    return {f"depth {name}": (depth > low) & (depth <= high) for name, low, high in bins}
