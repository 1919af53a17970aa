"""The training loop: reads batches, takes steps, keeps logs, validates, and can be stopped at any moment.

Takes: a `Recipe` and an output folder. Gives: checkpoints, ``training.csv``, ``validation.csv``. Floor: 3.

A run's state is its checkpoint and nothing else: batches are functions of (seed, split, index), so a run that
was interrupted, however, goes on to the same weights as one that was not (bit for bit on a CPU with equal
threads).
"""

import logging
import math
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cmbinpaint.errors import CheckpointError, CmbInpaintWarning, ConvergenceError
from cmbinpaint.nn.devices import find_device
from cmbinpaint.nn.models import build_model
from cmbinpaint.training.checkpoint import TensorDict, list_checkpoints, load_latest, save_checkpoint
from cmbinpaint.training.logs import CsvLog, Meter
from cmbinpaint.training.objective import Score, ScoreKeeper, objective
from cmbinpaint.training.prefetch import Prefetcher, Stream
from cmbinpaint.training.recipe import Recipe
from cmbinpaint.training.state import TrainingState

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
# What a resumed run may change without changing its outcome.
_FREE = {
    "name",
    "workers",
    "threads",
    "checkpoint_every",
    "validate_every",
    "log_every",
    "validation_batches",
}
_FIXED = {"seed", "model"}


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes
    ----------
    out_dir
        Its folder.
    step, steps
        Optimizer steps done, and wanted.
    loss
        Loss of the last step taken; NaN if none was.
    score
        The last validation; None if there was none.
    signal
        The signal that stopped it; None otherwise.
    """

    out_dir: Path
    step: int
    steps: int
    loss: float
    score: Score | None
    signal: int | None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    recipe: Recipe | str | Path,
    out_dir: str | Path,
    *,
    resume: bool = True,
    device: str = "auto",
    progress: Progress | None = None,
    stop_after: int | None = None,
    stream: Stream | None = None,
    model: nn.Module | None = None,
) -> TrainResult:
    """Train a network.

    Parameters
    ----------
    recipe
        What to do, or the TOML file that says it.
    out_dir
        Folder of logs and checkpoints; made if absent.
    resume
        Go on from the newest whole checkpoint in `out_dir`; False refuses a folder that has one.
    device
        ``"auto"`` (an accelerator if there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    progress
        Called as ``progress(step, steps, loss)`` after each step, instead of the bar shown on a terminal.
    stop_after
        Stop, resumable, after this many steps of this call.
    stream, model
        Instead of those that the recipe describes.

    Returns
    -------
    TrainResult

    Raises
    ------
    CheckpointError
        If the folder's checkpoints do not belong to this recipe, or none is whole.
    ConvergenceError
        If the loss or its gradient is not finite; the last good state is kept.
    DeviceError
        If the device is not there.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    place = find_device(device)
    out = Path(out_dir)
    if stream is None:
        from cmbinpaint.training.datasets import build_stream  # only here: a custom stream needs no simulator

        stream = build_stream(recipe.data, recipe.seed)
    with _private_torch(recipe, place):
        state = TrainingState(model or build_model(recipe.model), recipe, place)
        _restore(state, out, recipe, resume=resume)
        with Prefetcher(stream, recipe.workers) as prefetcher, _StopSignals() as stop:
            run = _Run(recipe, out, state, prefetcher, stop, progress)
            return run.go(stop_after)


def final_weights(out_dir: str | Path) -> TensorDict:
    """The weights to ship: the running mean in the newest whole checkpoint of a run.

    Raises
    ------
    CheckpointError
        If there is none.
    """
    checkpoint = load_latest(Path(out_dir) / "checkpoints")
    if checkpoint is None:
        raise CheckpointError(f"{out_dir} holds no checkpoints; train first, or name the run's own folder")
    return checkpoint.ema


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        state: TrainingState,
        prefetcher: Prefetcher,
        stop: "_StopSignals",
        progress: Progress | None,
    ) -> None:
        self.recipe, self.out, self.state = recipe, out, state
        self.prefetcher, self.stop, self.progress = prefetcher, stop, progress
        self.loss = math.nan
        self.score: Score | None = None
        self.saved_step = state.step if list_checkpoints(out / "checkpoints") else -1
        self.checks: list[Any] | None = None  # the validation batches, once made

    def go(self, stop_after: int | None) -> TrainResult:
        """Take the remaining steps, or `stop_after` of them."""
        first = self.state.step
        last = self.recipe.steps if stop_after is None else min(self.recipe.steps, first + stop_after)
        size = self.recipe.accumulate
        batches = self.prefetcher.batches(range(first * size, last * size))
        bar = tqdm(
            total=self.recipe.steps, initial=first, disable=True if self.progress else None, unit="step"
        )
        training = CsvLog(self.out / "training.csv", _TRAINING_COLUMNS, first)
        validation = CsvLog(self.out / "validation.csv", _VALIDATION_COLUMNS, first)
        with bar, training, validation:
            meter = Meter()
            while self.state.step < last and self.stop.signal is None:
                self._step(batches, meter)
                bar.set_postfix(loss=f"{self.loss:.4g}", refresh=False)
                bar.update()
                if self.progress is not None:
                    self.progress(self.state.step, self.recipe.steps, self.loss)
                step = self.state.step
                if step % self.recipe.log_every == 0 or step == last:
                    training.add(meter.row(step, self.state.learning_rate(step - 1)))
                if self._due(self.recipe.validate_every) and self.recipe.validation_batches:
                    self._validate(validation)
                    meter.restart()
                if self._due(self.recipe.checkpoint_every):
                    self._save()
        self._save()
        step, steps = self.state.step, self.recipe.steps
        return TrainResult(self.out, step, steps, self.loss, self.score, self.stop.signal)

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.recipe.steps

    def _step(self, batches: Iterator[Any], meter: "Meter") -> None:
        step, total, patches = self.state.step, 0.0, 0
        self.state.begin_step()
        for part in range(self.recipe.accumulate):
            with meter.waiting():
                batch = next(batches)
            inputs, truth = to_tensors(batch, self.state.device)
            with self.state.autocast():
                prediction = self.state.model(**inputs)
            loss = objective(self.recipe.loss, prediction, truth, inputs) / self.recipe.accumulate
            loss.backward()
            total += float(loss.detach())
            patches += truth.shape[0] * truth.shape[1]
            if not math.isfinite(total):
                self._give_up("loss", total, step * self.recipe.accumulate + part)
        norm = self.state.gradient_norm()
        if not math.isfinite(norm):
            self._give_up("gradient", norm, step * self.recipe.accumulate)
        self.state.update()
        self.loss = total
        meter.add(total, norm, patches)

    def _give_up(self, what: str, value: float, index: int) -> None:
        self.state.abandon_step()
        try:
            self._save()
            kept = f"the state before it is kept in {self.out / 'checkpoints'}"
        except CheckpointError:  # the weights themselves were hit: the last checkpoint stays the newest
            kept = f"the last good state is the newest in {self.out / 'checkpoints'}"
        raise ConvergenceError(
            f"the {what} is {value} at step {self.state.step + 1} (training batch {index}, seed "
            f"{self.recipe.seed}); {kept}; lower [optimizer] lr, or use precision = 'fp32'"
        )

    def _validate(self, log: CsvLog) -> None:
        if self.checks is None:
            indices = range(self.recipe.validation_batches)
            self.checks = list(self.prefetcher.batches(indices, "validation"))
        keeper = ScoreKeeper(self.recipe.loss)
        with torch.no_grad():
            for batch in self.checks:
                inputs, truth = to_tensors(batch, self.state.device)
                with self.state.autocast():
                    prediction = self.state.ema(**inputs)
                keeper.add(prediction, truth, inputs)
        self.score = keeper.score()
        log.add({"step": self.state.step, **asdict(self.score), "gain": self.score.gain})
        logger.info("step %d: %s", self.state.step, self.score)

    def _save(self) -> None:
        if self.state.step == self.saved_step:
            return
        save_checkpoint(self.out / "checkpoints", self.state.to_checkpoint())
        self.saved_step = self.state.step


