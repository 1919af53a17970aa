"""Logs: a resumed run's file is as if nothing had happened."""

import re
from pathlib import Path

import pytest

from cmbinpaint.errors import CheckpointError
from cmbinpaint.training.logs import CsvLog, Meter


def write(path: Path, start: int, steps: range) -> None:
    with CsvLog(path, ("step", "loss"), start) as log:
        for step in steps:
            log.add({"step": step, "loss": step / 3})


def test_rows_beyond_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, range(1, 6))
    straight = (tmp_path / "a.csv").read_text()
    write(tmp_path / "b.csv", 0, range(1, 5))
    with (tmp_path / "b.csv").open("a") as file:
        file.write("5,")  # cut short by a crash
    write(tmp_path / "b.csv", 2, range(3, 6))
    assert (tmp_path / "b.csv").read_text() == straight
    assert straight.startswith("step,loss\n1,0.333333\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_an_unwritable_log(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape("cannot write the log") + ".*No such file"):
        CsvLog(tmp_path / "absent" / "a.csv", ("step",), 0)


def test_meter_means_and_shares() -> None:
    meter = Meter()
    with meter.waiting():
        pass
    for loss in (1.0, 3.0):
        meter.add(loss, 2 * loss, 8)
    row = meter.row(7, 1e-3)
    assert (row["step"], row["loss"], row["gradient_norm"], row["lr"]) == (7, 2.0, 4.0, 1e-3)
    assert row["patches_per_s"] > 0 and 0 <= row["data_wait_share"] <= 1
    assert meter.row(8, 1e-3)["loss"] == 0.0
