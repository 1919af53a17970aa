"""What is installed from a wheel is small, has its data with it, and says who it is."""

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST, LARGEST_WITHOUT_WEIGHTS = 9_000_000, 1_000_000  # bytes
CHECK = """
import cmbinpaint
from cmbinpaint import plots
from cmbinpaint.sims import fiducial_spectra
from cmbinpaint.training import Recipe, list_recipes
from cmbinpaint.networks.store import list_models, load_weights
print(cmbinpaint.__file__)
for card in list_models():
    load_weights(card.name)
    print("model", card.name)
for name in list_recipes():
    print("recipe", Recipe.read(name).name)
from cmbinpaint.training.run.perceptual import load_vgg
print("vgg", load_vgg("vgg16-cmb", 1).channels)
print("spectra", fiducial_spectra(6200).shape)
print("style", plots.draw_sky is not None)
"""
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of what git has listed; building leaves files beside the sources, so these are a copy's."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name.startswith("cmbinpaint/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([*PIP, "wheel", "-q", "--no-deps", "-w", folder, source], check=True)
    (made,) = folder.glob("cmbinpaint-*-py3-none-any.whl")
    return made


def test_it_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        weights = sum(i.compress_size for i in content.infolist() if i.filename.endswith(".safetensors"))
    assert weights > LARGEST_WITHOUT_WEIGHTS  # they are in, and are what weighs
    assert wheel.stat().st_size < LARGEST and wheel.stat().st_size - weights < LARGEST_WITHOUT_WEIGHTS


def test_it_holds_weights_recipes_and_spectra(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([*PIP, "install", "-q", "--no-deps", "--target", tmp_path, wheel], check=True)
    run = subprocess.run(
        [sys.executable, "-P", "-c", CHECK],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert lines[0].startswith(str(tmp_path))
    assert [line for line in lines if line.startswith("model")] == ["model combine128"]
    assert {"recipe combine128", "vgg 1", "spectra (4, 6201)", "style True"} <= set(lines)


def test_it_says_who_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(content.read(name).decode())
    classifiers = said.get_all("Classifier")
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert said["Requires-Python"] == ">=3.11" and said["License-Expression"] == "BSD-3-Clause"
    assert {url.partition(",")[0] for url in said.get_all("Project-URL")} == {
        "Homepage",
        "Issues",
        "Changelog",
    }
    unconditional = {line for line in said.get_all("Requires-Dist") if "extra ==" not in line}
    assert not [line for line in unconditional if line.startswith(("torch", "safetensors", "camb", "pillow"))]
    assert set(said.get_all("Provides-Extra")) == {"network", "theory", "sacc", "all", "test", "lint", "docs"}
