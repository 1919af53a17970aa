"""The pages that are made of the package and its README: the API, commands, a map, the front page.

What is made of the code cannot grow old beside it. Needs no Sphinx; `docs/conf.py` calls `write` at each build.
"""

import ast
import contextlib
import importlib
import io
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import cmbinpaint
from cmbinpaint import cli

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/cmbinpaint/cmbinpaint/blob/main/"
PICTURES = "https://raw.githubusercontent.com/cmbinpaint/cmbinpaint/main/docs/"
# What is public, in the order a user meets it.
ROOMS = (
    "cmbinpaint",
    "cmbinpaint.sims",
    "cmbinpaint.spectra",
    "cmbinpaint.plots",
    "cmbinpaint.nn",
    "cmbinpaint.training",
)

# The gallery's examples in reading order; files that are not named follow by name.
GALLERY = (
    "fill_a_map.py",
    "point_sources.py",
    "dust.py",
    "survey.py",
    "realizations.py",
    "spectra.py",
    "polarization.py",
    "e_and_b.py",
    "tensor_to_scalar.py",
    "many_maps.py",
    "train_your_own.py",
    "mask_follows_sky.py",
    "lensing.py",
    "non_gaussian.py",
    "colored_noise.py",
)


def gallery_order(filename: str) -> tuple[int, str]:
    """Key that sorts the gallery's examples."""
    name = Path(filename).name
    return (GALLERY.index(name) if name in GALLERY else len(GALLERY), name)


def api_page() -> str:
    """What each public room lists, each name where it is met first."""
    parts = ["# API reference", "", "Everything public. All else may change without notice.", ""]
    listed: set[int] = set()
    for room in ROOMS:
        module = importlib.import_module(room)
        names = [n for n in module.__all__ if not n.startswith("_") and id(getattr(module, n)) not in listed]
        listed |= {id(getattr(module, name)) for name in names}
        first = "" if room == "cmbinpaint" else (module.__doc__ or "").partition("\n")[0]
        parts += [f"## {room}", "", first, "", "```{eval-rst}", f".. currentmodule:: {room}", ""]
        parts += [".. autosummary::", "   :toctree: api", "   :nosignatures:", ""]
        parts += [f"   {name}" for name in names] + ["```", ""]
    return "\n".join(parts)


def front_page() -> str:
    """README.md with its links into the repository as links of this site."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace(PICTURES, "")
    return text.replace(REPOSITORY + "docs/", "").replace(REPOSITORY + "CHANGELOG.md", "changelog.md")


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
    printed = io.StringIO()
    with columns(100), contextlib.redirect_stdout(printed):
        cli.main([command, "--help"])
    return printed.getvalue()


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
    """Each room in the order of imports, with its modules and what their docstrings open with."""
    package = Path(cmbinpaint.__file__).parent
    parts = [
        "# Map of the project",
        "",
        "Rooms in the order of imports: a module imports from its own and from those above.",
        "",
    ]
    for name in house():
        room = package / name
        if not room.is_dir():
            parts += [f"**`{name}.py`.** {_opening(room.with_suffix('.py'))}.", ""]
            continue
        parts += [f"**`{name}/`.** {_opening(room / '__init__.py')}.", ""]
        modules = sorted(m for m in room.rglob("*.py") if m.name != "__init__.py")
        parts += ["| module | what |", "| --- | --- |"]
        parts += [f"| `{m.relative_to(package)}` | {_opening(m)} |" for m in modules] + [""]
    return "\n".join(parts)


def house() -> list[str]:
    """The rooms, in the order of imports."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [name for name in project["tool"]["cmbinpaint"]["rooms"] if name != "__init__"]


def _opening(module: Path) -> str:
    """The first paragraph of a module's docstring, without what a table cannot hold."""
    paragraph = " ".join(_docstring(module).partition("\n\n")[0].split())
    return paragraph.replace("|", "\\|").partition(" Inputs:")[0].rstrip(".:")


def _docstring(module: Path) -> str:
    return ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""


def write(folder: Path) -> None:
    """Write the pages into `folder`; what is there already and equal keeps its time, so that builds stay short."""
    folder.mkdir(exist_ok=True)
    pages = {"api": api_page, "commands": commands_page, "map": map_page, "front": front_page}
    for name, make in pages.items():
        path, text = folder / f"{name}.md", make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
