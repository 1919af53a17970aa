"""What the options of the main job may be, alone and together.

Takes: options as users give them. Gives: checked ones, or an error that says what to do. Floor: 4.
"""

from typing import Any, Literal

import numpy as np

from cmbinpaint.errors import CmbInpaintError, MaskError, SpectrumError

Fill = Literal["realization", "prediction"]
FILLS = ("realization", "prediction")


def check_options(fill: str, n: int | None, with_noise: bool, noise_std: Any, refine: int | None) -> None:
    if fill not in FILLS:
        raise CmbInpaintError(f"fill is {fill!r}; known: {', '.join(FILLS)}")
    if n is not None and n < 1:
        raise CmbInpaintError(f"n_realizations is {n}; give 1 or more, or None for one map (npix,)")
    if n is not None and fill == "prediction":
        raise CmbInpaintError(
            "n_realizations came with fill='prediction', which is one map; use fill='realization'"
        )
    if not with_noise and noise_std is None:
        raise SpectrumError(
            "with_noise=False wants the signal alone, which cannot be told from noise in one map; give noise_std"
        )
    if refine is not None and refine < 0:
        raise CmbInpaintError(f"refine is {refine}; give a number of steps, 0 for none, or None")


def take_guard(guard: int) -> int:
    if isinstance(guard, bool) or int(guard) != guard or guard < 0:
        raise MaskError(f"guard is {guard!r}; give a number of rings of pixels, 0 or more")
    return int(guard)


def fresh_seed(seed: int | None) -> int:
    return int(np.random.SeedSequence().entropy) if seed is None else int(seed)  # type: ignore[arg-type]
