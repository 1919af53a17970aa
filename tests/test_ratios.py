"""The benchmark of a minute sees what got slower, and nothing in a stored run that is the same."""

import json
import runpy
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "ratios.py"


@pytest.fixture(scope="module")
def ratios() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_ratio_is_that_of_processor_times(ratios: dict[str, Any]) -> None:
    found = ratios["ratio"](lambda: busy(0.03), lambda: busy(0.01))
    assert found == pytest.approx(3, rel=0.2)
    assert ratios["ratio"](lambda: time.sleep(0.02), lambda: busy(0.01)) < 0.2


def test_what_is_slower_is_named(ratios: dict[str, Any]) -> None:
    stored = {"fill": 2.0, "kriging": 8.0, "gone": 1.0}
    now = {"fill": 3.1, "kriging": 11.9, "new": 1.0}
    assert ratios["slower"](now, stored) == ["fill", "gone", "new"]
    assert ratios["slower"](stored, stored) == []


def test_the_stored_run_is_of_what_is_timed(ratios: dict[str, Any], tmp_path: Path) -> None:
    stored = json.loads(ratios["STORED"].read_text(encoding="utf-8"))
    assert set(stored) == set(ratios["parts"](tmp_path)) and min(stored.values()) > 0
