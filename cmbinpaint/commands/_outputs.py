"""Where a command writes: names of files, and what is refused before the work begins.

Inputs: the arguments of a command. Outputs: paths, or an error.

An input is never replaced. Every argument that names something on disk counts as one, whatever the option, but for the
few that say where the command writes: an option added tomorrow is protected without a word.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from cmbinpaint._files import refuse_special
from cmbinpaint.errors import OutputError

# Arguments that say where a command writes.
_WRITTEN = {"output", "outdir", "report", "mean_map", "std_map", "optimal_output"}
_NO_PATHS = {"argv", "invoke"}


def inputs_of(args: argparse.Namespace) -> list[Path]:
    """Return every file or folder on disk that an argument names, and the weights beside a network's card."""
    return [
        path
        for name, value in vars(args).items()
        if name not in _WRITTEN | _NO_PATHS
        for path in _paths(value)
    ]


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, list):
        for entry in value:
            yield from _paths(entry)
    elif isinstance(value, str | Path) and str(value):
        path = Path(value)
        try:
            there = path.exists()
        except (OSError, ValueError):  # not a path
            return
        if there:
            yield path
        if there and path.suffix == ".json":
            yield from path.parent.glob(f"{path.stem}-*.safetensors")


def output_file(text: str, name: str) -> Path:
    """Return the file that `-o` names; of a folder (`-o maps/`, made if absent) the file `name` in it."""
    path = Path(text)
    if not (path.is_dir() or text.endswith(("/", os.sep))):
        return path
    make_folder(path)
    return path / name


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it."""
    refuse_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)


def refuse_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made.

    Raises
    ------
    OutputError
        If something else has its name, or one above it.
    """
    there = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    if not there.is_dir():
        raise OutputError(
            f"{there} is not a folder, and files are to be written into {folder}; give another one"
        )


def refuse_outputs(args: argparse.Namespace, outputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse, before any work, outputs that are inputs, no plain files, that exist, or that have no folder.

    Raises
    ------
    OutputError
        On the first of them.
    """
    inputs = inputs_of(args)
    for output in outputs:
        refuse_output(output, inputs, overwrite=overwrite)


def refuse_twice(outputs: Iterable[Path | None]) -> None:
    """Refuse outputs of one command that are the same file.

    Raises
    ------
    OutputError
        On the first of them.
    """
    seen = set[Path]()
    for output in outputs:
        if output is not None and output.resolve() in seen:
            raise OutputError(f"{output} would be written twice; give every output a name of its own")
        seen |= set() if output is None else {output.resolve()}


def refuse_output(output: Path, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse one output."""
    if not output.parent.is_dir():
        raise OutputError(f"{output} cannot be written: the folder {output.parent} does not exist")
    if output.is_dir():
        raise OutputError(f"{output} is a directory; the path of a file was expected")
    try:
        refuse_special(output)
    except OSError as error:
        raise OutputError(
            f"{output} is not replaced: {error.strerror}; the path of a file was expected"
        ) from None
    if not os.path.lexists(output):
        return
    if any(output.exists() and output.samefile(path) for path in inputs):
        raise OutputError(f"{output} is an input; it is never overwritten: give another output")
    if not overwrite:
        raise OutputError(f"{output} exists already; give another output, or --overwrite")
