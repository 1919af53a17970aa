"""A run's figures as CSV files that survive interruption.

Takes: rows. Gives: a file with a header; rows beyond the step resumed from are dropped. Floor: 3.
"""

import csv
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from cmbinpaint.errors import CheckpointError


class CsvLog:
    """Appends rows to a file; use as a context manager.

    Parameters
    ----------
    path
        The file; its folder exists.
    columns
        Its columns, the first of which is ``step``.
    step
        The step the run begins at: rows of later steps are of a run that was cut off, and are dropped.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self.path, self.columns = path, tuple(columns)
        kept = self._rows_until(step)
        beside = path.with_name(f".{path.name}.part")
        try:
            with beside.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([self.columns, *kept])
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
            self._file = path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"cannot write the log {path} ({error.strerror})") from error
        self._writer = csv.writer(self._file)

    def add(self, row: Mapping[str, float]) -> None:
        """Write a row at once."""
        self._writer.writerow([_show(row[column]) for column in self.columns])
        self._file.flush()

    def __enter__(self) -> "CsvLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _rows_until(self, step: int) -> list[list[str]]:
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        # A row cut short by a crash has no business in the log either.
        whole = [row for row in rows if len(row) == len(self.columns) and row[0].isdigit()]
        return [row for row in whole if int(row[0]) <= step]


def _show(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


class Meter:
    """Means since the last row of the log; validation and saving are not training time."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was seen; the clock starts now."""
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._patches = 0
        self._waited = 0.0
        self._start = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside is waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def add(self, loss: float, norm: float, patches: int) -> None:
        """Count a step."""
        self._losses.append(loss)
        self._norms.append(norm)
        self._patches += patches

    def row(self, step: int, lr: float) -> dict[str, float]:
        """A row of the log; starts anew."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        n = max(len(self._losses), 1)
        row = {
            "step": step,
            "loss": sum(self._losses) / n,
            "gradient_norm": sum(self._norms) / n,
            "lr": lr,
            "patches_per_s": self._patches / seconds,
            "data_wait_share": self._waited / seconds,
        }
        self.restart()
        return row
