"""Refuse values that no sky has, and warn of maps and masks that look to be something else than was meant.

Inputs: RING values and `valid` as they were understood. Outputs: errors, and warnings with the evidence; no result
depends on them, and they are the one place that looks at values inside holes.
"""

import warnings

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import CmbInpaintWarning, MapError, MaskError
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.ordering_warnings import (
    FEWEST,
    sample_pixels,
    warn_of_mask_ordering,
    warn_of_sky_ordering,
)
from cmbinpaint.sphere.pixels import pixel_neighbors, ring_to_nest

__all__ = ["check_input", "warn_if_inverted"]

# No sky has this; 1e20 itself is what numpy's masked arrays leave behind, and float32 rounds it up.
_BIGGEST = 0.9999e20
_WILD_SIGMAS = 1e6
_HIGH_MONOPOLE_SIGMAS = 1e3
_SAMPLE = 1_000_000  # pixels that suffice for a robust center and width
_LITTLE_SKY = 0.5  # with less observed, a mask may be inverted
_ROUGHER = 3.0
_NO_ROUGHER = 1.2  # what a mask hides for a reason is rougher than the rest: the Galaxy, sources
_SENTINELS = (-2147483648.0, -32768.0, -9999.0, -99999.0, -999.0)
_FEWEST_ZEROS = 10
_ZERO_SKY = 1e-3  # of the sky in a region of zeros is no chance
_COMPACT = 0.5  # share of the neighbors of zeros that are zero too
# Of the logarithm-normal field whose extremes at two standard deviations differ by a factor of 5, and more.
_SKEWNESS = 1.2
_DYNAMIC_RANGE = 5.0


def check_input(
    values: FloatArray,
    valid: BoolArray,
    *,
    nest: bool = False,
    has_mask: bool = True,
    targets: BoolArray | None = None,
) -> None:
    """Refuse observed values that no sky has, and warn of doubtful maps and masks.

    Parameters
    ----------
    values
        (npix,) or, by Stokes parameter, (k, npix) float64, RING as understood; 0, NaN or UNSEEN where nothing is known.
    valid
        bool of the same shape, RING as understood, True = observed.
    nest
        Whether the user's map is NESTED, so that messages name the user's index.
    has_mask
        Whether the user gave a mask; if not, all of the map's values are taken as observed.
    targets
        As `valid`, what is to be filled; None: all that is not valid.

    Raises
    ------
    MapError
        If an observed pixel is infinite, NaN or beyond 1e20; of several maps, which.
    MaskError
        If less than half of the sky is observed, with one value everywhere, while the map varies in the holes.

    Warns
    -----
    CmbInpaintWarning
        Of glitches, a high monopole, a strongly skewed map, sentinels, exact zeros, an inverted mask, and of map or
        mask in the other ordering.
    """
    nside = npix_to_nside(values.shape[-1])
    names = ("",) if values.ndim == 1 else Fields.of(len(values)).stokes
    filled = ~valid if targets is None else targets
    for name, *row in zip(names, *map(np.atleast_2d, (values, valid, filled)), strict=True):
        try:
            _check_map(row[0], row[1], row[2], nside, nest, has_mask)
        except (MapError, MaskError) as error:
            if not name:
                raise
            raise type(error)(f"{name}: {error}") from None


def _check_map(
    values: FloatArray, valid: BoolArray, targets: BoolArray, nside: int, nest: bool, has_mask: bool
) -> None:
    _refuse_impossible(values, valid, nside, nest)
    observed = values[valid]
    if not observed.size:
        return
    has_value = _has_value(values)
    if observed.min() == observed.max():
        _refuse_inverted(float(observed[0]), values[~valid & has_value], float(np.mean(valid)))
        return
    if not _warn_of_sentinels(observed):
        _warn_of_outliers(values, valid, nside, nest)
    _warn_of_skewness(observed)
    if nside < 4:  # too few pixels for a neighborhood
        return
    _warn_of_zeros(values, valid, nside, has_mask)
    warn_if_inverted(values, valid, targets)
    warn_of_sky_ordering(values, valid & has_value, nside)
    warn_of_mask_ordering(valid, nside)


