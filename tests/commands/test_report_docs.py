"""docs/report.md names every option, and its commands can be typed."""

import re
from pathlib import Path

import pytest

from cmbinpaint import cli

PAGE = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_page_knows_the_options(capsys) -> None:
    told = ""
    for command in ("report", "inpaint"):
        assert cli.main([command, "--help"]) == 0
        told += capsys.readouterr().out
    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE)):
        assert option in told, option


@pytest.mark.parametrize("command", re.findall(r"^    cmbinpaint (.*)$", PAGE, re.M))
def test_its_commands_can_be_typed(command: str, monkeypatch) -> None:
    for module in ("inpaint", "report"):
        monkeypatch.setattr(f"cmbinpaint.commands.{module}.run", lambda args: 0)
    assert cli.main(command.split()) == 0
