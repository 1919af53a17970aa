"""One power spectrum of a filled map beside its target and the observed part of the sky, and its table.

Inputs: bandpowers that were computed elsewhere. Outputs: `SpectraComparison`, `SpectraTable`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.spectra.bandpowers import Bandpowers


class SpectraTable(NamedTuple):
    """Rows with a value for each column, and the same as text to print."""

    columns: tuple[str, ...]
    rows: list[tuple[float, ...]]
    text: str


@dataclass(frozen=True, eq=False)
class SpectraComparison:
    """One spectrum of a filled map and what it is compared with, and its bandpowers; None where nothing was given.

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
        (n,) C(filled) / C(target), 1 is perfect; None of cross spectra, which pass through zero.
    residual
        (n,) C(filled) - C(target).
    cosmic_std
        (n,) cosmic standard deviation of a full-sky bandpower, `C sqrt(2 / modes)`, of cross spectra
        `sqrt((C_XX C_YY + C_XY²) / modes)`, C the target's if there is one, else the filled map's.
    observed_std
        (n,) the standard deviation of `observed`: of the modes that the weights leave, and of undoing what they mix.
    fsky
        Mean weight of the observed map, or None.
    lmax, nside
        Highest multipole used; resolution.
    unit
        Unit of the maps, None if unspecified.
    beam_divided
        Whether the spectra are divided by the square of the `beam` that was given.
    name
        Which spectrum: TT, EE, BB, TE, EB or TB.
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
    name: str = "TT"

    @property
    def d_ell(self) -> dict[str, FloatArray]:
        """D_ell at the bands' centers of each curve that there is, by its name in a legend."""
        center = self.bands.centers
        given = {"target": self.target, "filled": self.filled, "decoupled (MASTER)": self.observed}
        return {
            name: cl * center * (center + 1) / (2 * np.pi) for name, cl in given.items() if cl is not None
        }

    @property
    def d_ell_std(self) -> dict[str, FloatArray]:
        """The standard deviations of the curves that have more than cosmic variance."""
        factor = self.bands.centers * (self.bands.centers + 1) / (2 * np.pi)
        return {} if self.observed_std is None else {"decoupled (MASTER)": self.observed_std * factor}

    @property
    def cosmic_fraction(self) -> FloatArray:
        """(n,) `cosmic_std` over the target's bandpowers, or the filled map's."""
        return self.cosmic_std / (self.filled if self.target is None else self.target)

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
        if self.observed_std is not None:
            columns["observed_std"] = self.observed_std * factor
        if self.transfer is not None:
            columns["transfer"] = self.transfer
        if self.residual is not None:
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