def _warn(text: str) -> None:
    warnings.warn(text, CmbInpaintWarning, stacklevel=5)


def _refuse_impossible(values: FloatArray, valid: BoolArray, nside: int, nest: bool) -> None:
    bad = valid & ~(np.abs(values) < _BIGGEST)  # written so that NaN fails too
    if bad.any() and not _is_constant(values[valid]):
        first = int(np.argmax(bad))
        raise MapError(
            f"{np.count_nonzero(bad)} observed pixels are infinite or beyond 1e20, the first at index "
            f"{_user_index(first, nside, nest)} ({values[first]}): add them to the mask"
        )


def _is_constant(observed: FloatArray) -> bool:
    """Whether a map is one number, even 1e20; in single precision it is a little more."""
    return observed.size > 1 and bool(observed.min() == observed.max() and abs(observed[0]) < 1.0001e20)


def _user_index(index: int, nside: int, nest: bool) -> int:
    return int(ring_to_nest(nside, np.array(index))) if nest else index


def _refuse_inverted(value: float, hidden: FloatArray, fsky: float) -> None:
    """Raise MaskError if the observed part is constant and the hidden one is the map."""
    if fsky < _LITTLE_SKY and hidden.size >= FEWEST and hidden.min() < hidden.max():
        raise MaskError(
            f"all observed pixels, {fsky:.0%} of the sky, are {value + 0.0:g}, while the map varies in the masked ones "
            f"(from {hidden.min():.3g} to {hidden.max():.3g}): the mask looks inverted. "
            "1 must mean observed: pass 1 - mask"
        )


