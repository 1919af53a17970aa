"""Warn of skies and masks that look to be in the other pixel ordering.

Inputs: RING values and `valid` as they were understood. Outputs: warnings with the evidence.

Pixels resemble their neighbors, in the right ordering most; both readings of a wrongly declared map are tried, on 4000
pixels, the same ones each time. White noise and masks of single pixels tell nothing, and nothing is said of them.
"""

import warnings
from collections.abc import Callable

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.sphere.holes import hole_labels
from cmbinpaint.sphere.maps import to_nest, to_ring
from cmbinpaint.sphere.pixels import nest_to_ring, pixel_neighbors, ring_to_nest

__all__ = ["FEWEST", "sample_pixels", "warn_of_mask_ordering", "warn_of_sky_ordering"]

FEWEST = 100  # below this many pixels or pairs nothing is said
_SAMPLE = 4000  # pixels: the correlation is then known to about 0.01
# Beyond 3/sqrt(pixels sampled): CMB skies show 0.3 and more between the orderings, masks with a band 0.15.
_SKY_MARGIN = 0.1
_MASK_MARGIN = 0.05


def sample_pixels(where: BoolArray) -> IntArray:
    """Return up to 4000 pixels of a region, the same each time; no list of the region is made."""
    rng = np.random.default_rng(20)
    share = np.count_nonzero(where) / where.size
    if where.size * share > 20 * _SAMPLE and share > 0.05:
        drawn = rng.integers(where.size, size=int(1.3 * _SAMPLE / share))
        return np.asarray(drawn[where[drawn]][:_SAMPLE], dtype=np.int64)
    pixels = np.flatnonzero(where)
    if pixels.size <= _SAMPLE:
        return pixels
    return rng.choice(pixels, _SAMPLE, replace=False)


def warn_of_sky_ordering(values: AnyArray, known: BoolArray, nside: int) -> None:
    """Warn if a map, (npix,) in RING as understood, looks to be in the other ordering where it is known."""
    pixels = sample_pixels(known)
    if pixels.size < FEWEST:
        return
    readings = _readings(nside)
    found = {name: _correlation(values, known, pixels, near(pixels)) for name, near in readings.items()}
    declared = _better_reading(found, _SKY_MARGIN + 3 / np.sqrt(pixels.size))
    if declared:
        _say_order("the map", "correlation of neighboring pixels", found, declared)


def warn_of_mask_ordering(valid: BoolArray, nside: int) -> None:
    """Warn if a mask, (npix,) in RING as understood, looks to be in the other ordering."""
    holes_are_rarer = bool(np.mean(valid) > 0.5)
    rarer = ~valid if holes_are_rarer else valid
    pixels = sample_pixels(rarer)
    if pixels.size < FEWEST:
        return
    found = {}
    for name, neighbors in _readings(nside).items():
        near = neighbors(pixels)
        found[name] = float(np.mean(rarer[near][near >= 0]))
    declared = _better_reading(found, _MASK_MARGIN + 3 / np.sqrt(pixels.size))
    if not declared:
        return
    # A thin band along a ring is compact when read as NESTED, but in several pieces: the right reading of a
    # mask has the fewer ones.
    reread = to_ring(rarer) if declared == "RING" else to_nest(rarer)
    if hole_labels(~rarer).max() > hole_labels(~np.asarray(reread, dtype=bool)).max():
        part = "holes" if holes_are_rarer else "observed part"
        _say_order(
            "the mask", f"the fraction of the neighbors of the {part} that are in it too", found, declared
        )


def _readings(nside: int) -> dict[str, Callable[[IntArray], IntArray]]:
    """Return, for each way the pixels may truly be ordered, the 8 neighbors' places in the array as it lies.

    "as read": it is RING. "RING": it was declared RING but lies NESTED. "NESTED": it was declared NESTED and
    reordered to RING for nothing.
    """

    def reordered(places: IntArray) -> IntArray:
        # Place p of the array holds what was at ring2nest(p) of the user's array; that index is truly RING.
        near = pixel_neighbors(nside, ring_to_nest(nside, places))
        return np.where(near < 0, -1, nest_to_ring(nside, np.maximum(near, 0)))

    return {
        "as read": lambda places: pixel_neighbors(nside, places),
        "RING": lambda places: pixel_neighbors(nside, places, nest=True),
        "NESTED": reordered,
    }


def _correlation(values: AnyArray, known: BoolArray, pixels: IntArray, near: IntArray) -> float:
    paired = (near >= 0) & known[near]
    if np.count_nonzero(paired) < FEWEST:
        return np.nan
    # Ranks in place of values: a few bright pixels would decide alone.
    order = np.sort(values[pixels])
    first_rank = np.broadcast_to(np.searchsorted(order, values[pixels])[:, None], near.shape)[paired]
    second_rank = np.searchsorted(order, values[near][paired])
    if first_rank.min() == first_rank.max() or second_rank.min() == second_rank.max():
        return np.nan
    return float(np.corrcoef(first_rank, second_rank)[0, 1])


def _better_reading(found: dict[str, float], margin: float) -> str | None:
    """Return the order that was declared, "RING" or "NESTED", if the other one is clearly better."""
    declared = max(("RING", "NESTED"), key=lambda name: np.nan_to_num(found[name], nan=-1.0))
    return declared if found[declared] > found["as read"] + margin else None


def _say_order(what: str, measure: str, found: dict[str, float], declared: str) -> None:
    other, how = ("NESTED", "n2r") if declared == "RING" else ("RING", "r2n")
    remedy = f"give nest={other == 'NESTED'} if so"
    if what == "the mask":
        remedy = f"if it alone is, pass healpy.reorder(mask, {how}=True); if the map is too, nest={other == 'NESTED'}"
    warnings.warn(
        f"{what} looks to be in {other} order, not {declared}: {measure} is {found[declared]:.2f} when read as "
        f"{other}, {found['as read']:.2f} as {declared}; {remedy}",
        CmbInpaintWarning,
        stacklevel=6,
    )
