"""What can be made before there is a map: the geometry of a mask.

Inputs: a mask. Outputs: `plan_inpainting`.
"""

import warnings
from typing import Any

import numpy as np

from cmbinpaint.errors import CmbInpaintWarning, MaskError
from cmbinpaint.problem.numbers import validate_guard
from cmbinpaint.problem.options import refuse_old_names, validate_types
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere import masks


@refuse_old_names(mask_threshold="threshold=...", model="inpaint_map(sky, plan=plan, model=...)")
def plan_inpainting(
    mask: Any,
    *,
    exclude: Any = None,
    guard: int = 0,
    threshold: float | None = None,
    nest: bool = False,
) -> InpaintingPlan:
    """The geometry of filling a mask's holes, to be reused for many maps.

    Parameters
    ----------
    mask
        (npix,) 1/True = observed. For maps with Q and U also (2, npix), for T and polarization (or for Q and U alone),
        or (3, npix).
    exclude
        As `mask`, True = neither data nor filled, returned untouched: the sky outside a survey, or the Galaxy.
    guard
        Rings of observed pixels beside holes that are not used as data (wings of sources).
    threshold
        For a mask that is not binary: observed where the mask is at least this.
    nest
        True if `mask` and `exclude` are in NESTED ordering.

    Returns
    -------
    InpaintingPlan
        To be given to `inpaint_map` as ``plan=``. Neighbor weights follow from plan, model and sky model; those of the
        last model and sky model used with it are kept as long as the plan is.

    Raises
    ------
    MaskError
        What was given, what was expected, what to do.

    Examples
    --------
    >>> import numpy as np
    >>> plan = plan_inpainting(np.arange(12 * 16**2) > 100)
    >>> int(plan.targets.sum())
    101
    """
    validate_types(None, None, None, {"nest": nest})
    valid = masks.validate_mask(mask, nest=nest, threshold=threshold, polarized=True)
    excluded = None
    if exclude is not None:
        nside = masks.npix_to_nside(valid.shape[-1])
        excluded = masks.validate_mask(
            exclude, nside, nest=nest, hidden=True, what="exclude mask", polarized=True
        )
        if excluded.ndim == valid.ndim == 2 and len(excluded) != len(valid):
            raise MaskError(
                f"the exclude mask has {len(excluded)} rows, the mask {len(valid)}; make them agree"
            )
    plan = InpaintingPlan.from_valid(valid, exclude=excluded, guard=validate_guard(guard))
    if excluded is not None and not plan.targets.any() and not valid.all():
        warnings.warn(
            f"all {int(np.count_nonzero(~valid))} pixels that are not observed are excluded: nothing is filled",
            CmbInpaintWarning,
            stacklevel=2,
        )
    return plan
