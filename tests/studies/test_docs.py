"""docs/analyses.md: its commands can be typed, its figures and options are there."""

import re
from pathlib import Path

import pytest

from cmbinpaint import cli
from cmbinpaint.studies.catalog import STUDIES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "analyses.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^    cmbinpaint (.*)$", PAGE, re.M))))
def test_its_commands_can_be_typed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"cmbinpaint.commands.{command.split()[0]}.run", lambda args: 0)
    assert cli.main(command.split()) == 0


def test_its_options_and_files_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["analyze", "--help"]) == 0
    told = capsys.readouterr().out
    for option in set(re.findall(r"`(--[a-z-]+(?:uK)?)", PAGE)):
        assert option in told, option
    for figure in re.findall(r"\]\((figures/[^)]+)\)", PAGE):
        assert (DOCS / figure).is_file(), figure
    files = {path.stem for study in STUDIES.values() for path in study.outputs(Path())}
    (table,) = re.findall(r"\| in CoMBInE's document \|.*?\n\n", PAGE, re.S)
    named = re.findall(r"`([a-z_]+)(?:_\*)?`(?=[^|]*\|$|, `)", table, re.M)
    assert len(named) >= 12
    for name in named:
        assert any(file == name or file.startswith(name) for file in files), name
