"""Markdown tables of the figures that the other benchmarks and `cmbinpaint validate` wrote.

python benchmarks/tables.py benchmarks/results/*.json
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from common import BINS

from cmbinpaint.analysis.validation_text import markdown, misspecified_markdown


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
    return "\n".join(lines)


def speed(d: dict[str, Any]) -> str:
    first, *later = d["seconds"]
    second = f" second map with the same plan {later[0]:.0f} s," if later else ""
    return (
        f"nside {d['nside']}, {d['model']}, {d['machine']['cores']} cores: first map {first:.0f} s (plan and refining "
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


TABLES = {
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
