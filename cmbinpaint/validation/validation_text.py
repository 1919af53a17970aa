"""A validation in words: Markdown tables, and the figures that a card holds.

Inputs: what `Validation.to_dict` gives, or the file it was written to. Outputs: text, plain numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cmbinpaint.sphere.fields import Fields
from cmbinpaint.validation.ensemble import BASELINE

Figures = Mapping[str, Any]
HOLDS = {
    "exact": "both bias identities; its own bias is zero by construction and shows the solver's tolerance",
    "linear": "both bias identities, exactly, at ell >= 2",
    "refined": "conjugate gradients are linear to their accuracy only: compare the raw and the reduced bias",
    "nonlinear": "the raw bias, if predictions have mean zero; the reduced one if the sky is Gaussian besides",
}
# Above this multipole skies are many enough to ask for a bias in percent.
DECIDED_FROM = 5


def markdown(figures: Figures) -> str:
    """All tables of a validation."""
    parts = [verdict(figures), _head(figures), *_tables(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(figures: Figures) -> str:
    """One line in plain words: how good each model is; empty for figures that do not say what kinds they are of."""
    kinds = figures.get("kinds", {})
    said = []
    baseline = _worst_excess(figures, BASELINE) if BASELINE in kinds else None
    for label, kind in kinds.items():
        if kind == "exact":
            said.append(f"{label} is the exact answer, the reference of these figures")
            continue
        excess, bias = _worst_excess(figures, label), worst_bias(figures, label)["above_5"] or 0.0
        words = f"errors of {label} are up to {_percent(excess)} above the least possible, spectra of its "
        words += f"realizations biased by up to {_percent(bias)}"
        if kind == "refined":
            words += " (refined by conjugate gradients: this judges the refinement, not the model)"
        elif baseline is not None and label != BASELINE:
            words += f": {'worse' if excess > baseline else 'better'} than {BASELINE}"
        said.append(words)
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if fraction < 1 else f"{100 * fraction:.0f} %"


def _worst_excess(figures: Figures, label: str) -> float:
    """Largest error over the exact mean's, less 1, over depth bins."""
    return max(value for value in figures["models"][label]["excess"]["value"] if value is not None) - 1


def card_figures(figures: Figures, label: str) -> dict[str, Any]:
    """What a network's card keeps of a validation: its setup, and the figures of one model.

    Raises
    ------
    KeyError
        If the model is not among those validated.
    """
    model = figures["models"][label]
    setup = {
        key: figures[key]
        for key in (
            "nside",
            "skies",
            "seed",
            "fsky",
            "fwhm_arcmin",
            "noise_std_uK",
            "depths",
            "bands",
            "version",
        )
    }
    bias = model["bias"]["reduced"]
    by_width = {"hole_widths": figures["hole_widths"], "excess_by_width": model["excess_by_width"]}
    return {
        **setup,
        "steps": model["steps"],
        "excess": model["excess"],
        **by_width,
        "distance": model["distance"],
        "first_error": model["first_error"],
        "sharpness": model["sharpness"],
        "bias": bias,
        "worst_bias": worst_bias(figures, label),
        "coverage": model["pixels"]["marginal"],
        "seconds": {"plan": model["plan_seconds"], "map": model["map_seconds"]},
    }


def worst_bias(figures: Figures, label: str) -> dict[str, float | None]:
    """The largest bias of realizations in a band from `DECIDED_FROM` on, and the most sigmas below."""
    bias = figures["models"][label]["bias"]["reduced"]
    high, low = [], []
    for edge, value, error in zip(figures["band_edges"], bias["value"], bias["error"], strict=False):
        if edge >= DECIDED_FROM:
            high.append(abs(value))
        elif error:
            low.append(abs(value) / error)
    return {"above_5": max(high, default=None), "sigmas_below_5": max(low, default=None)}


