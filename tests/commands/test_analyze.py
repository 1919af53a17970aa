"""`cmbinpaint analyze`: everything on a toy training, the same twice, and clear words for what cannot be done."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest

from cmbinpaint import cli
from cmbinpaint.studies.catalog import STUDIES, as_csv, as_json
from cmbinpaint.studies.differences import study_differences
from cmbinpaint.studies.patch_study import RANDOM, random_mask
from cmbinpaint.training import OptimizerRecipe, Recipe, train
from cmbinpaint.training.data.shards import build_dataset
from cmbinpaint.training.data.skies import DataSetRecipe
from cmbinpaint.training.data.targets import take_targets
from cmbinpaint.training.run.checkpoint_models import Trained

FEW = ["--patches", "20", "--color-patches", "2", "--class-patches", "4", "--seed", "3"]


@pytest.fixture(scope="module")
def out(small_training: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("analysis")
    start = time.monotonic()
    assert cli.main(["analyze", "all", str(small_training), "-o", str(folder), *FEW]) == 0
    assert time.monotonic() - start < 300
    return folder


def test_all_files_are_there_and_nothing_else(out: Path) -> None:
    wanted = {
        p.name for name, s in STUDIES.items() if name not in ("sky spectra", "maps") for p in s.outputs(out)
    }
    assert {p.name for p in out.iterdir()} == wanted
    assert all(p.read_bytes()[:4] == b"%PDF" for p in out.glob("*.pdf"))
    assert all(p.read_bytes()[1:4] == b"PNG" for p in out.glob("*.png"))


def test_numbers_are_those_of_the_library(out: Path, small_training: Path) -> None:
    trained = Trained.open(small_training)
    targets = take_targets(trained.data, 20, 3)
    study = study_differences(trained, targets, {RANDOM: random_mask(32, 3)}, trained.states)
    with open(out / "differences.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    expected = study.rows()
    assert len(rows) == len(expected)
    for row, goal in zip(rows, expected, strict=True):
        assert row["region"] == goal["region"] and int(row["step"]) == goal["step"]
        assert (
            (row["mean"] == "")
            if np.isnan(goal["mean"])
            else float(row["mean"]) == pytest.approx(goal["mean"])
        )
    told = json.loads((out / "differences.json").read_text())
    assert (
        told["seed"] == 3
        and told["network"] == "small"
        and told["command"].startswith("cmbinpaint analyze all")
    )
    assert told["rows"][0]["mean"] == pytest.approx(expected[0]["mean"], rel=1e-5)
    assert json.loads((out / "classes.json").read_text())["n_s"] == [0.7, 1.3]
    assert set(json.loads((out / "patch_spectra.json").read_text())["ks"]) == {"prediction", "realization"}


def test_the_same_seed_gives_the_same_numbers_and_existing_files_are_refused(
    out: Path, small_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "differences.csv").write_text("mine")
    again = ["analyze", "differences", str(small_training), "-o", str(tmp_path), "--last", *FEW]
    assert cli.main(again) == 1
    assert "differences.csv exists already; give another output, or --overwrite" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["differences.csv"], "nothing was begun"
    assert cli.main([*again, "--overwrite"]) == 0
    new, old = ((f / "differences.csv").read_text().splitlines() for f in (tmp_path, out))
    assert new[1:] == [line for line in old if line.startswith("12,")], (
        "the last state's rows, digit by digit"
    )


def test_a_model_without_training(
    small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skies = ["--nside", "8", "--skies", "20", "-o", str(tmp_path)]
    assert cli.main(["analyze", "spectra", "kriging", *skies]) == 0
    told = json.loads((tmp_path / "sky_spectra.json").read_text())
    assert told["model"] == "kriging" and told["nside"] == 8 and told["limit"] == "Fisher, exact"
    assert (tmp_path / "sky_spectra_estimators.pdf").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["colours", "TRAINING"], "spectra, classes, maps, all; did you mean 'colors'?"),
        (["differences", "SET"], "holds no checkpoints; name the folder that `cmbinpaint train` wrote"),
        (["differences", "combine128"], "no target is known: combine128 comes without its data"),
        (["differences", "TRAINING", "--mask", "MASK"], "mask 'all.npy' hides all pixels of the patch"),
        (["colors", "TRAINING", "--t-min-uK", "300"], "T_min = 300 µK to T_max = 300 µK; expected T_min"),
        (["colors", "TRAINING", "--colors", "plank"], "unknown color map 'plank'; known: planck, grey"),
        (["spectra", "TRAINING", "--patches", "5"], "5 patches given, and 40 to draw fluctuations from; expected 20"),
        (["spectra", "combine182"], "did you mean 'combine128'?"),
        (["classes", "TRAINING", "--classifier", "TRAINING"], "no classifier; train one with"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(
    words: list[str], says: str, small_training: Path, small_set: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    np.save(tmp_path / "all.npy", np.zeros((32, 32)))
    places = {
        "TRAINING": small_training,
        "SET": small_set,
        "MASK": tmp_path / "all.npy",
    }
    argv = ["analyze", *(str(places.get(word, word)) for word in words), "-o", str(tmp_path / "out")]
    assert cli.main(argv) in (1, 2)
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not list((tmp_path / "out").glob("*")), "nothing is written"


def test_what_is_not_a_number_is_empty_or_null() -> None:
    rows = [{"a": 1.0, "b": float("nan"), "c": "x, y"}]
    assert as_csv(rows) == 'a,b,c\n1,,"x, y"\n'
    assert json.loads(as_json(rows, {"n": np.float64(2)})) == {
        "n": 2.0,
        "rows": [{"a": 1.0, "b": None, "c": "x, y"}],
    }


def test_a_filled_map_beside_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From commands alone: simulate, hide, fill, analyze; tables and figures, and nothing else."""
    true, sky, filled, out = (
        str(tmp_path / name) for name in ("true.fits", "sky.fits", "filled.fits", "out")
    )
    words = ["--nside", "32", "--lmax", "80", "--fwhm-arcmin", "400", "--noise-std", "1", "--seed", "3"]
    assert cli.main(["simulate", "-o", true, *words]) == 0
    assert cli.main(["simulate", "-o", sky, "--holes", "round", *words]) == 0
    assert cli.main(["inpaint", sky, "-o", filled, "--model", "diffusive", "--seed", "1"]) == 0
    assert cli.main(["analyze", "maps", filled, "--target", true, "-o", out, "--patches", "4"]) == 0
    assert {p.name for p in Path(out).iterdir()} == {p.name for p in STUDIES["maps"].outputs(Path(out))}
    told = json.loads((tmp_path / "out" / "map_differences.json").read_text())
    assert told["map"] == "filled.fits" and told["patches"] == 4
    assert told["step_arcmin"] == pytest.approx(55, abs=0.1)
    holes = next(r for r in told["rows"] if r["region"] == "holes" and r["kind"] == "temperature")
    assert 0 < holes["percent"] < 150
    capsys.readouterr()
    assert cli.main(["analyze", "maps", filled, "-o", out]) == 1
    assert (
        "--target, the map before its pixels were hidden, belongs to `analyze maps`"
        in capsys.readouterr().err
    )
    assert cli.main(["analyze", "maps", sky, "--target", true, "-o", str(tmp_path / "none")]) == 1
    assert "sky.fits has 822 unknown pixels (UNSEEN or NaN)" in capsys.readouterr().err


