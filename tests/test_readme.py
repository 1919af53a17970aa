"""What the README promises beyond its code, which `test_docs.py` runs: first screen, commands, links."""

import re

import cmbinpaint
from tests.pages import BLOCKS, ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
README = [block for block in BLOCKS if block.page == "README.md"]
REPOSITORY = "https://github.com/cmbinpaint/cmbinpaint/blob/main/"
RAW = "https://raw.githubusercontent.com/cmbinpaint/cmbinpaint/main/"


def test_it_is_short() -> None:
    assert TEXT.count("\n") <= 120


def test_the_first_screen_has_all_that_is_needed() -> None:
    first = "\n".join(TEXT.splitlines()[:30])
    for needed in (f"]({RAW}docs/figures/before_after.png)", "pip install cmbinpaint", "inpaint_map(sky, mask)",
                   "arxiv.org/abs/2011.01433", 'model="combine128"', "docs/measured.md"):  # fmt: skip
        assert needed in first


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


def test_the_three_commands_are_there() -> None:
    commands = [command.split("#")[0].strip() for b in README if b.language == "sh" for command in b.commands]
    assert [command for command in commands if command.startswith("make ")] == [
        "make demo",
        "make test",
        "make docs",
    ]


def test_links_are_whole_for_pypi_and_lead_into_the_repository() -> None:
    """PyPI shows the README alone: a relative link or picture would be broken there."""
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    assert targets and all(target.startswith("https://") for target in targets)
    ours = [target for target in targets if "cmbinpaint/cmbinpaint" in target]
    assert len(ours) > 10
    for target in ours:
        path = target.removeprefix(REPOSITORY).removeprefix(RAW)
        assert (ROOT / path).is_file(), target
