"""Masks for training: drawn shapes, circles, pictures from a folder, cuts of a mask of the sky.

Inputs: a recipe's ``masks`` table, a side, a Generator. Outputs: (n, side, side) bool, True = observed.

A source is a frozen dataclass with `draw(n, side, rng)`; the draw is a function of the generator alone. Masks stay
binary: what is turned is looked up by the nearest pixel, never interpolated.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from scipy.ndimage import minimum_filter

from cmbinpaint._types import BoolArray
from cmbinpaint.errors import MaskError, RecipeError
from cmbinpaint.files.fits import read_mask
from cmbinpaint.networks.cutting import nearest_pixels
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.masks import validate_mask
from cmbinpaint.training.data import shapes
from cmbinpaint.training.data.pictures import read_pictures
from cmbinpaint.training.recipes.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_keys,
    check_number,
    check_range,
)

Holes = Literal["dark", "bright"]
_TRIES = 300  # draws for one mask before its source is called unfit


class MaskSource(Protocol):
    """Where masks come from."""

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        """(n, side, side) bool, True = observed."""
        ...


@dataclass(frozen=True)
class RandomShapes:
    """CoMBInE's lines, circles and arcs.

    Attributes
    ----------
    most
        Largest number of each. CoMBInE's rules, taken literally, have 20 and cover 31 % of 128x128; its text says
        about 25 %, which 15 give (the default).
    """

    most: int = shapes.QUARTER_SHAPES

    def __post_init__(self) -> None:
        check_integer("[masks]", "most", self.most, least=1, most=10_000)

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        return np.stack([shapes.random_shapes(side, rng, most=self.most) for _ in range(n)])


@dataclass(frozen=True)
class MixedShapes:
    """Shapes, circles, bands and point sources, and their unions: `shapes.draw_mask`."""

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        return np.stack([shapes.draw_mask(side, rng) for _ in range(n)])


@dataclass(frozen=True)
class Circles:
    """One circle a mask.

    Attributes
    ----------
    radius_px
        Least and most radius, drawn uniformly; equal: that radius. From 0 to 0.71 sides a centered circle covers
        0 to 100 %.
    centered
        Whether it lies in the middle; otherwise its center is uniform over the patch.
    """

    radius_px: tuple[float, float] = (5.0, 65.0)
    centered: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius_px", check_range("[masks]", "radius_px", self.radius_px, least=0.0))
        check_flag("[masks]", "centered", self.centered)

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        radii = rng.uniform(*self.radius_px, size=n)
        centers = None if self.centered else rng.uniform(0, side - 1, size=(n, 2)).tolist()
        return np.stack([shapes.circle(side, r, centers and tuple(centers[i])) for i, r in enumerate(radii)])


@dataclass(frozen=True)
class Pictures:
    """Masks from a folder of pictures, turned, dilated and cropped.

    Attributes
    ----------
    folder
        Its pictures in any format that Pillow reads, and two-dimensional ``.npy`` arrays; taken in order of name.
    holes
        Which pixels are holes: ``"dark"`` (below half of the full scale; in an array: 0) or ``"bright"``.
    rotation_deg
        Turned by a uniform angle up to this, either way. Beyond its edges a picture goes on as its mirror image.
    dilation_px
        Least and most width of the square that every hole pixel grows to; 1: not grown.
    """

    folder: str
    holes: Holes = "dark"
    rotation_deg: float = 180.0
    dilation_px: tuple[int, int] = (5, 47)

    def __post_init__(self) -> None:
        check_choice("[masks]", "holes", self.holes, get_args(Holes))
        check_number("[masks]", "rotation_deg", self.rotation_deg, least=0.0, most=180.0)
        low, high = check_range("[masks]", "dilation_px", self.dilation_px, least=0.0)
        if not (low >= 1 and low == int(low) and high == int(high)):
            raise RecipeError(f"[masks] dilation_px is {self.dilation_px!r}; give whole numbers, 1 or more")
        object.__setattr__(self, "dilation_px", (int(low), int(high)))

    @cached_property
    def valid(self) -> list[BoolArray]:
        """The pictures, True = observed."""
        return read_pictures(Path(self.folder), bright_is_valid=self.holes == "dark")

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        return np.stack([self._one(side, rng) for _ in range(n)])

    def _one(self, side: int, rng: np.random.Generator) -> BoolArray:
        picture = self.valid[rng.integers(len(self.valid))]
        turn = np.radians(rng.uniform(-self.rotation_deg, self.rotation_deg))
        center = rng.uniform(0, np.array(picture.shape) - 1.0)
        width = int(rng.integers(self.dilation_px[0], self.dilation_px[1] + 1))
        wide = side + 2 * width
        axis = np.arange(wide) - (wide - 1) / 2
        row, col = axis[:, None], axis[None, :]
        rows = _mirrored(center[0] + np.cos(turn) * row - np.sin(turn) * col, picture.shape[0])
        cols = _mirrored(center[1] + np.sin(turn) * row + np.cos(turn) * col, picture.shape[1])
        grown = minimum_filter(picture[rows, cols].view(np.uint8), size=width)
        return grown[width : width + side, width : width + side].astype(bool)


@dataclass(frozen=True)
class SkyCuts:
    """Cuts of a mask of the sky by tangent planes at random places and angles.

    Attributes
    ----------
    mask
        A HEALPix mask, 1 = observed: a FITS file, or (npix,) in RING order.
    step_arcmin
        The patch's pixel.
    threshold
        For an apodized mask: observed from this value on.
    """

    mask: Any
    step_arcmin: float = 6.87
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_number("[masks]", "step_arcmin", self.step_arcmin, above=0.0)
        if self.threshold is not None:
            check_number("[masks]", "threshold", self.threshold, above=0.0, most=1.0)

    @cached_property
    def valid(self) -> BoolArray:
        """(npix,) RING, True = observed."""
        values = read_mask(self.mask) if isinstance(self.mask, str | Path) else self.mask
        return validate_mask(values, threshold=self.threshold)

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        grid = PatchGrid(side, self.step_arcmin / 60)
        lon, turn = rng.uniform(0, 360, size=(2, n))
        lat = np.degrees(np.arcsin(rng.uniform(-1, 1, size=n)))
        places = zip(lon.tolist(), lat.tolist(), turn.tolist(), strict=True)
        planes = [TangentPlane(lon_deg, lat_deg, grid, turn_deg) for lon_deg, lat_deg, turn_deg in places]
        return self.valid[nearest_pixels(npix_to_nside(self.valid.size), planes)]


@dataclass(frozen=True)
class Bounded:
    """Masks of a source whose fraction of holes is within limits; others are drawn again.

    Attributes
    ----------
    source
        Where they come from.
    hole_fraction
        Least and largest fraction of hole pixels.
    """

    source: MaskSource
    hole_fraction: tuple[float, float] = (0.001, 0.9)

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "hole_fraction",
            check_range("[masks]", "hole_fraction", self.hole_fraction, least=0.0, most=1.0),
        )

    def draw(self, n: int, side: int, rng: np.random.Generator) -> BoolArray:
        return np.stack([self._one(side, rng) for _ in range(n)])

    def _one(self, side: int, rng: np.random.Generator) -> BoolArray:
        low, high = self.hole_fraction
        shares = []
        for _ in range(_TRIES):
            valid = self.source.draw(1, side, rng)[0]
            shares.append(1 - float(valid.mean()))
            if low <= shares[-1] <= high:
                return valid
        raise MaskError(
            f"{_TRIES} masks of {type(self.source).__name__} had holes over {min(shares):.3g} to {max(shares):.3g} "
            f"of the patch, none within hole_fraction = {list(self.hole_fraction)}; widen it, or use other masks"
        )


KINDS: dict[str, type[Any]] = {
    "shapes": RandomShapes,
    "circles": Circles,
    "pictures": Pictures,
    "sky": SkyCuts,
    "mixed": MixedShapes,
}


def build_masks(table: Mapping[str, Any]) -> MaskSource:
    """Make the source that a recipe's ``masks`` table describes: ``kind``, its options, ``hole_fraction``.

    Raises
    ------
    RecipeError
        For an unknown kind or option, or one out of range.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"[data] masks is {table!r}; write a table, as masks = {{ kind = 'shapes' }}")
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    kind, share = options.pop("kind", "shapes"), options.pop("hole_fraction", None)
    check_choice("[masks]", "kind", kind, tuple(KINDS))
    known = [f.name for f in fields(KINDS[kind])]
    check_keys(f"[masks] of kind {kind!r}:", options, [*known, "hole_fraction", "kind"])
    needed = {"pictures": "folder", "sky": "mask"}.get(kind)
    if needed and not isinstance(options.get(needed), str):
        raise RecipeError(f"[masks] of kind {kind!r} needs {needed}, a path; it is {options.get(needed)!r}")
    source = KINDS[kind](**options)
    return Bounded(source) if share is None else Bounded(source, share)


def _mirrored(place: Any, size: int) -> Any:
    """Nearest pixel of positions along an axis that goes on as its mirror image."""
    index = np.rint(place).astype(np.int64) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
