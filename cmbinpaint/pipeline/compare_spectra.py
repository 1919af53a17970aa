"""Compare the power spectra of a filled map, its target and the observed part of the sky.

Inputs: maps as users give them, a mask or weights. Outputs: `SpectraComparison`, numbers only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.problem.options import refuse_old_names
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.spectra.full_sky import anafast
from cmbinpaint.spectra.mode_coupling import master, narrowest_band, pseudo_cl
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.maps import SkyInput, to_ring, validate_map
from cmbinpaint.sphere.power import as_numbers
from cmbinpaint.sphere.units import unit_factor

__all__ = ["SpectraComparison", "SpectraTable", "compare_spectra"]

_BANDS = 20
# Multipoles above the last band that the decoupling takes into account: the mask mixes them in.
_MARGIN = 50
_LEAST_BEAM = 0.01


class SpectraTable(NamedTuple):
    """Rows with a value for each column, and the same as text to print."""

    columns: tuple[str, ...]
    rows: list[tuple[float, ...]]
    text: str


@dataclass(frozen=True, eq=False)
class SpectraComparison:
    """Spectra and bandpowers of a filled map and what it is compared with; None where nothing was given.

    All bandpowers are means of C_ell with weights 2 ell + 1, in the square of `unit`.

    Attributes
    ----------
    bands
        The bands of all bandpowers; `bands.centers` are their multipoles.
    filled_cl, target_cl
        (lmax+1,) full-sky `anafast`.
    filled, target
        (n,) bandpowers of these.
    observed_over_fsky
        (n,) pseudo-bandpowers of the observed map times the weights, over the mean squared weight: right only
        roughly, and wrong at large scales.
    observed
        (n,) decoupled bandpowers of the observed map (MASTER): what the observed sky alone says.
    transfer
        (n,) C(filled) / C(target), 1 is perfect.
    residual
        (n,) C(filled) - C(target).
    cosmic_std
        (n,) cosmic standard deviation of a full-sky bandpower, `C sqrt(2 / modes)`, C the target's if there
        is one, else the filled map's.
    observed_std
        (n,) the same of `observed`, with the modes that the weights leave.
    fsky
        Mean weight of the observed map, or None.
    lmax, nside
        Highest multipole used; resolution.
    unit
        Unit of the maps, None if unspecified.
    beam_divided
        Whether the spectra are divided by the square of the `beam` that was given.
    """

    bands: Bandpowers
    filled_cl: FloatArray
    target_cl: FloatArray | None
    filled: FloatArray
    target: FloatArray | None
    observed_over_fsky: FloatArray | None
    observed: FloatArray | None
    transfer: FloatArray | None
    residual: FloatArray | None
    cosmic_std: FloatArray
    observed_std: FloatArray | None
    fsky: float | None
    lmax: int
    nside: int
    unit: str | None
    beam_divided: bool

    @property
    def statement(self) -> str:
        """What is and is not in these spectra, in one sentence."""
        window = (
            "divided by the beam given" if self.beam_divided else "as in the maps: beam and pixel window in"
        )
        sky = "" if self.fsky is None else f"; the observed part is {self.fsky:.3f} of the sky"
        unit = f"{self.unit}^2" if self.unit else "the maps' unit squared (none was given)"
        return f"C_ell in {unit}, {window}, noise in; nside {self.nside}, ell to {self.lmax}{sky}"

    def table(self) -> SpectraTable:
        """Return one row a band: its multipoles, D_ell of each spectrum, transfer, and distance in sigmas.

        D_ell here is the bandpower times ell (ell+1) / 2π at the band's center. `sigmas` is the residual over
        the cosmic standard deviation.
        """
        center = self.bands.centers
        factor = center * (center + 1) / (2 * np.pi)
        columns: dict[str, FloatArray] = {
            "ell_min": self.bands.edges[:-1].astype(np.float64),
            "ell_max": (self.bands.edges[1:] - 1).astype(np.float64),
            "filled": self.filled * factor,
        }
        for name in ("target", "observed", "observed_over_fsky"):
            values = getattr(self, name)
            if values is not None:
                columns[name] = values * factor
        columns["cosmic_std"] = self.cosmic_std * factor
        if self.transfer is not None and self.residual is not None:
            columns["transfer"] = self.transfer
            columns["sigmas"] = self.residual / self.cosmic_std
        rows = [tuple(float(value) for value in row) for row in zip(*columns.values(), strict=True)]
        return SpectraTable(tuple(columns), rows, _text(tuple(columns), rows, self.statement))


def _text(columns: tuple[str, ...], rows: list[tuple[float, ...]], statement: str) -> str:
    """Lay out the table: whole numbers for multipoles, 4 digits for the rest."""
    cells = [[_cell(name, value) for name, value in zip(columns, row, strict=True)] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in
             [list(columns), *cells]]  # fmt: skip
    return "\n".join([*lines, f"D_ell = ell (ell+1) C_ell / 2 pi of {statement}"])


def _cell(name: str, value: float) -> str:
    if name.startswith("ell_"):
        return str(int(value))
    return f"{value:.3f}" if name == "transfer" else f"{value:+.2f}" if name == "sigmas" else f"{value:.4g}"


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
    nest: bool = False,
) -> SpectraComparison:
    """Compare power spectra: of a filled map, its target, and the observed part of the sky.

    One filled sky scatters by full-sky cosmic variance by construction: a transfer near 1 within `cosmic_std`
    is all that a single sky can show. Noise is not subtracted from any spectrum.

    Parameters
    ----------
    filled
        (npix,) map without holes, any type that `inpaint_map` takes.
    target
        (npix,) the true full sky, if known, as the instrument would see it (beam and noise as in `filled`).
    observed
        (npix,) the map before it was filled; None with a mask given: the filled map, which equals it there.
    mask
        (npix,) mask, 1 = observed, or any weights >= 0, apodized ones too; None with `observed` given: where it
        is known.
    beam
        b_ell from ell = 0, amplitude, pixel window included if wanted: all spectra are divided by its square.
    lmax
        Highest multipole; None: `3*nside - 1`, or where the beam falls below 0.01.
    bins
        Bands, their edges, or how many; None: 20, about equal in log ell from 2 to lmax. Bands below 1/fsky
        in width cannot be decoupled and are an error where something is observed in part.
    nest
        Whether all maps and the mask are in NESTED order.

    Returns
    -------
    SpectraComparison
        Bandpowers of each, transfer and residual, and their cosmic scatter; ``.table()`` prints them.

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
    sky = _validate_filled(filled, "the filled map", nest)
    weights, seen = _observed_weights(sky, observed, mask, nest)
    last, divisor = _beam_and_lmax(beam, lmax, sky.nside)
    least = 1 if weights is None else narrowest_band(weights)
    bands = validate_bands(bins, last, least)

    filled_cl = anafast(sky.values, last) / divisor
    target_cl = None
    if target is not None:
        true = _same_kind(_validate_filled(target, "the target", nest), sky, "the target")
        target_cl = anafast(true, last) / divisor
    reference = filled_cl if target_cl is None else target_cl
    power, goal = bands.bin(filled_cl), None if target_cl is None else bands.bin(target_cl)
    # What the beam does to a whole band depends on the spectrum within it: take the filled map's.
    window = _ratio(bands.bin(filled_cl * divisor), power)
    parts = _observed_bandpowers(seen, weights, bands, sky.nside, window)
    return SpectraComparison(
        bands=bands,
        filled_cl=filled_cl,
        target_cl=target_cl,
        filled=power,
        target=goal,
        observed_over_fsky=parts[0],
        observed=parts[1],
        transfer=None if goal is None else _ratio(power, goal),
        residual=None if goal is None else power - goal,
        cosmic_std=_cosmic_std(reference, bands),
        observed_std=None if weights is None else _cosmic_std(reference, bands, weights),
        fsky=None if weights is None else masks.fsky(weights),
        lmax=last,
        nside=sky.nside,
        unit=sky.unit,
        beam_divided=beam is not None,
    )


