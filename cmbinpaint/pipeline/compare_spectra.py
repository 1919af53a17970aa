"""Compare the power spectra of a filled map, its target and the observed part of the sky.

Inputs: maps as users give them, a mask or weights. Outputs: `SpectraComparison`, numbers only, of each spectrum.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.pipeline.spectra_comparison import SpectraComparison
from cmbinpaint.problem.options import refuse_old_names
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.spectra.decoupled_scatter import decoupled_std
from cmbinpaint.spectra.full_sky import anafast
from cmbinpaint.spectra.mode_coupling import centered, master, narrowest_band, pseudo_cl
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.input_warnings import warn_if_inverted
from cmbinpaint.sphere.maps import SkyInput, to_ring, validate_map
from cmbinpaint.sphere.masks import Taper
from cmbinpaint.sphere.power import as_numbers
from cmbinpaint.sphere.units import unit_factor

__all__ = ["compare_all", "compare_spectra"]

_BANDS = 20
# Multipoles above the last band that the decoupling takes into account: the mask mixes them in.
_MARGIN = 50
_LEAST_BEAM = 0.01


@refuse_old_names(inpainted="filled=...")
def compare_spectra(
    filled: Any,
    *,
    target: Any = None,
    observed: Any = None,
    mask: Any = None,
    beam: npt.ArrayLike | None = None,
    lmax: int | None = None,
    bins: Bandpowers | Sequence[int] | int | None = None,
    apodize: float | tuple[float, Taper] | None = None,
    nest: bool = False,
) -> Any:
    """Compare power spectra: of a filled map, its target, and the observed part of the sky.

    One filled sky scatters by full-sky cosmic variance by construction: a transfer near 1 within `cosmic_std`
    is all that a single sky can show. Noise is not subtracted from any spectrum.

    Parameters
    ----------
    filled
        (npix,) map without holes, any type that `inpaint_map` takes; or (3, npix) T, Q, U or (2, npix) Q, U.
    target
        The true full sky, if known, as the instrument would see it (beam and noise as in `filled`).
    observed
        The map before it was filled; None with a mask given: the filled map, which equals it there.
    mask
        (npix,) mask, 1 = observed, or any weights >= 0, apodized ones too; None with `observed` given: where it
        is known. Of T, Q, U also (2, npix), of T and of polarization.
    beam
        b_ell from ell = 0, amplitude, pixel window included if wanted: all spectra are divided by its square. Of T, Q,
        U also two rows, of T and of polarization.
    lmax
        Highest multipole; None: `3*nside - 1`, or where the beam falls below 0.01.
    bins
        Bands, their edges, or how many; None: 20, about equal in log ell from 2 to lmax. Bands below 1/fsky
        in width cannot be decoupled and are an error where something is observed in part.
    apodize
        Degrees over which the weights of the observed part rise from the edges of holes, as NaMaster's C1; with the
        taper's name, (5.0, "C2"), by that. It costs sky and narrows what E leaks into B by scatter.
    nest
        Whether all maps and the mask are in NESTED order.

    Returns
    -------
    SpectraComparison
        Bandpowers of each, transfer and residual, and their cosmic scatter; ``.table()`` prints them. Of T, Q, U a dict
        of them by name, TT, EE, BB, TE, EB, TB; of Q, U EE, BB, EB.

    Raises
    ------
    MapError
        If a full-sky map has holes, or resolutions differ.
    SpectrumError
        If the bands or the beam do not fit.

    References
    ----------
    MASTER: Hivon et al. 2002, ApJ 567, 2.
    """
    found = compare_all(
        filled, target=target, observed=observed, mask=mask, beam=beam, lmax=lmax, bins=bins, apodize=apodize,
        nest=nest,
    )  # fmt: skip
    return found["TT"] if len(found) == 1 else found


def compare_all(
    filled: Any, *, target: Any, observed: Any, mask: Any, beam: npt.ArrayLike | None, lmax: int | None,
    bins: Bandpowers | Sequence[int] | int | None, apodize: float | tuple[float, Taper] | None = None,
    nest: bool = False,
) -> dict[str, SpectraComparison]:  # fmt: skip
    """Compare as `compare_spectra` does; return each spectrum by its name."""
    sky = _validate_filled(filled, "the filled map", nest)
    weights, seen = _observed_weights(sky, observed, mask, nest)
    if apodize is not None:
        weights = _apodized(weights, apodize)
    last, windows = _beam_and_lmax(beam, lmax, sky.nside, sky.fields)
    divisor = np.stack([windows[i] * windows[j] for i, j in sky.fields.pairs])
    least = 1 if weights is None else narrowest_band(weights)
    bands = validate_bands(bins, last, least)

    filled_cl, target_cl = np.atleast_2d(anafast(sky.values, last)) / divisor, None
    if target is not None:
        true = _same_kind(_validate_filled(target, "the target", nest), sky, "the target")
        target_cl = np.atleast_2d(anafast(true, last)) / divisor
    reference = filled_cl if target_cl is None else target_cl
    power, goal = bands.bin(filled_cl), None if target_cl is None else bands.bin(target_cl)
    # What the beam does to a whole band depends on the spectrum within it: take the filled map's.
    window = np.stack(
        [
            _ratio(bands.bin(cl * d), row) if i == j else bands.bin(d)
            for cl, d, row, (i, j) in zip(filled_cl, divisor, power, sky.fields.pairs, strict=True)
        ]
    )
    rough, decoupled, observed_std = _observed_bandpowers(
        seen, weights, bands, sky.nside, reference * divisor, window
    )
    # The powers of the two modes of each spectrum, by which it scatters.
    own = {pair: cl for pair, cl in zip(sky.fields.pairs, reference, strict=True) if pair[0] == pair[1]}
    found = {}
    for n, (name, (i, j)) in enumerate(zip(sky.fields.spectra, sky.fields.pairs, strict=True)):
        scatter = own[i, i] * own[j, j] + reference[n] ** 2
        rows = None if weights is None else np.atleast_2d(weights)[[i, j]]
        found[name] = SpectraComparison(
            bands=bands,
            filled_cl=filled_cl[n],
            target_cl=None if target_cl is None else target_cl[n],
            filled=power[n],
            target=None if goal is None else goal[n],
            observed_over_fsky=None if rough is None else rough[n],
            observed=None if decoupled is None else decoupled[n],
            transfer=None if goal is None or i != j else _ratio(power[n], goal[n]),
            residual=None if goal is None else power[n] - goal[n],
            cosmic_std=_cosmic_std(scatter, bands),
            observed_std=None if observed_std is None else observed_std[n],
            fsky=None if rows is None else masks.fsky(rows),
            lmax=last,
            nside=sky.nside,
            unit=sky.unit,
            beam_divided=beam is not None,
            name=name,
        )
    return found


def _ratio(power: FloatArray, goal: FloatArray) -> FloatArray:
    return np.divide(power, goal, out=np.full_like(power, np.nan), where=goal > 0)


def _cosmic_std(scatter: FloatArray, bands: Bandpowers) -> FloatArray:
    """Return the Gaussian standard deviation of full-sky bandpowers, of `C_XX C_YY + C_XY²`."""
    return np.sqrt(bands.bin(scatter) / bands.n_modes)


def _validate_filled(sky: Any, name: str, nest: bool) -> SkyInput:
    taken = validate_map(sky, nest=nest, polarized=True)
    if not taken.known.all():
        raise MapError(
            f"{name} has {int(np.count_nonzero(~taken.known))} pixels that are NaN, UNSEEN or masked; its full-sky "
            "spectrum needs all of them: fill it with inpaint_map, or pass it as observed="
        )
    return taken


def _same_kind(other: SkyInput, sky: SkyInput, name: str) -> FloatArray:
    """Return the other map's values in the filled map's unit."""
    if other.nside != sky.nside:
        raise MapError(
            f"{name} has nside {other.nside}, the filled map nside {sky.nside}; they must be equal"
        )
    if other.fields is not sky.fields:
        raise MapError(
            f"{name} is of {', '.join(other.fields.stokes)}, the filled map of {', '.join(sky.fields.stokes)}"
        )
    if other.unit is None or sky.unit is None:
        return other.values
    return other.values * unit_factor(other.unit, sky.unit)


def _observed_weights(
    sky: SkyInput, observed: Any, mask: Any, nest: bool
) -> tuple[FloatArray | None, FloatArray]:
    """Return the weights of the observed map, None if nothing is said of one, and its values."""
    if observed is None and mask is None:
        return None, sky.values
    taken = sky if observed is None else validate_map(observed, nest=nest, polarized=True)
    values = _same_kind(taken, sky, "the observed map")
    weights = taken.known.astype(np.float64)
    if mask is not None:
        weights *= _rows_of_weights(mask, sky.nside, nest, sky.fields.n)
    if weights.ndim == 2:
        weights[-2:] = weights[-2:].min(axis=0)
    if not weights.any(axis=-1).all():
        raise MaskError("the observed map has no pixel that is known and has weight; give another mask")
    if observed is not None:  # what is under the mask of a filled map tells nothing
        for row, weight in zip(np.atleast_2d(values), np.atleast_2d(weights), strict=True):
            warn_if_inverted(row, weight > 0, weight == 0)
    return weights, values


def _apodized(weights: FloatArray | None, apodize: float | tuple[float, Taper]) -> FloatArray:
    """Return the weights, zero at the edges of holes and rising from there."""
    if weights is None:
        raise MaskError("apodize= is for the observed part of the sky, and none was given: give a mask")
    degrees, taper = apodize if isinstance(apodize, tuple) else (apodize, "C1")
    rows = np.atleast_2d(weights)
    soft = [masks.apodize(rows[i] > 0, degrees, taper) for i in sorted({0, len(rows) - 1})]
    every = np.stack([soft[min(i, len(soft) - 1)] for i in range(len(rows))]).reshape(weights.shape)
    if not every.any(axis=-1).all():
        raise MaskError(f"apodized by {degrees:g} degrees, nothing of the observed sky is left: take fewer")
    return weights * every


def _rows_of_weights(mask: Any, nside: int, nest: bool, k: int) -> FloatArray:
    """Return (npix,) for one map or for all, or (k, npix), of masks for T and polarization, or for each."""
    if k == 1 or np.ndim(mask) < 2 or len(mask) not in {k - 1, k} or len(mask) == 1:
        return _validate_weights(mask, nside, nest)
    return np.stack([_validate_weights(mask[min(i, len(mask) - 1)], nside, nest) for i in range(k)])


def _validate_weights(mask: Any, nside: int, nest: bool) -> FloatArray:
    """Return a mask or weights as float64 RING."""
    values = np.ma.filled(mask, 0) if isinstance(mask, np.ma.MaskedArray) else np.asarray(mask)
    if values.dtype.kind == "f" and np.all(values >= 0) and np.any((values != 0) & (values != 1)):
        masks.validate_mask(values > 0, nside, nest=nest)  # the shape and resolution alone
        flat = values.reshape(-1).astype(np.float64)
        return to_ring(flat) if nest else flat
    return masks.validate_mask(mask, nside, nest=nest).astype(np.float64)


def _beam_and_lmax(
    beam: npt.ArrayLike | None, lmax: int | None, nside: int, fields: Fields
) -> tuple[int, FloatArray]:
    """Return the highest multipole, and (k, lmax+1) what each mode's a_lm are divided by."""
    last = 3 * nside - 1 if lmax is None else int(lmax)
    if not 2 <= last <= 4 * nside:
        raise SpectrumError(f"lmax must be 2 to {4 * nside} at nside {nside}; got {lmax!r}")
    if beam is None:
        return last, np.ones((fields.n, last + 1))
    window = np.atleast_2d(as_numbers(beam, "", "beam"))
    if (
        window.ndim != 2
        or len(window) not in {1, len(fields.spins), fields.n}
        or not np.isfinite(window).all()
    ):
        raise SpectrumError(
            f"beam must be finite b_ell (lmax+1,) from ell = 0, or a row for T and polarization; got shape "
            f"{np.shape(beam)}"
        )
    window = window[[min(i, len(window) - 1) for i in range(fields.n)]]
    # E and B have no multipoles below 2, nor a pixel window there.
    weak = np.flatnonzero(np.any(window < _LEAST_BEAM, axis=0)[2:]) + 2
    reach = int(weak[0]) - 1 if weak.size else window.shape[1] - 1
    if lmax is None:
        last = min(last, reach)
    if reach < last or last < 2:
        raise SpectrumError(
            f"the beam is known to ell = {reach} (beyond it is missing or below {_LEAST_BEAM}); spectra to {last} were "
            "asked for: lower lmax, or leave the beam in"
        )
    kept = window[:, : last + 1].copy()
    kept[:, :2] = np.where(kept[:, :2] > 0, kept[:, :2], 1.0)
    return last, kept