def _head(d: Figures) -> str:
    noise, of = d["noise_std_uK"], f"{d['fields']}, " if "fields" in d else ""
    levels = ", ".join(f"{one:g}" for one in noise) if isinstance(noise, list) else f"{noise:g}"
    return (
        f"{of}nside {d['nside']}, lmax {d['lmax']}, fsky {d['fsky']:.3f}, {d['n_holes']} holes, beam "
        f"{d['fwhm_arcmin']:.1f}', noise {levels} µK per pixel; {d['skies']} skies, seed {d['seed']}; "
        f"cmbinpaint {d['version']}. Errors are standard errors, by jackknife over skies."
    )


def _tables(d: Figures) -> Iterator[str]:
    models = d["models"]
    depth_rows = [
        ("pixels", *d["counts"]),
        ("signal, µK rms", *(f"{v:.1f}" for v in _gaps(d["field"]))),
        ("exact mean, error, µK rms", *(f"{v:.2f}" for v in _gaps(d["exact"]))),
    ]
    what = {
        "excess": "Excess: rms error over the exact mean's, by depth in pixels; 1 is perfect",
        "distance": "Distance from the exact mean, in posterior standard deviations",
        "sharpness": "Sharpness: width of realizations over the exact posterior's, mean over pixels",
        "scatter": "Scatter: realization less prediction over the exact mean's residual, rms",
    }
    for name, title in what.items():
        rows = depth_rows if name == "excess" else []
        rows = rows + [(m, *_cells(f[name], ".3f")) for m, f in models.items()]
        yield _table(title, d["depths"], rows, _stokes(d))
    for name in ("excess", "distance", "sharpness") if "hole_widths" in d else ():
        yield _width_table(d, name)
    yield from _bias_tables(d)
    yield from _coverage_tables(d)
    rows = [("exact", *_cells(d["exact_alm_error"], ".3f"))]
    rows += [(m, *_cells(f["alm_error"], ".3f")) for m, f in models.items()]
    yield _table(
        "Low multipoles: rms error of a_lm over the true rms, by ell", d["multipoles"], rows, _modes(d)
    )
    rows = []
    for m, f in models.items():
        rows += [(f"{m}, realization", *_cells(f["jumps"], ".3f"))]
        rows += [(f"{m}, prediction", *_cells(f["prediction_jumps"], ".3f"))]
    classes = d["hole_widths"] if "hole_widths" in d else d["hole_sizes"]  # of earlier versions
    title = "Jumps across the edges of holes: mean square over the true one"
    yield _table(title, d.get("edges", classes), rows, _stokes(d))
    rows = []
    for m, f in models.items():
        rows += [(f"{m}, realization", *_cells(f["one_point"], ".2f"))]
        rows += [(f"{m}, fraction of true skies beyond", *_cells(f["one_point_p"], ".2f"))]
        rows += [(f"{m}, prediction", *_cells(f["prediction_one_point"], ".2f"))]
    title = "One-point distribution of hole pixels: Kolmogorov-Smirnov distance over that of true skies"
    n = len(d["depths"]) // len(_stokes(d))
    columns = [one for i in range(0, len(d["depths"]), n) for one in ("all", *d["depths"][i : i + n])]
    yield _table(title, columns, rows, _stokes(d))
    yield _other_table(d)
    if "leakage" in d:
        yield from _leakage_tables(d["leakage"])
    if d.get("kinds"):
        yield _table(
            "What holds for each model", ["kind", ""], [(m, k, HOLDS[k]) for m, k in d["kinds"].items()]
        )


def _width_table(d: Figures, name: str) -> str:
    """Excess, distance or sharpness by depth, for one class of holes after the other."""
    rows: list[Sequence[Any]] = []
    for i, (width, counts) in enumerate(zip(d["hole_widths"], d["counts_by_width"], strict=True)):
        if not any(counts):
            continue
        if name == "excess":
            rows.append((f"{width}: pixels", *counts))
            errors = ("" if v is None else f"{v:.2f}" for v in d["exact_by_width"][i])
            rows.append((f"{width}: exact mean, error, µK rms", *errors))
        for m, f in d["models"].items():
            estimate = {key: values[i] for key, values in f[f"{name}_by_width"].items()}
            rows.append((f"{width}: {m}", *_cells(estimate, ".3f")))
    return _table(f"{name.capitalize()} by width of the hole, and depth", d["depths"], rows, _stokes(d))


