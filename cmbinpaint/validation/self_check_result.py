"""The result of a self-check: its figures, its verdict, and both as text.

Inputs: figures per depth bin and per quintile. Outputs: `SelfCheck`.
"""

from dataclasses import dataclass, replace

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.sims.sky_model import SkyModel

# False alarms of the whole check, all its statistics together.
LEVEL = 0.01
# Smaller deviations of errors or coverage do not matter, however significant: a map of many holes detects a noise that
# is wrong by 3 %, and a sky model estimated from the map is no better than that.
MATERIAL = 0.04
_FIT, _MISFIT = "beam, noise and sky model fit this map", "beam, noise and sky model do NOT fit this map"


def verdict_of(text: str) -> bool | None:
    """Return whether a self-check passed by the words it left in a file; None: they do not say."""
    return True if text.startswith(_FIT) else False if text.startswith(_MISFIT) else None


@dataclass(frozen=True, eq=False)
class ErrorSpectra:
    """The errors of held-out pixels by mode, beside what the sky model expects.

    Attributes
    ----------
    names
        TT, EE, BB, TE, EB, TB as far as they exist.
    value, expected, error
        (n,) of TT, EE, BB the rms of the errors over what is expected, 1; of TE, EB, TB the correlation of the errors,
        and in simulations; and the standard deviation from sky to sky.
    p, all_p
        (n,) two-sided p-values, and that of all together (Hotelling's T²).
    """

    names: tuple[str, ...]
    value: FloatArray
    expected: FloatArray
    error: FloatArray
    p: FloatArray
    all_p: float

    @property
    def significant(self) -> BoolArray:
        """Which deviate significantly (1 %) and by 0.04 or more."""
        return (self.p < LEVEL) & (np.abs(self.value - self.expected) >= MATERIAL)

    def describe(self, i: int) -> str:
        """What was found of one of them."""
        name, found = self.names[i], f"{self.value[i]:.3f} ± {self.error[i]:.3f}"
        if name[0] == name[1]:
            return f"errors in {name[0]} are {found} times what is expected"
        return (
            f"errors in {name[0]} and {name[1]} are correlated by {found}, {self.expected[i]:.3f} is expected"
        )

    def cause(self, i: int) -> str:
        """What would make it deviate."""
        name = self.names[i]
        if name in ("EB", "TB"):
            return "polarization rotated, or U of the other convention?"
        if name == "TE":
            return "TE misstated, or T and polarization not of one sky?"
        return f"power of {name[0]} {'under' if self.value[i] > 1 else 'over'}stated?"


