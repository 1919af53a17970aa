"""Warn of masks that look inverted and of skies and masks that look to be in the other pixel ordering.

Inputs: RING values and `valid` as they were understood. Outputs: warnings with the evidence; no result depends
on them, and they are the one place that looks at values inside holes.
"""

import warnings
from collections.abc import Callable

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import CmbInpaintWarning
from cmbinpaint.sphere.holes import hole_labels
from cmbinpaint.sphere.maps import npix_to_nside, to_nest, to_ring
from cmbinpaint.sphere.pixels import nest_to_ring, pixel_neighbors, ring_to_nest

__all__ = ["warn_if_suspicious"]

_SAMPLE = 4000  # pixels: the correlation is then known to about 0.01
_FEWEST = 100  # below this many nothing is said
# Beyond 3/sqrt(pixels sampled): CMB skies show 0.3 and more between the orderings, masks with a band 0.15.
_SKY_MARGIN = 0.1
_MASK_MARGIN = 0.05
_ROUGHER = 3.0
_LITTLE_SKY = 0.3


def warn_if_suspicious(sky_values: FloatArray, valid: BoolArray) -> None:
    """Warn if the mask looks inverted, or the sky or the mask looks to be in the other ordering.

    Three cheap checks on 4000 pixels, the same ones each time. Ordering: pixels resemble their neighbors, in
    the right ordering most; both of a wrongly declared map's readings are tried. White noise and masks of
    single pixels tell nothing, and nothing is said of them. Inversion: less than 0.3 of the sky is observed
    and neighbors differ there at least 3 times more than in the holes (the observed part is the Galaxy).

    Parameters
    ----------
    sky_values
        (npix,) RING as understood; 0, NaN or UNSEEN where nothing is known.
    valid
        (npix,) bool, RING as understood, True = observed.

    Warns
    -----
    CmbInpaintWarning
        With the numbers that speak for it.
    """
    values, valid = np.asarray(sky_values), np.asarray(valid, dtype=bool)
    if values.size < 12 * 4**2:  # too few pixels for a neighborhood
        return
    with np.errstate(invalid="ignore"):
        has_value = np.isfinite(values) & (np.abs(values) < 1e20) & (values != 0)
    _check_inverted(values, valid, has_value)
    _check_sky_order(values, valid & has_value)
    _check_mask_order(valid)


def _sample(where: BoolArray) -> IntArray:
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


def _check_inverted(values: AnyArray, valid: BoolArray, has_value: BoolArray) -> None:
    sky_fraction = float(np.mean(valid))
    if not 0 < sky_fraction < _LITTLE_SKY:
        return
    nside = npix_to_nside(valid.size)
    rough = []
    for region in (valid & has_value, ~valid & has_value):
        pixels = _sample(region)
        near = pixel_neighbors(nside, pixels)
        paired = (near >= 0) & region[near]
        if np.count_nonzero(paired) < _FEWEST:
            return
        # A quantile rather than the rms: a few bright sources inside a right mask are no evidence. A high one:
        # the Galaxy is much brighter than the rest in a tenth of a Galactic mask only.
        steps = np.abs(values[near] - values[pixels, None])[paired]
        rough.append(float(np.quantile(steps, 0.95)))
    observed, holes = rough
    if 0 < _ROUGHER * holes < observed:  # holes filled with a constant tell nothing
        warnings.warn(
            f"the mask looks inverted: it calls {sky_fraction:.0%} of the sky observed, and neighboring pixels "
            f"differ there {observed / holes:.1f} times more than in the holes "
            f"({observed:.3g} against {holes:.3g}); 1 must mean observed: pass 1 - mask if it is the other way",
            CmbInpaintWarning,
            stacklevel=3,
        )


def _correlation(values: AnyArray, known: BoolArray, pixels: IntArray, near: IntArray) -> float:
    paired = (near >= 0) & known[near]
    if np.count_nonzero(paired) < _FEWEST:
        return np.nan
    first = np.broadcast_to(values[pixels, None], near.shape)[paired]
    second = values[near][paired]
    # Ranks in place of values: a few bright pixels would decide alone.
    order = np.sort(values[pixels])
    first_rank, second_rank = np.searchsorted(order, first), np.searchsorted(order, second)
    if first_rank.min() == first_rank.max() or second_rank.min() == second_rank.max():
        return np.nan
    return float(np.corrcoef(first_rank, second_rank)[0, 1])


def _better_reading(found: dict[str, float], margin: float) -> str | None:
    """Return the order that was declared, "RING" or "NESTED", if the other one is clearly better."""
    declared = max(("RING", "NESTED"), key=lambda name: np.nan_to_num(found[name], nan=-1.0))
    return declared if found[declared] > found["as read"] + margin else None


def _check_sky_order(values: AnyArray, known: BoolArray) -> None:
    pixels = _sample(known)
    if pixels.size < _FEWEST:
        return
    readings = _readings(npix_to_nside(values.size))
    found = {name: _correlation(values, known, pixels, near(pixels)) for name, near in readings.items()}
    declared = _better_reading(found, _SKY_MARGIN + 3 / np.sqrt(pixels.size))
    if declared:
        _say_order("the map", "correlation of neighboring pixels", found, declared)


def _check_mask_order(valid: BoolArray) -> None:
    holes_are_rarer = bool(np.mean(valid) > 0.5)
    rarer = ~valid if holes_are_rarer else valid
    pixels = _sample(rarer)
    if pixels.size < _FEWEST:
        return
    found = {}
    for name, neighbors in _readings(npix_to_nside(valid.size)).items():
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
        _say_order("the mask", f"the share of neighbors of the {part} that belong to it", found, declared)


def _say_order(what: str, measure: str, found: dict[str, float], declared: str) -> None:
    other = "NESTED" if declared == "RING" else "RING"
    warnings.warn(
        f"{what} looks to be in {other} order, not {declared}: {measure} is {found[declared]:.2f} when read as "
        f"{other}, {found['as read']:.2f} as {declared}; give nest={other == 'NESTED'} if so",
        CmbInpaintWarning,
        stacklevel=4,
    )
