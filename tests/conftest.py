"""Property tests draw the same examples in every run; `HYPOTHESIS_PROFILE=explore` draws fresh ones.

A failure found by chance in somebody's unrelated change helps nobody; what exploring finds becomes an `@example`.
Where an extra of the package is not installed, the tests that need it are skipped: `NEEDS` lists them.
"""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

from cmbinpaint.errors import MissingExtraError, requires

# Which folders and modules of tests need which extra.
NEEDS = {
    "network": (
        "nn", "networks", "studies", "training", "commands/test_analyze.py", "commands/test_train.py",
        "test_docs.py", "test_wheel.py",
    ),
    "theory": ("training", "commands/test_dataset.py", "sims/test_theory.py"),
}  # fmt: skip

settings.register_profile("repeat", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


class Skipped(pytest.File):
    """A folder or module of tests whose extra is not installed."""

    reason = ""

    def collect(self) -> NoReturn:
        """Skip, and say why."""
        pytest.skip(self.reason)


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Skip a folder of `NEEDS`."""
    return skipped(path, parent)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Skip a module of `NEEDS`."""
    return skipped(module_path, parent)


def skipped(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """What stands for `path` where an extra it needs is not installed."""
    name = os.fspath(path.relative_to(Path(__file__).parent))
    for extra in (extra for extra, places in NEEDS.items() if name in places):
        try:
            requires(extra)
        except MissingExtraError as error:
            stands_in = Skipped.from_parent(parent, path=path)
            stands_in.reason = f"{name}: {error}"
            return stands_in
    return None


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes, 32 px; not to be written to."""
    from cmbinpaint.training.data.shards import build_dataset
    from cmbinpaint.training.data.skies import DataSetRecipe

    folder = tmp_path_factory.mktemp("analyzed") / "set"
    recipe = DataSetRecipe(
        name="small", seed=3, ns=(0.7, 1.3), skies=8, patches=10, side=32, margin=2, step_arcmin=40.0, lmax=200,
        split=(0.5, 0.25, 0.25), skies_per_shard=2,
    )  # fmt: skip
    build_dataset(recipe, folder)
    return folder


@pytest.fixture(scope="session")
def small_training(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of CoMBInE's kind on `small_set`: two stages, three checkpoints; not to be written to."""
    from cmbinpaint.training import OptimizerRecipe, Recipe, StageRecipe, train

    folder = tmp_path_factory.mktemp("analyzed") / "training"
    recipe = Recipe(
        name="small", seed=1, data={"kind": "stored", "folder": str(small_set), "batch_size": 4},
        model={"family": "pconv", "encoder": [[6, 3], [8, 3]], "decoder": [6], "channels": 1},
        optimizer=OptimizerRecipe(lr=3e-3, warmup_steps=0), loss={"valid": 1.0, "hole": 6.0}, workers=0, threads=1,
        validation_batches=0, keep_checkpoints=0, ema_decay=0.0,
        stage=(StageRecipe("one", 2, 4), StageRecipe("two", 1, 4, freeze_encoder_norm=True)),
    )  # fmt: skip
    train(recipe, folder, device="cpu", progress=lambda *_: None)
    return folder
