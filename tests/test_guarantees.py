"""The page of guarantees names tests that exist."""

import re

import pytest

from tests.pages import ROOT

_PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
_ROWS = [
    line
    for line in _PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| guarantee"))
]
_LINK = re.compile(r"\[(\w+)\]\(https://github\.com/cmbinpaint/cmbinpaint/blob/main/(tests/[\w/]+\.py)\)")


@pytest.mark.parametrize("row", _ROWS, ids=range(len(_ROWS)))
def test_a_guarantee_names_the_tests_that_hold_it(row: str) -> None:
    found = _LINK.findall(row)
    assert found and len(found) == row.count("](")
    for name, path in found:
        assert f"def test_{name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}: test_{name}"


def test_every_part_of_the_page_has_guarantees() -> None:
    parts = _PAGE.split("\n## ")[1:]
    assert len(parts) >= 7 and all(part.count("\n| ") >= 4 for part in parts)
