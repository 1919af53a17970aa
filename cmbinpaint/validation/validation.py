"""Several models on the same skies: all figures side by side, and as plain numbers for a file.

Inputs: an ensemble whose records are made. Outputs: `Validation`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._types import FloatArray
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.calibration import (
    ALM_GROUPS,
    LOWEST,
    ModelCalibration,
    calibrate,
    low_multipole_errors,
)
from cmbinpaint.validation.coverage import LEVELS
from cmbinpaint.validation.depths import HOLE_WIDTHS
from cmbinpaint.validation.ensemble import EXACT, EXACT_TOLERANCE, Ensemble, Kind
from cmbinpaint.validation.jackknife import Estimate, ratio_of_means
from cmbinpaint.validation.leakage import RANGES, Leaked
from cmbinpaint.validation.sky_statistics import LOW_ELL

_DIGITS = 6


@dataclass(frozen=True, eq=False)
class Validation:
    """Figures of several models on the same skies.

    Attributes
    ----------
    facts
        Of the setup: nside, lmax, skies, seed, fsky, beam, noise...
    depths
        Labels of the depth bins, pixels; `counts`: pixels in each. Of several Stokes parameters one after the other.
    bands
        Of each spectrum.
    fields
        The Stokes parameters.
    field, exact
        (depths,) rms of the signal and of the exact mean's error, µK.
    exact_by_width, counts_by_width
        (widths, depths) rms of the exact mean's error, and pixels, for each class of holes in `hole_widths`.
    zero
        (bands,) relative bias of the map with zeros in its holes.
    exact_alm_error
        (ell,) as `ModelCalibration.alm_error`, of the exact mean: what the observed sky does not constrain.
    models
        By label.
    kinds
        By label: ``"exact"``, ``"linear"``, ``"refined"`` by conjugate gradients, or ``"nonlinear"``; with it, what
        holds for a model's figures.
    """

    facts: Mapping[str, Any]
    depths: tuple[str, ...]
    counts: tuple[int, ...]
    bands: Bandpowers
    field: FloatArray
    exact: FloatArray
    exact_by_width: FloatArray
    counts_by_width: FloatArray
    zero: Estimate
    exact_alm_error: Estimate
    models: Mapping[str, ModelCalibration]
    kinds: Mapping[str, Kind]
    fields: Fields = Fields.T
    leakage: Mapping[str, Leaked] | None = None

    @property
    def band_labels(self) -> list[str]:
        """Labels of the bands: `2`, `3-4`, `5-7`; of several spectra `TT 2` and so on."""
        return _named(self.fields.spectra, band_labels(self.bands))

    @property
    def multipoles(self) -> list[int] | list[str]:
        """The ell of figures by single multipole; of several modes `E 2` and so on."""
        ell = list(range(LOWEST, LOW_ELL + 1))
        return ell if self.fields is Fields.T else _named(self.fields.modes, [str(one) for one in ell])

    @property
    def bands_of_one(self) -> list[str]:
        """Labels of the bands of one spectrum."""
        return band_labels(self.bands)

    @property
    def one_point_labels(self) -> list[str]:
        """Labels of the groups of pixels whose distributions have figures: all, and those of each depth."""
        n = len(self.depths) // self.fields.n
        starts = range(0, len(self.depths), n)
        return [label for i in starts for label in ("all", *self.depths[i : i + n])]

    @property
    def edges(self) -> list[str]:
        """Labels of the classes of holes whose edges have figures; of several Stokes parameters `T, wider holes`."""
        return _named([f"{one}," for one in self.fields.stokes], HOLE_WIDTHS)

    @property
    def hole_widths(self) -> tuple[str, ...]:
        """The classes of holes by width that have figures of their own."""
        return HOLE_WIDTHS

    @property
    def levels(self) -> tuple[float, float]:
        """The probabilities whose intervals' coverage is measured."""
        return LEVELS

    @classmethod
    def of(cls, ensemble: Ensemble, skies: int) -> "Validation":
        """Make all figures from the records of the first `skies` skies.

        Raises
        ------
        CmbInpaintError
            If there are fewer than two, or a record is of another setup.
        """
        setup, statistics = ensemble.setup, ensemble.statistics
        exact, fields = ensemble.records[EXACT].stack(skies), setup.fields
        stacks = {label: ensemble.records[label].stack(skies) for label in ensemble.candidates}
        kinds = {label: candidate.kind for label, candidate in ensemble.candidates.items()}
        # The exact model's realizations are draws from the posterior.
        draws = next((stacks[label] for label, kind in kinds.items() if kind == "exact"), None)
        true = exact["true_power"]
        facts = {
            "nside": setup.nside,
            "lmax": setup.sky_model.lmax,
            "skies": skies,
            "seed": setup.seed,
            "fsky": setup.plan.fsky,
            "n_holes": setup.plan.n_holes,
            "fwhm_arcmin": math.degrees(setup.fwhm) * 60,
            "noise_std_uK": setup.noise_std,
            "exact_seconds": float(exact["seconds"].mean()),
            "exact_tolerance": EXACT_TOLERANCE,
            "digest": setup.digest,
            "version": __version__,
        }
        return cls(
            facts=facts,
            depths=tuple(_named(fields.stokes, setup.depths.labels)),
            counts=tuple(int(count) for count in setup.depths.counts),
            bands=setup.bands,
            field=np.sqrt(exact["field"].mean(axis=0)),
            exact=np.sqrt(exact["error"].mean(axis=0)),
            exact_by_width=np.sqrt(exact["error_by_width"].mean(axis=0)),
            counts_by_width=np.stack([bins.counts for bins in setup.depths_by_width]),
            zero=ratio_of_means(exact["zero_power"] - true, setup.scale_of(true)),
            exact_alm_error=low_multipole_errors(exact["residual_alm"], exact["true_alm"])[0],
            models={label: calibrate(stack, exact, statistics, draws) for label, stack in stacks.items()},
            kinds=kinds,
            fields=fields,
        )

    def to_dict(self) -> dict[str, Any]:
        """All figures as JSON can hold them: estimates as value and error, NaN as null."""
        shown = plain(
            {
                f.name: getattr(self, f.name)
                for f in fields(self)
                if f.name not in ("facts", "bands", "fields", "leakage")
            }
        )
        if self.fields is not Fields.T:
            shown |= {"fields": self.fields.value, "edges": self.edges}
        if self.leakage is not None:
            ranges = [f"{low}-{max(low, min(high, self.bands.lmax))}" for low, high in RANGES]
            shown["leakage"] = {"bands": band_labels(self.bands), "r_ranges": ranges, **plain(self.leakage)}
        groups = [f"{low}-{high - 1}" for low, high in pairwise((*ALM_GROUPS, LOW_ELL + 1))]
        return {
            "what": "validation",
            **plain(self.facts),
            "bands": self.band_labels,
            "band_edges": self.bands.edges.tolist(),
            "multipoles": list(self.multipoles),
            "multipole_groups": _named(self.fields.modes, groups),
            "hole_widths": list(self.hole_widths),
            "levels": list(self.levels),
            **shown,
        }


def _named(names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Labels for each of several names; those of one alone need none."""
    return [f"{name} {label}" for name in names for label in labels] if len(names) > 1 else list(labels)


def band_labels(bands: Bandpowers) -> list[str]:
    """Labels of the bands: `2`, `3-4`, `5-7`."""
    return [f"{a}-{b - 1}" if b - a > 1 else f"{a}" for a, b in pairwise(bands.edges.tolist())]


def plain(value: Any) -> Any:
    """Dataclasses, named tuples and arrays as dicts, lists and numbers of six digits; NaN and inf as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.integer) else value
