"""The training loop: reads batches, takes steps, keeps logs, validates, and can be stopped at any moment.

Inputs: a recipe, its streams, the state to go on from. Outputs: checkpoints, ``training.csv``, ``validation.csv``.

A run's state is its checkpoint and nothing else: batches are functions of (seed, split, index), so a run that
was interrupted, however, goes on to the same weights as one that was not (bit for bit on a CPU with equal
threads). Started by torchrun, each process takes its share of every batch, and the first one writes.
"""

import json
import logging
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from cmbinpaint.errors import CheckpointError, ConvergenceError, DeviceError, RecipeError
from cmbinpaint.training.data.loader import Stream, WorkerError, read_batches, to_tensors
from cmbinpaint.training.recipes.recipe import Recipe
from cmbinpaint.training.recipes.recipe_sections import StageRecipe
from cmbinpaint.training.run.checkpoint import list_checkpoints, save_checkpoint
from cmbinpaint.training.run.logs import Meter, RunLogs
from cmbinpaint.training.run.objective import AnyScore, ClassKeeper, ScoreKeeper, build_loss, count_patches
from cmbinpaint.training.run.position import Position
from cmbinpaint.training.run.process_state import StopSignals
from cmbinpaint.training.run.state import TrainingState

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, float], None]
_KEPT_CHECKS = 64  # validation batches that stay in memory; of more, each is read again