def _bias_tables(d: Figures) -> Iterator[str]:
    what = {
        "reduced": "Bias of the spectrum of realizations, percent: 2 C(F, F - M) / C",
        "raw": "The same without reduced variance, percent: -2 C(F, R) / C",
        "realization": "Realization over true, less 1, percent",
        "prediction": "Prediction over true, less 1, percent",
    }
    for name, title in what.items():
        digits = "+.3f" if name == "reduced" else "+.2f"
        rows = [(m, *_cells(f["bias"][name], digits, 100)) for m, f in d["models"].items()]
        if name == "prediction":
            rows.append(("zeros in the holes", *_cells(d["zero"], digits, 100)))
        yield _table(title, d["bands"], rows, _spectra(d))


def _coverage_tables(d: Figures) -> Iterator[str]:
    levels = " / ".join(f"{level:.0%}" for level in d["levels"])
    columns = [
        "marginal",
        *(f"quintile {q}" for q in range(1, 6)),
        "± of quintiles",
        "pull, quintiles 1 and 5",
    ]
    pixels, multipoles = [], []
    for m, f in d["models"].items():
        for group, label in enumerate(d["depths"]):
            pixels.append((f"{m}, depth {label}", *_coverage_row(f["pixels"], group)))
        for group, ell in enumerate(d["multipole_groups"]):
            multipoles.append((f"{m}, ell {ell}", *_coverage_row(f["multipoles"], group)))
    after = (
        f"{levels} intervals: marginal coverage is right for any linear predictor, by quintile of the prediction only "
        "for one that is calibrated; pull is the mean of (true - prediction) / width"
    )
    yield _table(f"Coverage of pixels, {after}", columns, pixels)
    yield _table(f"Coverage of full-sky a_lm, {after}", columns, multipoles)


def _coverage_row(coverage: Figures, group: int) -> list[str]:
    marginal, conditional, pull = coverage["marginal"], coverage["conditional"], coverage["pull"]
    values = [level[group] for level in conditional["value"]]
    errors = [[e for e in level[group] if e is not None] for level in conditional["error"]]
    extremes = {k: [pull[k][group][q] for q in (0, -1)] for k in ("value", "error")}
    return [
        _joined([level[group] for level in marginal["value"]]),
        *(_joined(quintile) for quintile in zip(*values, strict=True)),
        _joined([sum(e) / len(e) if e else None for e in errors]),
        "; ".join(cell for cell in _cells(extremes, "+.3f")),
    ]


def _joined(values: Sequence[float | None]) -> str:
    return " / ".join("" if v is None else f"{v:.3f}" for v in values)


def _other_table(d: Figures) -> str:
    columns = ["p of the mean difference", "scatter over the exact one's", "steps", "plan, s", "a map, s"]
    rows = []
    for m, f in d["models"].items():
        chi_squares = {m: f["chi_square"]}
        if "mean_p" not in f["chi_square"]:  # of several spectra
            chi_squares = {f"{m}, {name}": one for name, one in f["chi_square"].items()}
        for label, chi in chi_squares.items():
            p = "" if chi["mean_p"] is None else f"{chi['mean_p']:.3g} ({chi['bands']} bands)"
            scatter = {k: [chi["scatter"][k]] for k in ("value", "error")}
            cost = (_steps(f["steps"]), f"{f['plan_seconds']:.2g}", f"{f['map_seconds']:.2g}")
            rows.append((label, p, *_cells(scatter, ".2f"), *cost))
    title = (
        "Chi-square of filled less true bandpowers, against the exact realizations of other skies; and cost"
    )
    return _table(title, columns, rows) + f"\n\nThe exact mean takes {d['exact_seconds']:.2g} s a map."