@dataclass(frozen=True, eq=False)
class SelfCheck:
    """How well a sky model fits a map, by held-out pixels.

    Of several Stokes parameters figures by depth and by quintile have a row for each: (k, bins), (k, 5); `depth_p` and
    `all_coverage_p` are (k,).

    Attributes
    ----------
    depths
        Labels of the depth bins, pixels; the first is the edge ring.
    counts
        (bins,) held-out pixels in each.
    ratio, ratio_error
        (bins,) rms of the errors over what the sky model expects, and its standard deviation from sky to sky; NaN in
        bins without pixels.
    ratio_p, depth_p
        (bins,) two-sided p-values, and that of all bins together (Hotelling's T²).
    coverage, expected_coverage, coverage_error
        (5,) fraction of held-out pixels within one expected standard deviation of the prediction, by quintile of the
        prediction; the same in simulations; its standard deviation.
    coverage_p, all_coverage_p
        (5,) two-sided p-values, and that of all together.
    model, model_ratio
        Name of the model that fills the holes, and (bins,) the rms of its errors on the map over those of kriging;
        NaN where there are no pixels. Errors contain the noise of the held-out pixels, so it is near 1 at the edge.
    sky_model
        What was tested, in the unit of `InpaintInfo.work_unit`; `inpaint_map` accepts it as ``sky_model=``.
    n_holes, n_discs
        Rotated holes, and discs in place of holes too large to be rotated.
    n_simulations
        On which the p-values rest.
    stokes
        Which Stokes parameters were held out: those that have holes.
    spectra
        Of Q, U and T, Q, U: the errors by mode.
    """

    depths: tuple[str, ...]
    counts: IntArray
    ratio: FloatArray
    ratio_error: FloatArray
    ratio_p: FloatArray
    depth_p: float | FloatArray
    coverage: FloatArray
    expected_coverage: FloatArray
    coverage_error: FloatArray
    coverage_p: FloatArray
    all_coverage_p: float | FloatArray
    model: str
    model_ratio: FloatArray
    sky_model: SkyModel
    n_holes: int
    n_discs: int
    n_simulations: int
    stokes: str = "T"
    spectra: ErrorSpectra | None = None

    @property
    def p(self) -> float:
        """The smallest p-value of depths, coverage and spectra, corrected for their number (Šidák)."""
        tests = np.concatenate([np.ravel(self.depth_p), np.ravel(self.all_coverage_p)])
        if self.spectra is not None:
            tests = np.append(tests, self.spectra.all_p)
        return float(-np.expm1(tests.size * np.log1p(-min(tests.min(), 1 - 1e-16))))

    @property
    def significant(self) -> tuple[BoolArray, BoolArray]:
        """Which depth bins and which quintiles deviate significantly (1 %) and by 4 % or more."""
        depths = (self.ratio_p < LEVEL) & (np.abs(self.ratio - 1) >= MATERIAL)
        difference = np.abs(self.coverage - self.expected_coverage)
        return depths, (self.coverage_p < LEVEL) & (difference >= MATERIAL)

    @property
    def fits(self) -> bool:
        """Whether beam, noise and sky model pass: all statistics together at 1 %, or no single one significant."""
        modes = self.spectra is not None and self.spectra.significant.any()
        return self.p >= LEVEL or not (modes or any(part.any() for part in self.significant))

    def __str__(self) -> str:
        tested = f"{int(np.sum(self.counts))} held-out pixels, p = {self.p:.2g}"
        rows = self._rows()
        if self.fits:
            first = [row._errors_at(int(np.flatnonzero(row.counts)[0]), of) for of, row in rows]
            return f"{_FIT} ({tested}); {'; '.join(first)}"
        found = [
            f"{row._errors_at(i, of)} ({row._cause(i)})"
            for of, row in rows
            for i in np.flatnonzero(row.significant[0]).tolist()
        ]
        if self.spectra is not None:
            odd = np.flatnonzero(self.spectra.significant).tolist()
            found += [f"{self.spectra.describe(i)} ({self.spectra.cause(i)})" for i in odd]
        found = found or [
            row._coverage_at(i, of) for of, row in rows for i in np.flatnonzero(row.significant[1]).tolist()
        ]
        return f"{_MISFIT} ({tested}): {'; '.join(found)}"

    def table(self) -> str:
        """All figures as text."""
        discs = f" and {self.n_discs} discs" if self.n_discs else ""
        lines = [
            str(self),
            f"{self.n_holes} rotated holes{discs} held out; {self.n_simulations} simulations",
        ]
        for of, row in self._rows():
            lines += ["", *row._lines(of)]
        if self.spectra is not None:
            found = self.spectra
            lines += [
                "",
                f"{'errors by mode':<28}{'rms / expected, or correlation':<32}{'expected':<10}{'p':>7}",
            ]
            for i, name in enumerate(found.names):
                value = f"{found.value[i]:.3f} ± {found.error[i]:.3f}"
                lines.append(f"{name:<28}{value:<32}{found.expected[i]:<10.3f}{found.p[i]:>7.2g}")
        return "\n".join(lines)

    def _rows(self) -> "list[tuple[str, SelfCheck]]":
        """One for each Stokes parameter, and the word that names it among several."""
        if len(self.stokes) == 1:
            return [("", self)]
        names = (
            "counts", "ratio", "ratio_error", "ratio_p", "depth_p", "coverage", "expected_coverage", "coverage_error",
            "coverage_p", "all_coverage_p", "model_ratio",
        )  # fmt: skip
        return [
            (
                f" of {one}",
                replace(self, stokes=one, spectra=None, **{name: getattr(self, name)[i] for name in names}),
            )
            for i, one in enumerate(self.stokes)
        ]

    def _lines(self, of: str) -> list[str]:
        """The figures of one Stokes parameter as text."""
        head = f"{self.stokes}: " if of else ""
        rows = [
            f"{f'{head}depth, px':<14}{'pixels':>8}  {'rms error / expected':<22}{'p':>9}  {self.model} / kriging"
        ]
        for i, name in enumerate(self.depths):
            row = f"{name:<14}{int(self.counts[i]):>8}  "
            if self.counts[i]:
                row += f"{self._ratio_at(i):<22}{self.ratio_p[i]:>9.2g}  {self.model_ratio[i]:.3f}"
            rows.append(row if self.counts[i] else f"{row}not tested")
        width = 28 + len(head)
        rows += [
            "",
            f"{f'{head}quintile of the prediction':<{width}}{'within one sigma':<22}{'expected':<10}{'p':>7}",
        ]
        for i, covered in enumerate(self.coverage):
            rows.append(
                f"{i + 1:<{width}}{f'{covered:.3f} ± {self.coverage_error[i]:.3f}':<22}"
                f"{self.expected_coverage[i]:<10.3f}{self.coverage_p[i]:>7.2g}"
            )
        return rows

    def _ratio_at(self, i: int) -> str:
        digits = 2 if self.ratio_error[i] >= 0.01 else 3
        return f"{self.ratio[i]:.{digits}f} ± {self.ratio_error[i]:.{digits}f}"

    def _errors_at(self, i: int, of: str = "") -> str:
        where = f"in the edge ring {self.depths[i]}" if i == 0 else f"at depths {self.depths[i]}"
        return f"errors{of} {where} are {self._ratio_at(i)} times what is expected"

    def _cause(self, i: int) -> str:
        """What would make errors deviate in a depth bin."""
        above = self.ratio[i] > 1
        if i > 0:
            power, beam = ("under", "over") if above else ("over", "under")
            return f"power {power}stated or beam {beam}stated at the scale of holes?"
        if above:
            return "noise understated, beam overstated, or something else in the map?"
        return "noise overstated, or beam understated?"

    def _coverage_at(self, i: int, of: str) -> str:
        found = f"{self.coverage[i]:.3f} ± {self.coverage_error[i]:.3f}"
        return (
            f"in quintile {i + 1} of the prediction{of} {found} of the pixels lie within one sigma, "
            f"{self.expected_coverage[i]:.3f} are expected (a sky that is not Gaussian, or uneven noise?)"
        )
