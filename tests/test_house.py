"""The house holds: imports go down the floors, and each heavy library has its doors."""

import ast
from pathlib import Path

import pytest

import cmbinpaint

PACKAGE = Path(cmbinpaint.__file__).parent
FLOORS = {
    "errors": 0, "_types": 0, "_files": 0,
    "sphere": 1, "plane": 1, "nn": 1,
    "sims": 2, "patches": 2, "weights": 2,
    "training": 3, "inpainters": 3,
    "pipeline": 4,
    "analysis": 5,
    "plots": 6,
    "commands": 7,
    "cli": 8, "__main__": 9, "__init__": 9,
}  # fmt: skip
# Which rooms may import which heavy library.
DOORS = {
    "healpy": {"sphere", "plots"},
    "ducc0": {"sphere"},
    "astropy": {"sphere"},
    "camb": {"sims"},
    "PIL": {"training"},
    "torch": {"nn", "weights", "training", "inpainters"},
    "safetensors": {"weights", "training"},
    "matplotlib": {"plots"},
    "scipy": {"sphere", "sims", "patches", "plane", "inpainters", "analysis", "training"},
    "tqdm": {"pipeline", "commands", "training"},
}
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
def test_imports_go_down_the_floors(path: Path) -> None:
    room = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "cmbinpaint" and len(parts) > 1:
            other = parts[1]
            if other == "__version__" or other == room:
                continue
            assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {name}"
        elif parts[0] in DOORS:
            assert room in DOORS[parts[0]], f"{room} has no door to {parts[0]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_says_its_floor(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert docstring, f"{path} has no docstring"
    if path.name != "__init__.py":
        assert f"Floor: {FLOORS[room_of(path)]}" in docstring
