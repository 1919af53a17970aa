"""A run's figures as CSV files that survive interruption, and as TensorBoard events where that is installed.

Inputs: rows. Outputs: a file with a header; rows beyond the step resumed from are dropped.
"""

import csv
import importlib.util
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from cmbinpaint._files import read_regular, write_whole
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
        The step the run begins at: rows of later steps are of a run that was cut off, and are dropped. Earlier rows
        stay; columns that they lack are NaN.

    Raises
    ------
    CheckpointError
        If the disk refuses, or the file there is damaged.
    """

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        self.path, self.columns = path, tuple(columns)
        kept = self._rows_until(step)
        whole = io.StringIO(newline="")
        csv.writer(whole).writerows([self.columns, *kept])
        try:
            write_whole(path, whole.getvalue().encode())
            self._file = path.open("a", newline="", encoding="utf-8")
        except OSError as error:
            raise self._refused(error) from error
        self._writer = csv.writer(self._file)

    def add(self, row: Mapping[str, float]) -> None:
        """Write a row at once."""
        try:
            self._writer.writerow([_show(row[column]) for column in self.columns])
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> CheckpointError:
        return CheckpointError(
            f"cannot write the log {self.path} ({error.strerror}); checkpoints are untouched: make room, then the "
            "same command resumes"
        )

    def __enter__(self) -> "CsvLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be flushed has been reported
            self._file.close()

    def _rows_until(self, step: int) -> list[list[str]]:
        if not self.path.exists():
            return []
        try:
            header, *rows = list(csv.reader(io.StringIO(read_regular(self.path).decode(), newline=""))) or [
                []
            ]
        except OSError as error:
            raise CheckpointError(
                f"the log {self.path} cannot be read ({error.strerror}); {_ASIDE}"
            ) from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise CheckpointError(f"the log {self.path} is damaged: {error}; {_ASIDE}") from error
        if rows and header[:1] != ["step"]:
            raise CheckpointError(f"the log {self.path} is damaged: its first column is not 'step'; {_ASIDE}")
        # A row cut short by a crash has no business in the log either.
        whole = [
            dict(zip(header, row, strict=True))
            for row in rows
            if len(row) == len(header) and row[0].isdecimal()
        ]
        kept = [row for row in whole if len(row["step"]) < 20 and int(row["step"]) <= step]
        return [[row.get(column, "nan") for column in self.columns] for row in kept]


_ASIDE = "checkpoints are untouched: move the log away, then the same command resumes"


class EventLog:
    """The same rows as TensorBoard scalars, where TensorBoard is installed; use as a context manager.

    Parameters
    ----------
    folder
        Of the events.
    group
        Goes before each column's name.
    step
        Events of later steps, of a run that was cut off, are hidden.
    """

    def __init__(self, folder: Path, group: str, step: int) -> None:
        self._group = group
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, row: Mapping[str, float]) -> None:
        """Write a row."""
        if self._writer is not None:
            for column, value in row.items():
                if column != "step":
                    self._writer.add_scalar(f"{self._group}/{column}", value, int(row["step"]))

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _show(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


class RunLogs:
    """The run's CSV files and TensorBoard events; those of the first process."""

    def __init__(
        self,
        stack: ExitStack,
        out: Path,
        terms: Sequence[str],
        figures: Sequence[str],
        step: int,
        first: bool,
    ) -> None:
        self._writers: dict[str, list[CsvLog | EventLog]] = {"training": [], "validation": []}
        columns = {
            "training": ("loss", *terms, "gradient_norm", "lr", "patches_per_s", "data_wait_fraction"),
            "validation": (*figures, *terms),
        }
        for group, own in columns.items():
            if first:
                csv = CsvLog(out / f"{group}.csv", ("step", "stage", "epoch", *own), step)
                events = EventLog(out / "tensorboard", group, step)
                self._writers[group] = [stack.enter_context(csv), stack.enter_context(events)]

    def training(self, row: dict[str, float]) -> None:
        """Add a row to ``training.csv``."""
        for writer in self._writers["training"]:
            writer.add(row)

    def validation(self, row: dict[str, float]) -> None:
        """Add a row to ``validation.csv``."""
        for writer in self._writers["validation"]:
            writer.add(row)


class Meter:
    """Means since the last row of the log; validation and saving are not training time."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was seen; the clock starts now."""
        self._losses: list[float] = []
        self._terms: dict[str, float] = {}
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

    def add(self, loss: float, norm: float, patches: int, terms: Mapping[str, float] | None = None) -> None:
        """Count a step."""
        self._losses.append(loss)
        for name, value in (terms or {}).items():
            self._terms[name] = self._terms.get(name, 0.0) + value
        self._norms.append(norm)
        self._patches += patches

    def row(self, step: int, lr: float) -> dict[str, float]:
        """A row of the log; then starts again from zero."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        n = max(len(self._losses), 1)
        row = {
            "step": step,
            "loss": sum(self._losses) / n,
            **{name: total / n for name, total in self._terms.items()},
            "gradient_norm": sum(self._norms) / n,
            "lr": lr,
            "patches_per_s": self._patches / seconds,
            "data_wait_fraction": self._waited / seconds,
        }
        self.restart()
        return row
