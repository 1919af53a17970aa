"""What is known of a fill once it is made.

Inputs: what the stages of `inpaint_map` leave behind. Outputs: `InpaintInfo`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.sims.sky_model import SkyModel


@dataclass(frozen=True)
class InpaintInfo:
    """How a map was filled.

    Attributes
    ----------
    sky_model
        What was assumed of the sky, in `work_unit`; its ``source`` says where it came from. `inpaint_map` takes
        it back as ``sky_model=``.
    seed
        Of the realizations: give it to `inpaint_map` again for the same fill. None for predictions, and where the
        fluctuations were given.
    model, sha256
        Name of the model, and hash of its weights (empty for models without).
    fill
        ``"realization"`` or ``"prediction"``.
    steps
        Conjugate-gradient steps taken for each map; zeros for a model that takes none.
    remaining
        How far from converged the last map is: an estimate of the rms of what is still to change in the holes, in
        posterior standard deviations, in the worst depth bin. NaN if too few steps were taken to tell, None if no steps
        were asked for.
    remaining_power
        With Q and U: the E or B power of what is still to change, over the sky's, in the worst band; 0 of T alone, None
        as `remaining`.
    fluctuations
        ``"drawn"`` from the sky model, ``"given"`` by the user, or ``"none"``: a prediction.
    fsky
        Fraction of the sky used as data.
    n_holes, n_filled
        Holes by 8-connectivity, and pixels filled, of any Stokes parameter.
    monopole_dipole_std
        Rms in T's holes, in `work_unit`, by which the map's monopole and dipole are uncertain; the fill continues both.
        Small but for large cuts; 0 if nothing was filled.
    unit, work_unit
        The map's unit (None: unspecified), and that of the sky model: µK where the map's unit is known or a `cl`
        or `noise_std` was given, else the map's own.
    warnings
        Texts of the warnings given on the way.
    seconds
        Wall time by stage.
    """

    sky_model: SkyModel
    seed: int | None
    model: str
    sha256: str
    fill: str
    steps: tuple[int, ...]
    remaining: float | None
    remaining_power: float | None
    fluctuations: str
    fsky: float
    n_holes: int
    n_filled: int
    monopole_dipole_std: float
    unit: str | None
    work_unit: str | None
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    _predict: Callable[[], FloatArray] | None = field(repr=False, compare=False)

    @cached_property
    def prediction(self) -> FloatArray:
        """(npix,) or (k, npix) float64, RING, in the map's unit: the data, and the model's deterministic fill.

        NaN where excluded pixels hold nothing.

        Made when it is first read, which for a realization takes as long as filling another map; a realization
        is `o' + predict(d - d')` and does not hold it. Until then the info keeps the prepared model alive.

        Raises
        ------
        CmbInpaintError
            If the info was pickled before the prediction was read.
        """
        if self._predict is None:
            raise CmbInpaintError(
                "the prediction was not made before the info was pickled; read info.prediction first, or fill "
                "the map with fill='prediction'"
            )
        return self._predict()

    def __str__(self) -> str:
        """What was filled, how, and what was assumed, in lines."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        lines = [
            f"{self.n_filled} pixels filled (holes: {self.n_holes}), {self.fill} by {self.model}{seed}",
            f"sky model, in {self.work_unit or 'the unit of the map'}: {self.sky_model.source}",
            *(f"warning: {text}" for text in self.warnings),
        ]
        return "\n".join(lines)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but the prepared model."""
        return {**self.__dict__, "_predict": None}
