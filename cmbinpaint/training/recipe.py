"""What a training run is: frozen dataclasses, read from TOML, refused when they contradict themselves.

Takes: a TOML file or a mapping. Gives: `Recipe`. Floor: 3.

A recipe is a flat table of the run's own settings and four sub-tables: `[data]` goes to the data set's
factory, `[model]` to the architecture's, `[optimizer]` and `[loss]` are read here.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from cmbinpaint.errors import RecipeError

Precision = Literal["fp32", "bf16"]
Schedule = Literal["cosine", "constant"]
Algorithm = Literal["adam", "adamw"]
# Those of `cmbinpaint.nn.losses` and two of `objective`; named here so that reading a recipe needs no torch.
LOSS_TERMS = ("valid", "hole", "hole_squared", "total_variation", "relative_l1", "relative_l2")
_RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class OptimizerRecipe:
    """The optimizer and its learning rate.

    Attributes
    ----------
    algorithm
        ``"adam"`` (weight decay in the gradient) or ``"adamw"`` (decoupled).
    lr
        Highest learning rate.
    betas
        Adam's two decay rates.
    weight_decay
        As the algorithm takes it.
    warmup_steps
        Steps over which the rate rises linearly from zero.
    schedule
        ``"cosine"``: falls to ``final_lr_share * lr`` at the last step; ``"constant"``.
    final_lr_share
        Where the cosine ends, as a share of `lr`.
    grad_clip
        Largest norm of a step's gradient; None: not clipped.
    """

    algorithm: Algorithm = "adamw"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 100
    schedule: Schedule = "cosine"
    final_lr_share: float = 0.01
    grad_clip: float | None = 1.0

    def __post_init__(self) -> None:
        where = "[optimizer]"
        _one_of(where, "algorithm", self.algorithm, get_args(Algorithm))
        _one_of(where, "schedule", self.schedule, get_args(Schedule))
        _number(where, "lr", self.lr, above=0.0)
        if not isinstance(self.betas, list | tuple) or len(self.betas) != 2:
            raise RecipeError(f"{where} betas is {self.betas!r}; give two numbers from 0 to below 1")
        for beta in self.betas:
            _number(where, "betas", beta, least=0.0, below=1.0)
        object.__setattr__(self, "betas", (float(self.betas[0]), float(self.betas[1])))
        _number(where, "weight_decay", self.weight_decay, least=0.0)
        _integer(where, "warmup_steps", self.warmup_steps, least=0)
        _number(where, "final_lr_share", self.final_lr_share, least=0.0, most=1.0)
        if self.grad_clip is not None:
            _number(where, "grad_clip", self.grad_clip, above=0.0)


@dataclass(frozen=True)
class Recipe:
    """A training run.

    Attributes
    ----------
    name
        What the run is called in logs and cards.
    seed
        Seed of the initial weights and of the data; 0 is a seed.
    steps
        Optimizer steps in all.
    data
        Options of `cmbinpaint.training.datasets.build_stream`.
    model
        The architecture, for `cmbinpaint.nn.models.build_model`.
    optimizer
        See `OptimizerRecipe`.
    loss
        Weight of each term of the loss (`LOSS_TERMS`).
    accumulate
        Batches whose gradients make one step.
    precision
        ``"bf16"`` computes the network's convolutions in bfloat16, ``"fp32"`` everything in single precision.
    ema_decay
        Decay of the running mean of the weights, which is validated and shipped; 0: the last weights.
    checkpoint_every, validate_every, log_every
        In steps; the last step is always validated and kept.
    validation_batches
        How many fixed batches of the validation split are looked at; 0: none.
    workers
        Processes that simulate batches ahead; 0: the training process does it. The result is the same.
    threads
        CPU threads of the network; None: torch's own choice.
    """

    name: str
    seed: int
    steps: int
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

    def __post_init__(self) -> None:
        where = "recipe:"
        if not isinstance(self.name, str) or not self.name:
            raise RecipeError(f"{where} name is {self.name!r}; give the run a name")
        _integer(where, "seed", self.seed, least=0)
        for key in ("steps", "accumulate", "checkpoint_every", "validate_every", "log_every"):
            _integer(where, key, getattr(self, key), least=1)
        for key in ("validation_batches", "workers"):
            _integer(where, key, getattr(self, key), least=0)
        if self.threads is not None:
            _integer(where, "threads", self.threads, least=1)
        _one_of(where, "precision", self.precision, get_args(Precision))
        _number(where, "ema_decay", self.ema_decay, least=0.0, below=1.0)
        for key in ("data", "model", "loss"):
            if not isinstance(getattr(self, key), Mapping):
                raise RecipeError(f"{where} {key} is {getattr(self, key)!r}; write a table [{key}]")
            object.__setattr__(self, key, dict(getattr(self, key)))
        _unknown("[loss]", self.loss, LOSS_TERMS)
        for key, weight in self.loss.items():
            _number("[loss]", key, weight, least=0.0)
        if not sum(self.loss.values()) > 0:
            raise RecipeError(f"[loss] has no term with a positive weight; known: {', '.join(LOSS_TERMS)}")
        if self.optimizer.warmup_steps > self.steps:
            raise RecipeError(
                f"[optimizer] warmup_steps is {self.optimizer.warmup_steps}, more than the run's "
                f"{self.steps} steps; warm up for fewer"
            )

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> "Recipe":
        """Make a recipe of a table as TOML or JSON gives it.

        Raises
        ------
        RecipeError
            For an unknown, absent, ill-typed or out-of-range entry.
        """
        known = [f.name for f in fields(cls)]
        _unknown("recipe:", table, known)
        for key in ("name", "seed", "steps"):
            if key not in table:
                raise RecipeError(f"recipe: {key} is missing; a recipe needs name, seed and steps")
        options = dict(table)
        optimizer = options.get("optimizer", {})
        if not isinstance(optimizer, Mapping):
            raise RecipeError(f"recipe: optimizer is {optimizer!r}; write a table [optimizer]")
        _unknown("[optimizer]", optimizer, [f.name for f in fields(OptimizerRecipe)])
        options["optimizer"] = OptimizerRecipe(**optimizer)
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
        if not file.exists() and (_RECIPES / f"{path}.toml").is_file() and file.name == str(path):
            file = _RECIPES / f"{path}.toml"
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            known = ", ".join(list_recipes()) or "none"
            raise RecipeError(
                f"cannot read recipe {str(path)!r} ({error.strerror}); give a TOML file or one of: {known}"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file} is not TOML: {error}") from error
        try:
            return cls.from_mapping(table)
        except RecipeError as error:
            raise RecipeError(f"{file}: {error}") from error

    def to_mapping(self) -> dict[str, Any]:
        """The recipe as plain JSON types; `from_mapping` gives it back."""
        table = asdict(self)
        table["optimizer"]["betas"] = list(table["optimizer"]["betas"])
        return _plain(table)


def list_recipes() -> list[str]:
    """Names of the training recipes that come with the package (``data-*`` are data sets')."""
    return sorted(path.stem for path in _RECIPES.glob("*.toml") if not path.stem.startswith("data-"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _unknown(where: str, table: Mapping[str, Any], known: list[str] | tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            near = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise RecipeError(f"{where} unknown key {key!r}{hint} known: {', '.join(known)}")


def _one_of(where: str, key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise RecipeError(f"{where} {key} is {value!r}; known: {', '.join(known)}{hint}")


def _integer(where: str, key: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a whole number")
    if value < least:
        raise RecipeError(f"{where} {key} is {value}; give {least} or more")


def _number(
    where: str,
    key: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecipeError(f"{where} {key} is {value!r}, a {type(value).__name__}; give a number")
    rules = {
        f"above {above}": above is None or value > above,
        f"at least {least}": least is None or value >= least,
        f"at most {most}": most is None or value <= most,
        f"below {below}": below is None or value < below,
        "finite": abs(value) < float("inf"),
    }
    for rule, holds in rules.items():
        if not holds:
            raise RecipeError(f"{where} {key} is {value}; it must be {rule}")
