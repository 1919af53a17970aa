"""What the options of the main job may be, alone and together.

Inputs: options as users give them. Outputs: validated ones, or an error that says what to do.
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, get_args

import numpy as np

from cmbinpaint.errors import CmbInpaintError, MapError, MaskError, SpectrumError
from cmbinpaint.problem.draws import Draws
from cmbinpaint.problem.numbers import is_whole
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.fields import Fields

Fill = Literal["realization", "prediction"]
FILLS = ("realization", "prediction")
Polconv = Literal["COSMO", "IAU"]

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def refuse_old_names(**now: str) -> Callable[[Callable[_Params, _Result]], Callable[_Params, _Result]]:
    """Make a function refuse keyword arguments of earlier versions by name, and say what is given instead."""

    def decorate(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
        @wraps(function)
        def checked(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
            for old in now.keys() & kwargs.keys():
                raise CmbInpaintError(f"{function.__name__} no longer has the argument {old}; use {now[old]}")
            return function(*args, **kwargs)

        return checked

    return decorate


def validate_types(plan: Any, draws: Any, progress: Any, flags: dict[str, Any]) -> None:
    """Refuse objects that are none of those which are meant, and flags that are no booleans."""
    if plan is not None and not isinstance(plan, InpaintingPlan):
        raise MaskError(f"plan is {_shown(plan)}; expected an InpaintingPlan, from plan_inpainting")
    if draws is not None and not isinstance(draws, Draws):
        raise CmbInpaintError(f"draws is {_shown(draws)}; expected a Draws, such as Draws(first=10)")
    if progress is not None and not callable(progress):
        raise CmbInpaintError(f"progress is {_shown(progress)}; expected a function of one Progress")
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise CmbInpaintError(f"{name} is {_shown(flag)}; expected True or False")


def _shown(value: Any) -> str:
    """A value that is of the wrong type, for a message."""
    text = repr(value) if isinstance(value, str | bytes | int | float | complex) else ""
    return f"a {type(value).__name__}" + (f", {text[:40]}" if text else "")


def validate_fill(fill: str, n: int | None, refine: int | None, seed: Any, fluctuations: Any) -> None:
    """Refuse contradictions in what is to be made."""
    if not isinstance(fill, str) or fill not in FILLS:
        near = get_close_matches(str(fill), FILLS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CmbInpaintError(f"fill is {fill!r}; known: {', '.join(FILLS)}{hint}")
    if n is not None and not is_whole(n, 1):
        raise CmbInpaintError(f"n_realizations is {n!r}; give 1 or more, or None for one map (npix,)")
    if refine is not None and not is_whole(refine, 0):
        raise CmbInpaintError(f"refine is {refine!r}; give a number of steps, 0 for none, or None")
    if fill == "prediction":
        if n is not None:
            raise CmbInpaintError(
                "n_realizations was given with fill='prediction', which is one map; use fill='realization'"
            )
        if fluctuations is not None:
            raise CmbInpaintError(
                "fluctuations were given with fill='prediction', which adds none; use fill='realization'"
            )
    if fluctuations is not None and seed is not None:
        raise CmbInpaintError(
            "seed draws the fluctuations of a realization, and fluctuations were given too; give one of them"
        )


def validate_known(
    cl: Any, fwhm: Any, beam: Any, noise_std: Any, sky_model: SkyModel | None, nside: int | None = None,
    noise_cov: Any = None, colored_noise_cl: Any = None,
) -> None:  # fmt: skip
    """Refuse contradictions in what is known of the sky."""
    if colored_noise_cl is not None and cl is None and sky_model is None:
        raise SpectrumError(
            "colored_noise_cl was given without cl: one map does not tell its signal from colored noise; give the "
            "sky's cl too"
        )
    if noise_std is not None and noise_cov is not None:
        raise SpectrumError("noise_std and noise_cov were given; give one of them")
    if sky_model is not None:
        if not isinstance(sky_model, SkyModel):
            raise SpectrumError(
                f"sky_model is a {type(sky_model).__name__}; expected a SkyModel, for example from "
                "SkyModel.from_theory"
            )
        named = {
            "cl": cl, "fwhm": fwhm, "beam": beam, "noise_std": noise_std, "noise_cov": noise_cov,
            "colored_noise_cl": colored_noise_cl,
        }  # fmt: skip
        given = [name for name, value in named.items() if value is not None]
        if given:
            raise SpectrumError(
                f"sky_model was given with {', '.join(given)}; the sky model holds all of it: omit them, or make it "
                "with SkyModel.from_theory"
            )
        if nside is not None and sky_model.nside != nside:
            raise SpectrumError(
                f"the sky model is for nside {sky_model.nside}, the map has {nside}; make one for the map's"
            )
    if cl is None and (fwhm is not None or beam is not None):
        raise SpectrumError(
            "fwhm and beam describe how a given cl was smoothed; give cl too, or neither of them"
        )


def refuse_unknown_noise(with_noise: bool, noise_known: bool) -> None:
    """Refuse realizations of the signal alone where signal and noise cannot be told apart."""
    if not with_noise and not noise_known:
        raise SpectrumError(
            "with_noise=False asks for the signal alone, which cannot be told from noise in one map; give noise_std, "
            "or a sky_model"
        )


def validate_polconv(polconv: str | None, fields: Fields) -> Polconv:
    """The convention of polarization, HEALPix's by default; refused where unknown, or for a temperature map."""
    known = get_args(Polconv)
    if polconv is not None and not (isinstance(polconv, str) and polconv in known):
        raise MapError(f"polconv is {polconv!r}; known: {', '.join(known)} (COSMO is HEALPix's)")
    if polconv is not None and fields is Fields.T:
        raise MapError(f"polconv={polconv!r} was given for a temperature map, which has no Q and U; omit it")
    return "IAU" if polconv == "IAU" else "COSMO"
