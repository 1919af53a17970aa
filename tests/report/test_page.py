"""The page of a report: what it says, and that every figure in it is one."""

import base64
import functools
import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from matplotlib.text import Text

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.report.contents import MapReport, report_on
from cmbinpaint.report.figures import (
    draw_close_up,
    draw_one_point_of,
    draw_panorama,
    draw_spectra,
    error_limit,
    shared_limit,
)
from cmbinpaint.report.page import ReportFacts, report_page
from cmbinpaint.report.tables import citations
from cmbinpaint.validation.self_check_result import verdict_of
from tests.report.test_html import read
from tests.report.world_of_a_fill import world

HOSTILE = "<script>alert('é')</script>"


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Pictures as always, of fewer points: encoding them is what takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cmbinpaint.report.page._DPI", 80.0)
        patch.setattr("cmbinpaint.report.page._GRAY_DPI", 80.0)
        yield


@functools.cache
def full() -> MapReport:
    w = world()
    return report_on(w.before, w.fills, w.plan, target=w.target, sky_model=w.info.sky_model, unit="uK_CMB")


@functools.cache
def bare() -> MapReport:
    w = world()
    return report_on(w.before, w.fills[:1], w.plan)


def facts(**changes: object) -> ReportFacts:
    given: dict[str, object] = {
        "title": "filled.fits",
        "source": {"file": "sky.fits", "sha256": "ab" * 32},
        "header": {"OBJECT": HOSTILE},
        "filling": {"model": "gaussian", "fill": "realization", "seed": "1", "software": "cmbinpaint 0.1.0"},
        "history": ("cmbinpaint inpaint sky.fits",),
        "command": "cmbinpaint report sky.fits filled.fits",
    }
    return ReportFacts(**{**given, **changes})


def words(page: str) -> str:
    return " ".join(" ".join(read(page).texts).split())


