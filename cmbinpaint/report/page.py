"""A report as one HTML file that needs nothing but itself.

Inputs: a `MapReport`, and in words what is known of input and fill. Outputs: the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cmbinpaint import __version__
from cmbinpaint.plots.figures import figure_png
from cmbinpaint.plots.maps import Colors
from cmbinpaint.report import html
from cmbinpaint.report.figures import (
    Shown,
    draw_close_up,
    draw_one_point_of,
    draw_panorama,
    draw_polarization_of,
    draw_six_spectra,
    draw_spectra,
    shared_limit,
    unit_words,
)
from cmbinpaint.report.tables import (
    band_rows,
    band_table,
    citations,
    class_table,
    depth_table,
    hole_rows,
    moment_table,
    number,
)
from cmbinpaint.validation.self_check_result import verdict_of

if TYPE_CHECKING:  # drawing needs none of what makes the numbers
    from cmbinpaint.report.contents import MapReport

_DPI, _GRAY_DPI = 190.0, 120.0
_SECTIONS = (
    ("maps", "Maps"), ("close-ups", "Close-ups"), ("spectrum", "Power spectrum"),
    ("polarization", "Polarization"), ("one-point", "Distribution"),
    ("holes", "Holes"), ("error", "Error map"), ("self-check", "Self-check"), ("input", "Input"),
    ("provenance", "Provenance"), ("cite", "How to cite"), ("gray", "In gray"),
)  # fmt: skip
_PANELS: tuple[tuple[Shown, str], ...] = (("before", "Before"), ("filled", "Filled"), ("target", "Target"))


@dataclass(frozen=True)
class ReportFacts:
    """The words of a report; all of it is escaped.

    Attributes
    ----------
    title
        Name of the filled file.
    source
        Facts of the map with holes: file, column, unit, hash.
    header
        Its header's cards.
    filling
        How it was filled: model, fill, seed, hashes.
    history
        Lines of the filled file's HISTORY.
    warnings
        Given when it was filled, or by the report itself.
    self_check
        The verdict and all numbers (which may be empty), or None if it did not run.
    error_source
        What the error map is; empty if there is none.
    sky_model
        Where the drawn sky model is from; empty if there is none.
    command
        What made this report.
    """

    title: str
    source: Mapping[str, str]
    header: Mapping[str, str]
    filling: Mapping[str, str]
    history: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    self_check: tuple[str, str] | None = None
    error_source: str = ""
    sky_model: str = ""
    command: str = field(default="", kw_only=True)


def report_page(report: "MapReport", facts: ReportFacts) -> str:
    """Return the report as an HTML document.

    Parameters
    ----------
    report
        From `cmbinpaint.report.contents.report_on`.
    facts
        Of input and fill, in words.

    Returns
    -------
    str
        To be written as UTF-8; the same for the same input.
    """
    parts = [
        _overview(report, facts),
        _maps(report),
        _close_ups(report),
        _spectrum(report, facts),
        _polarization(report),
        _one_point(report),
        _holes(report),
        _error(report, facts),
        _self_check(facts),
        _input(facts),
        _provenance(facts),
        html.section("cite", "How to cite", html.listing(citations(facts.filling))),
        _gray(report),
    ]
    head = [
        f"<h1>{html.escape(facts.title)}</h1>",
        html.remark(_subtitle(facts)),
        html.links(_sections(report)),
    ]
    footer = html.remark(f"Made by cmbinpaint {__version__}: {facts.command}")
    return html.page(f"{facts.title}: report", header="\n".join(head), parts=parts, footer=footer)


def _subtitle(facts: ReportFacts) -> str:
    made = ", ".join(facts.filling[key] for key in ("fill", "model") if key in facts.filling)
    of = facts.source.get("file", "")
    return f"A map filled from {of}" + (f": {made}" if made else "")


def _overview(report: "MapReport", facts: ReportFacts) -> str:
    changed = f"{report.n_changed:,} of {report.n_observed:,}"
    boxes = [
        ("nside", str(report.nside)),
        ("of the sky used as data", f"{100 * report.fsky:.1f} %"),
        ("holes", f"{report.holes.n_holes:,}"),
        ("pixels filled", f"{report.holes.n_pixels:,}"),
        ("observed pixels changed", changed),
    ]
    if report.n_maps > 1:
        boxes.append(("filled maps; the first is shown", str(report.n_maps)))
    parts = [html.facts(boxes)]
    if report.n_changed:
        words = "Observed pixels of the filled map differ from the input."
        parts.append(html.note("Not the same sky.", words, warn=True))
    parts += [html.note("Warning.", text, warn=True) for text in facts.warnings]
    return "\n".join(parts if facts.warnings else [*parts, html.remark("No warnings were given.")])


def _quantity(report: "MapReport") -> str:
    return "temperature" if report.shown == "T" else report.shown


def _panels(report: "MapReport") -> list[tuple[Shown, str]]:
    return [panel for panel in _PANELS if getattr(report.panorama, panel[0]) is not None]


def _full_sky(report: "MapReport", shown: Shown, title: str, colors: Colors = "planck") -> str:
    """One picture of the full sky."""
    dpi, alt = (_DPI, "the full sky") if colors == "planck" else (_GRAY_DPI, "in gray")
    png = figure_png(draw_panorama(report, shown, colors=colors), dpi=dpi)
    return html.figure(png, title=title, alt=f"{title}: {alt}")


def _near(report: "MapReport", index: int, shown: Shown, title: str, colors: Colors = "planck") -> str:
    """One picture of the neighborhood of a hole."""
    png = figure_png(
        draw_close_up(report, index, shown, colors=colors), dpi=_DPI if colors == "planck" else _GRAY_DPI
    )
    return html.figure(png, title=title, alt=f"{title}: {report.close_ups[index].name}")


def _maps(report: "MapReport") -> str:
    figures = [_full_sky(report, shown, title) for shown, title in _panels(report)]
    unit = unit_words(report.unit)
    words = (
        f"All maps of {_quantity(report)} share one linear scale, ±{shared_limit(report):g} {unit}, Planck's colors "
        "(in gray at the end of the page); gray is not known. The mean of the observed pixels, "
        f"{number(report.mean)} {unit}, is subtracted, nothing else. Black lines are the edges of holes of 3 square "
        "degrees or more."
    )
    if report.panorama.nside < report.nside:
        words += (
            f" Drawn from means over the pixels of nside {report.panorama.nside}, where holes smaller than half a "
            "pixel do not show."
        )
    return html.section("maps", "Maps", html.row(*figures, two=len(figures) == 2), html.remark(words))


def _close_ups(report: "MapReport") -> str:
    parts = []
    for index, close_up in enumerate(report.close_ups):
        hole = close_up.hole
        words = (
            f"{hole.n_pixels:,} pixels, {number(hole.area_deg2)} square degrees; its deepest pixel, {hole.depth:.1f} "
            f"pixels from the nearest datum, is at longitude {hole.lon_deg:.2f}°, latitude {hole.lat_deg:+.2f}°, the "
            "center of the pictures."
        )
        figures = [_near(report, index, shown, title) for shown, title in _panels(report)]
        parts += [html.heading(close_up.name.capitalize()), html.row(*figures), html.remark(words)]
    if len(report.close_ups) > 1:
        words = (
            "Typical: half of all hole pixels outside the largest hole lie in holes no larger than this one."
        )
        parts.append(html.remark(words))
    return html.section("close-ups", "Close-ups", *parts)


def _spectrum(report: "MapReport", facts: ReportFacts) -> str:
    found = report.spectra
    lines = [
        "D_ell of the whole sky, before and after; the lower panel has differences in percent, arrows where they leave "
        "the picture. The band is cosmic variance: one filled sky scatters by that much by construction, so points "
        f"within it are all that a single sky can show. Beam, pixel window and noise are in; ell goes to {found.lmax}."
    ]
    assumed = ""
    if report.model_dl is not None:
        from_where = f", {facts.sky_model}" if facts.sky_model else ""
        assumed = html.remark(f"The sky model, noise in{from_where}.")
    if found.target is None:
        lines.append("No target was given: the differences are from the filled map itself.")
    picture = figure_png(draw_spectra(report), dpi=_DPI)
    return html.section(
        "spectrum", "Power spectrum" if report.shown == "T" else f"Power spectrum: {found.name}",
        html.figure(picture, alt="D_ell against multipole, before and after filling, and differences", wide=True),
        html.remark(" ".join(lines)),
        assumed,
        html.folded("The numbers of this figure", band_table(report)),
    )  # fmt: skip


def _sections(report: "MapReport") -> list[tuple[str, str]]:
    """The sections of this page."""
    return [s for s in _SECTIONS if s[0] != "polarization" or report.polarization is not None]


def _polarization(report: "MapReport") -> str:
    """Q, U, P, E and B, and the six spectra."""
    found = report.polarization
    if found is None:
        return ""
    maps = figure_png(draw_polarization_of(report), dpi=_GRAY_DPI)
    spectra = figure_png(draw_six_spectra(report), dpi=_GRAY_DPI)
    words = (
        f"E and B to ell = {found.lmax_eb}, as maps. A sky with zeros in its holes mixes E into B; the filled sky has "
        "the model's B in the holes, so it is no evidence of B there. Changed in observed pixels of Q and U: "
        f"{found.n_changed:,} of {found.n_observed:,} values."
    )
    lines = (
        "D_ell of all spectra, beam, pixel window and noise in; bands are cosmic variance. The observed part is "
        "decoupled, E and B together: what E leaks into B is taken out on the mean, its scatter is not."
    )
    parts = [html.figure(maps, alt="Q, U, P, E and B before and after"), html.remark(words)]
    if found.n_changed:
        parts.append(html.note("Not the same sky.", "Observed Q or U differ from the input.", warn=True))
    alt = f"{', '.join(found.spectra)} before and after"
    parts += [html.figure(spectra, alt=alt), html.remark(lines)]
    parts += [html.folded(f"The numbers of {name}", band_rows(one)) for name, one in found.spectra.items()]
    return html.section("polarization", "Polarization", *parts)


def _one_point(report: "MapReport") -> str:
    words = (
        "A realization should look like the sky around it: as wide, and Gaussian where the sky is. Pixels of a hole "
        "are correlated, so a large hole's distribution may be off center by chance. A prediction is narrower: it "
        "lacks the power that the data do not fix."
    )
    picture = figure_png(draw_one_point_of(report), dpi=_DPI)
    return html.section(
        "one-point", f"Distribution of {'temperatures' if report.shown == 'T' else report.shown}",
        html.figure(picture, alt="Histograms of observed and filled pixels", wide=True),
        html.remark(words), moment_table(report),
    )  # fmt: skip


def _holes(report: "MapReport") -> str:
    shown, total = len(report.holes.largest), report.holes.n_holes
    words = "All holes" if shown == total else f"The {shown} largest of {total:,} holes"
    by_size = f"<div>{html.heading('By size')}{class_table(report)}</div>"
    by_depth = f"<div>{html.heading('Filled values by depth')}{depth_table(report)}</div>"
    explained = (
        "Depth is the distance to the nearest datum in pixels. Positions are of a hole's deepest pixel, in the map's "
        "own coordinates; its radius is the angle from there to its farthest pixel."
    )
    return html.section(
        "holes", "Holes", html.row(by_size, by_depth), html.heading(words), hole_rows(report),
        html.remark(explained),
    )  # fmt: skip


def _error(report: "MapReport", facts: ReportFacts) -> str:
    if report.panorama.error is None:
        words = (
            "No error map. Ten or more realizations (--realizations 20) show their standard deviation here; or give "
            "a map with --error-map, or have it made with --error-sims N."
        )
        return html.section("error", "Error map", html.remark(words))
    figures = [_full_sky(report, "error", "Standard deviation")]
    figures += [
        _near(report, index, "error", close_up.name.capitalize())
        for index, close_up in enumerate(report.close_ups)
    ]
    words = f"{facts.error_source}. Light is small, dark is large, gray is observed."
    if report.panorama.nside < report.nside:
        words += " Of the full sky every pixel with a filled part is shown."
    return html.section("error", "Error map", html.row(*figures), html.remark(words))


def _self_check(facts: ReportFacts) -> str:
    if facts.self_check is None:
        words = "Not run: cmbinpaint inpaint --self-check tests beam, noise and sky model on this very map."
        return html.section("self-check", "Self-check", html.remark(words))
    verdict, numbers = facts.self_check
    passed = verdict_of(verdict)
    words = {True: "It passes.", False: "It does not pass.", None: "Whether it passes is not known."}[passed]
    parts = [html.note(words, verdict, warn=passed is not True)]
    parts += [html.preformatted(numbers, wrap=False)] if numbers else []
    return html.section("self-check", "Self-check", *parts)


def _input(facts: ReportFacts) -> str:
    header = html.folded("Its header, as the file has it", html.pairs(facts.header.items()))
    return html.section("input", "Input", html.pairs(facts.source.items()), header)


def _provenance(facts: ReportFacts) -> str:
    parts = [html.pairs(facts.filling.items())]
    if facts.history:
        parts += [html.heading("HISTORY"), html.preformatted("\n".join(facts.history), wrap=True)]
    return html.section("provenance", "Provenance", *parts)


def _gray(report: "MapReport") -> str:
    """The maps in gray: Planck's colors are dark at both ends."""
    panels = _panels(report)
    parts = [html.row(*(_full_sky(report, *panel, "gray") for panel in panels), two=len(panels) == 2)]
    parts += [
        html.row(*(_near(report, i, shown, f"{title}, {c.name}", "gray") for shown, title in panels))
        for i, c in enumerate(report.close_ups)
    ]
    words = "Black is cold and white is hot, holes are hatched: for print and for readers who see colors differently."
    return html.section("gray", "In gray", html.remark(words), html.folded("The same maps in gray", *parts))
