"""The README and the docs keep their word: Python runs, commands parse, links lead somewhere, nothing is left out.

The site itself is built by `make docs`; nothing here needs Sphinx.
"""

import argparse
import ast
import doctest
import importlib
import importlib.util
import re
import runpy
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import healpy as hp
import numpy as np
import pytest

import cmbinpaint
from cmbinpaint import cli, write_map
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.sphere.pixels import pixel_vectors
from cmbinpaint.training.data.build import build_stream
from cmbinpaint.training.data.shards import build_dataset
from cmbinpaint.training.data.skies import DataSetRecipe
from cmbinpaint.training.recipes.recipe import Recipe
from tests.pages import BLOCKS, PAGES, ROOT, Block

DOCS = ROOT / "docs"
DATA = ROOT.parent / "shared" / "data"
PYTHON = [block for block in BLOCKS if block.language == "python"]
EXAMPLES = sorted((DOCS / "examples").rglob("*.py"))
LARGEST_FIGURE = 300_000  # bytes; maps full of noise do not compress


def name_of(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What a reader of a page has: a small sky and its mask, also as files, and what is known of it."""
    monkeypatch.chdir(tmp_path)
    cl, fwhm = fiducial_cl(47), np.radians(11)
    sky = simulate_sky(cl, 16, fwhm=fwhm, noise_std=3.0, pixwin=True, seed=0)
    latitude = np.degrees(np.arcsin(pixel_vectors(16)[:, 2]))
    mask = np.abs(latitude) > 12
    mask[hp.query_disc(16, hp.ang2vec(40, 50, lonlat=True), np.radians(8))] = False
    mask = mask.astype(np.float32)  # as read_mask gives it
    write_map("map.fits", sky, unit="uK")
    hp.write_map("mask.fits", mask)
    return {"sky": sky, "mask": mask, "latitude": latitude, "cl": cl, "fwhm": fwhm}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set small enough for a test."""
    recipe = DataSetRecipe(
        name="tiny", seed=3, skies=4, patches=2, side=16, margin=4, step_arcmin=40.0, lmax=100,
        split=(0.5, 0.25, 0.25),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("sets") / "tiny"
    build_dataset(recipe, folder)
    return folder


@pytest.fixture
def data_set(built: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").symlink_to(built)


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """docs/generated_pages.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("generated_pages", DOCS / "generated_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "cmbinpaint").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_in_docstrings_run(module: str) -> None:
    """They are part of the API's pages."""
    result = doctest.testmod(importlib.import_module(module), extraglobs={"np": np})
    assert result.attempted and not result.failed


def test_pages_have_blocks() -> None:
    """The parser of pages sees what a reader sees: without blocks the tests below would pass unread."""
    found = {(block.page, block.language) for block in BLOCKS}
    assert {("README.md", "python"), ("README.md", "sh"), ("docs/fill-a-map.md", "python")} <= found
    assert {("docs/datasets.md", "python"), ("docs/datasets.md", "toml"), ("docs/training.md", "sh")} <= found


@pytest.mark.parametrize("page", sorted({block.page for block in PYTHON}))
def test_the_python_of_a_page_runs(page: str, desk: dict[str, object], data_set: None) -> None:
    """From top to bottom, as one reads; of the commands on the way those that are small (nside 16) are run."""
    if page == "docs/planck.md":
        if not DATA.is_dir():
            pytest.skip("the public maps are not there")
        for path in DATA.glob("*.fits"):
            Path(path.name).symlink_to(path)
    for block in BLOCKS:
        if block.page == page and block.language == "sh":
            small = [shlex.split(command)[1:] for command in block.commands if "--nside 16" in command]
            assert all(cli.main(words) == 0 for words in small)
        elif block.page == page and block.language == "python":
            exec(compile("\n" * block.line + block.text, page, "exec"), desk)


def not_public(source: str, rooms: tuple[str, ...]) -> list[str]:
    """What a piece of Python imports from the package and no public room lists."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] == "cmbinpaint"]
            found += [name for name in names if name not in rooms]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "cmbinpaint":
            listed = importlib.import_module(node.module).__all__ if node.module in rooms else ()
            for alias in node.names:
                if alias.name not in listed and f"{node.module}.{alias.name}" not in rooms:
                    found.append(f"{node.module}.{alias.name}")
    return found


def test_not_public_sees_what_it_should(generated: ModuleType) -> None:
    source = (
        "import cmbinpaint.sphere\nimport cmbinpaint\nfrom cmbinpaint import inpaint_map, spectra, sphere\n"
    )
    source += (
        "from cmbinpaint.spectra import master, _HOMES\nfrom cmbinpaint.errors import MapError\nimport numpy"
    )
    assert not_public(source, generated.ROOMS) == [
        "cmbinpaint.sphere", "cmbinpaint.sphere", "cmbinpaint.spectra._HOMES", "cmbinpaint.errors.MapError",
    ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_public_names_alone(page: Path, generated: ModuleType) -> None:
    blocks = [block for block in PYTHON if block.page == str(page.relative_to(ROOT))]
    assert [name for block in blocks for name in not_public(block.text, generated.ROOMS)] == []
    imports = re.compile(r"^\s*(?:from|import) cmbinpaint\b", re.M)
    found = sum(len(imports.findall(block.text)) for block in blocks)
    assert found == len(imports.findall(page.read_text(encoding="utf-8"))), "an import stands outside a block"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_import_public_names_alone(example: Path, generated: ModuleType) -> None:
    source = example.read_text(encoding="utf-8")
    assert "cmbinpaint" in source and not_public(source, generated.ROOMS) == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=name_of)
def test_recipes_are_recipes(
    block: Block, tmp_path: Path, data_set: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tomllib.loads(block.text)
    if "skies" in table:
        DataSetRecipe.from_mapping(table)
        return
    if "data" in table:
        batch = build_stream(table["data"], seed=1).batch(0, "train")
        assert len(batch.truth) == table["data"].get("batch_size", len(batch.truth))
    if set(table) - {"data"}:
        steps = {} if "stage" in table else {"steps": 1}
        Recipe.from_mapping({"name": "page", "seed": 1} | steps | table)


COMMANDS = [(name_of(b), command) for b in BLOCKS if b.language == "sh" for command in b.commands]


@pytest.mark.parametrize(("where", "command"), COMMANDS)
def test_commands_can_be_typed(where: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command, comments=True)
    if not words:
        return  # a comment
    program = words[0].removeprefix(".venv/bin/")
    if program == "mpiexec":  # -n N python -m mpi4py.futures SCRIPT, or -m cmbinpaint
        words = ["python", *words[words.index("mpi4py.futures") + 1 :]]
        program = "python"
    if program == "torchrun":
        words = words[words.index("-m") :]
        program = "python"
    if program == "cmbinpaint":
        check_own_command(words[1:], monkeypatch)
    elif words[1:3] == ["-m", "cmbinpaint"] or words[:2] == ["-m", "cmbinpaint"]:
        check_own_command(words[words.index("cmbinpaint") + 1 :], monkeypatch)
    elif program == "python" and words[1].startswith("benchmarks/"):
        check_script(words[1:], monkeypatch)
    elif program == "make":
        check_target(words[1])
    elif program == "pip":
        check_extras(words)
    else:
        assert words[:3] == ["python3", "-m", "venv"], f"{where}: nothing checks {command!r}"


def check_own_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real parsers take it, and the recipe it names is packaged."""
    seen: list[argparse.Namespace] = []
    module = importlib.import_module(f"cmbinpaint.commands.{words[0]}")
    monkeypatch.setattr(module, "run", lambda args: seen.append(args) or 0)
    assert cli.main(words) == 0
    recipe = getattr(seen[0], "recipe", None)
    if recipe is not None and not recipe.endswith(".toml"):
        assert (ROOT / "cmbinpaint" / "training" / "recipes" / f"{recipe}.toml").is_file()


class _ParsedError(Exception):
    """A script has read its options: enough."""


def check_script(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The script's own parser takes its options; what it would do then is not done."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: object) -> None:
        parse(self, *args)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    with pytest.raises(_ParsedError):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


def check_target(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)


def check_extras(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"(?:\.|cmbinpaint)\[(.*?)\]", " ".join(words)):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in t]
    assert all((page.parent / target).is_file() for target in targets), targets
    for example in re.findall(r"<gallery/([\w/]+)>", text):
        assert (DOCS / "examples" / f"{example}.py").is_file(), example


@pytest.mark.parametrize("figure", sorted((DOCS / "figures").iterdir()), ids=lambda path: path.name)
def test_figures_are_small_and_shown(figure: Path) -> None:
    assert figure.stat().st_size < LARGEST_FIGURE
    shown = [page.name for page in PAGES if f"figures/{figure.name}" in page.read_text(encoding="utf-8")]
    assert shown, f"no page shows {figure.name}"


def test_the_contents_name_every_page_and_no_other() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    trees = "\n".join(re.findall(r"^```\{toctree\}\n(.*?)^```$", index, re.M | re.S))
    listed = re.findall(r"^(?:[\w ]+<)?([\w/-]+)>?$", trees, re.M)
    pages = {page.stem for page in DOCS.glob("*.md")} - {"index"}
    assert pages | {"gallery/index", "generated/api", "generated/commands", "generated/map"} == set(listed)


def test_the_gallery_is_in_order(generated: ModuleType) -> None:
    files = [path.name for path in EXAMPLES]
    assert sorted(files) == sorted(generated.GALLERY)
    assert sorted(files, key=generated.gallery_order) == list(generated.GALLERY)


def test_the_api_page_lists_what_is_public_and_nothing_else(generated: ModuleType) -> None:
    listed = re.findall(r"^   (\w+)$", generated.api_page(), re.M)
    rooms = [importlib.import_module(room) for room in generated.ROOMS]
    public = {name for room in rooms for name in room.__all__ if not name.startswith("_")}
    assert {"inpaint_map", "SkyModel", "draw_sky", "PConvUNet", "Recipe", "CmbInpaintError"} <= public
    assert sorted(listed) == sorted(public), "each name stands once, where it is met first"
    names = ["cmbinpaint." + name for name in ("sims", "spectra", "nn", "training", "plots")]
    assert sorted(generated.ROOMS) == sorted(["cmbinpaint", *names])
    for name in names:
        assert (
            f"`.{name.partition('.')[2]}`" in (cmbinpaint.__doc__ or "") or f"`{name}`" in cmbinpaint.__doc__
        )


def test_generated_pages_leave_nothing_out(generated: ModuleType, tmp_path: Path) -> None:
    generated.write(tmp_path / "generated")
    commands, rooms, front = (
        (tmp_path / "generated" / f"{n}.md").read_text() for n in ("commands", "map", "front")
    )
    for name in cli.COMMANDS:
        assert f"## {name}\n\n```text\nusage: cmbinpaint {name} " in commands
    modules = [p for p in (ROOT / "cmbinpaint").rglob("*.py") if p.name != "__init__.py"]
    assert all(f"`{path.relative_to(ROOT / 'cmbinpaint')}`" in rooms for path in modules)
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)", front) if "://" not in t]
    assert {"figures/before_after.png", "fill-a-map.md", "changelog.md"} <= set(targets)
    assert all((DOCS / target).is_file() for target in targets)


def test_generated_pages_that_are_right_are_left_alone(generated: ModuleType, tmp_path: Path) -> None:
    """Else every build would read all pages again."""
    generated.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    generated.write(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