def _ratio(power: FloatArray, goal: FloatArray) -> FloatArray:
    return np.divide(power, goal, out=np.full_like(power, np.nan), where=goal > 0)


def _cosmic_std(cl: FloatArray, bands: Bandpowers, weights: FloatArray | None = None) -> FloatArray:
    """Return the Gaussian standard deviation of bandpowers: sum of (2 ell + 1) C² over modes, cut by weights."""
    modes = bands.n_modes
    if weights is not None:
        modes = modes * np.mean(weights**2) ** 2 / np.mean(weights**4)
    return np.sqrt(2 * bands.bin(cl**2) / modes)


def _validate_filled(sky: Any, name: str, nest: bool) -> SkyInput:
    taken = validate_map(sky, nest=nest)
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
    if other.unit is None or sky.unit is None:
        return other.values
    return other.values * unit_factor(other.unit, sky.unit)


def _observed_weights(
    sky: SkyInput, observed: Any, mask: Any, nest: bool
) -> tuple[FloatArray | None, FloatArray]:
    """Return the weights of the observed map, None if nothing is said of one, and its values."""
    if observed is None and mask is None:
        return None, sky.values
    taken = sky if observed is None else validate_map(observed, nest=nest)
    values = _same_kind(taken, sky, "the observed map")
    weights = taken.known.astype(np.float64)
    if mask is not None:
        weights *= _validate_weights(mask, sky.nside, nest)
    if not weights.any():
        raise MaskError("the observed map has no pixel that is known and has weight; give another mask")
    return weights, values