class Run:
    """One call of `train`: what is left of a run, or a part of it."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        state: TrainingState,
        position: Position,
        losses: Mapping[str, Any],
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
        self.score: AnyScore | None = None
        self.loss: float = math.nan if losses.get("training") is None else losses["training"]
        self.figures: dict[str, Any] = dict(losses.get("validation") or {})
        self.saved_step = state.step if list_checkpoints(out / "checkpoints") else -1
        self.signal = 0

    def check_later_stages(self) -> None:
        """Try the first batches of stages to come, so that what does not fit is refused now and not after days."""
        tried = [self.streams[self.position.stage]]  # its first step comes at once
        for stage, stream in zip(self.recipe.plan, self.streams, strict=True):
            if any(stream is other for other in tried):
                continue
            tried.append(stream)
            (batch,) = read_batches(stream, (0,))
            self.state.begin_step()
            with torch.no_grad():
                self._forward(batch, self.state.model, stage)
            self.state.abandon_step()

    def _forward(
        self, batch: Any, network: nn.Module, stage: StageRecipe
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The prediction, its loss terms, the truth.

        Raises
        ------
        RecipeError
            If data, network and loss do not fit each other.
        DeviceError
            If the device's memory is too small.
        """
        device = self.state.device
        try:
            inputs, truth = to_tensors(batch, device)
            with self.state.autocast():
                prediction = network(**inputs)
                return prediction, self.criterion.terms(prediction, truth, inputs), truth
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{device} is out of memory; lower [data] batch_size, or use another device"
            ) from error
        except (TypeError, KeyError, ValueError, RuntimeError) as error:
            where = stage.where if self.recipe.stage else "recipe:"
            raise RecipeError(f"{where} [data], [model] and [loss] do not fit each other: {error}") from error

    def go(self, stop_after: int | None) -> None:
        """Take the remaining steps, or `stop_after` of them."""
        plan, first = self.recipe.plan, self.state.step
        self.last = first + self.position.steps_left(plan)
        if stop_after is not None:
            self.last = min(self.last, first + stop_after)
        self._look_for_signals()
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

    def _paused(self) -> bool:
        return self.signal != 0 or self.state.step >= self.last

    def _stage(self, stage: StageRecipe) -> None:
        """Take a stage's remaining steps, as far as this call goes."""
        self.checks: list[Any] = []  # the validation batches, once made
        if self._validation_is_due(stage):  # a signal came before it
            self.saved_step = -1
            self._validate_and_save(stage)
        if self.position.over(stage) or self._paused():
            return
        self.state.begin_stage(stage, self.position.step)
        logger.info("stage %s from step %d", stage.name, self.state.step)
        first, size = self.state.step, self.recipe.accumulate
        last = min(self.last, first + stage.steps - self.position.step)
        numbers = range(first * size, last * size)
        with closing(self._read(numbers, "train", workers=self.recipe.workers)) as batches:
            while self.state.step < last and not self.signal and not self.position.over(stage):
                try:
                    self._step(batches, stage)
                except WorkerError:
                    if not self._ended_by_signal():
                        raise
                    self.state.abandon_step()
                    break
                self._after_step(stage)

    def _read(self, indices: Sequence[int], split: str, *, workers: int) -> Generator[Any, None, None]:
        return read_batches(self.streams[self.position.stage], indices, split, workers=workers)

    def _after_step(self, stage: StageRecipe) -> None:
        self.position = self.position.advanced()
        step, plan = self.state.step, self.recipe.plan
        self.bar.set_postfix(loss=f"{self.loss:.4g}", stage=stage.name, refresh=False)
        self.bar.update()
        if self.progress is not None and self.world.first:
            self.progress(step, step + self.position.steps_left(plan), self.loss)
        self._look_for_signals()
        if step % self.recipe.log_every == 0 or step == self.last or self.position.epoch_ends(stage):
            row = self.meter.row(step, self.state.learning_rate(step - 1))
            self.logs.training({**row, **self._place(stage)})
        self._validate_and_save(stage)

    def _look_for_signals(self) -> None:
        self.signal = self.world.highest(self.stop.signal or 0)

    def _ended_by_signal(self) -> bool:
        """Whether workers died of a signal to the whole group, which this process got as well."""
        if self.stop.signal and self.world.size == 1:
            self.signal = self.stop.signal
        return self.signal != 0

    def _place(self, stage: StageRecipe) -> dict[str, float]:
        return {"stage": self.position.stage + 1, "epoch": self.position.epoch(stage)}

    def _step(self, batches: Iterator[Any], stage: StageRecipe) -> None:
        size, patches = self.recipe.accumulate, 0
        total = torch.zeros(1 + len(self.criterion.names), dtype=torch.float64)
        first = self.state.step * size
        self.state.begin_step()
        for part in range(size):
            with self.meter.waiting():
                batch = next(batches)
            with self.state.one_of_several(last=part == size - 1):
                _, terms, truth = self._forward(batch, self.state.network, stage)
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

    def _validation_is_due(self, stage: StageRecipe) -> bool:
        """Whether the last step is one to validate at, and this was not done."""
        step = self.state.step
        asked = step % self.recipe.validate_every == 0 or self.position.epoch_ends(stage)
        return self.recipe.validation_batches > 0 and asked and self.position.checked < step

    def _validate_and_save(self, stage: StageRecipe) -> None:
        step = self.state.step
        if self._validation_is_due(stage):
            try:
                self._validate(stage)
            except WorkerError:
                if not self._ended_by_signal():
                    raise
            self.meter.restart()
        best = step == self.position.best_step
        if step % self.recipe.checkpoint_every == 0 or self.position.epoch_ends(stage) or best:
            self._save()

    def _validate(self, stage: StageRecipe) -> None:
        """Score the running mean of the weights; when a signal comes, this is left to the run that resumes."""
        keeper = self.keeper(self.criterion)
        with torch.no_grad(), closing(self._validation_batches()) as batches:
            for batch in batches:
                self._look_for_signals()
                if self.signal:
                    return
                inputs, truth = to_tensors(batch, self.state.device)
                with self.state.autocast():
                    keeper.add(self.state.ema(**inputs), truth, inputs)
        self.score, terms = keeper.score(self.world)
        step = self.state.step
        self.figures = {**self.keeper.row(self.score), **terms}
        self.position = self.position.validated(self.score.loss, step, stage)
        self.logs.validation({"step": step, **self._place(stage), **self.figures})
        logger.info("step %d: %s", step, self.score.summary())

    def _validation_batches(self) -> Generator[Any, None, None]:
        """The same ones each time; few are made once in a stage, in this process."""
        if self.checks:
            yield from self.checks
            return
        indices, made = range(self.recipe.validation_batches), []
        few = len(indices) <= _KEPT_CHECKS
        with closing(self._read(indices, "validation", workers=0 if few else self.recipe.workers)) as batches:
            for batch in batches:
                if few:
                    made.append(batch)
                yield batch
        self.checks = made

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