def pictures(page: str) -> list[np.ndarray]:
    found = [str(a["src"]).partition(",")[2] for tag, a in read(page).tags if tag == "img"]
    return [imread(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.mark.parametrize("report", [full, bare])
def test_no_label_of_a_close_up_is_cut_off(report) -> None:
    for index in range(2):
        figure = draw_close_up(report(), index, "filled").figure
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
        assert {"offset to the east [deg]", "offset to the north [deg]"} <= {t.get_text() for t in texts}
        boxes = np.array([t.get_window_extent(canvas.get_renderer()).extents for t in texts])
        assert np.all(boxes >= -0.5) and np.all(boxes[:, 2:] <= figure.bbox.extents[2:] + 0.5)


@functools.cache
def full_page() -> str:
    passed = ("beam, noise and sky model fit this map", "")
    return report_page(full(), facts(error_source="Standard deviation of 10 realizations", self_check=passed))


@functools.cache
def bare_page() -> str:
    return report_page(bare(), facts(filling={}, self_check=("not possible: no room", "")))


def test_a_full_report_has_everything() -> None:
    said = words(full_page())
    w = world()
    for text in (
        "filled.fits", "A map filled from sky.fits: realization, gaussian", "No warnings were given.",
        f"0 of {w.plan.valid.sum():,} observed pixels changed", "10 filled maps", "The largest hole", "A typical hole",
        "mean of 10", "target in the same pixels", f"all {w.plan.n_holes:,}", "rms filled − target [µK]",
        "Standard deviation of 10 realizations. Light is small", "ab" * 32, HOSTILE, "Hoffman & Ribak 1991",
        "Seljebotn et al. 2014", "cmbinpaint inpaint sky.fits",
        "Made by cmbinpaint 0.1.0: cmbinpaint report sky.fits filled.fits",
    ):  # fmt: skip
        assert text in said, text
    # Three panoramas, two close-ups of three, two figures, three of the error, and the gray ones.
    assert len(pictures(full_page())) == 3 + 6 + 2 + 3 + 9


def test_what_is_not_known_is_not_drawn_and_the_page_says_how_to_have_it() -> None:
    said = words(bare_page())
    for text in ("map units", "No target was given", "No error map."):
        assert text in said, text
    assert "Hoffman" not in said and "rms target" not in said
    assert len(pictures(bare_page())) == 2 + 4 + 2 + 0 + 6


@pytest.mark.parametrize("page", [full_page, bare_page])
def test_the_page_is_sound_and_its_pictures_are_not_blank(page) -> None:
    text = page()
    anchors = {a["id"] for _, a in read(text).tags if "id" in a}
    assert {str(a["href"])[1:] for tag, a in read(text).tags if tag == "a"} == anchors
    assert all(a["alt"] for tag, a in read(text).tags if tag == "img")
    for picture in pictures(text):
        assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.05
    assert len(text) < 8e6


def test_warnings_and_changed_pixels_stand_out() -> None:
    w = world()
    altered = w.fills[0].copy()
    altered[np.flatnonzero(w.plan.valid)[0]] += 1.0
    verdict = "beam, noise and sky model do NOT fit this map"
    page = report_page(
        report_on(w.before, [altered], w.plan),
        facts(warnings=("a <glitch>",), self_check=(verdict, "depth  p\n(0, 1.3]  0.5")),
    )
    said = words(page)
    assert "Not the same sky. Observed pixels of the filled map differ" in said
    assert "Warning. a <glitch>" in said and "No warnings" not in said and "1 of" in said
    assert f"It does not pass. {verdict}" in said and "depth  p\n(0, 1.3]  0.5" in page
    assert page.count('class="note warn"') == 3


def test_a_self_check_passes_fails_or_could_not_run() -> None:
    assert "It passes. beam, noise and sky model fit this map" in words(full_page())
    assert "Whether it passes is not known. not possible: no room" in words(bare_page())
    # Of another version, another program, or cut: words that are not this version's own are no pass.
    for other in ("beam, noise and sky model", "everything fits", "PASSED", ""):
        assert verdict_of(other) is None


def test_all_maps_share_one_scale_and_all_errors_another() -> None:
    shown = ("before", "filled", "target")
    axes = [draw_panorama(full(), one) for one in shown]
    axes += [draw_close_up(full(), index, one) for index in (0, 1) for one in shown]
    limit = shared_limit(full())
    assert {ax.images[0].get_clim() for ax in axes} == {(-limit, limit)}
    axes = [draw_panorama(full(), "error"), draw_close_up(full(), 1, "error")]
    assert {ax.images[0].get_clim() for ax in axes} == {(0, error_limit(full()))}
    labels = {a.get_xlabel() + a.get_ylabel() for ax in axes for a in ax.figure.axes if a is not ax}
    assert labels == {"µK"}


def test_holes_are_unknown_before_and_outlined_after() -> None:
    unknown = [
        np.ma.getmaskarray(draw_close_up(bare(), 0, s).images[0].get_array()) for s in ("before", "filled")
    ]
    assert np.array_equal(unknown[0], ~bare().close_ups[0].observed) and not unknown[1].any()
    assert all(draw_close_up(bare(), 0, shown).collections for shown in ("before", "filled"))
    assert all(draw_panorama(bare(), shown).collections for shown in ("before", "filled"))


def test_what_the_report_lacks_cannot_be_drawn() -> None:
    with pytest.raises(CmbInpaintError, match="holds no target map; it can be drawn only if one was given"):
        draw_panorama(bare(), "target")
    with pytest.raises(CmbInpaintError, match="shown is 'afer'; known: before, filled, target, error"):
        draw_close_up(bare(), 0, "afer")


def test_the_spectra_are_the_reports() -> None:
    upper, lower = draw_spectra(full()).axes
    found = full().spectra
    factor = found.bands.centers * (found.bands.centers + 1) / (2 * np.pi)
    drawn = {line.get_label(): line for line in upper.lines}
    for name, cl in (
        ("target", found.target),
        ("filled", found.filled),
        ("decoupled (MASTER)", found.observed),
        (r"holes = 0, over $f_{\rm sky}$", found.observed_over_fsky),
    ):
        np.testing.assert_allclose(drawn[name].get_ydata(), cl * factor)
    model = drawn["sky model, noise in"]
    assert set(model.get_xdata()) <= set(full().model_ell)
    assert lower.get_ylabel() == "difference from\ntarget [%]"
    assert draw_spectra(bare()).axes[1].get_ylabel() == "difference from\nfilled [%]"


def test_the_distribution_is_the_reports() -> None:
    ax = draw_one_point_of(full())
    steps = {patch.get_label(): patch.get_data() for patch in ax.patches}
    for label, name in (("filled pixels", "filled"), ("target in the holes", "target")):
        np.testing.assert_array_equal(steps[label].values, full().one_point.densities[name])
    assert ax.get_xlabel() == "T less the observed mean [µK]"


@pytest.mark.parametrize(
    ("model", "work", "absent"),
    [
        ("combine128", "Montefalcone et al. 2020", "Wackernagel"),
        ("gaussian", "Seljebotn et al. 2014", "Montefalcone"),
        ("kriging", "Wackernagel 2003", "Seljebotn"),
        ("diffusive", "Gruetjen", "Montefalcone"),
    ],
)
def test_what_is_cited_is_what_was_used(model: str, work: str, absent: str) -> None:
    realization, prediction = (
        " ".join(citations({"model": model, "fill": fill})) for fill in ("realization", "prediction")
    )
    assert work in realization and absent not in realization and "Górski" in realization
    assert "Hoffman" in realization and "Hoffman" not in prediction
