"""Damaged cards, weights, recipes and checkpoints, and what `json`, `tomllib` and numpy read in them.

Inputs: a generator, a scratch folder. Outputs: cases (`fuzz_case`).
"""

import contextlib
import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import fuzz_mutations as damage
import numpy as np
import torch
from fuzz_case import Case, once

from cmbinpaint.errors import RecipeError
from cmbinpaint.networks.card import Card, read_card
from cmbinpaint.networks.inpainter import load_network
from cmbinpaint.networks.store import save_weights
from cmbinpaint.nn.models import build_model
from cmbinpaint.training import Recipe, train
from cmbinpaint.training.data.build import build_stream
from cmbinpaint.training.data.skies import DataSetRecipe
from cmbinpaint.training.run.resume import restore
from cmbinpaint.training.run.state import TrainingState

RECIPES = Path(__file__).parents[1] / "cmbinpaint" / "training" / "recipes"


def whole_network(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The card and the weights of a small network."""
    torch.manual_seed(0)
    levels = {"encoder": [[4, 3], [6, 3]], "decoder": [5]}
    card = Card(
        name="small", family="pconv", architecture=levels, data={"kind": "sky"}, recipe="none", normalization="rms",
        seed=0, steps=10, commit="0", license="BSD-3-Clause", version="0", figures={"error": 0.1}, limits=("T",),
    )  # fmt: skip
    card = save_weights(folder, card, build_model({"family": "pconv", **levels}).state_dict())
    return json.loads((folder / "small.json").read_text()), (folder / card.file).read_bytes()


def card_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A network's card."""
    card, _ = once(state, whole_network, folder)
    path = folder / "card.json"
    if rng.random() < 0.7:
        text = json.dumps(damage.damaged_value(card, rng))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(damage.damaged_text(json.dumps(card, indent=1), rng))

    def try_it() -> str | None:
        found, theirs = json.loads(read_card(path).to_json()), json.loads(path.read_bytes())
        different = [key for key in theirs if found[key] != theirs[key]]
        return f"{different[0]}: {found[different[0]]!r}, not {theirs[different[0]]!r}" if different else None

    return try_it


def weights_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A network's weights, most with a card that gives the damaged file's own hash."""
    card, content = once(state, whole_network, folder)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    match int(rng.integers(4)):
        case 0:
            content = damage.damaged_bytes(content, rng)
        case 1:
            card = {**card, "architecture": damage.damaged_value(card["architecture"], rng)}
        case _:
            text = json.dumps(damage.damaged_value(header, rng)).encode("utf-8", "surrogatepass")
            content = len(text).to_bytes(8, "little") + text + content[8 + length :]
    name = "small-00000000.safetensors"
    own = {"file": name, "sha256": hashlib.sha256(content).hexdigest()} if rng.random() < 0.8 else {}
    (folder / name).write_bytes(content)
    (folder / "small.json").write_text(json.dumps({**card, **own}))

    def try_it() -> str | None:
        found = load_network(str(folder / "small.json"), "cpu").network.state_dict()
        return tensors_differ(found, (folder / read_card(folder / "small.json").file).read_bytes())

    return try_it


def tensors_differ(found: dict[str, torch.Tensor], content: bytes) -> str | None:
    """In what the numbers of a safetensors file differ."""
    length = int.from_bytes(content[:8], "little")
    kinds = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BF16": "<u2"}
    header = json.loads(content[8 : 8 + length])
    for name in found:
        begin, end = header[name]["data_offsets"]
        theirs = np.frombuffer(content[8 + length :][begin:end], kinds[header[name]["dtype"]])
        if header[name]["dtype"] == "BF16":
            theirs = (theirs.astype("u4") << 16).view("f4")
        if not np.array_equal(found[name].numpy().ravel(), theirs.astype("f4"), equal_nan=True):
            return f"tensor {name}"
    return None


# --- recipes and checkpoints ------------------------------------------------------------------------------


def recipe_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A recipe of a training or of a data set; what it describes is made, but not run."""
    shipped = damage.pick(rng, sorted(RECIPES.glob("*.toml")))
    path = folder / shipped.name
    path.write_bytes(
        damage.damaged_text(
            shipped.read_text("utf-8"), rng, [*damage.NUMBERS, "true", '"a"', "[", "[1]", "="]
        )
    )

    def try_it() -> str | None:
        if shipped.name.startswith("data-"):
            found = DataSetRecipe.read(path).to_mapping()
        else:
            recipe = Recipe.read(path)
            found = recipe.to_mapping()
            with contextlib.suppress(RecipeError):
                build_stream({**recipe.data, "kind": damage.pick(rng, ["flat", "sky"])}, recipe.seed)
            build_model(recipe.model)
        theirs = tomllib.loads(path.read_text("utf-8"))
        plain = {key: value for key, value in theirs.items() if isinstance(value, int | float | str | bool)}
        different = [key for key, value in plain.items() if found.get(key) != value]
        return (
            f"{different[0]}: {found.get(different[0])!r}, not {plain[different[0]]!r}" if different else None
        )

    return try_it


TRAINING = {
    "name": "small", "seed": 4, "steps": 3, "loss": {"hole": 1.0}, "validation_batches": 1, "validate_every": 2,
    "model": {"family": "pconv", "encoder": [[4, 3]], "decoder": []}, "workers": 0, "threads": 1, "ema_decay": 0.5,
    "data": {"kind": "flat", "side": 32, "batch_size": 2}, "checkpoint_every": 2, "optimizer": {"warmup_steps": 0},
}  # fmt: skip


def checkpoint_case(state: dict[str, Any], rng: np.random.Generator, folder: Path) -> Case:
    """A training's newest checkpoint or logs, most with hashes that fit."""
    whole, run = folder / "whole", folder / "run"
    recipe = Recipe.from_mapping(TRAINING)
    if not whole.exists():
        train(recipe, whole, device="cpu", progress=lambda *_: None)
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    newest = max((run / "checkpoints").iterdir())
    target: Path = damage.pick(rng, [*newest.iterdir(), newest / "manifest.json", run / "training.csv"])
    if target.name == "manifest.json" and rng.random() < 0.8:
        target.write_text(json.dumps(damage.damaged_value(json.loads(target.read_text()), rng)))
    else:
        target.write_bytes(damage.damaged_bytes(target.read_bytes(), rng))
        manifest = (
            json.loads((newest / "manifest.json").read_bytes()) if target.suffix == ".safetensors" else None
        )
        if manifest and rng.random() < 0.7:
            manifest["files"][target.name] = hashlib.sha256(target.read_bytes()).hexdigest()
            (newest / "manifest.json").write_text(json.dumps(manifest))

    def try_it() -> str | None:
        if target.suffix == ".csv":
            train(Recipe.from_mapping({**TRAINING, "steps": 4}), run, device="cpu", progress=lambda *_: None)
            return None
        found = TrainingState(build_model(recipe.model), recipe, torch.device("cpu"))
        restore(found, run, recipe, resume=True, resume_from=None)
        name = f"step_{found.step:08d}"
        return tensors_differ(
            found.model.state_dict(), (run / "checkpoints" / name / "model.safetensors").read_bytes()
        )

    return try_it