def validate_bands(bins: Bandpowers | Sequence[int] | int | None, lmax: int, least: int) -> Bandpowers:
    if bins is None:
        most = max(1, (lmax - 1) // least)
        return log_bands(2, lmax, min(_BANDS, most), min_width=min(least, lmax - 1))
    if isinstance(bins, int | np.integer) and not isinstance(bins, bool):
        return log_bands(2, lmax, int(bins), min_width=least)
    bands = bins if isinstance(bins, Bandpowers) else Bandpowers(np.asarray(bins))
    if bands.lmax > lmax:
        raise SpectrumError(f"the bands reach ell = {bands.lmax}, the spectra end at lmax = {lmax}")
    return bands


def _observed_bandpowers(
    values: FloatArray,
    weights: FloatArray | None,
    bands: Bandpowers,
    nside: int,
    full: FloatArray,
    window: FloatArray,
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
    """Return the pseudo-bandpowers over the mean squared weight, the decoupled ones, and their std, over the window.

    `full` are the full sky's spectra, as far as they are compared.
    """
    if weights is None:
        return None, None, None
    lmax = min(max(3 * nside - 1, bands.lmax), bands.lmax + max(_MARGIN, bands.lmax // 5))
    shown = centered(values, weights)
    rows = np.atleast_2d(weights)
    overlap = [np.mean(rows[i] * rows[j]) for i, j in Fields.of(len(rows)).pairs]
    rough = np.atleast_2d(pseudo_cl(shown, weights, lmax)) / np.array(overlap)[:, None]
    known = np.concatenate([full[:, : lmax + 1], rough[:, full.shape[1] :]], axis=1)
    std = decoupled_std(known, weights, bands, lmax)
    return (
        bands.bin(rough) / window,
        np.atleast_2d(master(values, weights, bands, lmax)) / window,
        std / window,
    )
