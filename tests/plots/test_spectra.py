"""Pictures of spectra: the numbers drawn are the numbers given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from cmbinpaint import OptimalSpectrum, SkyModel, plots
from cmbinpaint.spectra import Bandpowers

ELL = np.array([2.0, 10.0, 50.0, 200.0, 400.0])
TRUTH = np.array([1000.0, 900.0, 1200.0, 5000.0, 2000.0])
SPECTRA = {
    "target": TRUTH,
    "filled": TRUTH * 1.02,
    "before": TRUTH * np.array([0.5, 0.72, 0.72, 0.9, 1.6]),
}
BAND = np.sqrt(2 / (2 * ELL + 1))


def lines(ax) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in ax.lines if not line.get_label().startswith("_")}


def test_dl_draws_what_it_was_given() -> None:
    ax = plots.draw_dl(ELL, SPECTRA, band=BAND, title="power")
    drawn = lines(ax)
    assert list(drawn) == list(SPECTRA)
    for name, values in SPECTRA.items():
        np.testing.assert_array_equal(drawn[name], values)
    assert ax.get_xscale() == "log" and "µK²" in ax.get_ylabel() and ax.get_ylim()[1] > 5000
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert corners.min() == pytest.approx((TRUTH * (1 - BAND)).min())
    assert corners.max() == pytest.approx((TRUTH * (1 + BAND)).max())


def test_unit_free_spectra_claim_no_unit() -> None:
    assert "µK" not in plots.draw_dl(ELL, SPECTRA, unit=None).get_ylabel()


def test_residual_is_in_percent_of_the_reference_and_marks_what_lies_beyond() -> None:
    ax = plots.draw_residual(ELL, SPECTRA, reference="target", band=BAND, limit=30)
    drawn = lines(ax)
    assert set(drawn) == {"filled", "before"}
    np.testing.assert_allclose(drawn["filled"], 2.0)
    np.testing.assert_allclose(drawn["before"], [-50, -28, -28, -10, 60])
    markers = [line for line in ax.lines if line.get_marker() in "os" and line.get_xdata().size]
    assert sorted(line.get_xdata().size for line in markers) == [3, 5]  # only what lies inside
    arrows = {
        line.get_marker(): line for line in ax.lines if line.get_marker() in "^v" and line.get_xdata().size
    }
    assert arrows["v"].get_xdata() == [2.0] and arrows["^"].get_xdata() == [400.0]
    assert all(abs(line.get_ydata()[0]) < 30 for line in arrows.values())


def test_comparison_has_two_panels_and_says_what_is_in_the_spectra() -> None:
    figure = plots.draw_comparison(ELL, SPECTRA, band=BAND, note="beam, pixel window and noise included")
    upper, lower = figure.axes
    assert "beam, pixel window and noise included" in lower.get_xlabel() and upper.get_xlabel() == ""
    assert upper.get_xlim() == lower.get_xlim()


def test_one_spectrum_has_one_panel_with_its_axis() -> None:
    figure = plots.draw_comparison(ELL, {"sky": TRUTH})
    (ax,) = figure.axes
    assert "multipole" in ax.get_xlabel()


def test_roles_choose_colors() -> None:
    ax = plots.draw_dl(ELL, {"a": TRUTH, "b": TRUTH}, roles={"a": "filled", "b": "target"})
    assert [line.get_color() for line in ax.lines] == ["#0072b2", "#222222"]


def test_a_zero_reference_draws_no_infinity() -> None:
    ax = plots.draw_residual(ELL, {"target": 0 * TRUTH, "filled": TRUTH}, reference="target")
    assert np.isfinite(ax.get_ylim()).all()


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_figure_is_written_whole(tmp_path, suffix: str) -> None:
    path = plots.save_figure(plots.draw_comparison(ELL, SPECTRA), tmp_path / f"spectra{suffix}")
    assert path.stat().st_size > 2000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failing_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(self, where, **kwargs):
        where.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space"):
        plots.save_figure(Figure(), path)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_panel_for_each_spectrum_with_limits_of_its_first_curve() -> None:
    ell = np.array([3.0, 10.0, 40.0])
    spectra = {
        "EE": {"filled": np.array([1.0, 2.0, 3.0]), "observed": np.array([1.0, 2.0, 300.0])},
        "EB": {"filled": np.array([-1.0, 0.5, 1.0]), "observed": np.array([0.0, 0.0, -50.0])},
    }
    figure = plots.draw_spectra(
        ell,
        spectra,
        bands={"EE": np.full(3, 0.5)},
        roles={"filled": "filled", "observed": "observed"},
        note="n",
    )
    positive, signed = figure.axes
    assert (positive.get_title(loc="left") or positive.get_title()) == "EE"
    assert (positive.get_yscale(), signed.get_yscale()) == ("log", "symlog")
    assert 0 < positive.get_ylim()[0] < 1 and 4.5 < positive.get_ylim()[1] < 10
    assert -3 < signed.get_ylim()[0] < -1 < 1 < signed.get_ylim()[1] < 3
    np.testing.assert_allclose(signed.get_yticks(), [-1, -0.1, 0, 0.1, 1])  # linear from -0.05 to 0.05
    assert len(figure.legends) == 1 and not any(ax.get_legend() for ax in figure.axes)
    np.testing.assert_array_equal(signed.lines[1].get_ydata(), spectra["EB"]["observed"])


def test_bandpowers_with_their_errors_beside_what_theory_expects() -> None:
    model = SkyModel(2, np.ones((2, 2, 8)) * np.eye(2)[..., None], [0.1, 0.1])
    bands, n = Bandpowers([2, 4, 8]), 2
    windows = np.zeros((3, n, 3, 8))
    for s in range(3):
        for b, (low, high) in enumerate([(2, 4), (4, 8)]):
            windows[s, b, s, low:high] = 1 / (high - low)
    powers = np.array([[3.0, 2.0], [0.3, -0.2], [0.1, -0.1]])
    errors = 0.1 * np.abs(powers)
    best = OptimalSpectrum(
        bands, powers, errors, np.diag(errors.ravel() ** 2), np.eye(6), 0 * powers, windows, "uK_CMB", True, model, 9, 1
    )  # fmt: skip
    cl = np.stack([np.full(8, 2.5), np.full(8, 0.25)])
    figure = plots.draw_bandpowers(best, cl, title="t")
    assert [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes] == ["EE", "BB", "EB"]
    factor = bands.centers * (bands.centers + 1) / (2 * np.pi)
    drawn = lines(figure.axes[1])
    np.testing.assert_allclose(drawn["theory"], 0.25 * factor)
    np.testing.assert_allclose(drawn["optimal"], powers[1] * factor)
    segments = figure.axes[1].collections[0].get_segments()
    np.testing.assert_allclose(
        segments[0][:, 1], factor[0] * (powers[1, 0] + errors[1, 0] * np.array([-1, 1]))
    )
    assert figure.axes[1].get_yscale() == "symlog" and figure.axes[0].get_yscale() == "log"
    assert "µK²" in figure.get_supylabel() and "divided out" in figure.get_supxlabel()
    assert list(lines(plots.draw_bandpowers(best).axes[0])) == ["optimal"]
