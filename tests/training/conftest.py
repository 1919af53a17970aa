"""Data sets and a VGG16 small enough for a test, made once by the real commands' own code."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import save_weights
from cmbinpaint.nn.vgg import VGG16
from cmbinpaint.training.data.manifest import read_manifest, write_manifest
from cmbinpaint.training.data.shards import build_dataset
from cmbinpaint.training.data.skies import DataSetRecipe


@pytest.fixture(scope="session")
def tiny() -> DataSetRecipe:
    return DataSetRecipe(
        name="tiny", seed=3, ns=(0.9, 1.1), skies=6, patches=3, side=16, margin=4, step_arcmin=40.0, lmax=200,
        split=(0.5, 0.25, 0.25), skies_per_shard=2,
    )  # fmt: skip


@pytest.fixture(scope="session")
def built(tiny: DataSetRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished set; not to be written to."""
    folder = tmp_path_factory.mktemp("sets") / "tiny"
    build_dataset(tiny, folder)
    return folder


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.fixture(scope="session")
def wide(tiny: DataSetRecipe, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of CoMBInE's 128 px, with the same spectra: those take CAMB the longest."""
    recipe = replace(tiny, name="wide", patches=2, side=128, step_arcmin=6.87)
    folder = tmp_path_factory.mktemp("sets") / "wide"
    folder.mkdir()
    shutil.copy(built / "spectra.npy", folder)
    whole = read_manifest(built)
    hashes = {"spectra.npy": whole.hashes["spectra.npy"]}
    write_manifest(folder, replace(whole, recipe=recipe, hashes=hashes))
    build_dataset(recipe, folder)
    return folder


@pytest.fixture(scope="session")
def thin_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of a VGG16 of the true depth with few channels, its weights drawn from a seed."""
    folder = tmp_path_factory.mktemp("vgg")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = VGG16(1, blocks=3, widths=(4, 6, 8))
    card = Card(
        name="thin", family="vgg16", architecture=network.architecture, data="none", recipe="none",
        normalization="rms", seed=0, steps=0, commit="none", license="BSD-3-Clause", version="0",
    )  # fmt: skip
    save_weights(folder, card, network.state_dict())
    return folder / "thin.json"
