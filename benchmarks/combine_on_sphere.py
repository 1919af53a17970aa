"""CoMBInE's network on maps: its error by depth over a training, after one loss or another, and a picture of it.

    python benchmarks/combine_on_sphere.py --run pixel=RUNS/b --run all=RUNS/a --picture combine128 -o OUT

The setting of the tables (the package's Planck-like mask, nside 128, beam 3 px, noise 3 µK). Every checkpoint of a run
is graded without refining; what is printed goes to combine_on_sphere.json. OUT gets combine_learning.png and, with
--picture, combine_fill.png: truth, data, the network's fill, the exact mean and the network's realization in one field.
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from common import Setting, write

from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.networks.card import Card, read_card
from cmbinpaint.networks.inpainter import NetworkInpainter, NetworkPredictor, load_network
from cmbinpaint.networks.store import HOME, list_models
from cmbinpaint.pipeline.filler import Filler, realization_rng
from cmbinpaint.plots import draw_patch
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.pixels import pixel_neighbors
from cmbinpaint.training.run.checkpoint_models import Trained

matplotlib.use("Agg")
from matplotlib import pyplot as plt

NSIDE = 128
EDGES = (0.0, 1.3, 2.3, 4.3, np.inf)
TARGETS = (2.0, 1.5, 1.25, 1.15)  # excess, in holes of one pixel, to 2.3 and 4.3 px of depth, and deeper
BANDS = (2, 5, 10, 20, 40, 80, 128, 192, 256)  # ell, from one to below the next
LABELS = ("≤ 1.3 px", "to 2.3 px", "to 4.3 px", "deeper")


class Exam:
    """Skies and their exact means; the patches, which no network changes."""

    def __init__(self, skies: int, first: int = 0) -> None:
        self.setting = Setting.at(NSIDE, None)
        plan, model = self.setting.plan, self.setting.sky_model
        self.skies = [self.setting.sky(seed) for seed in range(first, first + skies)]
        exact = GaussianInpainter().prepare(plan, model)
        self.exact = [exact.predict(sky) for sky, _ in self.skies]
        self.prepared: NetworkPredictor | None = None
        beside = pixel_neighbors(NSIDE, np.arange(plan.valid.size))
        self.lone = plan.targets & np.all(plan.valid[beside] | (beside < 0), axis=1)
        self.harmonics = Harmonics(NSIDE, BANDS[-1])
        self.bins = [plan.targets & (plan.depth > a) & (plan.depth <= b) for a, b in pairwise(EDGES)]

    def predictor(self, network: NetworkInpainter) -> NetworkPredictor:
        if self.prepared is None:
            prepared = network.prepare(self.setting.plan, self.setting.sky_model, to_refine=True)
            assert isinstance(prepared, NetworkPredictor)
            self.prepared = prepared
        return NetworkPredictor(network, self.prepared.plan, self.prepared.levels, self.prepared.posterior)

    def excess(self, network: NetworkInpainter) -> list[float]:
        """rms error over the exact mean's, by depth, over all skies."""
        return self.grade(network)["excess"]

    def grade(self, network: NetworkInpainter) -> dict[str, list[float]]:
        """Excess by depth, in lone pixels too, and the bias of realizations, -2 C(F, R) / C in percent, by band."""
        predictor = self.predictor(network)
        squares = np.zeros((2, len(self.bins) + 1))
        powers = np.zeros((2, len(BANDS) - 1))
        first: list[float] = []
        for (sky, signal), exact in zip(self.skies, self.exact, strict=True):
            filled = predictor.predict(sky)
            for row, fill in enumerate((filled, exact)):
                squares[row] += [
                    np.mean(np.square(fill - signal)[chosen]) for chosen in (*self.bins, self.lone)
                ]
            first = first or np.sqrt(squares[0]).round(3).tolist()
            of_filled, of_missed, of_sky = (self.harmonics.analysis(m) for m in (filled, sky - filled, sky))
            for row, (one, other) in enumerate(((of_filled, of_missed), (of_sky, of_sky))):
                cl = alm_to_cl(one, BANDS[-1], other)
                ell = np.arange(cl.size)
                powers[row] += [np.sum(((2 * ell + 1) * cl)[a:b]) for a, b in pairwise(BANDS)]
        excess = np.sqrt(squares[0] / squares[1]).round(4).tolist()
        bias = (-200 * powers[0] / powers[1]).round(2).tolist()
        return {
            "excess": excess[:-1],
            "excess_lone_pixels": excess[-1:],
            "bias_percent": bias,
            "first_rms_uK": first,
        }


def redrawn(predictor: NetworkPredictor, sky: np.ndarray) -> float:
    """What the network draws over observed pixels, and a fill discards: rms error in percent of their rms."""
    squares = np.zeros(2)

    class Counting(NetworkInpainter):
        def draw(self, fields: np.ndarray, known: np.ndarray) -> np.ndarray:
            drawn = super().draw(fields, known)
            mean = np.mean(fields, axis=(1, 2), where=known, keepdims=True)
            squares[:] += (
                np.sum(np.square(drawn - fields), where=known),
                np.sum(np.square(fields - mean), where=known),
            )
            return drawn

    network = predictor.inpainter
    NetworkPredictor(
        Counting(network.card, network.network, "cpu"), predictor.plan, predictor.levels, predictor.posterior
    ).predict(sky)
    return round(100 * float(np.sqrt(squares[0] / squares[1])), 2)


