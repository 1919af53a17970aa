"""What a network of CoMBInE's family sees of a patch: the field with holes, the mask, the truth.

Inputs: patches in µK and masks. Outputs: `HoleBatch`, as temperatures over their rms or as clipped RGB.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray, Float32Array
from cmbinpaint.errors import RecipeError
from cmbinpaint.training.data.planck_colors import LIMIT_uK, to_rgb
from cmbinpaint.training.recipes.checks import check_number


@dataclass(frozen=True)
class HoleBatch:
    """B patches of C channels: what one training step of CoMBInE's networks sees (float32 arrays)."""

    x: Float32Array  # (B, C, H, W) the data, 0 in holes
    valid: Float32Array  # (B, 1, H, W) 1 observed, 0 hole
    truth: Float32Array  # (B, C, H, W) the signal everywhere, without noise


@dataclass(frozen=True)
class Rendering:
    """How temperatures become a network's channels.

    Attributes
    ----------
    channels
        1: temperature over `rms_uK`; 3: RGB of Planck's color map, clipped at `limit_uK`, in [0, 1].
    rms_uK
        The field's rms.
    limit_uK
        Where colors end.
    """

    channels: int
    rms_uK: float
    limit_uK: float = LIMIT_uK

    def __post_init__(self) -> None:
        check_channels(self.channels, self.limit_uK)

    def render(self, field_uK: AnyArray) -> Float32Array:
        """(B, H, W) µK to (B, C, H, W) float32."""
        if self.channels == 3:
            return np.ascontiguousarray(np.moveaxis(to_rgb(field_uK, self.limit_uK), -1, 1))
        return (field_uK[:, None] / self.rms_uK).astype(np.float32)

    def hide(self, signal_uK: AnyArray, noise_uK: AnyArray | None, valid: BoolArray) -> HoleBatch:
        """Make a batch of (B, H, W) signal, noise to add to the data (or None), and masks."""
        truth = self.render(signal_uK)
        data = truth if noise_uK is None else self.render(signal_uK + noise_uK)
        seen = valid[:, None]
        return HoleBatch(np.where(seen, data, np.float32(0)), seen.astype(np.float32), truth)


def check_channels(channels: Any, limit_uK: Any) -> None:
    """Refuse what is not 1 (temperature) or 3 (RGB) channels, or no limit.

    Raises
    ------
    RecipeError
        Saying so.
    """
    if isinstance(channels, bool) or channels not in (1, 3):
        raise RecipeError(f"[data] channels is {channels!r}; give 1 (temperature) or 3 (RGB)")
    check_number("[data]", "limit_uK", limit_uK, above=0.0)
