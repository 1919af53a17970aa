"""The loop: an interrupted run equals an undisturbed one, and faults leave a good state behind."""

import csv
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cmbinpaint.errors import (
    CheckpointError,
    CmbInpaintError,
    CmbInpaintWarning,
    ConvergenceError,
    DeviceError,
    MaskError,
    RecipeError,
)
from cmbinpaint.nn.models import build_model
from cmbinpaint.training import Recipe, final_weights, load_latest, train
from cmbinpaint.training.run.checkpoint import list_checkpoints, read_checkpoint, step_of

HERE = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    """Import a module beside this one by its plain name, as worker processes do."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


toy, toy_stream = load("toy"), load("toy_stream")


@dataclass(frozen=True)
class Pair:
    x: np.ndarray
    valid: np.ndarray
    truth: np.ndarray


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets worker processes import the modules beside this one."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))


def run(folder: Path, *, stop_after: int | None = None, stream: object = None, **changes: object) -> object:
    return train(
        toy.toy_recipe(**changes), folder, stop_after=stop_after, device="cpu",
        stream=stream or toy_stream.ToyStream(), model=toy.toy_model(), progress=lambda *_: None,
    )  # fmt: skip


def states(folder: Path) -> dict[str, torch.Tensor]:
    found = load_latest(folder / "checkpoints")
    assert found is not None
    groups = {"model": found.model, "ema": found.ema, "optimizer": found.optimizer, "random": found.random}
    return {f"{group} {name}": t for group, tensors in groups.items() for name, t in tensors.items()}


def assert_equal_runs(one: Path, two: Path) -> None:
    first, second = states(one), states(two)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def read(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    result = run(folder)
    assert result.finished and result.signal is None  # type: ignore[attr-defined]
    return folder


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_resumed_equals_uninterrupted(tmp_path: Path, straight: Path, cut: int) -> None:
    result = run(tmp_path, stop_after=cut)
    assert not result.finished and result.step == cut  # type: ignore[attr-defined]
    assert run(tmp_path).finished  # type: ignore[attr-defined]
    assert_equal_runs(straight, tmp_path)
    for name in ("training.csv", "validation.csv"):
        timing = {"patches_per_s", "data_wait_fraction"}
        for one, two in zip(read(straight / name), read(tmp_path / name), strict=True):
            assert {k: one[k] for k in one.keys() - timing} == {k: two[k] for k in two.keys() - timing}


def test_logs(straight: Path) -> None:
    rows = read(straight / "training.csv")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    # Warm-up of two steps to 1e-2, then the cosine to a hundredth of it.
    np.testing.assert_allclose([row["lr"] for row in rows][:3], [5e-3, 1e-2, 1e-2])
    assert rows[-1]["lr"] == pytest.approx(1e-4)
    assert all(0 <= row["data_wait_fraction"] <= 1 and row["patches_per_s"] > 0 for row in rows)
    checks = read(straight / "validation.csv")
    assert [row["step"] for row in checks] == [3, 6]
    guess = checks[0]["guess_rms"]
    # Half of a unit field is missing in every hole: 0.5, by some 130 pixels of two fields each.
    assert guess == pytest.approx(0.5, abs=0.05) and checks[1]["guess_rms"] == guess
    assert checks[0]["gain"] == pytest.approx(checks[0]["hole_rms"] / guess, rel=1e-4)


def test_it_learns(tmp_path: Path) -> None:
    options = {"steps": 80, "validate_every": 80, "checkpoint_every": 80, "log_every": 40, "accumulate": 1}
    result = run(tmp_path, **options)
    assert result.score.gain < 0.7  # type: ignore[attr-defined]


@pytest.mark.usefixtures("importable")
def test_workers_change_nothing(tmp_path: Path, straight: Path) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    run(tmp_path, workers=2)
    assert_equal_runs(straight, tmp_path)
    assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.mark.usefixtures("importable")
def test_a_dead_worker_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CmbInpaintError, match=r"a data worker process died .*; rerun with fewer workers"):
        run(tmp_path, workers=1, stream=toy_stream.DeadlyStream())


@pytest.mark.usefixtures("importable")
def test_a_signal_that_ends_the_workers_too_stops_resumably(tmp_path: Path, straight: Path) -> None:
    result = run(tmp_path, workers=1, stream=toy_stream.SignalledStream(), validation_batches=0)
    assert result.signal == signal.SIGTERM and result.step < 6  # type: ignore[attr-defined]
    run(tmp_path)
    assert_equal_runs(straight, tmp_path)


def test_random_state_and_threads_are_the_callers_again(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.get_rng_state()
    threads = torch.get_num_threads()
    run(tmp_path, stop_after=1)
    assert torch.equal(torch.get_rng_state(), expected)
    assert torch.get_num_threads() == threads


def test_bf16_runs(tmp_path: Path) -> None:
    result = run(tmp_path, precision="bf16", stop_after=2)
    assert np.isfinite(result.loss)  # type: ignore[attr-defined]
    assert all(t.dtype == torch.float32 for t in final_weights(tmp_path).values() if t.is_floating_point())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_resumably(tmp_path: Path, straight: Path, number: int) -> None:
    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    result = train(
        toy.toy_recipe(),
        tmp_path,
        device="cpu",
        stream=toy_stream.ToyStream(),
        model=toy.toy_model(),
        progress=stop,
    )
    assert (result.step, result.signal, result.finished) == (3, number, False)
    assert signal.getsignal(number) is before
    run(tmp_path)
    assert_equal_runs(straight, tmp_path)


def newest(folder: Path) -> int:
    found = list_checkpoints(folder / "checkpoints")
    return step_of(found[-1]) if found else 0


CHILD = """
import sys
sys.path.insert(0, {here!r})
import toy
import toy_stream
from cmbinpaint.training import train
train(toy.toy_recipe(checkpoint_every=1), {folder!r}, device="cpu", stream=toy_stream.ToyStream(pause=0.1),
      model=toy.toy_model())
