"""Weights of a run as others load them: what was trained comes back, and goes where it fits."""

import resource
import signal
from pathlib import Path

import pytest
import torch

from cmbinpaint.errors import CheckpointError, WeightsError
from cmbinpaint.networks.inpainter import load_network
from cmbinpaint.networks.store import as_stored, load_weights
from cmbinpaint.nn.models import FAMILIES, build_model
from cmbinpaint.training import Recipe, export_weights, final_weights
from cmbinpaint.training.run import export
from cmbinpaint.training.run.checkpoint import save_checkpoint
from cmbinpaint.training.run.perceptual import load_vgg
from cmbinpaint.training.run.state import TrainingState

MODELS = {
    "pconv": {"family": "pconv", "preset": "unet128", "thinner": 16},
    "vgg16": {"family": "vgg16", "classes": 3, "blocks": 3, "widths": [4, 6, 8]},
}


def run(folder: Path, family: str, steps: tuple[int, ...] = (7,), name: str = "my run/2") -> Path:
    """A run's folder with checkpoints of a seed's weights, as the loop leaves them."""
    loss = {"cross_entropy": 1.0} if family == "vgg16" else {"hole": 1.0}
    table = {"name": name, "seed": 3, "steps": 9, "loss": loss, "model": MODELS[family]}
    table["optimizer"] = {"warmup_steps": 0}
    if family == "vgg16":
        table["classes"] = {}
    recipe = Recipe.from_mapping(table)
    for step in steps:
        torch.manual_seed(step)
        state = TrainingState(build_model(recipe.model), recipe, torch.device("cpu"))
        state.step = step
        for mean in state.ema.parameters():  # the running mean, which is shipped, is not the last weights
            mean.mul_(1.5)
        losses = {"training": 0.5, "validation": {"hole_rms": 0.25, "gain": None}}
        save_checkpoint(folder / "checkpoints", state.to_checkpoint({"best_step": steps[0]}, losses))
    return folder


@pytest.mark.parametrize("family", MODELS)
def test_what_was_trained_comes_back(tmp_path: Path, family: str) -> None:
    path = export_weights(run(tmp_path, family))
    assert path == tmp_path / "my-run-2.json"
    card, tensors = load_weights(path)
    assert (card.family, card.steps, card.seed) == (family, 7, 3)
    assert card.figures["validation"] == {"hole_rms": 0.25, "gain": None}
    expected = as_stored(final_weights(tmp_path))
    assert tensors.keys() == expected.keys() and expected
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    build_model({"family": family, **card.architecture}).load_state_dict(tensors)


def test_every_family_is_described() -> None:
    assert set(FAMILIES) == set(MODELS) == set(export._NORMALIZATION) == set(export._LIMITS)


def test_the_best_instead_of_the_newest(tmp_path: Path) -> None:
    run(tmp_path, "pconv", steps=(4, 7))
    newest = load_weights(export_weights(tmp_path))[1]
    card, best = load_weights(export_weights(tmp_path, best=True))
    assert card.steps == 4
    first = as_stored(final_weights(tmp_path, best=True))
    assert all(torch.equal(tensor, first[name]) for name, tensor in best.items())
    assert not torch.equal(best["last.weight"], newest["last.weight"])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1, "the one that no card names any more is gone"


def test_each_family_goes_where_it_fits(tmp_path: Path) -> None:
    cards = {family: str(export_weights(run(tmp_path / family, family))) for family in MODELS}
    pools = load_vgg(cards["vgg16"], 1).pools(torch.zeros(1, 1, 16, 16))
    assert [pool.shape[1] for pool in pools] == [4, 6, 8]
    assert load_network(cards["pconv"], "cpu").name == "my-run-2"
    with pytest.raises(WeightsError, match="'my-run-2' is a network of family 'vgg16', which fills no maps"):
        load_network(cards["vgg16"])
    with pytest.raises(WeightsError, match="is of a network of family 'pconv'; expected 'vgg16'"):
        load_vgg(cards["pconv"], 1)


def test_there_is_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoints; train first, or name the run's own"):
        export_weights(tmp_path)


def test_a_full_disk(tmp_path: Path) -> None:
    run(tmp_path, "pconv")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"\(File too large\); the checkpoints are kept: make room"):
            export_weights(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.glob("*.*")), "no card, no weights, no half file"
    assert export_weights(tmp_path).is_file()
