"""What the options of the main job may be, alone and together.

Inputs: options as users give them. Outputs: checked ones, or an error that says what to do.
"""

from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from cmbinpaint.errors import CmbInpaintError, MaskError, SpectrumError
from cmbinpaint.sims.sky_model import SkyModel

Fill = Literal["realization", "prediction"]
FILLS = ("realization", "prediction")


def check_fill(
    fill: str, n: int | None, first: int, refine: int | None, seed: int | None, fluctuations: Any
) -> None:
    """Refuse contradictions in what is to be made."""
    if fill not in FILLS:
        near = get_close_matches(str(fill), FILLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CmbInpaintError(f"fill is {fill!r}; known: {', '.join(FILLS)}{hint}")
    if n is not None and not _is_whole(n, 1):
        raise CmbInpaintError(f"n_realizations is {n!r}; give 1 or more, or None for one map (npix,)")
    if not _is_whole(first, 0):
        raise CmbInpaintError(f"first_realization is {first!r}; realizations are counted from 0")
    if refine is not None and not _is_whole(refine, 0):
        raise CmbInpaintError(f"refine is {refine!r}; give a number of steps, 0 for none, or None")
    if fill == "prediction":
        if n is not None:
            raise CmbInpaintError(
                "n_realizations came with fill='prediction', which is one map; use fill='realization'"
            )
        if fluctuations is not None:
            raise CmbInpaintError(
                "fluctuations came with fill='prediction', which adds none; use fill='realization'"
            )
    if fluctuations is not None and seed is not None:
        raise CmbInpaintError(
            "seed draws the fluctuations of a realization, and fluctuations came too; give one of them"
        )


def check_known(
    cl: Any, fwhm: Any, beam: Any, noise_std: Any, sky_model: SkyModel | None, nside: int | None = None
) -> None:
    """Refuse contradictions in what is known of the sky."""
    if sky_model is not None:
        if not isinstance(sky_model, SkyModel):
            raise SpectrumError(
                f"sky_model is a {type(sky_model).__name__}; expected a SkyModel, as SkyModel.from_theory makes it"
            )
        named = {"cl": cl, "fwhm": fwhm, "beam": beam, "noise_std": noise_std}
        came = [name for name, value in named.items() if value is not None]
        if came:
            raise SpectrumError(
                f"sky_model came with {', '.join(came)}; the sky model says all of it: leave them away, or make it "
                "with SkyModel.from_theory"
            )
        if nside is not None and sky_model.nside != nside:
            raise SpectrumError(
                f"the sky model is for nside {sky_model.nside}, the map has {nside}; make one for the map's"
            )
    if cl is None and (fwhm is not None or beam is not None):
        raise SpectrumError("fwhm and beam say how a given cl was smoothed; give cl too, or neither of them")


def check_noise_apart(with_noise: bool, noise_known: bool, fluctuations: Any) -> None:
    """Refuse realizations of the signal alone where signal and noise are not told apart."""
    if with_noise:
        return
    if fluctuations is not None:
        raise CmbInpaintError(
            "with_noise=False came with fluctuations: they hold signal and noise together, and the noise would be "
            "needed apart; leave one of the two away"
        )
    if not noise_known:
        raise SpectrumError(
            "with_noise=False wants the signal alone, which cannot be told from noise in one map; give noise_std, "
            "or a sky_model"
        )


def take_guard(guard: int) -> int:
    """A number of rings, or an error."""
    if not _is_whole(guard, 0):
        raise MaskError(f"guard is {guard!r}; give a number of rings of pixels, 0 or more")
    return int(guard)


def fresh_seed(seed: int | None) -> int:
    """The seed, or a fresh one."""
    if seed is None:
        return int(np.random.SeedSequence().entropy)  # type: ignore[arg-type]
    if not _is_whole(seed, 0):
        raise CmbInpaintError(f"seed is {seed!r}; give a whole number, 0 or more, or None for a fresh one")
    return int(seed)


def _is_whole(value: Any, least: int) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    try:
        return bool(int(value) == value and value >= least)
    except (TypeError, ValueError, OverflowError):
        return False