"""


def test_kill_9_at_any_moment(tmp_path: Path, straight: Path) -> None:
    """Killed, resumed and killed again; `benchmarks/kill.py` does it at random moments of the real command."""
    code = CHILD.format(here=str(HERE), folder=str(tmp_path))
    for moment in (1, 4):
        child = subprocess.Popen([sys.executable, "-c", code])
        try:
            until = time.monotonic() + 150
            while newest(tmp_path) < moment and time.monotonic() < until:
                assert child.poll() is None, "the child ended before it could be killed"
                time.sleep(0.01)
        finally:
            child.kill()
            child.wait()
        assert moment <= newest(tmp_path) < 6
    with (tmp_path / "training.csv").open("a") as log:
        log.write("99,0.1,")  # a row cut short
    run(tmp_path)
    assert_equal_runs(straight, tmp_path)
    assert [row["step"] for row in read(tmp_path / "training.csv")] == [1, 2, 3, 4, 5, 6]


def test_nan_stops_and_keeps_the_last_good_state(tmp_path: Path, straight: Path) -> None:
    # Two batches a step: batch 7 is the second one of step 4.
    with pytest.raises(
        ConvergenceError,
        match=r"the loss is nan at step 4 \(training batch 7, seed 3\); the state before it is kept in .*"
        r"lower \[optimizer\] lr, or use precision = 'fp32'",
    ):
        run(tmp_path, stream=toy_stream.ToyStream(nan_at=7))
    good = load_latest(tmp_path / "checkpoints")
    assert good is not None and good.step == 3
    run(tmp_path)
    assert_equal_runs(straight, tmp_path)


def test_other_architecture(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    with pytest.raises(
        CheckpointError, match=r"tensor 'first.weight' is float32 \(4, 2, 3, 3\) in the checkpoint and"
    ):
        train(toy.toy_recipe(), tmp_path, device="cpu", stream=toy_stream.ToyStream(), model=toy.toy_model(5))


def rewrite(path: Path, change: Callable[[dict], object]) -> None:
    """Change a checkpoint's tensors or manifest; the hashes fit what is then there."""
    manifest = json.loads((path.parent / "manifest.json").read_text())
    if path.suffix == ".json":
        change(manifest)
    else:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)
        manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "manifest.json").write_text(json.dumps(manifest))


