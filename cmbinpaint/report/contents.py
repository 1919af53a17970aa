"""All numbers of a report on one filled map: what was filled, how it looks, and its spectrum.

Inputs: a map with holes, the maps made of it, a plan; perhaps the target, an error map, a sky model.
Outputs: `MapReport`, small whatever the resolution.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.pipeline.compare_spectra import compare_spectra
from cmbinpaint.pipeline.spectra_comparison import SpectraComparison
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.report.fields import CloseUp, Maps, Panorama
from cmbinpaint.report.hole_table import HoleTable, hole_table
from cmbinpaint.report.polarization import Polarization
from cmbinpaint.report.statistics import DepthRow, OnePoint, depth_rows
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.full_sky import anafast, dl_from_cl
from cmbinpaint.sphere.fields import Fields

# Highest multipole of a report: at nside 2048 the spectra then take a minute or two for each map.
HIGHEST_MULTIPOLE = 2000
# With fewer realizations the standard deviation of a pixel is too uncertain: of ten it is known to a quarter.
LEAST_REALIZATIONS = 10


@dataclass(frozen=True, eq=False)
class MapReport:
    """The figures and pictures of a report; temperatures in `unit`.

    Attributes
    ----------
    nside, unit
        Of the maps; the unit is None if unspecified.
    fsky
        Fraction of the sky used as data.
    n_observed, n_changed
        Pixels that were not filled, and how many of them differ between the map with holes and the filled one.
    mean
        Of the pixels used as data; it is subtracted in all pictures and distributions, and nothing else is.
    holes, panorama, close_ups, one_point, depths
        See there.
    spectra
        Of the first filled map, beam, pixel window and noise in.
    n_maps
        How many filled maps there are.
    mean_dl, std_dl
        (n,) mean and standard deviation of the bandpowers of D_ell over several filled maps, else None.
    model_ell, model_dl
        (m,) multipoles and D_ell, noise in, of the sky model; None without one.
    polarization
        Of T, Q, U and Q, U, what is shown of Q and U; all else is of T, or of Q with the spectrum of E.
    shown
        What all else is of: T, or Q.
    """

    nside: int
    unit: str | None
    fsky: float
    n_observed: int
    n_changed: int
    mean: float
    holes: HoleTable
    panorama: Panorama
    close_ups: tuple[CloseUp, ...]
    one_point: OnePoint
    depths: tuple[DepthRow, ...]
    spectra: SpectraComparison
    n_maps: int
    mean_dl: FloatArray | None
    std_dl: FloatArray | None
    model_ell: FloatArray | None
    model_dl: FloatArray | None
    polarization: Polarization | None = None
    shown: str = "T"


def report_on(
    before: FloatArray,
    filled: Iterable[FloatArray],
    plan: InpaintingPlan,
    *,
    target: FloatArray | None = None,
    error: FloatArray | None = None,
    sky_model: SkyModel | None = None,
    unit: str | None = None,
    tolerance: float = 0.0,
    lmax: int | None = None,
) -> MapReport:
    """Compute a report.

    Parameters
    ----------
    before
        (npix,) float64, RING: the map with holes; what it has in holes is not read. Of T, Q, U (3, npix), of Q, U
        (2, npix), as are the others.
    filled
        (npix,) float64 maps, RING, each read and dropped in turn: the first is shown, all
        count in the standard deviation.
    plan
        What was filled.
    target
        (npix,) the true full sky, or None.
    error
        (npix,) standard deviation in the holes (of `error_map`, say); None: that of the filled maps, if there
        are ten or more.
    sky_model
        Whose power is drawn beside the maps', or None.
    unit
        Of all of them.
    tolerance
        Relative difference up to which an observed pixel counts as unchanged; 0: bit for bit.
    lmax
        Highest multipole of the spectra; None: 2 nside, at most 2000.

    Raises
    ------
    MapError
        If no filled map is given, or one still has holes, or a size differs.
    MaskError
        If nothing was filled.
    """
    maps_left = iter(filled)
    first = next(maps_left, None)
    if first is None:
        raise MapError("no filled map given; give at least one")
    for name, other in (("before", before), ("filled", first), ("target", target), ("error", error)):
        if other is not None and other.shape != plan.valid.shape:
            raise MapError(f"{name} has shape {other.shape}; the plan is for {plan.valid.shape}")
    last = min(2 * plan.nside, HIGHEST_MULTIPOLE) if lmax is None else lmax
    polarization = None
    if before.ndim == 2:
        polarization = Polarization.of(
            before, first, plan, target=target, unit=unit, tolerance=tolerance, lmax=last
        )
        if len(before) == 3:
            maps_left = (sky[0] for sky in maps_left)
            sky_model = None if sky_model is None else sky_model.only(Fields.T)
        before, first = before[0], first[0]
        target, error = (None if one is None else one[0] for one in (target, error))
        plan = plan.temperature  # or Q's
    shown = "T" if polarization is None or "TT" in polarization.spectra else "Q"
    holes = hole_table(plan.targets, plan.depth)
    if polarization is not None and shown == "Q":
        spectra = polarization.spectra["EE"]
    else:
        hidden = np.where(plan.valid, before, np.nan)
        spectra = replace(
            compare_spectra(first, target=target, observed=hidden, mask=plan.valid, lmax=last), unit=unit
        )
        del hidden
    several = _Several.of(first, maps_left, spectra)
    is_scatter = error is None and several.n >= LEAST_REALIZATIONS
    maps = Maps(
        before=before,
        filled=first,
        observed=~plan.targets & np.isfinite(before),
        holes=plan.targets,
        target=target,
        error=several.std if is_scatter else error,
    )
    mean = float(np.mean(before, where=plan.valid))
    chosen = [("the largest hole", holes.largest[0])]
    chosen += [("a typical hole", holes.typical)] if holes.typical is not None else []
    model_ell, model_dl = (None, None) if sky_model is None else _model_dl(sky_model, spectra.lmax)
    return MapReport(
        nside=plan.nside,
        unit=unit,
        fsky=plan.fsky,
        n_observed=int(maps.observed.sum()),
        n_changed=_n_changed(maps, tolerance),
        mean=mean,
        holes=holes,
        panorama=Panorama.of(maps, mean),
        close_ups=tuple(CloseUp.of(name, hole, maps, mean) for name, hole in chosen),
        one_point=OnePoint.of(maps, plan.valid, mean),
        depths=depth_rows(maps, plan, mean),
        spectra=spectra,
        n_maps=several.n,
        mean_dl=several.mean_dl,
        std_dl=several.std_dl,
        model_ell=model_ell,
        model_dl=model_dl,
        polarization=polarization,
        shown=shown,
    )


@dataclass(frozen=True, eq=False)
class _Several:
    """Filled maps taken together, one in memory at a time beside two sums."""

    n: int
    std: FloatArray | None
    mean_dl: FloatArray | None
    std_dl: FloatArray | None

    @classmethod
    def of(cls, first: FloatArray, others: Iterable[FloatArray], spectra: SpectraComparison) -> "_Several":
        bands = spectra.bands
        factor = bands.centers * (bands.centers + 1) / (2 * np.pi)
        dls = [spectra.filled * factor]
        total = squares = None
        for sky in others:
            power = np.atleast_2d(anafast(sky, spectra.lmax))[0]  # TT, or EE
            sky = np.atleast_2d(sky)[0]
            if sky.shape != first.shape:
                raise MapError(f"a filled map has shape {sky.shape}, the first {first.shape}")
            if total is None or squares is None:
                total, squares = np.zeros(first.size), np.zeros(first.size)
            difference = sky - first  # no digits are lost to a monopole
            total += difference
            squares += np.square(difference)
            dls.append(bands.bin(power) * factor)
        n = len(dls)
        if total is None or squares is None:
            return cls(1, None, None, None)
        variance = np.maximum(squares - np.square(total) / n, 0.0) / (n - 1)
        return cls(n, np.sqrt(variance), np.mean(dls, axis=0), np.std(dls, axis=0, ddof=1))


def _n_changed(maps: Maps, tolerance: float) -> int:
    changed = maps.observed & (maps.filled != maps.before)
    if tolerance:
        changed &= ~np.isclose(maps.filled, maps.before, rtol=tolerance, atol=0.0)
    return int(np.count_nonzero(changed))


def _model_dl(sky_model: SkyModel, lmax: int) -> tuple[FloatArray, FloatArray]:
    """Return multipoles from 2 on and D_ell of signal and noise; beyond the signal's end there is noise alone."""
    cl = np.full(lmax + 1, sky_model.noise_cl)
    n = min(lmax, sky_model.lmax) + 1
    cl[:n] += sky_model.signal.values[0, 0][:n]  # of T, or of E
    return np.arange(2, lmax + 1, dtype=np.float64), dl_from_cl(cl)[2:]