def test_a_streamed_training_needs_no_further_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one checkpoint, whose data lie nowhere: all that applies is made, the rest is said."""
    small = {"side": 32, "batch_size": 4, "nside": 32, "spheres": 1, "skies": 1}
    recipe = Recipe(
        name="streamed", seed=1, steps=2, data={"kind": "sky", **small},
        model={"family": "pconv", "encoder": [[4, 3], [4, 3]], "decoder": [4], "channels": 1}, workers=0, threads=1,
        optimizer=OptimizerRecipe(lr=3e-3, warmup_steps=0), loss={"hole": 6.0}, validation_batches=0,
    )  # fmt: skip
    train(recipe, tmp_path / "run", device="cpu", progress=lambda *_: None)
    assert cli.main(["analyze", "all", str(tmp_path / "run"), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "streamed has a single checkpoint (step 2): nothing is followed over the training" in said
    assert "classes: skipped, the data set has one (n_s = 0.9649)" in said
    made = {p.name for p in (tmp_path / "out").iterdir()}
    names = ("differences", "mask-size", "colors", "patch spectra")
    assert made == {p.name for name in names for p in STUDIES[name].outputs(tmp_path)}


def test_too_few_patches_for_spectra_are_said(
    small_training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the class nearest to Planck's, 20 patches are in validation; of the test a set of fewer skies has 10."""
    recipe = DataSetRecipe(
        name="few", seed=3, ns=(0.9,), skies=4, patches=10, side=32, margin=2, step_arcmin=40.0, lmax=100,
        split=(0.5, 0.25, 0.25), skies_per_shard=2,
    )  # fmt: skip
    build_dataset(recipe, tmp_path / "few")
    argv = [
        "analyze",
        "all",
        str(small_training),
        "--data",
        str(tmp_path / "few"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert cli.main([*argv, "--last", "--color-patches", "2", "--patches", "4"]) == 0
    said = capsys.readouterr().out
    assert "spectra: skipped, the data set has 10 validation patches too few; --data names another" in said
    assert not list((tmp_path / "out").glob("patch_spectra*")) and "single checkpoint" not in said
