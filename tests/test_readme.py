"""What the README promises beyond its code, which `test_docs.py` runs: its picture, ten lines, two commands."""

import cmbinpaint
from tests.pages import BLOCKS, ROOT

README = [block for block in BLOCKS if block.page == "README.md"]


def test_the_picture_is_the_one_of_the_docstring() -> None:
    (picture,) = [block.text for block in README if block.language == "text"]
    assert "Cosmology --theory_cl--> cl" in picture
    indented = "\n".join(("    " + line).rstrip() for line in picture.splitlines())
    assert indented in (cmbinpaint.__doc__ or "")


def test_the_first_promise_is_the_one_of_the_docstring() -> None:
    promise = next(block.text for block in README if block.language == "python").splitlines()
    for line in promise:
        assert " ".join(line.split()) in " ".join((cmbinpaint.__doc__ or "").split())


def test_the_python_example_does_what_is_said_of_it(capsys) -> None:
    (example,) = [block.text for block in README if block.language == "python" and "print" in block.text]
    assert len(example.strip().splitlines()) <= 10
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    mask, sky, filled = names["mask"], names["sky"], names["filled"]
    assert (filled[mask] == sky[mask]).all() and (filled[~mask] != sky[~mask]).all()
    assert "gaussian" in capsys.readouterr().out


def test_the_two_commands_are_there() -> None:
    commands = [command for block in README if block.language == "sh" for command in block.commands]
    assert [command.split("#")[0].strip() for command in commands[:2]] == ["make demo", "make test"]


def test_its_figure_is_there() -> None:
    assert "docs/figures/before_after.png" in (ROOT / "README.md").read_text(encoding="utf-8")
