"""The README keeps its word: its picture is the package's, its Python runs, its commands exist."""

import re
import shlex
from pathlib import Path

import pytest

import cmbinpaint
from cmbinpaint import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = [(m[1], m[2]) for m in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)]


def test_the_picture_is_the_one_of_the_docstring() -> None:
    (picture,) = [text for language, text in BLOCKS if language == ""]
    assert "Cosmology --theory_cl--> cl" in picture
    indented = "\n".join(("    " + line).rstrip() for line in picture.splitlines())
    assert indented in (cmbinpaint.__doc__ or "")


def test_the_first_promise_is_the_one_of_the_docstring() -> None:
    promise = next(text for language, text in BLOCKS if language == "python").splitlines()
    for line in promise:
        assert " ".join(line.split()) in " ".join((cmbinpaint.__doc__ or "").split())


def test_the_python_example_runs(capsys) -> None:
    (example,) = [text for language, text in BLOCKS if language == "python" and "print" in text]
    assert len(example.strip().splitlines()) <= 10
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    mask, sky, filled = names["mask"], names["sky"], names["filled"]
    assert (filled[mask] == sky[mask]).all() and (filled[~mask] != sky[~mask]).all()
    assert "gaussian" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line", [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("cmbinpaint ")]
)
def test_the_commands_parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    words = shlex.split(line, comments=True)[1:]
    module = importlib.import_module(f"cmbinpaint.commands.{words[0]}")
    monkeypatch.setattr(module, "run", lambda args: 0)
    assert cli.main(words) == 0


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_two_commands_are_targets_of_the_makefile(command: str) -> None:
    assert command in README
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.M)


def test_its_files_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).is_file(), target
