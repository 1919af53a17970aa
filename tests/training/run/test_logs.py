"""Logs: a resumed run's file is as if nothing had happened."""

import csv
import importlib.util
import re
import resource
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from cmbinpaint.errors import CheckpointError
from cmbinpaint.training.run.logs import CsvLog, EventLog, Meter, RunLogs


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


@pytest.mark.parametrize(
    "content, text",
    [
        (b"1,0.5\n2,0.25\n", "its first column is not 'step'"),
        (b"step,loss\n1,\xff\xfe\n", "'utf-8' codec can't decode byte 0xff"),
        (b"loss,step\n0.5,1\n", "its first column is not 'step'"),
        (b'step,loss\n1,"' + b"9" * 200_000, "field larger than field limit"),
    ],
)
def test_a_damaged_log_is_named_and_left_alone(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=rf"the log \S*a\.csv is damaged: {text}.*; checkpoints are untouched"
    ):
        CsvLog(tmp_path / "a.csv", ("step", "loss"), 1)
    assert (tmp_path / "a.csv").read_bytes() == content
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv").symlink_to("/dev/zero")
    with pytest.raises(
        CheckpointError, match=r"a\.csv cannot be read \(not a regular file\); checkpoints are"
    ):
        CsvLog(tmp_path / "a.csv", ("step", "loss"), 1)


@pytest.mark.parametrize("content", [b"", b"step,loss\n", b"step,loss\n" + b"9" * 5000 + b",1\n", b"1"])
def test_rows_that_no_run_wrote_go(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with CsvLog(tmp_path / "a.csv", ("step", "loss"), 10**30):
        assert (tmp_path / "a.csv").read_text() == "step,loss\n"


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
    assert row["patches_per_s"] > 0 and 0 <= row["data_wait_fraction"] <= 1
    assert meter.row(8, 1e-3)["loss"] == 0.0


def test_terms_are_means_too() -> None:
    meter = Meter()
    for value in (1.0, 2.0):
        meter.add(0.0, 0.0, 1, {"hole": value, "valid": 4.0})
    row = meter.row(1, 1.0)
    assert (row["hole"], row["valid"]) == (1.5, 4.0)
    assert "hole" not in meter.row(2, 1.0)


def test_rows_of_other_columns_stay(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, range(1, 3))
    with CsvLog(tmp_path / "a.csv", ("step", "hole", "loss"), 2) as log:
        log.add({"step": 3, "hole": 0.5, "loss": 1.0})
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert rows == ["step,hole,loss", "1,nan,0.333333", "2,nan,0.666667", "3,0.5,1"]


def test_a_full_disk(tmp_path: Path) -> None:
    """The device that is always full."""
    with CsvLog(tmp_path / "a.csv", ("step",), 0) as log:
        log._file.close()
        log._file = Path("/dev/full").open("w")  # noqa: SIM115
        log._writer = csv.writer(log._file)
        with pytest.raises(CheckpointError, match=r"\(No space left on device\); checkpoints are untouched"):
            log.add({"step": 1})


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with ExitStack() as stack:
        logs = RunLogs(stack, tmp_path, ("hole",), ("loss",), 0, first=False)
        logs.training({"step": 1})
        logs.validation({"step": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_without_tensorboard_nothing_is_written(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events", "training", 0) as log:
        log.add({"step": 1, "loss": 0.5})
    assert not (tmp_path / "events").exists()


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
def test_with_tensorboard_scalars_are_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with EventLog(tmp_path / "events", "training", 0) as log:
        log.add({"step": 1, "loss": 0.5})
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/loss")] == [(1, 0.5)]


def test_a_full_disk_keeps_the_log(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", 0, range(1, 400))
    content = (tmp_path / "a.csv").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(
            CheckpointError, match=r"\(File too large\); checkpoints are untouched: make room"
        ):
            write(tmp_path / "a.csv", 399, range(400, 401))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == content
