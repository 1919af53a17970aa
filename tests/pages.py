"""The README and the pages of docs/, taken apart into blocks of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a line of a shell block may begin with; other indented blocks are listings or output.
_COMMANDS = ("cmbinpaint ", "python ", "python3 ", "make ", "torchrun ", "mpiexec ", "pip ", ".venv/bin/")
_LANGUAGES = {"python", "sh", "toml", "text", ""}


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, what it is (`python`, `sh`, `toml` or `text`), and its lines."""

    page: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined."""
        return [line.strip() for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, fenced or indented; MyST's directives (in braces) are none."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [
        Block(str(page.relative_to(ROOT)), start + 1, _language(told, text), text)
        for start, told, text in _raw(lines)
        if not told.startswith("{")
    ]


def _raw(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line number, the fence's word ("indented" without a fence) and text of each block."""
    at = 0
    while at < len(lines):
        fence = re.fullmatch(r"(`{3,})(.*)", lines[at])
        if fence:
            end = lines.index(fence[1], at + 1)
            yield at, fence[2], "\n".join(lines[at + 1 : end]) + "\n"
            at = end + 1
        elif re.match(r" {4}\S", lines[at]) and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield at, "indented", "\n".join(line[4:] for line in lines[at:end]).rstrip() + "\n"
            at = end
        else:
            at += 1


def _language(told: str, text: str) -> str:
    if told != "indented":
        assert told in _LANGUAGES, f"no test knows what to do with a block of {told!r}"
        return told or "text"
    if text.startswith(("import ", "from ", ">>> ")):
        return "python"
    if text.startswith("["):
        return "toml"
    return "sh" if text.startswith(_COMMANDS) else "text"


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