CONTENT = {
    "no moment": ("optimizer", lambda t: t.pop("last.bias/exp_avg"), "no tensor 'last.bias/exp_avg' of the optimizer"),
    "no such moment": ("optimizer", lambda t: t.update({"last.bias/max": torch.ones(1)}), "'last.bias/max' belongs"),
    "moment of integers": (
        "optimizer", lambda t: t.update({"last.bias/exp_avg": torch.ones(1).int()}), "is int32 (1,); its parameter"
    ),
    "random state of floats": ("random", lambda t: t.update(cpu=t["cpu"].float()), "random state is none of torch's"),
    "short random state": ("random", lambda t: t.update(cpu=t["cpu"][:5].clone()), "random state is none of torch's"),
    "no random state": ("random", lambda t: t.update(x=t.pop("cpu")), "random state is none of torch's"),
    "stale": ("json", lambda m: m["position"].update(stale="x"), "position has stale = 'x', which no run has"),
    "hash": ("json", lambda m: m["files"].update({"ema.safetensors": 5}), "the sha256 of 'ema.safetensors' is 5"),
    "step": ("json", lambda m: m.update(step=7), "is of step 7, the folder's name says 1"),
    "recipe": ("json", lambda m: m["recipe"].update(steps=10**25), "the checkpoint's recipe cannot be read"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:damaged checkpoint")
@pytest.mark.parametrize("kind", CONTENT)
def test_hashes_that_fit_and_content_that_does_not(tmp_path: Path, kind: str) -> None:
    run(tmp_path, stop_after=1)
    file, change, text = CONTENT[kind]
    name = "manifest.json" if file == "json" else f"{file}.safetensors"
    rewrite(tmp_path / "checkpoints" / "step_00000001" / name, change)
    with pytest.raises(CheckpointError, match=re.escape(text)):
        run(tmp_path)


def test_a_second_training_in_one_folder_is_refused(tmp_path: Path) -> None:
    def second(step: int, steps: int, loss: float) -> None:
        if step == 2:
            with pytest.raises(CheckpointError, match=rf"another process \({os.getpid()} on .*\) trains in"):
                run(tmp_path)

    train(
        toy.toy_recipe(), tmp_path, device="cpu", stream=toy_stream.ToyStream(), model=toy.toy_model(), progress=second
    )  # fmt: skip
    assert [row["step"] for row in read(tmp_path / "training.csv")] == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("step", [3, 5])
def test_a_signal_drops_the_validation_for_the_run_that_resumes(
    tmp_path: Path, straight: Path, step: int
) -> None:
    """It comes during the step before a validation (3) and where none is due (5); nothing is lost either way."""

    def stop(now: int, steps: int, loss: float) -> None:
        if now == step:
            signal.raise_signal(signal.SIGTERM)

    train(
        toy.toy_recipe(), tmp_path, device="cpu", stream=toy_stream.ToyStream(), model=toy.toy_model(), progress=stop
    )  # fmt: skip
    assert [row["step"] for row in read(tmp_path / "validation.csv")] == [3][: step > 3]
    run(tmp_path, stop_after=0)
    assert [row["step"] for row in read(tmp_path / "validation.csv")] == [3]
    run(tmp_path)
    assert (tmp_path / "validation.csv").read_bytes() == (straight / "validation.csv").read_bytes()
    one, two = (load_latest(folder / "checkpoints") for folder in (straight, tmp_path))
    assert one is not None and two is not None and (one.position, one.losses) == (two.position, two.losses)


def test_losses_outlive_an_interruption(tmp_path: Path, straight: Path) -> None:
    """A checkpoint between two validations knows the one before, also of a run that was stopped in between."""
    every = {"keep_checkpoints": 0, "checkpoint_every": 1}
    run(tmp_path / "whole", **every)
    run(tmp_path / "parts", stop_after=4, **every)
    run(tmp_path / "parts", **every)
    one, two = (
        read_checkpoint(tmp_path / n / "checkpoints" / "step_00000005").losses for n in ("whole", "parts")
    )
    assert one == two and one["validation"]["hole"] > 0


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"loss": {"cross_entropy": 1.0}, "classes": {}}, "[classes] needs data with classes"),
        (
            {"loss": {"hole": 1.0}},
            "recipe: [data], [model] and [loss] do not fit each other: got features of shape (3, 2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_work(tmp_path: Path, changes: dict, text: str) -> None:
    class Bare(toy_stream.ToyStream):  # type: ignore[name-defined, misc]
        def batch(self, index: int, split: str = "train") -> object:
            return Pair(
                *(getattr(super(Bare, self).batch(index, split), name) for name in ("x", "valid", "truth"))
            )

    recipe = Recipe.from_mapping({**toy.toy_recipe().to_mapping(), **changes})
    network = build_model({"family": "pconv", "encoder": [[4, 3]], "decoder": []})
    with pytest.raises(RecipeError, match=re.escape(text)):
        train(recipe, tmp_path, device="cpu", stream=Bare(), model=network)
    assert newest(tmp_path) == 0


def test_what_does_not_fit_in_a_later_stage_is_refused_before_work(tmp_path: Path) -> None:
    stages = [
        {"name": "a", "epochs": 1, "steps_per_epoch": 1},
        {"name": "b", "epochs": 1, "steps_per_epoch": 1, "data": {"side": 18}},
    ]
    recipe = Recipe.from_mapping({
        "name": "late", "seed": 0, "stage": stages, "workers": 0, "optimizer": {"warmup_steps": 0},
        "model": {"family": "pconv", "encoder": [[4, 3], [4, 3]], "decoder": [4]},
        "data": {"kind": "flat", "side": 16, "batch_size": 1},
    })  # fmt: skip
    text = r"\[\[stage\]\] 'b': \[data\], \[model\] and \[loss\] do not fit each other: .*18 x 18.*multiples of 4"
    with pytest.raises(RecipeError, match=text):
        train(recipe, tmp_path, device="cpu", progress=lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    class Unfit(toy_stream.ToyStream):  # type: ignore[name-defined, misc]
        def batch(self, index: int, split: str = "train") -> object:
            if index == 5:
                raise MaskError("no mask fits")
            return super().batch(index, split)

    with pytest.raises(MaskError, match=r"^train batch 5: no mask fits"):
        run(tmp_path, stream=Unfit())
    assert newest(tmp_path) == 2


def test_other_recipe(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    with pytest.raises(CheckpointError, match="was trained with seed 3, the recipe says 4; restore the seed"):
        run(tmp_path, seed=4)
    with pytest.warns(CmbInpaintWarning, match="the recipe's steps, loss changed since the checkpoint"):
        run(tmp_path, steps=3, loss={"hole": 1.0})


def test_resume_false_refuses_a_used_folder(tmp_path: Path) -> None:
    run(tmp_path, stop_after=1)
    with pytest.raises(
        CheckpointError, match="holds checkpoints of an earlier run; resume it, or use another folder"
    ):
        train(
            toy.toy_recipe(),
            tmp_path,
            resume=False,
            device="cpu",
            stream=toy_stream.ToyStream(),
            model=toy.toy_model(),
        )


def test_a_finished_run_is_left_alone(straight: Path) -> None:
    before = states(straight)
    result = run(straight)
    assert result.finished and result.step == 6  # type: ignore[attr-defined]
    assert all(torch.equal(before[name], tensor) for name, tensor in states(straight).items())


def test_final_weights(straight: Path, tmp_path: Path) -> None:
    weights = final_weights(straight)
    assert weights.keys() == toy.toy_model().state_dict().keys()
    last = load_latest(straight / "checkpoints").model  # type: ignore[union-attr]
    assert not torch.equal(weights["first.weight"], last["first.weight"]), "it is the running mean"
    with pytest.raises(CheckpointError, match="holds no checkpoints; train first"):
        final_weights(tmp_path)


def test_ema_follows_its_definition(tmp_path: Path) -> None:
    mean = {name: t.clone() for name, t in toy.toy_model().state_dict().items()}
    for step in (1, 2, 3):
        run(tmp_path, stop_after=1, checkpoint_every=1)
        now = load_latest(tmp_path / "checkpoints").model  # type: ignore[union-attr]
        decay = min(0.9, step / (step + 9))
        mean["last.weight"] = decay * mean["last.weight"] + (1 - decay) * now["last.weight"]
    # Single precision, a handful of operations.
    torch.testing.assert_close(
        final_weights(tmp_path)["last.weight"], mean["last.weight"], rtol=1e-6, atol=1e-7
    )


def test_an_absent_device(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:77' is not available; use 'auto' or one of: cpu"):
        train(
            toy.toy_recipe(), tmp_path, device="cuda:77", stream=toy_stream.ToyStream(), model=toy.toy_model()
        )


class Hungry(torch.nn.Module):
    """A network that asks for more memory than there is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, valid: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")


class Exploding(Hungry):
    """Its output is finite, its gradient is not."""

    def forward(self, x: torch.Tensor, valid: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
        return x + (1 - valid) * torch.sqrt(self.weight - 1)


@pytest.mark.parametrize(
    ("network", "error", "text"),
    [
        (Hungry, DeviceError, r"cpu is out of memory; lower \[data\] batch_size, or use another device"),
        (Exploding, ConvergenceError, r"the gradient is (inf|nan) at step 1 \(training batch 0, seed 3\)"),
    ],
)
def test_what_stops_a_training_is_named(network: type, error: type, text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        train(toy.toy_recipe(), tmp_path, device="cpu", stream=toy_stream.ToyStream(), model=network())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        CheckpointError, match=r"cannot make the folder .*file/run \(Not a directory\); give another"
    ):
        run(tmp_path / "file" / "run")
