"""Within training, modules import along the data's way: recipes, data, run."""

import ast
from pathlib import Path

import pytest

from cmbinpaint import training

HOME = Path(training.__file__).parent
ROOMS = ("recipes", "data", "run")
MODULES = [path for room in ROOMS for path in sorted((HOME / room).glob("*.py"))]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_imports_go_one_way(path: Path) -> None:
    later = ROOMS[ROOMS.index(path.parent.name) + 1 :]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cmbinpaint.training."):
            assert node.module.split(".")[2] not in later, f"{path.name} imports {node.module}"
