"""Some hundred damaged files and command lines: nothing but right readings and the package's errors."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cmbinpaint.errors import CmbInpaintError, MissingExtraError, requires

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def fuzz() -> Any:
    try:
        requires("network")
    except MissingExtraError as error:
        pytest.skip(str(error))
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import fuzz
    finally:
        sys.path.remove(str(BENCHMARKS))
    return fuzz


@pytest.mark.parametrize(
    ("target", "cases"),
    [("maps", 300), ("spectra", 300), ("cards", 300), ("weights", 150), ("recipes", 80), ("checkpoints", 12),
     ("command lines", 40)],
)  # fmt: skip
def test_what_is_damaged_is_read_right_or_refused(target: str, cases: int, fuzz: Any, tmp_path: Path) -> None:
    state, seen = dict[str, Any](), Counter[str]()
    for number in range(cases):
        outcome, said = fuzz.outcome_of(target, state, 99, number, tmp_path)
        assert outcome not in fuzz.FAULTS, f"{target} {number}: {outcome}: {said}"
        seen[outcome] += 1
    assert seen["refused"] > cases / 20 and seen["right"] > cases / 100, seen


def test_faults_are_told_apart(fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(case: Any) -> tuple[str, str]:
        monkeypatch.setitem(fuzz.TARGETS, "maps", (1, lambda *_: case))
        return fuzz.outcome_of("maps", {}, 0, 0, tmp_path)

    def raising(error: Exception) -> Any:
        def case() -> None:
            raise error

        return case

    assert outcome(lambda: None) == ("right", "")
    assert outcome(lambda: "2 values: 1 where astropy reads 2") == (
        "changed",
        "2 values: 1 where astropy reads 2",
    )
    assert outcome(raising(CmbInpaintError("no map"))) == ("refused", "")
    assert outcome(raising(CmbInpaintError("")))[0] == "foreign"
    kind, said = outcome(raising(StopIteration("x")))
    assert kind == "foreign" and said.startswith("StopIteration: x (test_fuzz.py:")


def test_a_case_that_never_ends_is_a_hang(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: Any, rng: Any, __: Any) -> Any:
        return lambda: None if rng.integers(2) else __import__("time").sleep(60)

    monkeypatch.setitem(fuzz.TARGETS, "maps", (1, make))
    monkeypatch.setattr(fuzz, "LIMIT", 0.2)
    expected = sum(int(fuzz.rng_of(0, "maps", i).integers(2)) for i in range(8))
    counts, found = fuzz.do_chunk("maps", 0, 0, 8)
    assert (counts["right"], counts["hang"]) == (expected, 8 - expected) and 0 < expected < 8
    assert {line[2] for line in found} == {"hang"} and len(found) == 8 - expected
