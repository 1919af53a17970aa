"""Draw each loss term of a training against its steps.

python benchmarks/loss_figure.py runs/combine128-short -o docs/figures/loss_terms.png

Thin lines: training, means over the log's interval. Dots: validation at each epoch's end.
Upright lines part the stages.
"""

import argparse
import csv
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TERMS = ("valid", "hole", "perceptual", "style_output", "style_composite", "total_variation")
NAMES = {
    "valid": "valid", "hole": "hole", "perceptual": "perceptual", "style_output": "style, output",
    "style_composite": "style, composite", "total_variation": "total variation",
}  # fmt: skip


def read(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    training, validation = read(args.run / "training.csv"), read(args.run / "validation.csv")
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.2), sharex=True, layout="constrained")
    terms = [term for term in TERMS if term in training]
    for axis, term in zip(axes.flat, terms, strict=False):
        for stage in np.unique(training["stage"]):
            inside = training["stage"] == stage
            axis.plot(training["step"][inside], training[term][inside], lw=0.7, color="C0")
            last = training["step"][inside].max()
            if last < training["step"].max():
                axis.axvline(last, color="0.8", lw=0.8, zorder=0)
            at = validation["stage"] == stage
            axis.plot(validation["step"][at], validation[term][at], "o-", ms=3.5, lw=1, color="C1")
        axis.set_title(NAMES[term], fontsize=10)
        axis.set_ylim(0, None)
        axis.tick_params(labelsize=8)
    for axis in axes[1]:
        axis.set_xlabel("step", fontsize=9)
    axes[0, 0].plot([], [], lw=0.7, color="C0", label="training")
    axes[0, 0].plot([], [], "o-", ms=3.5, lw=1, color="C1", label="validation")
    axes[0, 0].legend(fontsize=8, frameon=False)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.output, dpi=110)
    for term in terms:
        print(
            f"{term}: {training[term][:3].mean():.4g} at the start, {training[term][-5:].mean():.4g} at the end"
        )


if __name__ == "__main__":
    main()
