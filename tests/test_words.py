"""The words of `docs/words.txt` stand nowhere in the package, its README and its pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "docs" / "words.txt"
TEXTS = sorted([
    ROOT / "README.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "examples").rglob("*.py"),
    *(ROOT / "cmbinpaint").rglob("*.py"),
])  # fmt: skip


def read_list(text: str) -> dict[re.Pattern[str], str]:
    """What to avoid, and what to write."""
    pairs = (line.split(" = ", 1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {re.compile(rf"\b(?:{avoid.strip()})\b", re.IGNORECASE): write.strip() for avoid, write in pairs}


WORDS = read_list(LIST.read_text(encoding="utf-8"))


def stumbles(text: str, words: dict[re.Pattern[str], str]) -> list[str]:
    """Where words of the list stand, line by line; a phrase may be broken over two lines."""
    found = []
    for avoid, write in words.items():
        spaced = re.compile(avoid.pattern.replace(" ", r"\s+"), avoid.flags)
        for match in spaced.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"line {line}: {match.group()!r}; write {write!r}")
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_a_reader_s(path: Path) -> None:
    assert stumbles(path.read_text(encoding="utf-8"), WORDS) == []


def test_the_list_is_read_as_meant() -> None:
    words = read_list("# a comment\nleave (it )?away = omit\nbehind a beam = convolved with a beam\n")
    assert list(words.values()) == ["omit", "convolved with a beam"]
    text = "a sky\nbehind\na Beam; leave away, leave it away; we leave, away\nleave awaysome"
    assert stumbles(text, words) == [
        "line 3: 'leave away'; write 'omit'",
        "line 3: 'leave it away'; write 'omit'",
        "line 2: 'behind\\na Beam'; write 'convolved with a beam'",
    ]


def test_the_list_has_something_to_say() -> None:
    assert len(WORDS) >= 12 and all(WORDS.values()) and len(TEXTS) > 200
