"""Pictures of a validation: what is drawn is what was measured."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from cmbinpaint import plots
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots.calibration import VALIDATION_FIGURES
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.validation.calibration import Bias, ChiSquare, ModelCalibration
from cmbinpaint.validation.coverage import Coverage
from cmbinpaint.validation.jackknife import Estimate
from cmbinpaint.validation.misspecified import Effect, Misspecified
from cmbinpaint.validation.validation import Validation

DEPTHS = ("(0, 1.3]", "(1.3, ∞)")


def estimate(*shape: int, center: float = 1.0, seed: int = 0) -> Estimate:
    rng = np.random.default_rng(seed)
    return Estimate(center + 0.2 * rng.uniform(size=shape), 0.01 + 0.01 * rng.uniform(size=shape))


def model(seed: int) -> ModelCalibration:
    coverage = Coverage(
        estimate(2, 2, center=0.7, seed=seed),
        estimate(2, 2, 5, center=0.7, seed=seed),
        estimate(2, 5, center=0.0),
    )
    bias = Bias(*(estimate(3, center=-0.1, seed=seed + i) for i in range(4)))
    return ModelCalibration(
        excess=estimate(2, center=1.05, seed=seed), distance=estimate(2, center=0.3, seed=seed), first_error=np.ones(2),
        sharpness=estimate(2, seed=seed), scatter=estimate(2), bias=bias, pixels=coverage, multipoles=coverage,
        alm_error=estimate(9, center=0.1, seed=seed), alm_error_by_sky=estimate(4, 9, center=0.1).value,
        excess_by_width=estimate(4, 2), distance_by_width=estimate(4, 2), sharpness_by_width=estimate(4, 2),
        jumps=estimate(4, seed=seed), prediction_jumps=estimate(4), one_point=estimate(3, seed=seed),
        prediction_one_point=estimate(3), one_point_p=estimate(3), chi_square=ChiSquare(1, 0.5, estimate()),
        steps=0, plan_seconds=1.0, map_seconds=0.1,
    )  # fmt: skip


RESULT = Validation(
    facts={}, depths=DEPTHS, counts=(100, 60), bands=Bandpowers(np.array([2, 4, 8, 13])), field=np.ones(2),
    exact=np.ones(2), exact_by_width=np.ones((4, 2)), counts_by_width=np.ones((4, 2)),
    zero=estimate(3, center=-0.4), exact_alm_error=estimate(9, center=0.1),
    models={"kriging": model(1), "diffusive": model(2)}, kinds={"kriging": "linear", "diffusive": "linear"},
)  # fmt: skip


def drawn(ax: Axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values and lower ends of error bars by legend label."""
    found = {}
    for container in ax.containers:
        line, _, (bars,) = container.lines
        ends = np.array([segment[:, 1] for segment in bars.get_segments()])
        found[container.get_label()] = (np.asarray(line.get_ydata()), ends)
    return found


@pytest.mark.parametrize(
    ("figure", "series", "factor", "less"),
    [
        ("excess", lambda m: m.excess, 1, 1),
        ("distance", lambda m: m.distance, 1, 0),
        ("sharpness", lambda m: m.sharpness, 1, 0),
        ("bias", lambda m: m.bias.reduced, 100, 0),
        ("bias_raw", lambda m: m.bias.raw, 100, 0),
        ("ratio_realization", lambda m: m.bias.realization, 100, 0),
        ("ratio_prediction", lambda m: m.bias.prediction, 100, 0),
        ("low_multipoles", lambda m: m.alm_error, 100, 0),
        ("jumps", lambda m: m.jumps, 1, 0),
        ("one_point", lambda m: m.one_point, 1, 0),
    ],
)
def test_values_and_errors_are_those_given(figure: str, series: Any, factor: float, less: float) -> None:
    ax = plots.draw_validation(RESULT, figure)
    assert list(drawn(ax)) == list(RESULT.models)
    for label, (values, ends) in drawn(ax).items():
        given = series(RESULT.models[label])
        np.testing.assert_allclose(values, factor * given.value - less)
        np.testing.assert_allclose(ends[:, 1], factor * (given.value + given.error) - less)
        np.testing.assert_allclose(ends[:, 0], factor * (given.value - given.error) - less)
    assert ax.get_ylabel() and ax.get_title("left") and ("%" in ax.get_ylabel()) == (factor == 100)
    assert {text.get_text() for text in ax.get_legend().texts} >= set(RESULT.models)
    if "multipoles" in ax.get_xlabel():
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2-3", "4-7", "8-12"]
    zeros = [line for line in ax.lines if line.get_label() == "zeros in the holes"]
    assert len(zeros) == (figure == "ratio_prediction")
    for line in zeros:
        np.testing.assert_allclose(line.get_ydata(), 100 * RESULT.zero.value)


