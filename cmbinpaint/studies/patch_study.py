"""What studies of patches share: masks, the states of a training, fills of all of them, depth regions, spectra.

Inputs: a trained network, targets. Outputs: masks by name, states, fills, regions of a patch, bandpowers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product
from typing import Any, TypeVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from cmbinpaint._types import BoolArray, Float32Array, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.plane.power import flat_cl
from cmbinpaint.problem.progress import Progress, Watch
from cmbinpaint.training.data.masks import Bounded, RandomShapes
from cmbinpaint.training.data.planck_colors import render
from cmbinpaint.training.data.shapes import circle
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import Fill, State, Trained
from cmbinpaint.validation.depths import DEPTH_EDGES

T = TypeVar("T")
RADII_PX = tuple(range(5, 70, 5))  # CoMBInE's thirteen, in a patch of 128 px
_SIDE = 128
RANDOM = "random shapes"
BANDS = 6


def random_mask(side: int, seed: int) -> BoolArray:
    """The one mask of random shapes of a study, (side, side), True = observed."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(8,)))
    return Bounded(RandomShapes()).draw(1, side, rng)[0]


def circles(side: int, radii_px: Sequence[float] = RADII_PX) -> dict[str, BoolArray]:
    """Centered circles by name; radii are those in a patch of 128 px, in others they scale with the side."""
    return {f"r = {r * side / _SIDE:g} px": circle(side, r * side / _SIDE) for r in radii_px}


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
            raise MaskError(f"mask {name!r} has no hole: there is nothing to fill and to evaluate")


def fills(
    trained: Trained, targets: Targets, masks: Mapping[str, BoolArray], states: Sequence[State], watch: Watch | None
) -> Iterator[Fill]:  # fmt: skip
    """The fills of all targets behind each mask, state by state."""
    done, total = 0, len(states) * len(masks)
    for state in states:
        filler = trained.filler(state, targets)
        for valid in masks.values():
            yield filler.fill(targets.data, valid)
            done += 1
            if watch is not None:
                watch(Progress("fill", done, total))


def rows_of(states: Sequence[State], masks: Sequence[str]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """For each state and mask its place in both, and the first entries of its row of a table."""
    for (s, state), (m, mask) in product(enumerate(states), enumerate(masks)):
        yield s, m, {"step": state.step, "stage": state.stage, "mask": mask}


def pictures_of(fill: Fill, colors_uK: tuple[float, float], colors: str = "planck") -> Float32Array:
    """(n, side, side, 3) a fill as RGB: of a network that draws pictures, its own."""
    return render(fill.field_uK, *colors_uK, colors) if fill.rgb is None else fill.rgb


def stacked(parts: Sequence[T], lead: tuple[int, ...]) -> T:
    """One dataclass of arrays from many, which become its leading axes."""
    first: Any = parts[0]
    arrays = {f.name: np.stack([getattr(part, f.name) for part in parts]) for f in fields(first)}
    return type(first)(**{name: a.reshape(lead + a.shape[1:]) for name, a in arrays.items()})


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


class PatchSpectra:
    """Bandpowers of patches behind a Hann window.

    Parameters
    ----------
    side
        Pixels along an edge.
    step_rad
        Side of a pixel.
    edges
        (bands + 1,) of ell; None: six bands of equal width up to Nyquist. A Hann window mixes neighboring modes: the
        two lowest are left out.
    """

    def __init__(self, side: int, step_rad: float, edges: FloatArray | None = None) -> None:
        hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
        if edges is None:
            edges = np.linspace(2.5 * 2 * np.pi / (side * step_rad), np.pi / step_rad, BANDS + 1)
        self.step_rad, self.edges, self.window = step_rad, edges, hann[:, None] * hann

    def auto(self, patches: FloatArray, weights: FloatArray | None = None) -> FloatArray:
        """(n, bands) C_ell of (n, side, side) patches, the window times (side, side) weights if given."""
        window = self.window if weights is None else self.window * weights
        return np.stack([flat_cl(p, self.step_rad, window=window, edges=self.edges)[1] for p in patches])

    def cross(self, one: FloatArray, two: FloatArray) -> FloatArray:
        """(n, bands) cross spectra."""
        return (self.auto(one + two) - self.auto(one - two)) / 4
