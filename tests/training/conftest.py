"""A data set small enough for a test, made once by the real command's own code."""

import shutil
from pathlib import Path

import pytest

from cmbinpaint.training.shards import build_dataset
from cmbinpaint.training.skies import DataSetRecipe


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