def _warn_of_outliers(values: FloatArray, valid: BoolArray, nside: int, nest: bool) -> None:
    observed = np.flatnonzero(valid)
    sky = values[observed]
    sample = sky[:: max(1, sky.size // _SAMPLE)]
    center = float(np.median(sample))
    sigma = 1.4826 * float(np.median(np.abs(sample - center)))  # the Gaussian ratio of both
    if sigma == 0.0:
        return
    worst = int(np.argmax(np.abs(sky - center)))
    if abs(sky[worst] - center) > _WILD_SIGMAS * sigma:
        index = _user_index(int(observed[worst]), nside, nest)
        _warn(
            f"pixel {index} is {abs(sky[worst] - center) / sigma:.1e} standard deviations from the rest "
            f"({sky[worst]:.6g}, median {center:.6g}): a glitch? Consider adding it to the mask"
        )
    if abs(center) > _HIGH_MONOPOLE_SIGMAS * sigma:
        _warn(
            f"the map's monopole, {center:.6g}, is {abs(center) / sigma:.1e} times its fluctuations: it is "
            "kept, but reduces precision (float32 has seven digits): subtract it first if the map is single precision"
        )


def _warn_of_sentinels(observed: FloatArray) -> bool:
    """Warn of values that stand for "no data" in some files and lie far outside the others; return if there are."""
    lowest = observed.min()
    for sentinel in (s for s in _SENTINELS if s >= lowest):
        here = observed == sentinel
        count = np.count_nonzero(here)
        if not 0 < count < observed.size:
            continue
        low, high = (
            float(f(observed, where=~here, initial=s)) for f, s in ((np.min, np.inf), (np.max, -np.inf))
        )
        if sentinel < low - (high - low) / 2:
            _warn(
                f"{count} observed pixels are exactly {sentinel:.0f}, the others from {low:.6g} to {high:.6g}: a value "
                "for missing pixels? It is taken as data; add them to the mask"
            )
            return True
    return False


def _warn_of_skewness(observed: FloatArray) -> None:
    if observed.min() <= 0:
        return
    sample = observed[:: max(1, observed.size // _SAMPLE)]
    low, high = np.quantile(sample, [0.02, 0.98])
    if high < _DYNAMIC_RANGE * low:
        return
    skewness = float(np.mean(((sample - sample.mean()) / sample.std()) ** 3))
    if skewness > _SKEWNESS:
        _warn(
            f"the map is positive and strongly skewed (skewness {skewness:.1f}), while fills are those of a Gaussian "
            "field: take the logarithm, fill that, and take np.exp of the result"
        )


def _warn_of_zeros(values: FloatArray, valid: BoolArray, nside: int, has_mask: bool) -> None:
    """Warn of pixels that are exactly 0 and called observed: a survey's outside, or a map times its mask."""
    zero = valid & (values == 0)
    count = int(np.count_nonzero(zero))
    if count < _FEWEST_ZEROS:
        return
    pixels = sample_pixels(zero)
    near = pixel_neighbors(nside, pixels)
    compact = float(np.mean(zero[near][near >= 0]))
    if compact > _COMPACT and count > _ZERO_SKY * values.size:
        remedy = (
            "if they lie outside of a survey, leave them alone: plan=plan_inpainting(mask, exclude=(sky == 0))"
            if has_mask
            else "if they are holes, pass mask=(sky != 0); if they lie outside of a survey, give a mask and leave them "
            "alone: plan=plan_inpainting(mask, exclude=(sky == 0))"
        )
        _warn(
            f"{count} observed pixels are exactly 0, {count / values.size:.1%} of the sky, and so are {compact:.0%} of "
            f"their neighbors; they are taken as data: {remedy}"
        )
    elif not has_mask and not _is_whole(values[valid]):
        _warn(
            f"{count} pixels are exactly 0 and no mask was given: a map times its mask? They are taken as data; if "
            "they are holes, pass mask=(sky != 0)"
        )


def _is_whole(observed: FloatArray) -> bool:
    """Whether all values are whole numbers, of which 0 is one like others."""
    sample = observed[:: max(1, observed.size // 10_000)]
    return bool(np.all(sample == np.rint(sample)))


def _has_value(values: FloatArray) -> BoolArray:
    """Where a map says something: neither 0, which stands for nothing in many files, nor UNSEEN, nor NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(values) & (np.abs(values) < _BIGGEST) & (values != 0))


def warn_if_inverted(values: FloatArray, valid: BoolArray, targets: BoolArray) -> None:
    """Warn if more than half of the sky is masked, and the map is as much one there as in the data, or more so.

    Parameters
    ----------
    values
        (npix,) RING.
    valid, targets
        What is data, and what is masked.
    """
    has_value, nside, fsky = _has_value(values), npix_to_nside(values.size), float(np.mean(valid))
    hidden, share = targets & has_value, float(np.mean(targets))
    if fsky >= _LITTLE_SKY or share <= _LITTLE_SKY:
        return
    rough = []
    for region in (valid & has_value, hidden):
        pixels = sample_pixels(region)
        near = pixel_neighbors(nside, pixels)
        paired = (near >= 0) & region[near]
        if np.count_nonzero(paired) < FEWEST:
            return
        # A quantile rather than the rms: a few bright sources inside a right mask are no evidence. A high one:
        # at 100 GHz the Galaxy is much brighter than the rest in a twentieth of a Galactic mask only.
        steps = np.abs(values[near] - values[pixels, None])[paired]
        rough.append(float(np.quantile(steps, 0.975)))
    observed, holes = rough
    if 0 < _ROUGHER * holes < observed:  # holes filled with a constant tell nothing
        _warn(
            f"the mask looks inverted: {share:.0%} of the sky is masked, and neighboring pixels of the "
            f"{fsky:.0%} marked as observed differ {observed / holes:.1f} times more than in the holes "
            f"({observed:.3g} against {holes:.3g}); 1 must mean observed: pass 1 - mask if it is the other way"
        )
    elif nside >= 8 and 0 < holes < _NO_ROUGHER * observed and np.mean(hidden) > _LITTLE_SKY:
        low, high = np.quantile(values[sample_pixels(hidden)], [0.025, 0.975])
        _warn(
            f"is the mask inverted? {share:.0%} of the sky is masked, and there the map varies as it does in the "
            f"{fsky:.0%} marked as observed: neighboring pixels differ by up to {holes:.3g} and {observed:.3g} (95 % "
            f"of the hidden values lie from {low:.3g} to {high:.3g}). 1 must mean observed: pass 1 - mask if it is the "
            "other way; if not, set the hidden values to UNSEEN or NaN"
        )