def grade_run(exam: Exam, text: str) -> list[dict[str, Any]]:
    """Every checkpoint of a run, given as FOLDER or FOLDER@STEPS with the steps of a run that it goes on from."""
    folder, _, before = text.partition("@")
    trained = Trained.open(folder)
    batch = int((trained.data or {}).get("batch_size", 16))
    rows = []
    for state in trained.states:
        card = Card(
            name="run", family="pconv", architecture={}, data="", recipe="", normalization="", seed=0,
            steps=state.step, commit="", license="", version="",
        )  # fmt: skip
        network = NetworkInpainter(card, trained.network(state), "cpu")
        step = state.step + int(before or 0)
        rows.append({"step": step, "patches": batch * step, **exam.grade(network)})
        print(folder, rows[-1], flush=True)
    return rows


def draw_learning(runs: dict[str, list[dict[str, Any]]], start: list[float], path: Path) -> None:
    figure, axes = plt.subplots(1, len(LABELS), figsize=(11, 3.0), layout="constrained")
    for n, (axis, label, target) in enumerate(zip(axes, LABELS, TARGETS, strict=True)):
        for name, rows in runs.items():
            patches = [0, *(row["patches"] for row in rows)]
            axis.plot(
                patches, [start[n], *(row["excess"][n] for row in rows)], "o-", ms=3.5, lw=1, label=name
            )
        axis.axhline(target, color="0.6", lw=0.8, ls="--")
        axis.axhline(1, color="0.3", lw=0.8)
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("patches", fontsize=9)
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("error over the exact mean's", fontsize=9)
    axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def draw_fill(exam: Exam, network: NetworkInpainter, path: Path) -> None:
    sky, signal = exam.skies[0]
    plan = exam.setting.plan
    predictor = exam.predictor(network)
    filler = Filler(plan, exam.setting.sky_model, predictor, 0, None, linear=False)
    maps = {
        "truth": signal, "observed": np.where(plan.valid, sky, np.nan),
        "combine128": predictor.predict(sky), "exact mean": exam.exact[0],
        "combine128, a realization": filler.realize(sky, realization_rng(1, 0)),
    }  # fmt: skip
    figure, axes = plt.subplots(1, len(maps), figsize=(14, 3.3), layout="constrained")
    for axis, (title, shown) in zip(axes, maps.items(), strict=True):
        draw_patch(shown, 60.0, 14.0, side_deg=28.0, limit=200.0, title=title, colorbar=False, ax=axis)
        axis.set_ylabel("" if axis is not axes[0] else axis.get_ylabel())
    figure.colorbar(axes[0].images[0], ax=list(axes), label="µK", shrink=0.75, pad=0.01)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", action="append", default=[], help="NAME=FOLDER of a training, or NAME=FOLDER@STEPS"
    )
    parser.add_argument("--start", default="combine128", help="the weights that the runs began with")
    parser.add_argument("--picture", help="a network to draw")
    parser.add_argument("--skies", type=int, default=2)
    parser.add_argument("--first-sky", type=int, default=0, help="seed of the first; the others follow")
    parser.add_argument("--into-cards", action="store_true", help="put the figures into the cards that ship")
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    exam = Exam(args.skies, args.first_sky)
    start = exam.excess(load_network(args.start, "cpu"))
    print("start", start, flush=True)
    runs = {name: grade_run(exam, folder) for name, _, folder in (r.partition("=") for r in args.run)}
    if runs:
        draw_learning(runs, start, args.output / "combine_learning.png")
    if args.picture:
        draw_fill(exam, load_network(args.picture, "cpu"), args.output / "combine_fill.png")
    shipped: dict[str, dict[str, Any]] = {}
    for name in (card.name for card in list_models() if card.family == "pconv"):
        network = load_network(name, "cpu")
        percent = redrawn(exam.predictor(network), exam.skies[0][0])
        shipped[name] = {**exam.grade(network), "redrawn_percent": percent}
    if args.into_cards:
        for name, grades in shipped.items():
            path = HOME / f"{name}.json"
            card = read_card(path)
            own = {"nside": NSIDE, "skies": args.skies, "edges_px": EDGES[:-1], "bands": BANDS, **grades}
            path.write_text(
                replace(card, figures={**card.figures, "sphere": own}).to_json(), encoding="utf-8"
            )
    write(
        {
            "what": "combine on the sphere", "nside": NSIDE, "skies": args.skies, "first_sky": args.first_sky,
            "edges_px": [*EDGES[:-1]],
            "targets": TARGETS, "bands": BANDS, "start": start, "runs": runs, "shipped": shipped,
        },
        args.output / "combine_on_sphere.json",
    )  # fmt: skip


if __name__ == "__main__":
    main()
