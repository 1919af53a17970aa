"""`cmbinpaint dataset`: its words, its exit codes, and what it leaves behind."""

from pathlib import Path

import pytest

from cmbinpaint import cli
from cmbinpaint.training.data.reader import StoredSkies

RECIPE = """
name = "toy"
seed = 0
skies = 3
patches = 2
side = 8
margin = 1
step_arcmin = 60.0
lmax = 100
split = [0.34, 0.33, 0.33]
"""


def test_a_set_is_made_completed_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy.toml").write_text(RECIPE)
    words = ["dataset", str(tmp_path / "toy.toml"), "-o", str(tmp_path / "set"), "--workers", "0"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "toy: 1 class(es) of n_s, train 2, validation 2, test 2 patches of 8 px at 60 arcmin" in out
    assert f"2.4 kB in {tmp_path / 'set'}" in out
    assert StoredSkies.open(tmp_path / "set").patches("train").shape == (2, 8, 8)
    (tmp_path / "set" / "test_c00_0000.npy").unlink()
    assert cli.main([*words, "--check"]) == 1
    assert "test_c00_0000.npy: missing or unreadable" in capsys.readouterr().err
    assert cli.main(words) == 0
    assert cli.main([*words, "--check"]) == 0


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dataset", "data-olt"]) == 1
    assert "cannot read data set recipe 'data-olt'" in capsys.readouterr().err
    assert cli.main(["dataset", "data-old", "--workers", "-1"]) == 2
