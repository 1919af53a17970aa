"""Which network fills best: one factor at a time from a common base, graded against the exact mean on flat patches.

    python benchmarks/contest.py --runs RUNS -o benchmarks/results/contest.json [--arm NAME ...] [--patches 20000]

Each arm is the base recipe with one change. Trained runs in RUNS are kept and not trained again. Patches of 64 px with
16 px of margin (guesses see it, networks do not); skies at the pixel of nside 128, 512 and 2048.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import write
from contest_networks import FreeData, HalfPixel, SolverSteps, TwoScales
from patch_optimum import DEPTHS, FlatModel, Scene, conditional_mean, standard_scenes
from scipy.ndimage import distance_transform_edt
from torch import nn

from cmbinpaint.networks.store import load_into, load_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.nn.unet import PRESETS
from cmbinpaint.plane.power import flat_cl
from cmbinpaint.training import Recipe, train
from cmbinpaint.training.data.examples import HoleBatch
from cmbinpaint.training.data.sets import build_stream
from cmbinpaint.training.data.sky import PatchBatch, SkyStream
from cmbinpaint.training.run.resume import final_weights

SIDE, MARGIN, SKIES = 64, 16, 8
MODELS = (
    FlatModel(SIDE, 27.48, 3.0, 3.0, MARGIN),
    FlatModel(SIDE, 6.87, 3.0, 3.0, MARGIN),
    FlatModel(SIDE, 1.72, 2.91, 10.0, MARGIN),
)
RIM = 3.0  # pixels of depth down to which a kriged rim counts as data
BASE: dict[str, Any] = {
    "seed": 1, "precision": "bf16", "ema_decay": 0.995, "validation_batches": 0, "checkpoint_every": 500,
    "log_every": 50, "threads": 1, "workers": 0, "keep_checkpoints": 1,
    "loss": {"relative_l2": 1.0},
    "data": {"sides": [SIDE], "side_weights": [1.0], "masks": 2, "skies": SKIES, "neighbors": 16},
    "model": {"family": "linear", "widths": [16, 48, 96, 128, 128], "gate_widths": [16, 24, 48, 64, 64]},
    "optimizer": {"algorithm": "adam", "lr": 1e-3, "warmup_steps": 100, "schedule": "cosine",
                  "final_lr_share": 0.02, "grad_clip": 0.5},
}  # fmt: skip
# unet128 without its last level, which patches of 64 px have no room for.
_SEED_NET = {
    "family": "pconv", "channels": 1, "encoder": PRESETS["unet128"]["encoder"][:-1],
    "decoder": PRESETS["unet128"]["decoder"][1:],
}  # fmt: skip
_SEED_OPTIMIZER = {
    "algorithm": "adam",
    "lr": 1e-3,
    "warmup_steps": 100,
    "schedule": "cosine",
    "final_lr_share": 0.02,
}
_ONE_SKY = {
    "step_arcmin": [6.87, 6.87],
    "beam_px": [3.0, 3.0],
    "noise_over_rms": [0.03, 0.03],
    "tilt_std": 0.0,
}
_PHYSICAL = {
    "data": _ONE_SKY, "loss": {"relative_l2": 0.0, "physical": 1.0},
    "sky": {"step_arcmin": 6.87, "fwhm_arcmin": float(np.hypot(20.61, 6.87 * np.sqrt(8 * np.log(2) / 12))),
            "noise_over_rms": 0.03},
}  # fmt: skip

Batch = PatchBatch | HoleBatch


# --- what an arm does to a batch


def as_it_is(batch: PatchBatch) -> Batch:
    return batch


def without_guess(batch: PatchBatch) -> Batch:
    """Nothing in the holes: zero, as uncertain as the field."""
    hole = batch.valid <= 0
    return replace(
        batch, x=np.where(hole, np.float32(0), batch.x), spread=hole.astype(np.float32)
    )  # fmt: skip


def rim_as_data(batch: PatchBatch) -> Batch:
    """The guess down to `RIM` pixels counts as observed, nothing deeper."""
    depth = np.stack([distance_transform_edt(v[0] <= 0) for v in batch.valid])[:, None]
    deep = depth > RIM
    return replace(
        batch, x=np.where(deep, np.float32(0), batch.x), valid=1 - deep.astype(np.float32),
        spread=deep.astype(np.float32),
    )  # fmt: skip


def told_nothing(batch: PatchBatch) -> Batch:
    return replace(batch, conditions=np.zeros_like(batch.conditions))


def only_holes(batch: PatchBatch) -> Batch:
    """As the seed's family takes it: a mask for each sky (here the same), zeros in its holes."""
    skies = batch.x.shape[1]
    valid = np.repeat(batch.valid, skies, axis=0)
    x = batch.x.reshape(-1, 1, *batch.x.shape[2:])
    return HoleBatch(np.where(valid > 0, x, np.float32(0)), valid, batch.truth.reshape(x.shape))