def test_all_figures_are_named_and_others_refused() -> None:
    assert len(VALIDATION_FIGURES) == 10
    with pytest.raises(CmbInpaintError, match="figure is 'exces'; known: excess, distance"):
        plots.draw_validation(RESULT, "exces")


@pytest.mark.parametrize("figure", VALIDATION_FIGURES)
def test_a_legend_hides_no_point(figure: str) -> None:
    ax = plots.draw_validation(RESULT, figure)
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    for container in ax.containers:
        line, _, (bars,) = container.lines
        ends = np.concatenate([*bars.get_segments(), np.column_stack(line.get_data())])
        assert not any(box.contains(*point) for point in ax.transData.transform(ends))
    assert box.y1 <= ax.get_window_extent().y1


def test_coverage_by_quintile_has_both_levels() -> None:
    ax = plots.draw_coverage(RESULT).axes[1]
    values = [np.asarray(container.lines[0].get_ydata()) for container in ax.containers]
    expected = [
        100 * RESULT.models[m].pixels.conditional.value[i, 1] for i in range(2) for m in RESULT.models
    ]
    np.testing.assert_allclose(values, expected)
    assert "(1.3, ∞)" in ax.get_title("left")


def test_depths_with_few_pixels_are_not_drawn_by_quintile() -> None:
    few = Validation(**{**RESULT.__dict__, "counts": (100, 3)})
    assert [len(plots.draw_coverage(result).axes) for result in (RESULT, few)] == [2, 1]


def test_an_exact_model_stands_on_the_floor_of_the_scale() -> None:
    exact: dict[str, Any] = {
        **model(1).__dict__,
        "excess": Estimate(np.array([1.0, 0.9999]), np.full(2, 1e-4)),
    }
    ax = plots.draw_validation(
        Validation(**{**RESULT.__dict__, "models": {"gaussian": ModelCalibration(**exact)}})
    )
    (hollow,) = [line for line in ax.lines if line.get_marker() == "v" and len(line.get_xdata())]
    assert len(hollow.get_xdata()) == 2 and (hollow.get_ydata() > ax.get_ylim()[0]).all()


def test_wrong_models_are_tables_with_their_numbers() -> None:
    effect = Effect(Estimate(np.array([1.05, np.nan]), np.full(2, 0.01)), Estimate(np.array([0.2, 0.001, -0.03]),
                    np.full(3, 0.01)))  # fmt: skip
    wrong = Misspecified("kriging", 4, DEPTHS, {"true n_s 0.5": effect, "b": effect}, {"standard": effect})
    figure = plots.draw_misspecified(wrong, ["2-3", "4-7", "8-12"])
    texts = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert texts == [["+20", "+0.10", "-3.00"] * 2, ["+5.00"] * 2, ["+20", "+0.10", "-3.00"], ["+5.00"]]
    grey = [text.get_color() for text in figure.axes[0].texts[:3]]
    assert grey[1] == "#888888" and "#888888" not in (grey[0], grey[2])
    top = figure.axes[0]
    assert [t.get_text() for t in top.get_yticklabels()] == ["true $n_s$ 0.5", "b"]
    assert top.get_ylim()[0] > top.get_ylim()[1]  # the first row stands on top


def test_a_picture_of_a_validation_is_written(tmp_path) -> None:
    for i, drawing in enumerate((plots.draw_validation(RESULT), plots.draw_coverage(RESULT))):
        assert plots.save_figure(drawing, tmp_path / f"{i}.png").stat().st_size > 5000
