"""The training loop: reads batches, takes steps, keeps logs, validates, and can be stopped at any moment.

Inputs: a `Recipe` and an output folder. Outputs: checkpoints, ``training.csv``, ``validation.csv``.

A run's state is its checkpoint and nothing else: batches are functions of (seed, split, index), so a run that
was interrupted, however, goes on to the same weights as one that was not (bit for bit on a CPU with equal
threads). Started by torchrun, each process takes its share of every batch, and the first one writes.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from cmbinpaint.errors import CheckpointError, ConvergenceError
from cmbinpaint.training.data.build import open_streams, to_tensors
from cmbinpaint.training.data.prefetch import Prefetcher, Stream, WorkerError
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.recipes.recipe_sections import StageRecipe
from cmbinpaint.training.run.checkpoint import (
    list_checkpoints,
    save_checkpoint,
)
from cmbinpaint.training.run.classifier import ClassKeeper
from cmbinpaint.training.run.distributed import join_world
from cmbinpaint.training.run.export import export_weights
from cmbinpaint.training.run.logs import Meter, RunLogs
from cmbinpaint.training.run.objective import AnyScore, ScoreKeeper, build_loss, check_model, count_patches
from cmbinpaint.training.run.position import Position
from cmbinpaint.training.run.process_state import StopSignals, private_torch
from cmbinpaint.training.run.resume import initial_network, restore
from cmbinpaint.training.run.state import TrainingState

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
_KEPT_CHECKS = 64  # validation batches that stay in memory; of more, each is read anew


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes
    ----------
    out_dir
        Its folder.
    step, steps
        Optimizer steps done, and wanted: those done and those that the stages leave at most.
    loss
        Loss of the last step taken; NaN if none was.
    score
        The last validation; None if there was none.
    signal
        The signal that stopped it; None otherwise.
    weights
        The card of the trained network (`export.export_weights`); None of an unfinished run, in other processes
        than the first, or when the network was given.
    """

    out_dir: Path
    step: int
    steps: int
    loss: float
    score: AnyScore | None
    signal: int | None
    weights: Path | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    recipe: Recipe | str | Path,
    out_dir: str | Path,
    *,
    resume: bool = True,
    resume_from: str | Path | None = None,
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
    resume_from
        Go on from this checkpoint instead; see `resume.restore`.
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
        Steps done, the last loss and validation, and the signal that stopped it, if one did.

    Raises
    ------
    CheckpointError
        If the folder's checkpoints do not belong to this recipe, none is whole, or the disk is full.
    ConvergenceError
        If the loss or its gradient is not finite; the last good state is kept.
    DeviceError
        If the device is not there.
    RecipeError
        If the recipe's data, model, start or stages do not fit each other.
    WeightsError
        If the weights that the recipe starts with are not there or damaged.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    out = Path(out_dir)
    with join_world(device) as (world, place), private_torch(recipe, place):
        network = model or initial_network(recipe)
        check_model(network, recipe)
        streams = open_streams(recipe, stream, world)
        state = TrainingState(network, recipe, place, world)
        position = restore(state, out, recipe, resume=resume, resume_from=resume_from)
        world.wait()  # all have read before the first one writes
        with StopSignals() as stop:
            result = _Run(recipe, out, state, position, streams, stop, progress).go(stop_after)
        if result.finished and model is None and world.first:
            return replace(result, weights=export_weights(out))
        return result


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        state: TrainingState,
        position: Position,
        streams: Sequence[Stream],
        stop: StopSignals,
        progress: Progress | None,
    ) -> None:
        self.recipe, self.out, self.state, self.position = recipe, out, state, position
        self.streams, self.stop, self.progress = streams, stop, progress
        self.world = state.world
        self.criterion = build_loss(recipe, state.device)
        self.channels = int(recipe.model.get("channels", 1))
        self.keeper: Any = ScoreKeeper if recipe.classes is None else ClassKeeper
        self.loss = math.nan
        self.score: AnyScore | None = None
        self.figures: dict[str, float] = {}  # of the last validation
        self.saved_step = state.step if list_checkpoints(out / "checkpoints") else -1
        self.signal = 0

    def go(self, stop_after: int | None) -> TrainResult:
        """Take the remaining steps, or `stop_after` of them."""
        plan, first = self.recipe.plan, self.state.step
        self.last = first + self.position.steps_left(plan)
        if stop_after is not None:
            self.last = min(self.last, first + stop_after)
        with ExitStack() as stack:
            self.logs = RunLogs(
                stack, self.out, self.criterion.names, self.keeper.columns, first, self.world.first
            )
            self.bar = stack.enter_context(tqdm(
                total=first + self.position.steps_left(plan), initial=first, unit="step",
                disable=True if self.progress or not self.world.first else None,
            ))  # fmt: skip
            self.meter = Meter()
            while True:
                self._stage(plan[self.position.stage])
                if not self.position.over(plan[self.position.stage]) or self._paused():
                    break
                if self.position.stage + 1 == len(plan):
                    break
                self.position = self.position.next_stage()
            self._save()
        step = self.state.step
        steps = step + self.position.steps_left(plan)
        return TrainResult(self.out, step, steps, self.loss, self.score, self.signal or None)

    def _paused(self) -> bool:
        return self.signal != 0 or self.state.step >= self.last

    def _stage(self, stage: StageRecipe) -> None:
        """Take a stage's remaining steps, as far as this call goes."""
        if self.position.over(stage) or self._paused():
            return
        self.state.begin_stage(stage, self.position.step)
        logger.info("stage %s from step %d", stage.name, self.state.step)
        first, size = self.state.step, self.recipe.accumulate
        last = min(self.last, first + stage.steps - self.position.step)
        checks: list[Any] = []  # the validation batches, once made
        with Prefetcher(self.streams[self.position.stage], self.recipe.workers) as prefetcher:
            batches = prefetcher.batches(range(first * size, last * size))
            while self.state.step < last and not self.signal:
                try:
                    self._step(batches)
                except WorkerError:
                    if not self.stop.signal or self.world.size > 1:
                        raise
                    # The signal went to the whole group and ended the workers first: what was begun is undone.
                    self.signal = self.stop.signal
                    self.state.abandon_step()
                    break
                self._after_step(stage, prefetcher, checks)
                if self.position.over(stage):
                    break
            batches.close()  # type: ignore[attr-defined]

    def _after_step(self, stage: StageRecipe, prefetcher: Prefetcher, checks: list[Any]) -> None:
        self.position = self.position.advanced()
        step, epoch_ends = self.state.step, self.position.epoch_ends(stage)
        self.bar.set_postfix(loss=f"{self.loss:.4g}", stage=stage.name, refresh=False)
        self.bar.update()
        if self.progress is not None and self.world.first:
            self.progress(step, step + self.position.steps_left(self.recipe.plan), self.loss)
        self.signal = self.world.highest(self.stop.signal or 0)
        if step % self.recipe.log_every == 0 or step == self.last or epoch_ends:
            row = self.meter.row(step, self.state.learning_rate(step - 1))
            self.logs.training({**row, **self._place(stage)})
        if self.recipe.validation_batches and (step % self.recipe.validate_every == 0 or epoch_ends):
            self._validate(stage, prefetcher, checks)
            self.meter.restart()
        if step % self.recipe.checkpoint_every == 0 or epoch_ends or step == self.position.best_step:
            self._save()

    def _place(self, stage: StageRecipe) -> dict[str, float]:
        return {"stage": self.position.stage + 1, "epoch": self.position.epoch(stage)}

    def _step(self, batches: Iterator[Any]) -> None:
        size, patches = self.recipe.accumulate, 0
        total = torch.zeros(1 + len(self.criterion.names), dtype=torch.float64)
        first = self.state.step * size
        self.state.begin_step()
        for part in range(size):
            with self.meter.waiting():
                batch = next(batches)
            inputs, truth = to_tensors(batch, self.state.device)
            with self.state.one_of_several(last=part == size - 1):
                with self.state.autocast():
                    prediction = self.state.network(**inputs)
                    terms = self.criterion.terms(prediction, truth, inputs)
                loss = self.criterion.total(terms) / size
                loss.backward()
            parts = torch.stack([loss.detach() * size, *(term.detach() for term in terms.values())])
            total += self.world.mean(parts).double() / size
            patches += count_patches(truth, self.channels) * self.world.size
            if not math.isfinite(float(total[0])):
                self._give_up("loss", float(total[0]), first + part)
        norm = self.state.gradient_norm()
        if not math.isfinite(norm):
            self._give_up("gradient", norm, first)
        self.state.update()
        self.loss, *each = total.tolist()
        self.meter.add(self.loss, norm, patches, dict(zip(self.criterion.names, each, strict=True)))

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

    def _validate(self, stage: StageRecipe, prefetcher: Prefetcher, checks: list[Any]) -> None:
        indices = range(self.recipe.validation_batches)
        kept = len(indices) <= _KEPT_CHECKS
        if kept and not checks:
            checks.extend(prefetcher.batches(indices, "validation"))
        keeper = self.keeper(self.criterion)
        with torch.no_grad():
            for batch in checks if kept else prefetcher.batches(indices, "validation"):
                inputs, truth = to_tensors(batch, self.state.device)
                with self.state.autocast():
                    keeper.add(self.state.ema(**inputs), truth, inputs)
        self.score, terms = keeper.score(self.world)
        step = self.state.step
        self.figures = {**self.keeper.row(self.score), **terms}
        self.position = self.position.validated(self.score.loss, step, stage)
        self.logs.validation({"step": step, **self._place(stage), **self.figures})
        logger.info("step %d: %s", step, self.score.summary())

    def _save(self) -> None:
        if self.state.step == self.saved_step:
            return
        if self.world.first:
            losses = {"training": self.loss, "validation": self.figures}
            finite = json.loads(json.dumps(losses), parse_constant=lambda _: None)
            best = self.position.best_step
            save_checkpoint(
                self.out / "checkpoints",
                self.state.to_checkpoint(self.position.to_mapping(), finite),
                keep=self.recipe.keep_checkpoints,
                pinned=() if best is None else (best,),
            )
        self.saved_step = self.state.step
