"""What is known of a fill once it is made.

Takes: what the stages of `inpaint_map` leave behind. Gives: `InpaintInfo`. Floor: 4.
"""

from dataclasses import dataclass, field

from cmbinpaint._types import FloatArray
from cmbinpaint.sims.skymodel import SkyModel


@dataclass(frozen=True)
class InpaintInfo:
    """How a map was filled.

    Attributes
    ----------
    sky_model
        What was assumed of the sky, in the unit of the work (`work_unit`); its ``source`` says where it came from.
    seed
        Of the realizations: give it to `inpaint_map` again for the same fill. None for predictions.
    model, sha256
        Name of the model, and hash of its weights (empty for models without).
    fill, refine
        As carried out; `refine` in conjugate-gradient steps.
    fsky
        Fraction of the sky used as data.
    n_holes, n_filled
        Holes by 8-connectivity, and pixels filled.
    prediction
        (npix,) float64 RING, the deterministic fill, in the map's unit; None if it was not asked for.
    unit, work_unit
        The map's unit, and that of the sky model.
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
    refine: int
    fsky: float
    n_holes: int
    n_filled: int
    prediction: FloatArray | None = field(repr=False)
    unit: str | None
    work_unit: str | None
    warnings: tuple[str, ...]
    seconds: dict[str, float]
