"""The house holds: a room imports from rooms above it in the list, and each heavy library has its doors."""

import ast
import tomllib
from pathlib import Path

import pytest

import cmbinpaint

PACKAGE = Path(cmbinpaint.__file__).parent
HOUSE = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "cmbinpaint"
]
# Along the data's way: a module imports from its own room and from rooms above it in this list.
ORDER = {room: number for number, room in enumerate(HOUSE["rooms"])}
# Which rooms may import which heavy library.
DOORS = {library: set(rooms) for library, rooms in HOUSE["doors"].items()}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imported_names(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute in this package"
            names.append(node.module or "")
            if node.module == "cmbinpaint":
                names += [f"cmbinpaint.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_from_rooms_above_it(path: Path) -> None:
    room = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "cmbinpaint" and len(parts) > 1:
            other = parts[1]
            if other == "__version__" or other == room:
                continue
            assert ORDER[other] < ORDER[room], f"{room} imports {name}, from a room below it"
        elif parts[0] in DOORS:
            assert room in DOORS[parts[0]], f"{room} has no door to {parts[0]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_what_goes_in_and_comes_out(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert docstring, f"{path} has no docstring"
    if path.name not in ("__init__.py", "__main__.py") and room_of(path) not in ("errors", "_types"):
        assert "Inputs:" in docstring and "Outputs:" in docstring
