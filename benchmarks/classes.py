"""How well a VGG16 trained here tells the spectral index of a patch: confusion on the test split, and its weights.

    cmbinpaint dataset data-new -o data-new
    cmbinpaint train vgg16-cmb -o runs/vgg16-cmb
    python benchmarks/classes.py runs/vgg16-cmb data-new -o benchmarks/results/vgg16_cmb.json

With --ship FOLDER the first seven convolutions (pool1 to pool3) are stored there, in bfloat16 with a card. The figures
are of the rounded weights. For comparison the best linear rule on the logarithms of the power in rings of wavenumber
(Fisher's discriminant, learned on the training split): what the spectrum alone tells.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from cmbinpaint import __version__
from cmbinpaint.networks.card import Card, Golden
from cmbinpaint.networks.store import as_stored, save_weights
from cmbinpaint.nn.flatsky import ring_power
from cmbinpaint.nn.models import build_model
from cmbinpaint.nn.vgg import VGG16
from cmbinpaint.training import Recipe, final_weights, load_latest
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.run.objective import confusion

BATCH = 20


def logits(network: VGG16, patches: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [
                network(torch.from_numpy(patches[i : i + BATCH])[:, None])
                for i in range(0, len(patches), BATCH)
            ]
        )


def middles(patches: np.ndarray, crop: int | None) -> np.ndarray:
    if crop is None:
        return patches
    start = (patches.shape[-1] - crop) // 2
    return np.ascontiguousarray(patches[:, start : start + crop, start : start + crop])


def ring_features(patches: np.ndarray) -> np.ndarray:
    return ring_power(torch.from_numpy(patches)[:, None].double(), 24).log()[:, 0].numpy()


def discriminant(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> torch.Tensor:
    """Fisher's linear discriminant: scores (n, classes)."""
    means = np.stack([train[labels == k].mean(0) for k in range(labels.max() + 1)])
    inverse = np.linalg.inv(np.cov((train - means[labels]).T))
    return torch.from_numpy(test @ inverse @ means.T - 0.5 * np.einsum("kf,fg,kg->k", means, inverse, means))


def figures(table: torch.Tensor, ns: tuple[float, ...]) -> dict:
    hits = table.diag().sum() / table.sum()
    near = sum(int(table.diagonal(k).sum()) for k in (-1, 0, 1)) / int(table.sum())
    return {
        "accuracy": float(hits),
        "accuracy_within_one_class": near,
        "accuracy_by_class": dict(zip(map(str, ns), (table.diag() / table.sum(1)).tolist(), strict=True)),
        "confusion": table.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--ship", type=Path, help="folder for the features' weights and their card")
    parser.add_argument("--commit", default="", help="of the code that trained, for the card")
    args = parser.parse_args()
    skies = StoredSkies.open(args.data)
    checkpoint = load_latest(args.run / "checkpoints")
    recipe = Recipe.from_mapping(checkpoint.recipe)
    weights = as_stored(final_weights(args.run))
    network = build_model(recipe.model).eval()
    network.load_state_dict(weights)
    patches = {split: skies.patches(split) / np.float32(skies.rms_uK) for split in ("train", "test")}
    labels = {split: skies.labels(split) for split in patches}
    test = torch.from_numpy(labels["test"])
    crop = recipe.classes.crop if recipe.classes else None
    result = {
        "what": "confusion on the test split: rows are true classes, columns what they were taken for",
        "ns": list(skies.ns),
        "test_patches": len(test),
        "steps": checkpoint.step,
        "training_patches_seen": checkpoint.step * recipe.data["batch_size"],
        "vgg16_whole_patch": figures(confusion(logits(network, patches["test"]), test), skies.ns),
        f"vgg16_middle_{crop}_px": figures(
            confusion(logits(network, middles(patches["test"], crop)), test), skies.ns
        ),
    }
    for name, side in (("rings_whole_patch", None), (f"rings_middle_{crop}_px", crop)):
        train, held = (ring_features(middles(patches[split], side)) for split in ("train", "test"))
        result[name] = figures(confusion(discriminant(train, labels["train"], held), test), skies.ns)
    text = json.dumps(result, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n", encoding="utf-8")
    if args.ship is not None:
        ship(args, recipe, checkpoint.step, weights, result)


def ship(args: argparse.Namespace, recipe: Recipe, steps: int, weights: dict, result: dict) -> None:
    features = {name: tensor for name, tensor in weights.items() if name.startswith("features.")}
    network = VGG16(blocks=3).eval()
    network.load_state_dict(features)
    golden = Golden(0, (1, 1, 64, 64), (0,), (0.0,), 1.0)
    with torch.no_grad():
        pooled = network.pools(torch.from_numpy(golden.draw()[0]))[-1]
    score = result["vgg16_whole_patch"]
    card = Card(
        name=recipe.name,
        family="vgg16",
        architecture=network.architecture,
        data={"made_by": "cmbinpaint dataset data-new", "ns": result["ns"], "split": "train"},
        recipe=recipe.to_mapping(),
        normalization="temperature over the rms of the field over all classes; ±3 mapped to [0, 1], not clipped",
        seed=recipe.seed,
        steps=steps,
        commit=args.commit,
        license="BSD-3-Clause",
        version=__version__,
        figures={
            "test_accuracy_of_its_classifier": score["accuracy"],
            "within_one_class": score["accuracy_within_one_class"],
            "training_patches_seen": result["training_patches_seen"],
        },
        limits=(
            "Features for perceptual and style terms, pool1 to pool3; it fills no map.",
            "Trained on Gaussian skies at 6.87 arcmin a pixel; other scales and foregrounds are foreign to it.",
        ),
        golden=Golden.of(pooled, seed=0, shape=(1, 1, 64, 64), tolerance=1e-3 * float(pooled.abs().max())),
    )
    print(save_weights(args.ship, card, features).file)


if __name__ == "__main__":
    main()
