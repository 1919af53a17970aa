"""Markdown tables of the figures that the other benchmarks and `cmbinpaint validate` wrote.

python benchmarks/tables.py benchmarks/results/*.json
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import BINS

from cmbinpaint.validation.validation_text import markdown, misspecified_markdown


def row(*cells: object) -> str:
    return "| " + " | ".join(str(c) for c in cells) + " |"


def head(*cells: object) -> str:
    return row(*cells) + "\n" + row(*("---" for _ in cells))


def excess(d: dict[str, Any]) -> str:
    edges = (0, *BINS[d["nside"]], "∞")
    lines = [
        f"nside {d['nside']}, lmax {d['lmax']}, fsky {d['fsky']:.3f}, {d['skies']} skies: excess by depth (px)",
        "",
    ]
    lines.append(head("", *(f"({a},{b}]" for a, b in pairwise(edges)), "plan, s", "predict, s"))
    lines.append(row("field, µK rms", *(f"{v:.1f}" for v in d["rms_uK"]["field"]), "", ""))
    lines.append(row("exact mean, µK rms", *(f"{v:.2f}" for v in d["rms_uK"]["exact"]), "", ""))
    for name, values in d["excess"].items():
        key = name.split(" (")[0]
        seconds = [d[k].get(key) for k in ("seconds_plan", "seconds_predict")]
        lines.append(
            row(name, *(f"{v:.3f}" for v in values), *("" if s is None else f"{s:.2g}" for s in seconds))
        )
    lines += [
        "",
        "Largest distance from the exact mean over the depth bins, in posterior standard deviations, after n steps:",
        "",
    ]
    lines.append(head("start", *d["steps"], "to 0.1", "s a step"))
    for name, values in d["worst_distance_in_posterior_std"].items():
        if name in d["steps_to_0.1_posterior_std"]:
            needed = d["steps_to_0.1_posterior_std"][name]
            step = d["seconds_a_step"][name]
            lines.append(row(name, *(f"{v:.3f}" for v in values), needed, f"{step:.3f}"))
        else:
            lines.append(row(name, f"{values[0]:.3f}", *("" for _ in d["steps"][1:]), "", ""))
    whole = ", ".join(f"{name} {seconds:.1f}" for name, seconds in d["seconds_whole"].items())
    what = "Seconds for a first map to 0.1, plan, solver's set-up and steps included (medians)"
    lines += ["", f"{what}: {whole}."]
    return "\n".join(lines)


def speed(d: dict[str, Any]) -> str:
    first, *later = d["seconds"]
    second = f" second map with the same plan {later[0]:.0f} s," if later else ""
    return (
        f"nside {d['nside']}, {d['model']}, {d['machine']['cores']} cores: first map {first:.0f} s (plan "
        f"included),{second} peak memory {d['peak_GiB']:.2f} GiB."
    )


def solver(d: dict[str, Any]) -> str:
    lines = [head("nside", "lmax", "preconditioner", "setup, s", "steps", "seconds", "peak, GiB")]
    for how in ("holes", "diagonal"):
        if how in d:
            part = d[how]
            lines.append(
                row(
                    d["nside"], d["lmax"], how, f"{part['setup_s']:.1f}", part["steps"], f"{part['seconds']:.1f}",
                    f"{d['peak_GiB']:.1f}",
                )
            )  # fmt: skip
    return "\n".join(lines)


def patch_circles(d: dict[str, Any]) -> str:
    """Per setting: excess of each filler, and the transfer of prediction and realization, by mask."""
    lines = []
    for setting in ("CoMBInE", "map"):
        rows = d[setting]
        names = [n for n, v in next(iter(rows.values())).items() if isinstance(v, dict)]
        lines += [
            f"Setting: {setting}. Excess, and first the exact mean's rms error over the field's rms",
            "",
        ]
        lines.append(head("holes", "share", "exact/field", *names[1:]))
        for mask, r in rows.items():
            best = r["exact"]["rms_uK"] / r["exact"]["field_rms_uK"]
            excess = (f"{r[n]['excess']:.3f}" for n in names[1:])
            lines.append(row(mask, f"{r['hole_share']:.3f}", f"{best:.3f}", *excess))
        for what in ("prediction", "realization"):
            lines += [
                "",
                f"Setting: {setting}. Largest deviation of the {what}'s power from the observation's in four bands, %",
                "",
            ]
            lines.append(head("holes", *names))
            for mask, r in rows.items():
                lines.append(row(mask, *(_worst(r[n][what]) for n in names)))
        lines.append("")
    return "\n".join(lines)


def _worst(t: dict[str, list[float]]) -> str:
    b = max(range(len(t["value"])), key=lambda i: abs(t["value"][i] - 1))
    return f"{100 * (t['value'][b] - 1):+.1f} ± {100 * t['error'][b]:.1f}"


def neighbors(d: dict[str, Any]) -> str:
    bands = [f"{a}-{b - 1}" if b - a > 1 else str(a) for a, b in pairwise(d["bands"])]
    lines = [head("coarse groups", "nearest", *(f"bin {i + 1}" for i in range(5)), *bands, "plan, s")]
    for r in d["rows"]:
        bias = (f"{v:+.2f} ± {e:.2f}" for v, e in zip(r["bias_percent"], r["error_percent"], strict=True))
        lines.append(
            row(r["coarse"], r["nearest"], *(f"{v:.3f}" for v in r["excess"]), *bias, f"{r['plan_s']:.1f}")
        )
    return "\n".join(lines)


def limits(d: dict[str, Any]) -> str:
    """Per change of the setting: kriging by depth, and its distance from the exact mean where it is largest."""
    labels = [f"{label} px" for label in d["depths"]]
    lines = [
        f"nside {d['nside']}, {d['skies']} skies, beam {d['beam_px']:g} px, noise {d['noise_uK']:g} µK except as the "
        "row says; excess of kriging by depth, and its largest distance in posterior σ",
        "",
        head("setting", "noise/rms", *labels, "distance"),
    ]
    for name, r in d["settings"].items():
        figures = r["models"]["kriging"]
        excess = (f"{v:.3f}" for v in figures["excess"]["value"])
        lines.append(
            row(name, f"{r['noise_over_rms']:.3f}", *excess, f"{max(figures['distance']['value']):.2f}")
        )
    return "\n".join(lines)


def multipoles(d: dict[str, Any]) -> str:
    """By beam and by the share of the noise down to which multipoles are kept: excess by depth."""
    depths = [f"({a},{b}]" for a, b in pairwise((0, *d["depths_px"], "∞"))]
    lines = [head("beam, px", "kept down to", "lmax", *depths)]
    for r in d["rows"]:
        share = "" if r["share"] is None else f"{r['share']:g} of the noise"
        lines.append(row(f"{r['beam_px']:g}", share, r["lmax"], *(f"{v:.4f}" for v in r["excess"])))
    return "\n".join(lines)


TABLES = {
    "multipoles": multipoles,
    "limits": limits,
    "patch circles": patch_circles,
    "neighbors": neighbors,
    "excess": excess,
    "speed": speed,
    "solver": solver,
    "validation": markdown,
    "misspecified": misspecified_markdown,
}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        figures = json.loads(Path(name).read_text(encoding="utf-8"))
        print(TABLES[figures["what"]](figures), end="\n\n")