@dataclass(frozen=True)
class Seen:
    """A stream as an arm sees it."""

    stream: Any  # of `PatchBatch`es
    change: Callable[[PatchBatch], Batch]

    def batch(self, index: int, split: str = "train") -> Batch:
        return self.change(self.stream.batch(index, split))


class WideStream(SkyStream):
    """The stream with its margins."""

    def _crop(self, side: int) -> slice:
        return slice(0, side + side // 2)


@dataclass(frozen=True)
class Arm:
    """One row of the contest: what differs from the base, and why it is there."""

    what: str
    change: Mapping[str, Any] = field(default_factory=dict)
    see: Callable[[PatchBatch], Batch] = as_it_is
    build: Callable[..., nn.Module] | None = None
    steps: tuple[int, ...] = (0, 1, 2)  # of MODELS, that it can be graded on
    wide: bool = False  # whether it sees the margins


ARMS = {
    "base": Arm("linear family, guess from 16 neighbors corrected, relative squared loss, 2.2 M weights"),
    "no-guess": Arm("nothing in the holes", see=without_guess),
    "rim": Arm(f"kriged down to {RIM:g} px as data, nothing deeper", see=rim_as_data),
    "guess32": Arm("guess from 32 neighbors", {"data": {"neighbors": 32}}),
    "guess64": Arm("guess from 64 neighbors", {"data": {"neighbors": 64}}),
    "untold": Arm("not told the sky model", see=told_nothing),
    "hole-l1": Arm("L1 in holes", {"loss": {"relative_l2": 0.0, "hole": 1.0}}),
    "hole-l2": Arm("squared error in holes", {"loss": {"relative_l2": 0.0, "hole_squared": 1.0}}),
    "narrow": Arm("half the width", {"model": {"widths": [8, 24, 48, 64, 64], "gate_widths": [8, 12, 24, 32, 32]}}),
    "wide": Arm(
        "one and a half times the width",
        {"model": {"widths": [24, 72, 144, 192, 192], "gate_widths": [24, 36, 72, 96, 96]}},
    ),
    "half-pixel": Arm("on half the step", build=HalfPixel),
    "margin": Arm("on the patch with its margins", wide=True),
    "two-scales": Arm(
        "the same, a group at two pixels a step first", build=partial(TwoScales, MARGIN), wide=True
    ),
    "one-sky": Arm("one sky model only (nside 512's)", {"data": _ONE_SKY}, steps=(1,)),
    "physical": Arm("the same by WienerNet's physical loss", _PHYSICAL, steps=(1,)),
    "physical-free": Arm("the same, free to change observed pixels", _PHYSICAL, build=FreeData, steps=(1,)),
    "solver-steps": Arm(
        f"one sky model: preconditioner of {SolverSteps.STEPS} steps of conjugate gradients, margins too",
        {"data": _ONE_SKY, "optimizer": {**BASE["optimizer"], "lr": 3e-4}},
        build=partial(SolverSteps, lambda: MODELS[1].precision), steps=(1,), wide=True,
    ),
    "seed": Arm(
        "the seed's family (unet128 less a level), nothing in the holes, squared error",
        {"model": _SEED_NET, "optimizer": _SEED_OPTIMIZER, "loss": {"relative_l2": 0.0, "hole_squared": 1.0}},
        see=only_holes,
    ),
    "seed-l1": Arm(
        "the same, the seed's pixel terms: valid + 6 hole (L1)",
        {"model": _SEED_NET, "optimizer": _SEED_OPTIMIZER, "loss": {"relative_l2": 0.0, "valid": 1.0, "hole": 6.0}},
        see=only_holes,
    ),
    "seed-all": Arm(
        "the same, every term of the seed's: perceptual, style, total variation too",
        {"model": _SEED_NET, "optimizer": _SEED_OPTIMIZER, "perceptual": {"weights": "vgg16-cmb", "scale": "rms"},
         "loss": {"relative_l2": 0.0, "valid": 1.0, "hole": 6.0, "perceptual": 0.05, "style_output": 120.0,
                  "style_composite": 120.0, "total_variation": 0.1}},
        see=only_holes,
    ),
}  # fmt: skip


def recipe_of(name: str, patches: int, seed: int) -> Recipe:
    """The base's recipe with the arm's change."""
    arm = ARMS[name]
    table = dict(BASE)
    for key, value in arm.change.items():
        whole = key == "optimizer" or "family" in value
        table[key] = value if whole else {**table.get(key, {}), **value}
    table["loss"] = {k: v for k, v in table["loss"].items() if v}
    per_step = BASE["data"]["masks"] * BASE["data"]["skies"]
    return Recipe.from_mapping(
        {**table, "name": name, "seed": seed, "steps": max(patches // per_step, 1),
         "optimizer": {**table["optimizer"], "warmup_steps": min(100, max(patches // per_step // 4, 0))}}
    )  # fmt: skip


def trained(name: str, folder: Path, patches: int, seed: int) -> tuple[nn.Module, float]:
    """The arm's network, trained now or before, and the seconds that took."""
    arm, recipe = ARMS[name], recipe_of(name, patches, seed)
    options = {k: v for k, v in recipe.model.items() if k != "family"}
    make = (lambda: arm.build(**options)) if arm.build else (lambda: build_model(recipe.model))  # type: ignore[misc]
    torch.manual_seed(seed)
    network, place = make(), folder / f"{name}-{patches}-{seed}"
    skies = build_stream(recipe.data, seed)
    if arm.wide:
        skies = WideStream(**{f.name: getattr(skies, f.name) for f in fields(skies)})
    stream = Seen(skies, arm.see)
    start = time.perf_counter()
    result = train(recipe, place, stream=stream, model=network)
    if not result.finished:
        raise SystemExit(f"{name} stopped at step {result.step} of {result.steps}")
    took = place / "seconds.txt"
    if not took.exists():
        took.write_text(f"{time.perf_counter() - start:.1f}\n", encoding="utf-8")
    network.load_state_dict(final_weights(place))
    return network.eval(), float(took.read_text())


# --- grading


Answer = Callable[[Scene], np.ndarray]  # (R, side, side), meaningful in holes


def answer_of(
    network: nn.Module, see: Callable[[PatchBatch], Batch], neighbors: int, *, wide: bool = False
) -> Answer:
    """What a network makes of a scene; where it keeps what it was given, that."""

    def answer(scene: Scene) -> np.ndarray:
        batch = see(scene.batch(neighbors, wide=wide))
        inputs = {
            f.name: torch.from_numpy(getattr(batch, f.name)) for f in fields(batch) if f.name != "truth"
        }
        with torch.inference_mode():
            made = network(**inputs).numpy().astype(np.float64)
        made = made.reshape(len(scene.exact), *made.shape[-2:])
        return made[:, scene.model.crop, scene.model.crop] if wide else made

    return answer


def grade(answer: Answer, scenes: list[Scene]) -> dict[str, Any]:
    """Excess and distance by depth, and the bias of a realization's spectrum by band."""
    sums = np.zeros((4, len(DEPTHS) + 1))  # error, the exact mean's, distance over posterior std, pixels
    bias = []
    for scene in scenes:
        hole = scene.hole
        truth = scene.truth
        made = np.where(hole, answer(scene), truth)
        depth = np.digitize(scene.depth[hole], DEPTHS, right=True)
        distance = (made - scene.exact)[:, hole] / scene.posterior_std[hole]
        squares = [
            np.square(made - truth)[:, hole],
            np.square(scene.exact - truth)[:, hole],
            np.square(distance),
        ]
        for s, values in enumerate(squares):
            sums[s] += np.bincount(depth, values.mean(0), len(DEPTHS) + 1)
        sums[3] += np.bincount(depth, minlength=len(DEPTHS) + 1)
        bias.append(cross_and_whole(made, scene))
    mean = sums[:3] / sums[3]
    shift, error = jackknife(np.array(bias))
    return {
        "excess": np.sqrt(mean[0] / mean[1]), "distance": np.sqrt(mean[2]), "pixels": sums[3],
        "bias": shift, "bias_error": error,
    }  # fmt: skip


def cross_and_whole(made: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """(skies, bands) -2 C(F, R) and C behind a Hann window: F the filled observation, R what it misses.

    Bands go up to 1.5 nside of a map with such pixels, or to where the noise is as strong as the signal.
    """
    side, model, hole = made.shape[-1], scene.model, scene.hole
    step = model.step
    hann = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    above = np.flatnonzero(model.cl > (model.noise * step) ** 2)
    highest = min(1.54 / step, float(above[-1]))
    cut = {"window": hann[:, None] * hann, "edges": np.linspace(2.5 * 2 * np.pi / (side * step), highest, 6)}

    def power(fields: np.ndarray) -> np.ndarray:
        return np.array([flat_cl(f, step, **cut)[1] for f in fields])

    filled = np.where(hole, made, scene.observed)
    missed = np.where(hole, scene.truth - made, 0.0)
    whole = power(filled + missed)
    return power(filled) + power(missed) - whole, whole  # C(F + R) = C(F) + C(R) + 2 C(F, R)


def jackknife(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scenes, 2, skies, bands): the mean over scenes of one sum over the other, and its error over skies."""
    skies = parts.shape[2]

    def mean(chosen: np.ndarray) -> np.ndarray:
        sums = chosen.sum(axis=2)
        return np.mean(sums[:, 0] / sums[:, 1], axis=0)

    without = np.array([mean(np.delete(parts, i, axis=2)) for i in range(skies)])
    return mean(parts), np.sqrt((skies - 1) / skies * np.sum(np.square(without - without.mean(0)), axis=0))


def cost(answer: Answer, scene: Scene) -> float:
    """Patches a second of one core: eight skies behind one mask; the guess is there."""
    answer(scene)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        answer(scene)
        times.append(time.perf_counter() - start)
    return len(scene.exact) / float(np.median(times))


def patch_alone(scene: Scene) -> np.ndarray:
    """The exact mean of what the patch alone shows: what seeing beyond it could bring at most."""
    return conditional_mean(without_margin(scene.model), ~scene.hole, scene.observed, width=False)[0]


@cache
def without_margin(model: FlatModel) -> FlatModel:
    """The same field on the patch alone; it keeps its inverse."""
    near = replace(model, margin=0)
    near.__dict__["power"] = model.power  # the torus too is part of what the field is
    return near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings")
    parser.add_argument("--arm", action="append", choices=ARMS, help="default: all")
    parser.add_argument("--patches", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shapes", type=int, default=6, help="random masks, beside lone pixels and discs")
    parser.add_argument("--card", action="append", default=[], help="a trained network, graded too")
    parser.add_argument(
        "-o", "--output", type=Path, help="JSON file for the figures; without one, only train"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    networks = {}
    for name in args.arm or ARMS:
        networks[name] = trained(name, args.runs, args.patches, args.seed)
        print(f"{name}: {networks[name][1]:.0f} s", flush=True)
    if args.output is None:
        return
    grader = Grader(args.shapes)
    arms = {name: grader.arm(name, *networks[name]) for name in networks}
    for what in args.card:
        card, tensors = load_weights(what)
        network = build_model({"family": card.family, **card.architecture})
        load_into(network, tensors, card.name)
        k = card.recipe["data"].get("neighbors")
        if k is None:
            raise SystemExit(
                f"{card.name} was not trained on a guess from nearest neighbors; it has no exam here"
            )
        arms[card.name] = {"what": f"weights {card.name}", **grader.network(network.eval(), as_it_is, k)}
    guesses = {str(k): grader.by_step(lambda s, k=k: s.batch(k).x[0]) for k in (16, 32, 64)}
    write(
        {
            "what": "contest", "patches": args.patches, "seed": args.seed, "side": SIDE, "margin": MARGIN,
            "skies": SKIES, "depths_px": DEPTHS, "steps_arcmin": [m.step_arcmin for m in MODELS], "arms": arms,
            "guesses": guesses, "patch_alone": grader.by_step(patch_alone),
        },
        args.output,
    )  # fmt: skip


class Grader:
    """The held-out scenes, made once."""

    def __init__(self, shapes: int) -> None:
        self.scenes = [standard_scenes(model, SKIES, 0, shapes) for model in MODELS]

    def arm(self, name: str, network: nn.Module, seconds: float) -> dict[str, Any]:
        """One row of the contest."""
        arm = ARMS[name]
        neighbors = arm.change.get("data", {}).get("neighbors", 16)
        return {
            "what": arm.what,
            "training_s": seconds,
            **self.network(network, arm.see, neighbors, arm.steps, wide=arm.wide),
        }

    def network(
        self, network: nn.Module, see: Any, neighbors: int, steps: Any = (0, 1, 2), *, wide: bool = False
    ) -> dict[str, Any]:
        """Size, speed and grades."""
        answer = answer_of(network, see, neighbors, wide=wide)
        return {
            "weights": sum(p.numel() for p in network.parameters()),
            "patches_s": cost(answer, self.scenes[steps[0]][0]),
            "by_step": self.by_step(answer, steps),
        }

    def by_step(self, answer: Answer, steps: Any = (0, 1, 2)) -> dict[str, Any]:
        """Grades at each pixel size."""
        return {f"{MODELS[m].step_arcmin:g}": grade(answer, self.scenes[m]) for m in steps}


if __name__ == "__main__":
    main()
