"""The tables of a report.

Inputs: a `MapReport`, how it was filled. Outputs: HTML tables, references.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cmbinpaint import __version__
from cmbinpaint.report import html
from cmbinpaint.report.figures import unit_words

if TYPE_CHECKING:  # drawing needs none of what makes the numbers
    from cmbinpaint._types import FloatArray
    from cmbinpaint.pipeline.spectra_comparison import SpectraComparison
    from cmbinpaint.report.contents import MapReport

_ROUNDING = 1e-6  # of a standard deviation: a mean that was subtracted
_MOMENT_WORDS = {
    "observed": "observed pixels", "filled": "filled pixels", "target": "target in the same pixels"
}  # fmt: skip


def number(value: float | None) -> str:
    """Return a number of four digits, or a dash where there is none."""
    return "–" if value is None or not np.isfinite(value) else f"{value:.4g}"


def class_table(report: "MapReport") -> str:
    """Return the holes by size."""
    npix = 12 * report.nside**2
    rows = [
        (c.name, f"{c.holes:,}", f"{c.pixels:,}", f"{100 * c.pixels / npix:.3g} %")
        for c in report.holes.classes
        if c.holes
    ]
    rows.append(
        ("all", f"{report.holes.n_holes:,}", f"{report.holes.n_pixels:,}",
         f"{100 * report.holes.n_pixels / npix:.3g} %")
    )  # fmt: skip
    return html.table(("pixels of a hole", "holes", "pixels", "of the sky"), rows)


def hole_rows(report: "MapReport") -> str:
    """Return the largest holes one by one."""
    rows = [
        (str(i + 1), f"{h.n_pixels:,}", number(h.area_deg2), f"{h.lon_deg:.2f}", f"{h.lat_deg:+.2f}",
         f"{h.depth:.1f}", number(h.radius_deg))
        for i, h in enumerate(report.holes.largest)
    ]  # fmt: skip
    columns = ("", "pixels", "area [deg²]", "longitude [deg]", "latitude [deg]", "depth [px]", "radius [deg]")
    return html.table(columns, rows)


def depth_table(report: "MapReport") -> str:
    """Return root mean squares of filled values by depth, with those of target and error map where known."""
    unit = unit_words(report.unit)
    columns = ["depth [px]", "pixels", f"rms filled [{unit}]"]
    cells = [[row.depth, f"{row.n_pixels:,}", number(row.filled)] for row in report.depths]
    for name, title in (
        ("target", "rms target"),
        ("difference", "rms filled − target"),
        ("error", "rms error map"),
    ):
        if any(getattr(row, name) is not None for row in report.depths):
            columns.append(f"{title} [{unit}]")
            for row, line in zip(report.depths, cells, strict=True):
                line.append(number(getattr(row, name)))
    return html.table(columns, cells)


def moment_table(report: "MapReport") -> str:
    """Return moments of observed and filled pixels."""
    unit = unit_words(report.unit)
    columns = ("", "pixels", f"mean [{unit}]", f"std [{unit}]", "skewness", "excess kurtosis")
    rows = []
    for name, m in report.one_point.moments.items():
        mean = m.mean if abs(m.mean) > _ROUNDING * m.std else 0.0
        shape = (f"{m.skewness:+.3f}", f"{m.kurtosis:+.3f}")
        rows.append((_MOMENT_WORDS[name], f"{m.n:,}", number(mean), number(m.std), *shape))
    return html.table(columns, rows)


def band_table(report: "MapReport") -> str:
    """Return the bandpowers of D_ell of T."""
    more = {}
    if report.mean_dl is not None and report.std_dl is not None:
        more = {f"mean of {report.n_maps}": report.mean_dl, "std": report.std_dl}
    return band_rows(report.spectra, more)


def band_rows(found: "SpectraComparison", more: "Mapping[str, FloatArray] | None" = None) -> str:
    """Return the bandpowers of D_ell of one spectrum; `more` are further columns."""
    titles = {
        "ell_min": "ell from", "ell_max": "to",
        "observed": "observed, decoupled", "observed_over_fsky": "holes = 0, over fsky",
        "cosmic_std": "cosmic std", "observed_std": "std of decoupled",
        "transfer": "filled / target", "sigmas": "difference / std",
    }  # fmt: skip
    listed = found.table()
    columns = [titles.get(name, name) for name in listed.columns]
    rows = [
        [str(int(v)) if name.startswith("ell_") else number(v) for name, v in zip(listed.columns, row, strict=True)]
        for row in listed.rows
    ]  # fmt: skip
    for title, values in (more or {}).items():
        columns.append(title)
        for line, value in zip(rows, values, strict=True):
            line.append(number(value))
    return html.table(columns, rows) + html.remark(f"D_ell in {unit_words(found.unit)}².")


_METHODS = {
    "network": (
        "The network, CoMBInE's: Montefalcone et al. 2020, arXiv 2011.01433; partial convolutions: Liu et al. 2018, "
        "arXiv 1804.07723.",
        "Refined towards the exact mean by conjugate gradients: Seljebotn et al. 2014, arXiv 1308.5299.",
    ),
    "gaussian": ("The exact Gaussian mean on the sphere: Seljebotn et al. 2014, arXiv 1308.5299.",),
    "kriging": (
        "Kriging from the nearest observed pixels: Wackernagel 2003, Multivariate Geostatistics, Springer.",
    ),
    "diffusive": ("Diffusive inpainting: Gruetjen et al. 2017, arXiv 1510.03103.",),
}


def citations(filling: Mapping[str, str]) -> tuple[str, ...]:
    """Return what to cite for a map filled so; `filling` has `"software"`, `"model"` and `"fill"` where known."""
    model = filling.get("model", "")
    family = model if model in _METHODS else "network"
    works = [f"{filling.get('software', f'cmbinpaint {__version__}')}: see CITATION.cff in its repository."]
    if model:
        works += _METHODS[family]
    if filling.get("fill") == "realization":
        works.append("Constrained realizations: Hoffman & Ribak 1991, ApJ 380, L5.")
    works += [
        "The spectrum that sky models start from is CAMB's: Lewis, Challinor & Lasenby 2000, arXiv astro-ph/9911177.",
        "Pseudo-spectra and their decoupling (MASTER): Hivon et al. 2002, ApJ 567, 2.",
        "HEALPix: Górski et al. 2005, ApJ 622, 759; its Python interface healpy: Zonca et al. 2019, JOSS 4, 1298.",
        "The map itself: as its authors ask, with the file and its sha256 above.",
    ]
    return tuple(works)
