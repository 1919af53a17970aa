"""What is installed from a wheel has its weights and recipes with it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECK = """
import cmbinpaint
from cmbinpaint.training.recipes.recipe import Recipe, list_recipes
from cmbinpaint.networks.store import list_models, load_weights
print(cmbinpaint.__file__)
for card in list_models():
    load_weights(card.name)
    print("model", card.name)
for name in list_recipes():
    print("recipe", Recipe.read(name).name)
from cmbinpaint.training.run.perceptual import load_vgg
print("vgg", load_vgg("vgg16-cmb", 1).channels)
"""


def test_the_wheel_holds_weights_and_recipes(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = tmp_path / "source"  # building leaves files beside the sources; these are a copy's
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name.startswith("cmbinpaint/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("cmbinpaint-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    run = subprocess.run(
        [sys.executable, "-P", "-c", CHECK],
        env={**os.environ, "PYTHONPATH": str(site)}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert lines[0].startswith(str(site))
    assert "model combine128" in lines and "recipe vgg16-cmb" in lines
    assert "recipe combine128" in lines and "vgg 1" in lines
