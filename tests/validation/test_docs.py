"""The example of docs/validation.md runs, and the page names every picture and option."""

import re
from pathlib import Path

from cmbinpaint import cli

PAGE = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^    cmbinpaint (validate .*--nside 16.*)$", PAGE, re.M)
    monkeypatch.setattr("cmbinpaint.commands.validate._draw", lambda result, folder: None)
    assert cli.main(command.split()) == 0
    capsys.readouterr()
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    exec(compile(example, "validation.md", "exec"), {})
    assert capsys.readouterr().out.startswith("{'(0, 1.3]': 1.0")


def test_the_page_knows_the_options(capsys) -> None:
    assert cli.main(["validate", "--help"]) == 0
    told = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z]+", PAGE)):
        assert option in told
