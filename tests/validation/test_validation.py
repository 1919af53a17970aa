"""Models side by side: plain numbers, tables with every figure, what a card keeps."""

import json

import numpy as np
import pytest

from cmbinpaint.validation.ensemble import Candidate, Ensemble
from cmbinpaint.validation.jackknife import Estimate
from cmbinpaint.validation.misspecified import Effect, Misspecified
from cmbinpaint.validation.validation import Validation, plain
from cmbinpaint.validation.validation_text import (
    card_figures,
    markdown,
    misspecified_markdown,
    verdict,
    worst_bias,
)
from tests.validation.worlds import setup_at

SKIES = 9


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Validation:
    names = ("kriging", "gaussian")
    ensemble = Ensemble(
        setup_at(8), [Candidate.named(n) for n in names], tmp_path_factory.mktemp("validation")
    )
    for unit in ensemble.missing(SKIES):
        ensemble.make(unit)
    return Validation.of(ensemble, SKIES)


@pytest.fixture(scope="module")
def figures(result) -> dict:
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


def test_json_holds_the_figures(result, figures) -> None:
    model, plain_model = result.models["kriging"], figures["models"]["kriging"]
    np.testing.assert_allclose(plain_model["excess"]["value"], model.excess.value, rtol=1e-5)
    np.testing.assert_allclose(plain_model["bias"]["reduced"]["error"], model.bias.reduced.error, rtol=1e-5)
    np.testing.assert_allclose(
        plain_model["pixels"]["conditional"]["value"], model.pixels.conditional.value, rtol=1e-5
    )
    assert (figures["nside"], figures["skies"], figures["bands"]) == (8, SKIES, ["2-3", "4-7", "8-12"])
    assert figures["multipole_groups"] == ["2-4", "5-10"] and figures["multipoles"] == list(range(2, 11))
    assert sum(figures["counts"]) == setup_at(8).plan.targets.sum()


def test_the_map_with_zeros_and_the_rms_are_those_of_the_skies(result) -> None:
    assert (result.zero.value[:1] < -0.1).all()  # fsky 0.7: a third of the power is missing
    signal = [setup_at(8).depths.mean_square(setup_at(8).sky(i)[1]) for i in range(SKIES)]
    np.testing.assert_allclose(result.field, np.sqrt(np.mean(signal, axis=0)))
    assert (result.exact < result.field).all()


def test_the_tables_hold_every_figure(figures) -> None:
    text = markdown(figures)
    for title in ("Excess", "Distance", "Sharpness", "Scatter", "Bias", "Coverage of pixels", "Coverage of full-sky",
                  "Low multipoles", "Jumps", "One-point", "Chi-square"):  # fmt: skip
        assert f"### {title}" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [line.count("|") for line in rows]
    starts = [i for i, line in enumerate(rows) if line.startswith("| --- |")]
    for start, stop in zip(starts, [*starts[1:], len(rows) + 1], strict=True):
        assert len(set(widths[start - 1 : stop - 1])) == 1  # a table is as wide as its head
    value, error = (figures["models"]["kriging"]["excess"][k][0] for k in ("value", "error"))
    assert f"| kriging | {value:.3f} ± {error:.3f} |" in text
    value, error = (figures["models"]["kriging"]["bias"]["raw"][k][1] for k in ("value", "error"))
    assert f"{100 * value:+.2f} ± {100 * error:.2f}" in text
    value, error = (figures["models"]["kriging"]["excess_by_width"][k][1][0] for k in ("value", "error"))
    assert f"| up to 10 px wide: kriging | {value:.3f} ± {error:.3f} |" in text
    assert "holes of one pixel: kriging" not in text  # there is none in this mask
    assert "marginal coverage is right for any linear predictor" in text


def test_the_verdict_is_the_first_line(figures) -> None:
    first = markdown(figures).splitlines()[0]
    excess = max(v for v in figures["models"]["kriging"]["excess"]["value"] if v is not None) - 1
    bias = abs(figures["models"]["kriging"]["bias"]["reduced"]["value"][2])
    assert first == (
        f"Errors of kriging are up to {100 * excess:.2g} % above the least possible, spectra of its realizations "
        f"biased by up to {100 * bias:.2g} %; gaussian is the exact answer, the reference of these figures."
    )
    kinds = {"kriging": "linear", "net@0": "nonlinear", "net": "refined"}
    good, bad = (
        {**figures["models"]["kriging"], "excess": {"value": [e], "error": [0]}} for e in (1.001, 2.5)
    )
    said = verdict({**figures, "kinds": kinds, "models": {**figures["models"], "net@0": bad, "net": good}})
    assert (
        "errors of net@0 are up to 150 % above the least possible" in said and ": worse than kriging;" in said
    )
    assert "errors of net are up to 0.1 %" in said and "this judges the refinement, not the model" in said
    assert verdict({key: value for key, value in figures.items() if key != "kinds"}) == ""


def test_the_tables_say_what_holds_for_each_model(figures) -> None:
    text = markdown(figures)
    assert "| kriging | linear | both bias identities, exactly, at ell >= 2 |" in text
    assert "| gaussian | exact | both bias identities; its own bias is zero by construction" in text


def test_what_a_card_keeps(figures) -> None:
    kept = card_figures(figures, "kriging")
    assert kept["excess"] == figures["models"]["kriging"]["excess"] and kept["skies"] == SKIES
    bias = figures["models"]["kriging"]["bias"]["reduced"]
    assert worst_bias(figures, "kriging") == kept["worst_bias"] == {
        "above_5": abs(bias["value"][2]),
        "sigmas_below_5": max(abs(v) / e for v, e in zip(bias["value"][:2], bias["error"][:2], strict=True)),
    }  # fmt: skip
    with pytest.raises(KeyError):
        card_figures(figures, "nosuch")


def test_tables_of_wrong_models() -> None:
    effect = Effect(
        Estimate(np.array([1.5, np.nan]), np.array([0.1, np.nan])),
        Estimate(np.array([-0.02]), np.array([0.003])),
    )
    wrong = Misspecified("kriging", 4, ("(0, 1.3]", "(1.3, ∞)"), {"a": effect}, {"b": effect})
    text = misspecified_markdown({"nside": 8, "seed": 0, "bands": ["2-4"], "results": plain([wrong])})
    assert "| a | +50.00 ± 10.00 |  |" in text and "| b | -2.00 ± 0.30 |" in text and "4 skies" in text


def test_plain_numbers() -> None:
    assert plain({"a": np.float64(np.nan), "b": (1, np.int64(2)), 3: np.array([1.23456789])}) == {
        "a": None, "b": [1, 2], "3": [1.23457],
    }  # fmt: skip
