"""What a report shows of Q and U: maps of Q, U, P, E and B before and after, and all spectra.

Inputs: maps of T, Q, U or Q, U in RING, of any resolution. Outputs: `Polarization`, small whatever the resolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.pipeline.compare_spectra import compare_all
from cmbinpaint.pipeline.spectra_comparison import SpectraComparison
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.spectra.modes import eb_maps
from cmbinpaint.sphere.maps import degrade, npix_to_nside

SHOWN_NSIDE = 64  # five rows of small pictures


@dataclass(frozen=True, eq=False)
class Polarization:
    """Maps and spectra of polarization.

    Attributes
    ----------
    rows
        Q, U, P, E and B, each a few maps by title, as `plots.draw_polarization` takes them, in the maps' unit. E and B
        before are those of zeros in the holes.
    lmax_eb
        The highest multipole of the maps of E and B.
    outline
        (npix,) bool, where Q and U are observed, of the maps' resolution.
    spectra
        Of the filled map, by name.
    n_observed, n_changed
        Values of Q and U that were not filled, and how many of them differ in the filled map.
    """

    rows: Mapping[str, Mapping[str, FloatArray]]
    lmax_eb: int
    outline: BoolArray
    spectra: Mapping[str, SpectraComparison]
    n_observed: int
    n_changed: int

    @classmethod
    def of(
        cls, before: FloatArray, filled: FloatArray, plan: InpaintingPlan, *, target: FloatArray | None,
        unit: str | None, tolerance: float, lmax: int,
    ) -> "Polarization":  # fmt: skip
        """Compare (2, npix) or (3, npix) maps, RING, in one unit; arguments as those of `report_on`."""
        valid = plan.valid
        spectra = compare_all(
            filled,
            target=target,
            observed=np.where(valid, before, np.nan),
            mask=None,
            beam=None,
            lmax=lmax,
            bins=None,
        )
        kept = ~plan.targets[-2:] & np.isfinite(before[-2:])
        same = np.isclose(filled[-2:], before[-2:], rtol=tolerance, atol=0.0)
        shown = {"with holes": np.where(valid, before, 0.0), "filled": filled}
        shown |= {} if target is None else {"target": target}
        lmax_eb = npix_to_nside(valid.shape[1]) // 2
        modes = {title: _modes(sky, lmax_eb) for title, sky in shown.items()}
        rows = {name: {title: modes[title][name] for title in modes} for name in ("Q", "U", "P", "E", "B")}
        outline = _small(valid[-1].astype(np.float64))[0] > 0.5
        for name in ("Q", "U", "P"):
            rows[name]["with holes"] = np.where(outline, rows[name]["with holes"], np.nan)
        for name in ("E", "B"):
            rows[name] = {"zeros in the holes" if t == "with holes" else t: m for t, m in rows[name].items()}
        return cls(
            rows=rows,
            lmax_eb=lmax_eb,
            outline=outline,
            spectra={name: replace(one, unit=unit) for name, one in spectra.items()},
            n_observed=int(kept.sum()),
            n_changed=int(np.count_nonzero(kept & ~same)),
        )


def _modes(sky: FloatArray, lmax: int) -> dict[str, FloatArray]:
    """The maps that are shown of one sky."""
    e, b = eb_maps(sky, lmax)
    q, u, e, b = _small(*sky[-2:], e, b)
    return {"Q": q, "U": u, "P": np.hypot(q, u), "E": e, "B": b}


def _small(*maps: FloatArray) -> list[FloatArray]:
    """Maps at the resolution that is shown."""
    everywhere = np.ones(maps[0].size, dtype=bool)
    nside = min(SHOWN_NSIDE, npix_to_nside(maps[0].size))
    return [degrade(one, everywhere, nside)[0] for one in maps]
