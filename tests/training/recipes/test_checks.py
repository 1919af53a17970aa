"""Recipes of absurd content: the package's errors, soon, in words that can be read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cmbinpaint.errors import RecipeError
from cmbinpaint.training import Recipe
from cmbinpaint.training.data.skies import DataSetRecipe

HEAD = "name = 'a'\nseed = 1\n"
ABSURD = {
    "digits": (HEAD + "steps = 1" + "0" * 400, "holds an integer of 1329 bits; TOML allows 64"),
    "more digits than Python reads": (HEAD + "steps = 1" + "0" * 5000, "is not TOML: Exceeds the limit"),
    "hexadecimal": (HEAD + "steps = 0x" + "f" * 5000, "holds an integer of 20000 bits; TOML allows 64"),
    "within a table": (HEAD + "[data]\nx = [[1" + "0" * 99 + "]]", "holds an integer of 329 bits"),
    "nested": (HEAD + "data = " + "[" * 3000, "is nested too deeply for a recipe"),
    "infinite": (HEAD + "steps = 9\nema_decay = inf", "ema_decay is inf; it must be below 1.0"),
    "not a number": (HEAD + "steps = 9\n[optimizer]\nlr = nan", "lr is nan; it must be above 0.0"),
    "workers": (HEAD + "steps = 9\nworkers = 1000000", "workers is 1000000; give 1024 or less"),
    "long": ("#" * (1 << 20) + "\n" + HEAD, "has 1048597 bytes, too many for a recipe"),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_toml(tmp_path: Path, kind: str) -> None:
    path, (content, text) = tmp_path / "r.toml", ABSURD[kind]
    path.write_text(content)
    with pytest.raises(RecipeError, match=re.escape(text)):
        Recipe.read(path)


@pytest.mark.parametrize("read", [Recipe.read, DataSetRecipe.read])
def test_devices_and_pipes_are_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.toml")  # reading it would wait for ever
    for path in (Path("/dev/zero"), tmp_path / "pipe.toml"):
        with pytest.raises(
            RecipeError, match=rf"cannot read .*{path.name}' \(not a regular file\); give a TOML"
        ):
            read(path)


@pytest.mark.parametrize(
    "change, text",
    [
        ({"skies": 10**30}, f"skies is {10**30}; give 1000000 or less"),
        ({"skies": 10**300}, "skies is a number of 997 bits; give 1000000 or less"),
        ({"side": 10**5}, "side is 100000; give 8192 or less"),
        ({"step_arcmin": 10**400}, "step_arcmin is a number of 1329 bits; it must be finite"),
        ({"ns": [i / 200 for i in range(100)]}, "give a list of spectral indices, one per class"),
    ],
)
def test_absurd_data_sets(change: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        DataSetRecipe.from_mapping({"name": "d", "seed": 0, **change})
