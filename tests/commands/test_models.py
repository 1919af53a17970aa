"""`cmbinpaint models`: every model that can be asked for is in the table."""

import json

import pytest

from cmbinpaint import cli
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import list_models
from cmbinpaint.pipeline.models import METHODS


@pytest.fixture
def folder(tmp_path):
    card = Card(
        name="tiny", family="pconv", architecture={}, data="sims", recipe="r", normalization="rms", seed=1,
        steps=10, commit="abc", license="BSD-3-Clause", version="0.1.0", limits=("nside 128 to 2048",),
        sha256="a" * 64, n_weights=6_900_000,
        figures={
            "loss": 1.0,
            "validation_nside64": {"nside": 64, "skies": 3, "excess": {"value": [1.0014, 1.0]}},
            "validation_nside64@0": {"nside": 64, "skies": 3, "excess": {"value": [1.25, 1.5]}},
            "sphere": {"nside": 128, "skies": 2, "excess": [2.1, 1.36]},
            "circles": {"radii": [5, 10], "excess": [1.1, 1.0567]},
        },
    )  # fmt: skip
    (tmp_path / "tiny.json").write_text(card.to_json())
    return tmp_path


def test_all_methods_and_shipped_networks_are_listed(capsys) -> None:
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    for name in (*METHODS, *(card.name for card in list_models())):
        assert f"\n  {name} " in out


def test_a_card_is_told(folder, capsys) -> None:
    assert cli.main(["models", "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    for words in ("tiny", "pconv, 6.9 M weights, 10 training steps", "aaaa...",
                  "limit: nside 128 to 2048",
                  "excess by depth, nside 64, 3 skies, refined: 1.001 1.000\n",
                  "excess by depth, nside 64, 3 skies, not refined: 1.250 1.500\n",
                  "excess by depth, nside 128, 2 skies, not refined: 2.100 1.360\n",
                  "excess in circles of 5 10 px, no beam, no noise: 1.100 1.057\n"):  # fmt: skip
        assert words in out


def test_json_holds_whole_cards(folder, capsys) -> None:
    assert cli.main(["models", "--folder", str(folder), "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert Card.from_json(json.dumps(card)).name == "tiny"


def test_an_empty_folder(tmp_path, capsys) -> None:
    assert cli.main(["models", "--folder", str(tmp_path)]) == 0
    assert "networks: none here" in capsys.readouterr().out
    assert cli.main(["models", "--folder", str(tmp_path / "no")]) == 1
    assert "is not a folder" in capsys.readouterr().err