def _validate_weights(mask: Any, nside: int, nest: bool) -> FloatArray:
    """Return a mask or weights as float64 RING."""
    values = np.ma.filled(mask, 0) if isinstance(mask, np.ma.MaskedArray) else np.asarray(mask)
    if values.dtype.kind == "f" and np.all(values >= 0) and np.any((values != 0) & (values != 1)):
        masks.validate_mask(values > 0, nside, nest=nest)  # the shape and resolution alone
        flat = values.reshape(-1).astype(np.float64)
        return to_ring(flat) if nest else flat
    return masks.validate_mask(mask, nside, nest=nest).astype(np.float64)


def _beam_and_lmax(beam: npt.ArrayLike | None, lmax: int | None, nside: int) -> tuple[int, FloatArray]:
    """Return the highest multipole and what the spectra are divided by."""
    last = 3 * nside - 1 if lmax is None else int(lmax)
    if not 2 <= last <= 4 * nside:
        raise SpectrumError(f"lmax must be 2 to {4 * nside} at nside {nside}; got {lmax!r}")
    if beam is None:
        return last, np.ones(last + 1)
    window = as_numbers(beam, "", "beam")
    if window.ndim != 1 or not np.isfinite(window).all():
        raise SpectrumError(f"beam must be finite b_ell (lmax+1,) from ell = 0; got shape {window.shape}")
    weak = np.flatnonzero(window < _LEAST_BEAM)
    reach = int(weak[0]) - 1 if weak.size else window.size - 1
    if lmax is None:
        last = min(last, reach)
    if reach < last or last < 2:
        raise SpectrumError(
            f"the beam is known to ell = {reach} (beyond it is missing or below {_LEAST_BEAM}); spectra to {last} were "
            "asked for: lower lmax, or leave the beam in"
        )
    return last, window[: last + 1] ** 2


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
    values: FloatArray, weights: FloatArray | None, bands: Bandpowers, nside: int, window: FloatArray
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the pseudo-bandpowers over the mean squared weight, and the decoupled ones, over the window."""
    if weights is None:
        return None, None
    lmax = min(max(3 * nside - 1, bands.lmax), bands.lmax + max(_MARGIN, bands.lmax // 5))
    centered = np.where(
        weights > 0, values - np.average(np.where(weights > 0, values, 0), weights=weights), 0
    )
    rough = pseudo_cl(centered, weights, lmax) / np.mean(weights**2)
    return bands.bin(rough) / window, master(values, weights, bands, lmax) / window
