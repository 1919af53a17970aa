"""What a training run is: frozen dataclasses, read from TOML, refused when they contradict themselves.

Inputs: a TOML file or a mapping. Outputs: `Recipe`.

A recipe is a flat table of the run's own settings and sub-tables: `[data]` goes to the data set's factory, `[model]`
to the architecture's; `[optimizer]`, `[loss]`, `[[stage]]`, `[perceptual]`, `[sky]` and `[classes]` are read here
and in `recipe_sections`.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.recipes.checks import (
    check_choice,
    check_integer,
    check_keys,
    check_number,
    check_table,
    read_recipe,
)
from cmbinpaint.training.recipes.recipe_sections import (
    ClassesRecipe,
    OptimizerRecipe,
    PerceptualRecipe,
    SkyRecipe,
    StageRecipe,
    make_part,
)

Precision = Literal["fp32", "bf16", "auto"]
# Those of `cmbinpaint.nn.losses`; named here so that reading a recipe needs no torch.
LOSS_TERMS = (
    "valid", "hole", "hole_squared", "total_variation", "perceptual", "style_output",
    "style_composite", "spectral", "physical", "cross_entropy",
)  # fmt: skip
_RECIPES = Path(__file__).parent
_DATA = "data-"  # so begin the names of data sets' recipes
_PARTS: dict[str, type[Any]] = {
    "optimizer": OptimizerRecipe, "perceptual": PerceptualRecipe, "sky": SkyRecipe, "classes": ClassesRecipe,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes
    ----------
    name
        What the run is called in logs and cards.
    seed
        Seed of the initial weights, where they are random, and of the data; 0 is a seed.
    steps
        Optimizer steps in all; with stages it follows from them and is not given.
    data
        Options of `cmbinpaint.training.data.build.build_stream`.
    model
        The architecture, for `cmbinpaint.nn.models.build_model`.
    start
        Weights to begin from instead of random ones, with a fresh optimizer: the name of a network that ships, or the
        path of a card (.json).
    optimizer
        See `OptimizerRecipe`.
    loss
        Weight of each term of the loss (`LOSS_TERMS`).
    accumulate
        Batches whose gradients make one step.
    precision
        ``"bf16"`` computes convolutions in bfloat16, ``"fp32"`` everything in single precision; ``"auto"``: bf16
        where the device computes in it, fp32 elsewhere.
    ema_decay
        Decay of the running mean of the weights, which is validated and shipped; 0: the last weights.
    checkpoint_every, validate_every, log_every
        In steps; the last step, and every epoch's last of a run in stages, is always validated and kept.
    validation_batches
        How many fixed batches of the validation split are used; 0: none.
    workers
        Processes that simulate batches ahead; 0: the training process does it. The result is the same.
    threads
        CPU threads of the network; None: torch's own choice.
    keep_checkpoints
        How many of the newest checkpoints stay, beside the one of lowest validation loss; 0: all.
    stage
        The stages, in order; empty: one stage of `steps`.
    perceptual, sky, classes
        For the perceptual and style terms, the physical term, and classifiers.
    """

    name: str
    seed: int
    steps: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    loss: Mapping[str, float] = field(default_factory=lambda: {"hole": 1.0})
    accumulate: int = 1
    precision: Precision = "fp32"
    ema_decay: float = 0.999
    checkpoint_every: int = 500
    validate_every: int = 500
    log_every: int = 10
    validation_batches: int = 8
    workers: int = 1
    threads: int | None = None
    keep_checkpoints: int = 3
    stage: tuple[StageRecipe, ...] = ()
    perceptual: PerceptualRecipe = field(default_factory=PerceptualRecipe)
    sky: SkyRecipe | None = None
    classes: ClassesRecipe | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        where = "recipe:"
        if not isinstance(self.name, str) or not self.name:
            raise RecipeError(f"{where} name is {self.name!r}; give the run a name")
        check_integer(where, "seed", self.seed, least=0)
        for key in ("accumulate", "checkpoint_every", "validate_every", "log_every"):
            check_integer(where, key, getattr(self, key), least=1)
        for key in ("validation_batches", "keep_checkpoints"):
            check_integer(where, key, getattr(self, key), least=0)
        check_integer(where, "workers", self.workers, least=0, most=1024)
        if self.threads is not None:
            check_integer(where, "threads", self.threads, least=1, most=1024)
        if self.start is not None and (not isinstance(self.start, str) or not self.start):
            raise RecipeError(
                f"{where} start is {self.start!r}; give a network's name or the path of its card"
            )
        check_choice(where, "precision", self.precision, get_args(Precision))
        check_number(where, "ema_decay", self.ema_decay, least=0.0, below=1.0)
        for key in ("data", "model", "loss"):
            if not isinstance(getattr(self, key), Mapping):
                raise RecipeError(f"{where} {key} is {getattr(self, key)!r}; write a table [{key}]")
            object.__setattr__(self, key, dict(getattr(self, key)))
        self._check_stages()
        self._check_loss()

    def _check_stages(self) -> None:
        object.__setattr__(self, "stage", tuple(self.stage))
        if not self.stage:
            check_integer("recipe:", "steps", self.steps, least=1)
        elif self.steps not in (None, sum(stage.steps for stage in self.stage)):
            raise RecipeError(
                f"recipe: steps is {self.steps} and there are stages; drop steps, they say how many"
            )
        else:
            object.__setattr__(self, "steps", sum(stage.steps for stage in self.stage))
        names = [stage.name for stage in self.stage]
        for number, stage in enumerate(self.stage):
            if stage.name in names[:number]:
                raise RecipeError(f"{stage.where} is the second stage of that name; names must differ")
            if stage.patience is not None and not self.validation_batches:
                raise RecipeError(
                    f"{stage.where} patience looks at the validation loss, and validation_batches is 0"
                )
            if number == 0 and stage.freeze_encoder_norm and self.start is None:
                raise RecipeError(
                    f"{stage.where} freezes the encoder's norm before any stage has learned it; put a stage without "
                    "freeze_encoder_norm first, or start from weights that have"
                )
        for stage in self.plan:
            if self.optimizer.warmup_steps > stage.steps:
                what = f"stage {stage.name!r}" if self.stage else "the run"
                raise RecipeError(
                    f"[optimizer] warmup_steps is {self.optimizer.warmup_steps}, more than {what}'s "
                    f"{stage.steps} steps; warm up for fewer"
                )

    def _check_loss(self) -> None:
        check_keys("[loss]", self.loss, LOSS_TERMS)
        for key, weight in self.loss.items():
            check_number("[loss]", key, weight, least=0.0)
        active = [key for key, weight in self.loss.items() if weight > 0]
        if not active:
            raise RecipeError(f"[loss] has no term with a positive weight; known: {', '.join(LOSS_TERMS)}")
        if "cross_entropy" in active and len(active) > 1:
            raise RecipeError(
                f"[loss] cross_entropy is for classifiers and {active} are together; give it alone, or none of it"
            )
        if (self.classes is None) == ("cross_entropy" in active):
            raise RecipeError(
                "[classes] and the loss term cross_entropy need each other; give both, or neither"
            )
        if "physical" in active and self.sky is None:
            raise RecipeError(
                "[loss] physical needs the sky: write a table [sky] with step_arcmin and noise_over_rms"
            )

    @property
    def plan(self) -> tuple[StageRecipe, ...]:
        """The stages; a recipe without any is one epoch of all its steps."""
        return self.stage or (StageRecipe("all", 1, int(self.steps or 0)),)

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> "Recipe":
        """Make a recipe of a table as TOML or JSON gives it.

        Raises
        ------
        RecipeError
            For an unknown, absent, ill-typed or out-of-range entry.
        """
        needed = ["name", "seed", *([] if "stage" in table else ["steps"])]
        check_table("recipe", table, [f.name for f in fields(cls)], needed)
        options = dict(table)
        for key, kind in _PARTS.items():
            if options.get(key) is not None:
                options[key] = make_part(kind, options[key], f"[{key}]")
        stages = options.get("stage", [])
        if not isinstance(stages, list | tuple):
            raise RecipeError(f"recipe: stage is {stages!r}; write tables [[stage]]")
        options["stage"] = tuple(make_part(StageRecipe, stage, "[[stage]]") for stage in stages)
        return cls(**options)

    @classmethod
    def read(cls, path: str | Path) -> "Recipe":
        """Read a TOML file, or a recipe of the package by its name.

        Raises
        ------
        RecipeError
            If there is no such file, it is not TOML, or not a recipe.
        """
        file = Path(path)
        if not file.is_file() and (_RECIPES / f"{path}.toml").is_file() and file.name == str(path):
            file = _RECIPES / f"{path}.toml"
            if file.stem.startswith(_DATA):
                raise RecipeError(
                    f"{file.stem!r} is a data set's recipe, for `cmbinpaint dataset`; to train give a TOML file or one "
                    f"of: {', '.join(list_recipes())}"
                )
        return read_recipe(cls.from_mapping, file, f"recipe {str(path)!r}", list_recipes())

    def to_mapping(self) -> dict[str, Any]:
        """The recipe as plain JSON types; `from_mapping` gives it back."""
        table = asdict(self)
        if self.stage:
            del table["steps"]
        return _plain(table)


def list_recipes() -> list[str]:
    """Names of the training recipes that come with the package (``data-*`` are data sets')."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml") if not path.stem.startswith(_DATA))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
