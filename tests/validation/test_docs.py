"""The example of docs/validation.md runs, and the page names every picture and option."""

import re
from pathlib import Path

from cmbinpaint import cli

PAGE = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    exec(compile(example, "validation.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[")
    assert len(list((tmp_path / "records").rglob("*.npz"))) == 8


def test_the_page_knows_the_options(capsys) -> None:
    assert cli.main(["validate", "--help"]) == 0
    told = capsys.readouterr().out
    for option in set(re.findall(r"--[a-z]+", PAGE)):
        assert option in told
