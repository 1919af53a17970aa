"""Where a run in stages stands, and when a stage ends.

Inputs: stages, validation losses. Outputs: `Position`, a pure function of what happened.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from cmbinpaint.errors import CheckpointError
from cmbinpaint.training.recipes.recipe_sections import StageRecipe


@dataclass(frozen=True)
class Position:
    """A run's place in its stages.

    Attributes
    ----------
    stage
        The stage's number, from 0.
    step
        Steps done in it.
    best, best_step
        Lowest validation loss in it, and the run's step of that; None before the first.
    stale
        Whole epochs since the one of that.
    checked
        The run's step of the last validation.
    """

    stage: int = 0
    step: int = 0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    checked: int = 0

    def advanced(self) -> "Position":
        """After one more step."""
        return replace(self, step=self.step + 1)

    def epoch_ends(self, stage: StageRecipe) -> bool:
        """Whether the last step was an epoch's last."""
        return self.step > 0 and self.step % stage.steps_per_epoch == 0

    def epoch(self, stage: StageRecipe) -> int:
        """The epoch of the last step, from 1."""
        return max(self.step - 1, 0) // stage.steps_per_epoch + 1

    def validated(self, loss: float, run_step: int, stage: StageRecipe) -> "Position":
        """After a validation at the run's step `run_step`."""
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return replace(self, best=loss, best_step=run_step, stale=0, checked=run_step)
        began = run_step - stage.steps_per_epoch
        stale = self.epoch_ends(stage) and (self.best_step is None or self.best_step <= began)
        return replace(self, stale=self.stale + stale, checked=run_step)

    def over(self, stage: StageRecipe) -> bool:
        """Whether the stage is done."""
        stale = stage.patience is not None and self.stale >= stage.patience
        return self.step >= stage.steps or (stale and self.epoch_ends(stage))

    def steps_left(self, plan: Sequence[StageRecipe]) -> int:
        """Steps that remain at most."""
        here = plan[self.stage]
        rest = 0 if self.over(here) else here.steps - self.step
        return rest + sum(stage.steps for stage in plan[self.stage + 1 :])

    def next_stage(self) -> "Position":
        """At the start of the stage after this; the best so far stays known until it has one of its own."""
        return Position(stage=self.stage + 1, best_step=self.best_step, checked=self.checked)

    def to_mapping(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any], run_step: int, plan: Sequence[StageRecipe]) -> "Position":
        """What `to_mapping` returned; a manifest without it is of a run in one stage.

        Raises
        ------
        CheckpointError
            If the entries are none of a position in these stages.
        """
        if not table:
            return cls(step=run_step, checked=run_step)
        table = {"checked": run_step, **table}  # manifests of earlier versions lack it
        known = {f.name for f in fields(cls)}
        if set(table) != known:
            raise CheckpointError(
                f"the checkpoint's position has entries {sorted(table)}; expected {sorted(known)}"
            )
        for key, value in table.items():
            kinds = {"best": float | int | None, "best_step": int | None}.get(key, int)
            wrong = not isinstance(value, kinds) or isinstance(value, bool)
            if wrong or (key != "best" and value is not None and value < 0):
                raise CheckpointError(f"the checkpoint's position has {key} = {value!r}, which no run has")
        if not 0 <= table["stage"] < len(plan):
            raise CheckpointError(
                f"the checkpoint is in stage {table['stage'] + 1}, the recipe has {len(plan)}; use the recipe that "
                "the run began with, or another output folder"
            )
        return cls(**table)
