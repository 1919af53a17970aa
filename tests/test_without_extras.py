"""The core does its work without torch, safetensors and CAMB, and says in one line what else needs them."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from cmbinpaint.errors import EXTRAS, CmbInpaintError, MissingExtraError, requires

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def done() -> dict[str, dict]:
    """What `core_alone.py` did in an interpreter of its own."""
    run = subprocess.run(
        [sys.executable, ROOT / "tests" / "core_alone.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_the_library_works(done: dict[str, dict]) -> None:
    found = done["library"]
    assert found["model"] == "gaussian" and found["observed kept"] and found["read back"] == 0
    assert found["rms in holes over outside"] == pytest.approx(1, abs=0.3)
    assert 0.1 < found["error over rms"] < 0.6
    assert found["p"] > 1e-3 and found["bands"] >= 10
    assert "combine128" in found["models"]


def test_the_commands_work(done: dict[str, dict]) -> None:
    names = ("demo", "inpaint", "info", "spectra", "report", "simulate", "models", "validate")
    assert done["commands"] == dict.fromkeys(names, 0)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("theory_cl", "MissingExtraError: this needs camb, which is not installed: pip install 'cmbinpaint[theory]'"),
        *(
            (name, f"{kind}: this needs torch, which is not installed: pip install 'cmbinpaint[network]'")
            for kind, names in (
                ("MissingExtraError", ("load_model", "nn", "training")),
                ("1: cmbinpaint: error", ("train", "dataset", "analyze")),
            )
            for name in names
        ),
    ],
)  # fmt: skip
def test_what_needs_an_extra_says_so(done: dict[str, dict], where: str, said: str) -> None:
    assert done["refusals"][where] == said


def test_an_unknown_model_is_said_before_torch_is_asked_for(done: dict[str, dict]) -> None:
    assert done["refusals"]["unknown"].startswith(
        "WeightsError: unknown model 'combine182'; did you mean 'combine128'?"
    )


def test_nothing_that_was_refused_came_in(done: dict[str, dict]) -> None:
    assert done["loaded"] == []


def test_a_missing_extra_is_an_import_error_and_one_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "theory", ("no_such_library",))
    with pytest.raises(
        MissingExtraError, match=r"no_such_library.*pip install 'cmbinpaint\[theory\]'"
    ) as caught:
        requires("theory")
    assert isinstance(caught.value, ImportError) and isinstance(caught.value, CmbInpaintError)


def test_a_library_that_is_broken_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken_library.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(EXTRAS, "theory", ("broken_library",))
    with pytest.raises(ModuleNotFoundError, match="what_it_needs") as caught:
        requires("theory")
    assert not isinstance(caught.value, MissingExtraError)


def test_extras_bring_what_is_asked_for() -> None:
    """The names of libraries and of what brings them are one but for Pillow's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brings = project["optional-dependencies"]
    for extra, libraries in EXTRAS.items():
        packages = ["pillow" if library == "PIL" else library for library in libraries]
        assert [requirement.partition(">")[0] for requirement in brings[extra]] == packages
        assert not set(packages) & {requirement.partition(">")[0] for requirement in project["dependencies"]}
    assert brings["all"] == [f"cmbinpaint[{','.join(EXTRAS)}]"]


def test_the_core_declares_what_it_imports() -> None:
    """Each library with a door but the extras' is a dependency, and is installed."""
    from tests.test_house import DOORS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    optional = {library for libraries in EXTRAS.values() for library in libraries}
    core = {"numpy", *DOORS} - optional
    assert core == declared and all(find_spec(library) for library in core)
