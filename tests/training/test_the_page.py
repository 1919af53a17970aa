"""docs/training.md, "From nothing to a filled map": its commands are typed, from top to bottom, with its recipes."""

import json
import re
import shlex
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.networks.card import read_card
from tests.pages import ROOT, blocks_of

PAGE = ROOT / "docs" / "training.md"


def test_the_way_from_nothing_to_a_filled_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Fewer holes and no pictures of the validation: other tests have both.
    monkeypatch.setattr("cmbinpaint.sphere.round_mask.WIDTHS", (5, 20))
    monkeypatch.setattr("cmbinpaint.commands.validate._draw", lambda result, folder: None)
    monkeypatch.chdir(tmp_path)
    end = PAGE.read_text(encoding="utf-8").split("\n").index("## Recipes")
    typed = []
    for block in (b for b in blocks_of(PAGE) if b.line < end):
        if block.language == "toml":
            (name,) = re.findall(r"^# (.*\.toml)$", block.text.splitlines()[0])
            Path(name).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for command in block.commands:
                program, *words = shlex.split(command)
                assert program == "cmbinpaint" and cli.main(words) == 0, command
                typed.append(words[0])
    assert typed == [
        "dataset", "train", "analyze", "models", "simulate", "simulate", "inpaint", "analyze", "validate",
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "single checkpoint" not in said and "spectra: skipped" not in said
    assert "Errors of toy@0 are up to " in said and "this judges the refinement, not the model" in said

    sky, true, filled = (hp.read_map(f"{name}.fits") for name in ("sky", "true", "filled"))
    observed = sky != hp.UNSEEN
    assert 0.9 < observed.mean() < 1 and np.array_equal(filled[observed], true[observed])
    assert np.all(np.abs(filled) < 1e-3) and np.all(filled[~observed] != true[~observed])  # in K
    card = read_card(Path("runs/toy/toy.json"))
    figures = json.loads(Path("validation/validation.json").read_text())
    assert card.figures["validation_nside128@0"]["excess"] == figures["models"]["toy@0"]["excess"]
    alone, refined = (figures["models"][name]["excess"]["value"] for name in ("toy@0", "toy"))
    assert alone[0] > 2 and max(value for value in refined if value is not None) < 1.02
    assert figures["kinds"] == {"toy@0": "nonlinear", "toy": "refined", "kriging": "linear"}
