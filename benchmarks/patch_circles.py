"""Circles of radius 5 to 65 px, and CoMBInE's random shapes, in flat patches of 128 x 128 px.

    python benchmarks/patch_circles.py --card combine128 \\
        --patches 16 --into-cards -o benchmarks/results/patch_circles.json

What CoMBInE's paper shows (arXiv 2011.01433), measured: rms error and its excess over the exact mean's, power of
prediction and realization over the observation's behind a Hann window. Networks see the patch and nothing around it,
and so does the exact mean, which leaves the patch's mean open: a network that knows it to be zero can be better by up
to 1 % behind the largest circles. Two settings: CoMBInE's (no beam, no noise, pixels of 6.87') and a map's (beam 3 px,
3 µK).
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from patch_optimum import FlatModel, conditional_mean

from cmbinpaint.networks.card import read_card
from cmbinpaint.networks.store import HOME
from cmbinpaint.plane.power import draw_fields, flat_cl
from cmbinpaint.training.data.shapes import circle, random_shapes
from cmbinpaint.training.data.skies import field_rms
from cmbinpaint.training.data.targets import Targets
from cmbinpaint.training.run.checkpoint_models import Trained

SIDE, STEP_ARCMIN = 128, 6.87
SETTINGS = {
    "CoMBInE": FlatModel(SIDE, STEP_ARCMIN, 0.0, 0.0, averaged=False, reach=float(np.sqrt(2) * np.pi)),
    "map": FlatModel(SIDE, STEP_ARCMIN, 3.0, 3.0),
}
BANDS = 4
Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]  # data (n, side, side) and valid to a prediction


def masks(shapes: int) -> Iterator[tuple[str, np.ndarray]]:
    for radius in range(5, 70, 5):
        yield f"circle {radius}", circle(SIDE, radius)
    rng = np.random.default_rng(5)
    for number in range(shapes):
        yield f"shapes {number}", random_shapes(SIDE, rng)


def targets_of(model: FlatModel, data: np.ndarray) -> Targets:
    """The patches as networks are told of them."""
    cl = model.cl * model.rms_uK**2
    fields = data.astype(np.float32)
    labels = np.zeros(len(data), np.int64)
    return Targets(
        fields, fields, labels, (0.9649,), cl[None], field_rms(cl), model.step_arcmin, model.noise_uK
    )


def network(card: str, model: FlatModel, data: np.ndarray) -> Fill:
    trained = Trained.open(card)
    filler = trained.filler(trained.states[-1], targets_of(model, data))
    return lambda data, valid: filler.fill(data, valid).field_uK


def skies(model: FlatModel, patches: int) -> tuple[np.ndarray, np.ndarray]:
    """(2 patches, side, side) signal, and with noise, µK."""
    rng = np.random.default_rng(0)
    signal = draw_fields(model.power, 2 * patches, rng)[:, :SIDE, :SIDE] * model.rms_uK
    return signal, signal + model.noise_uK * rng.standard_normal(signal.shape)


def study(model: FlatModel, cards: list[str], patches: int, shapes: int) -> dict[str, Any]:
    signal, data = skies(model, patches)
    fills: dict[str, Fill] = {
        "exact": lambda d, v: conditional_mean(model, v, np.where(v, d, 0.0), width=False)[0],
        **{card: network(card, model, data) for card in cards},
    }
    rows = {}
    for name, valid in masks(shapes):
        rows[name] = {"hole_share": float(np.mean(~valid)), **grade(model, fills, signal, data, valid)}
        print(
            name, {k: round(v["excess"], 3) for k, v in rows[name].items() if isinstance(v, dict)}, flush=True
        )
    return rows


def grade(
    model: FlatModel, fills: dict[str, Fill], signal: np.ndarray, data: np.ndarray, valid: np.ndarray
) -> dict[str, Any]:
    """The first half of the patches is filled; the other half, filled too, gives the fluctuations."""
    n = len(data) // 2
    made = {name: np.where(valid, data, fill(data, valid)) for name, fill in fills.items()}
    true = power(model, data[:n])
    best = np.sqrt(np.mean(np.square(made["exact"] - signal)[:n, ~valid]))
    table = {}
    for name, field in made.items():
        square = np.mean(np.square(field - signal)[:n, ~valid], axis=1)  # a patch at a time
        rms = np.sqrt(np.mean(square))
        realization = np.where(valid, data[:n], field[:n] + data[n:] - field[n:])
        table[name] = {
            "rms_uK": rms, "rms_error_uK": np.std(square, ddof=1) / np.sqrt(n) / (2 * rms), "excess": rms / best,
            "field_rms_uK": float(signal[:n, ~valid].std()),
            "prediction": transfer(power(model, field[:n]), true),
            "realization": transfer(power(model, realization), true),
        }  # fmt: skip
    return table


def power(model: FlatModel, fields: np.ndarray) -> np.ndarray:
    """(n, bands) C_ell behind a Hann window, up to where a beam of three pixels leaves something."""
    hann = np.sin(np.pi * (np.arange(SIDE) + 0.5) / SIDE) ** 2
    edges = np.linspace(2.5 * 2 * np.pi / (SIDE * model.step), 1.54 / model.step, BANDS + 1)
    return np.stack([flat_cl(f, model.step, window=hann[:, None] * hann, edges=edges)[1] for f in fields])


def transfer(found: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Mean power over mean true power, and its standard error over patches."""
    ratio = found.mean(0) / true.mean(0)
    return {
        "value": ratio,
        "error": np.std(found - ratio * true, axis=0, ddof=1) / true.mean(0) / np.sqrt(len(true)),
    }


def for_card(rows: dict[str, Any], card: str, patches: int) -> dict[str, Any]:
    """What the card keeps of the setting without beam and noise."""
    circles = {name.split()[1]: row for name, row in rows.items() if name.startswith("circle")}
    own = [row[card] for row in circles.values()]
    return {
        "side": SIDE, "step_arcmin": STEP_ARCMIN, "patches": patches, "radii": [int(radius) for radius in circles],
        **{key: [round(float(r[key]), 5) for r in own] for key in ("rms_uK", "rms_error_uK", "excess")},
    }  # fmt: skip


def put_into(card: str, circles: dict[str, Any]) -> None:
    path = Path(card) if card.endswith(".json") else HOME / f"{card}.json"
    known = read_card(path)
    path.write_text(replace(known, figures={**known.figures, "circles": circles}).to_json(), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", action="append", default=[], help="a network that fills patches")
    parser.add_argument("--patches", type=int, default=32)
    parser.add_argument("--shapes", type=int, default=5, help="masks of random shapes, beside the circles")
    parser.add_argument("--into-cards", action="store_true", help="put the figures into the cards too")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = {}
    for name, model in SETTINGS.items():
        settings[name] = study(model, args.card, args.patches, args.shapes)
        model.forget()
    if args.into_cards:
        for card in args.card:
            put_into(card, for_card(settings["CoMBInE"], card, args.patches))
    write(
        {
            "what": "patch circles",
            "side": SIDE,
            "step_arcmin": STEP_ARCMIN,
            "patches": args.patches,
            **settings,
        },
        args.output,
    )


if __name__ == "__main__":
    main()
