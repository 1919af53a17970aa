"""The tables of a recipe: frozen dataclasses that refuse contradictions when made.

Inputs: plain values. Outputs: `OptimizerRecipe`, `StageRecipe`, `PerceptualRecipe`, `SkyRecipe`, `ClassesRecipe`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, get_args

from cmbinpaint.errors import RecipeError
from cmbinpaint.training.recipes.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_keys,
    check_number,
)

Schedule = Literal["cosine", "constant"]
Algorithm = Literal["adam", "adamw"]
PictureScale = Literal["rms", "unit"]
Part = TypeVar("Part")


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
        Where the cosine ends, as a fraction of `lr`.
    grad_clip
        Largest norm of a step's gradient; None or 0: not clipped.
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
        check_choice(where, "algorithm", self.algorithm, get_args(Algorithm))
        check_choice(where, "schedule", self.schedule, get_args(Schedule))
        check_number(where, "lr", self.lr, above=0.0)
        if not isinstance(self.betas, list | tuple) or len(self.betas) != 2:
            raise RecipeError(f"{where} betas is {self.betas!r}; give two numbers from 0 to below 1")
        for beta in self.betas:
            check_number(where, "betas", beta, least=0.0, below=1.0)
        object.__setattr__(self, "betas", (float(self.betas[0]), float(self.betas[1])))
        check_number(where, "weight_decay", self.weight_decay, least=0.0)
        check_integer(where, "warmup_steps", self.warmup_steps, least=0)
        check_number(where, "final_lr_share", self.final_lr_share, least=0.0, most=1.0)
        if self.grad_clip is not None:
            check_number(where, "grad_clip", self.grad_clip, least=0.0)


@dataclass(frozen=True)
class StageRecipe:
    """A stage of a run: so many epochs, or fewer when nothing improves.

    Attributes
    ----------
    name
        What the stage is called in logs.
    epochs
        The most epochs; each ends with a validation and a checkpoint.
    steps_per_epoch
        Optimizer steps of an epoch.
    lr
        Highest learning rate, instead of the optimizer's.
    freeze_encoder_norm
        Hold the encoder's batch norm, as CoMBInE's last stage does.
    patience
        Go on to the next stage after this many epochs without a new lowest validation loss; None: never.
    data
        Entries of `[data]` that differ in this stage.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    lr: float | None = None
    freeze_encoder_norm: bool = False
    patience: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise RecipeError(f"[[stage]] name is {self.name!r}; give the stage a name")
        for key in ("epochs", "steps_per_epoch"):
            check_integer(self.where, key, getattr(self, key), least=1)
        if self.lr is not None:
            check_number(self.where, "lr", self.lr, above=0.0)
        check_flag(self.where, "freeze_encoder_norm", self.freeze_encoder_norm)
        if self.patience is not None:
            check_integer(self.where, "patience", self.patience, least=1)
            if self.patience >= self.epochs:
                raise RecipeError(
                    f"{self.where} patience is {self.patience}, with {self.epochs} epochs at most it can never "
                    "end the stage; give more epochs, or no patience"
                )
        if not isinstance(self.data, Mapping):
            raise RecipeError(f"{self.where} data is {self.data!r}; write data = {{ key = value }}")
        object.__setattr__(self, "data", dict(self.data))

    @property
    def where(self) -> str:
        """How errors name it."""
        return f"[[stage]] {self.name!r}:"

    @property
    def steps(self) -> int:
        """The most steps."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class PerceptualRecipe:
    """The VGG16 of perceptual and style terms.

    Attributes
    ----------
    weights
        ``"vgg16-cmb"``, which ships with the package and was trained, to pool3, on temperature patches; or a file: the
        card (``.json``) of a VGG16 trained here, or a ``.safetensors`` or ``.pth`` state dict with torchvision's names.
    scale
        ``"rms"``: pictures are temperatures over the field's rms, ±3 mapped to [0, 1]; ``"unit"``: RGB in [0, 1].
    """

    weights: str = "vgg16-cmb"
    scale: PictureScale = "rms"

    def __post_init__(self) -> None:
        if not isinstance(self.weights, str) or not self.weights:
            raise RecipeError(f"[perceptual] weights is {self.weights!r}; give 'vgg16-cmb' or a file")
        check_choice("[perceptual]", "scale", self.scale, get_args(PictureScale))


@dataclass(frozen=True)
class SkyRecipe:
    """The sky that the physical term assumes: the fiducial spectrum, a beam, white noise.

    Attributes
    ----------
    step_arcmin
        The pixel's side.
    noise_over_rms
        White noise per pixel over what fields are divided by.
    fwhm_arcmin
        Of the Gaussian beam in the data and in what is predicted.
    rms_uK
        What fields are divided by, in µK; None: the rms that a patch resolves (`cmbinpaint.plane.power.patch_rms`).
    """

    step_arcmin: float
    noise_over_rms: float
    fwhm_arcmin: float = 0.0
    rms_uK: float | None = None

    def __post_init__(self) -> None:
        for key in ("step_arcmin", "noise_over_rms"):
            check_number("[sky]", key, getattr(self, key), above=0.0)
        check_number("[sky]", "fwhm_arcmin", self.fwhm_arcmin, least=0.0)
        if self.rms_uK is not None:
            check_number("[sky]", "rms_uK", self.rms_uK, above=0.0)


@dataclass(frozen=True)
class ClassesRecipe:
    """How a classifier of patches is fed.

    Attributes
    ----------
    crop
        Side of the square that is cut out of each patch, at random in training and from the middle otherwise; None:
        the whole patch.
    """

    crop: int | None = None

    def __post_init__(self) -> None:
        if self.crop is not None:
            check_integer("[classes]", "crop", self.crop, least=8)


def make_part(kind: type[Part], table: Any, where: str) -> Part:
    """Make one of these of a table as TOML or JSON gives it.

    Raises
    ------
    RecipeError
        If it is not a table, or for an unknown, absent, ill-typed or out-of-range entry.
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"recipe: {where.strip('[]')} is {table!r}; write a table {where}")
    check_keys(where, table, [f.name for f in fields(kind)])  # type: ignore[arg-type]
    try:
        return kind(**table)
    except TypeError as error:
        missing = str(error).partition("argument")[2].lstrip("s: ")
        raise RecipeError(f"{where} lacks {missing}") from error