def _cells(estimate: Figures, form: str, factor: float = 1.0) -> list[str]:
    """Values with their errors; nothing where there is no value."""
    out = []
    for value, error in zip(estimate["value"], estimate["error"], strict=True):
        if value is None:
            out.append("")
        elif error is None:
            out.append(f"{factor * value:{form}}")
        else:
            out.append(f"{factor * value:{form}} ± {factor * error:{form.lstrip('+')}}")
    return out


def _gaps(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]


def _leakage_tables(d: Figures) -> Iterator[str]:
    kinds = {kind: leaked for kind, leaked in d.items() if kind not in ("bands", "r_ranges")}
    what = {
        "over_e": "Leakage: E-only skies filled by the mean under a model with B and without, B power over E power",
        "over_b": "The same over the power of the sky's B",
    }
    for name, title in what.items():
        yield _table(title, d["bands"], [(kind, *_cells(one[name], ".2g")) for kind, one in kinds.items()])
    title = "The tensor-to-scalar ratio that it would be taken for, by the multipoles that it is fitted to"
    yield _table(title, d["r_ranges"], [(kind, *_cells(one["r"], ".2g")) for kind, one in kinds.items()])


def _stokes(d: Figures) -> Sequence[str]:
    return tuple(Fields(d.get("fields", "T")).stokes)


def _modes(d: Figures) -> Sequence[str]:
    return tuple(Fields(d.get("fields", "T")).modes)


def _spectra(d: Figures) -> Sequence[str]:
    return Fields(d.get("fields", "T")).spectra


def _table(
    title: str, columns: Sequence[Any], rows: Sequence[Sequence[Any]], parts: Sequence[str] = ("",)
) -> str:
    """A table; of several parts, one after the other in columns and cells, one for each."""
    if len(parts) > 1:
        n, of_each = len(columns) // len(parts), []
        for i, part in enumerate(parts):
            here = slice(i * n, (i + 1) * n)
            names = [str(c).removeprefix(part).lstrip(", ") for c in columns[here]]
            of_each.append(_table(f"{title}: {part}", names, [(row[0], *row[1:][here]) for row in rows]))
        return "\n\n".join(of_each)
    lines = [["", *columns], ["---"] * (len(columns) + 1), *rows]
    return f"### {title}\n\n" + "\n".join(
        "| " + " | ".join(str(cell) for cell in line) + " |" for line in lines
    )


def misspecified_markdown(figures: Figures) -> str:
    """The tables of what wrong sky models do, from what `cmbinpaint validate --misspecified` wrote."""
    parts = [
        f"nside {figures['nside']}, seed {figures['seed']}. Shift: relative change of the bias of realizations' "
        "spectra; rise: of the rms error in the holes; both against the same model given the right sky, on the same "
        "skies."
    ]
    for result in figures["results"]:
        for how, title in (("fixed", "given a fixed model"), ("estimated", "model estimated from the map")):
            effects = result[how]
            heading = f"{result['model']}, {title}, {result['skies']} skies"
            rows = [(name, *_cells(e["shift"], "+.2f", 100)) for name, e in effects.items()]
            parts.append(_table(f"Shift of C_ell, percent: {heading}", figures["bands"], rows))
            rises = {
                name: {**e["excess"], "value": [None if v is None else v - 1 for v in e["excess"]["value"]]}
                for name, e in effects.items()
            }
            rows = [(name, *_cells(rise, "+.2f", 100)) for name, rise in rises.items()]
            parts.append(_table(f"Rise of the rms error, percent: {heading}", result["depths"], rows))
    return "\n\n".join(parts) + "\n"


def _steps(taken: float) -> str:
    """Older figures hold -1 where the solver stopped at its own accuracy."""
    return "to 0.1 std" if taken < 0 else f"{taken:.3g}"
