"""Training batches from a stored data set.

Inputs: a `StoredSkies`, masks, a seed. Outputs: `HoleBatch`es, each a pure function of (seed, split, index).

Training patches are varied without interpolating anything: the window moves by whole pixels within the stored
margin, and is mirrored and turned by right angles; turns by any other angle were made when the sky was cut.
Validation and test see each patch as it is.
"""

from dataclasses import dataclass, field

import numpy as np

from cmbinpaint._types import Float32Array, IntArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.examples import HoleBatch, Rendering, check_channels
from cmbinpaint.training.data.masks import Bounded, MaskSource, RandomShapes
from cmbinpaint.training.data.order import balanced_order, plain_order
from cmbinpaint.training.data.planck_colors import LIMIT_uK
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.splits import SPLITS, split_number
from cmbinpaint.training.recipes.checks import check_flag, check_integer


@dataclass(frozen=True)
class StoredStream:
    """Patches of a data set behind fresh masks.

    Attributes
    ----------
    seed
        Seed of order, masks, variations and noise.
    skies
        The data set.
    batch_size
        Patches a batch.
    balanced
        Whether every class is in every batch; None: if there is more than one.
    channels, limit_uK
        See `Rendering`.
    augment
        Whether training patches are shifted, mirrored and turned.
    only_patch
        The number of the training patch that every batch of every split holds (CoMBInE's stage 0); None: all.
    masks
        Where masks come from.

    Raises
    ------
    RecipeError
        If options contradict each other or the data set.
    """

    seed: int
    skies: StoredSkies
    batch_size: int = 3
    balanced: bool | None = None
    channels: int = 1
    limit_uK: float = LIMIT_uK
    augment: bool = True
    only_patch: int | None = None
    masks: MaskSource = field(default_factory=lambda: Bounded(RandomShapes()))

    def __post_init__(self) -> None:
        check_integer("[data]", "batch_size", self.batch_size, least=1, most=2**16)
        check_channels(self.channels, self.limit_uK)
        check_flag("[data]", "augment", self.augment)
        if self.balanced is not None:
            check_flag("[data]", "balanced", self.balanced)
        if self.only_patch is not None:
            check_integer("[data]", "only_patch", self.only_patch, least=0)
            if self.balanced:
                raise RecipeError("[data] only_patch and balanced contradict each other; drop one")
            if self.only_patch >= self.skies.count("train"):
                raise RecipeError(
                    f"[data] only_patch is {self.only_patch}; the set has {self.skies.count('train')} training "
                    "patches, from 0"
                )
        elif self._is_balanced:
            for split in SPLITS:  # the error comes now, not in the first batch
                if self.skies.count(split):
                    self.numbers(0, split)

    def batch(self, index: int, split: str = "train") -> HoleBatch:
        """The batch number `index` of a split; the same whoever asks, whenever."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(split_number(split), index)))
        recipe = self.skies.recipe
        vary = self.augment and split == "train"
        chosen = [self.skies.patch(self._source(split), int(n)) for n in self.numbers(index, split)]
        signal = np.stack([self._varied(patch, rng) if vary else self._middle(patch) for patch in chosen])
        valid = self.masks.draw(self.batch_size, recipe.side, rng)
        noise = recipe.noise_uK * rng.standard_normal(signal.shape) if recipe.noise_uK else None
        return Rendering(self.channels, self.skies.rms_uK, self.limit_uK).hide(signal, noise, valid)

    def numbers(self, index: int, split: str = "train") -> IntArray:
        """(batch_size,) the patches of a batch, by their numbers within the split."""
        key = (self.seed, split_number(split))
        if self.only_patch is not None:
            return np.full(self.batch_size, self.only_patch)
        n = self.skies.count(split)
        if n == 0:
            raise RecipeError(f"[data] the data set in {self.skies.folder} has no patches for {split!r}")
        if self._is_balanced:
            return balanced_order(self.skies.labels(split), self.batch_size, index, key)
        return plain_order(n, self.batch_size, index, key)

    def labels(self, index: int, split: str = "train") -> IntArray:
        """(batch_size,) the classes of a batch."""
        return self.skies.labels(self._source(split))[self.numbers(index, split)]

    @property
    def _is_balanced(self) -> bool:
        if self.balanced is None:
            return len(self.skies.ns) > 1 and self.only_patch is None
        return self.balanced

    def _source(self, split: str) -> str:
        return split if self.only_patch is None else "train"

    def _middle(self, patch: Float32Array) -> Float32Array:
        inside = slice(self.skies.recipe.margin, self.skies.recipe.margin + self.skies.recipe.side)
        return patch[inside, inside]

    def _varied(self, patch: Float32Array, rng: np.random.Generator) -> Float32Array:
        side = self.skies.recipe.side
        row, col = rng.integers(0, 2 * self.skies.recipe.margin + 1, size=2)
        turned = np.rot90(patch[row : row + side, col : col + side], int(rng.integers(4)))
        return turned[:, ::-1] if rng.integers(2) else turned
