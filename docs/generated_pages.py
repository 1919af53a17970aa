"""The pages that the package writes about itself: API lists, the commands' help, the map of the project.

What is made of the code cannot grow old beside it. Needs no Sphinx; `docs/conf.py` calls `write` at each build.
"""

import ast
import contextlib
import importlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cmbinpaint
from cmbinpaint import cli

# Public rooms, in the order a user meets them.
ROOMS = (
    "cmbinpaint",
    "cmbinpaint.pipeline",
    "cmbinpaint.sims",
    "cmbinpaint.spectra",
    "cmbinpaint.plots",
    "cmbinpaint.nn",
    "cmbinpaint.training",
    "cmbinpaint.errors",
)

# The gallery's examples in reading order; files that are not named follow by name.
GALLERY = (
    "first_map.py",
    "own_mask.py",
    "which_fill.py",
    "spectra.py",
    "many_maps.py",
    "train_your_own.py",
    "combine_analyses.py",
    "mask_follows_sky.py",
    "lensing.py",
    "non_gaussian.py",
    "colored_noise.py",
)


def gallery_order(filename: str) -> tuple[int, str]:
    """Key that sorts the gallery's examples."""
    name = Path(filename).name
    return (GALLERY.index(name) if name in GALLERY else len(GALLERY), name)


def public_names(room: str) -> list[str]:
    """The public names of a room: what its ``__all__`` says, or the classes it defines."""
    module = importlib.import_module(room)
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not name.startswith("_")]
    return [
        n for n, value in vars(module).items() if getattr(value, "__module__", None) == room and n[0] != "_"
    ]


def api_page() -> str:
    """Every public name, by room, each listed where it is met first."""
    parts = ["# API reference", "", "Everything public. What is not listed may change without notice.", ""]
    listed: set[int] = set()
    for room in ROOMS:
        module = importlib.import_module(room)
        names = []
        for name in public_names(room):
            value = getattr(module, name)
            if id(value) not in listed:
                listed.add(id(value))
                names.append(name)
        if names:
            first = "" if room == "cmbinpaint" else (module.__doc__ or "").partition("\n")[0]
            parts += [f"## {room}", "", first, "", "```{eval-rst}", f".. currentmodule:: {room}", ""]
            parts += [".. autosummary::", "   :toctree: api", "   :nosignatures:", ""]
            parts += [f"   {name}" for name in names] + ["```", ""]
    return "\n".join(parts)


def commands_page() -> str:
    """What `--help` says of each command."""
    parts = ["# Commands", "", "What `cmbinpaint COMMAND --help` says.", ""]
    parts += ["| command | what |", "| --- | --- |"]
    parts += [f"| [`{name}`](#{name}) | {what} |" for name, what in cli.COMMANDS.items()] + [""]
    for name in cli.COMMANDS:
        parts += [f"## {name}", "", "```text", help_of(name).rstrip(), "```", ""]
    return "\n".join(parts)


def help_of(command: str) -> str:
    """The help of a command, as a terminal of 100 columns shows it."""
    told = io.StringIO()
    with columns(100), contextlib.redirect_stdout(told):
        cli.main([command, "--help"])
    return told.getvalue()


@contextlib.contextmanager
def columns(width: int) -> Iterator[None]:
    """Let argparse wrap at `width`, whatever terminal the build runs in."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def map_page() -> str:
    """By floor, each room with its modules and what their docstrings open with."""
    package = Path(cmbinpaint.__file__).parent
    rooms = [p for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
    parts = []
    for floor, room in sorted((floor_of(room), room) for room in rooms if room.name != "__init__.py"):
        if room.is_file():
            parts += [f"**Floor {floor}: `{room.name}`.** {_opening(room)}.", ""]
            continue
        parts += [f"**Floor {floor}: `{room.name}/`.** {_opening(room / '__init__.py')}.", ""]
        modules = sorted(m for m in room.glob("*.py") if m.name != "__init__.py")
        parts += ["| module | what |", "| --- | --- |"]
        parts += [f"| `{room.name}/{m.name}` | {_opening(m)} |" for m in modules] + [""]
    return "\n".join(parts)


def floor_of(room: Path) -> int:
    """The floor that a module, or the first module of a folder, says it is on."""
    first = room if room.is_file() else min(m for m in room.glob("*.py") if m.name != "__init__.py")
    return int(re.findall(r"Floor: (\d+)", _docstring(first))[0])


def _opening(module: Path) -> str:
    """The first paragraph of a module's docstring, without what a table cannot hold."""
    paragraph = " ".join(_docstring(module).partition("\n\n")[0].split())
    return paragraph.replace("|", "\\|").partition(" Takes:")[0].rstrip(".:")


def _docstring(module: Path) -> str:
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""


def write(folder: Path) -> None:
    """Write the pages into `folder`; what is there already and equal keeps its time, so that builds stay short."""
    folder.mkdir(exist_ok=True)
    for name, text in (("api", api_page()), ("commands", commands_page()), ("map", map_page())):
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