_TRAINING_COLUMNS = ("step", "loss", "gradient_norm", "lr", "patches_per_s", "data_wait_share")
_VALIDATION_COLUMNS = ("step", *(f.name for f in fields(Score)), "gain")


def to_tensors(batch: Any, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """A batch as the network's inputs by name, and the truth apart; images are channels-last."""
    tensors = {}
    for f in fields(batch):
        tensor = torch.from_numpy(getattr(batch, f.name)).to(device)
        tensors[f.name] = tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
    truth = tensors.pop("truth")
    return tensors, truth


def _restore(state: TrainingState, out: Path, recipe: Recipe, *, resume: bool) -> None:
    folder = out / "checkpoints"
    if not resume and list_checkpoints(folder):
        raise CheckpointError(
            f"{folder} holds checkpoints of an earlier run; resume it, or use another folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = load_latest(folder) if resume else None
    if checkpoint is not None:
        _compare_recipes(checkpoint.recipe, recipe.to_mapping())
        state.restore(checkpoint)
        logger.info("resumed at step %d", state.step)


def _compare_recipes(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = [key for key in new if old.get(key) != new[key] and key not in _FREE]
    if "seed" in changed:
        raise CheckpointError(
            f"the checkpoint was trained with seed {old.get('seed')}, the recipe says {new['seed']}; "
            "restore the seed, or use another output folder"
        )
    # A changed [model] is left to the comparison of tensors, which says more.
    if others := [key for key in changed if key not in _FIXED]:
        warnings.warn(
            f"the recipe's {', '.join(others)} changed since the checkpoint; the run goes on, but will not "
            "equal an uninterrupted one",
            CmbInpaintWarning,
            stacklevel=4,
        )


@contextmanager
def _private_torch(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Random state and number of threads are the run's own, and the caller's again afterwards."""
    threads = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(recipe.seed)
        try:
            if recipe.threads is not None:
                torch.set_num_threads(recipe.threads)
            yield
        finally:
            torch.set_num_threads(threads)


class _StopSignals:
    """Remembers SIGTERM and SIGINT so that the step at hand is finished; a second one acts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        for each, handler in self._before.items():
            signal.signal(each, handler)
