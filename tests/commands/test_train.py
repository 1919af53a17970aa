"""`cmbinpaint train`: its words, its exit codes."""

import argparse
import math
import signal
from pathlib import Path

import pytest

from cmbinpaint.commands import train as command
from cmbinpaint.errors import RecipeError
from cmbinpaint.training import TrainResult
from cmbinpaint.training.run.objective import Score

RECIPE = 'name = "small"\nseed = 0\nsteps = 200\n'


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def stand_in(monkeypatch: pytest.MonkeyPatch, step: int, number: int | None) -> list[tuple]:
    calls: list[tuple] = []

    def train(recipe: object, folder: Path, **options: object) -> TrainResult:
        calls.append((recipe, folder, options))
        score = Score(loss=0.1, hole_rms=0.3, guess_rms=0.4)
        weights = Path(folder) / "small.json" if step == 200 else None
        return TrainResult(Path(folder), step, 200, math.nan, score, number, weights)

    monkeypatch.setattr("cmbinpaint.training.run.train.train", train)
    return calls


@pytest.mark.parametrize(
    "step, number, code, words",
    [
        (200, None, 0, "small: step 200 of 200, done"),
        (20, None, 0, "small: step 20 of 200, stopped; the same command resumes"),
        (20, signal.SIGTERM, 143, "stopped; the same command resumes"),
        (20, signal.SIGINT, 130, "stopped; the same command resumes"),
    ],
)
def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    step: int, number: int | None, code: int, words: str,
) -> None:  # fmt: skip
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    calls = stand_in(monkeypatch, step, number)
    assert (
        command.run(parse(str(path), "-o", str(tmp_path / "out"), "--device", "cpu", "--stop-after", "9"))
        == code
    )
    out = capsys.readouterr().out
    assert words in out
    assert (f"network: {tmp_path / 'out' / 'small.json'}" in out) == (step == 200)
    assert "validation: hole rms 0.3000, first guess 0.4000, ratio 0.750" in out
    recipe, folder, options = calls[0]
    assert (recipe.name, folder) == ("small", tmp_path / "out")
    assert options == {"resume": True, "resume_from": None, "device": "cpu", "stop_after": 9}


def test_default_folder_is_the_recipes_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    calls = stand_in(monkeypatch, 200, None)
    command.run(parse(str(path), "--no-resume", "--resume-from", "step_00000002"))
    assert calls[0][1] == Path("runs/small") and calls[0][2]["resume"] is False
    assert calls[0][2]["resume_from"] == "step_00000002"


def test_of_several_processes_the_first_one_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    stand_in(monkeypatch, 20, signal.SIGTERM)
    monkeypatch.setenv("RANK", "1")
    assert command.run(parse(str(path))) == 143
    assert capsys.readouterr().out == ""


def test_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("r.toml", "--stop-after", "0")
    assert "'0' is not a number of steps; give 1 or more" in capsys.readouterr().err
    with pytest.raises(RecipeError, match=r"cannot read recipe 'nowhere.toml'"):
        command.run(parse("nowhere.toml"))
