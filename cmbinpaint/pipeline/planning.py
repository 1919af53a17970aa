"""What can be made before there is a map: the geometry of a mask, and what else maps have in common.

Inputs: a mask, perhaps a sky model; or the file of a plan. Outputs: `plan_inpainting`, `load_plan`.
"""

import os
import threading
import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from cmbinpaint._machine import one_blas_thread
from cmbinpaint.errors import CmbInpaintWarning, MaskError, SpectrumError
from cmbinpaint.gaussian.hole_posterior import part_of_plan
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.pipeline.prepared import prepared_filler
from cmbinpaint.problem.numbers import validate_guard
from cmbinpaint.problem.options import refuse_old_names, validate_types
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere import masks


@refuse_old_names(mask_threshold="threshold=...", model="inpaint_map(sky, plan=plan, model=...)")
def plan_inpainting(
    mask: Any,
    *,
    exclude: Any = None,
    guard: int = 0,
    threshold: float | None = None,
    nest: bool = False,
    sky_model: SkyModel | None = None,
) -> InpaintingPlan:
    """What filling a mask's holes takes, to be reused for many maps.

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
    sky_model
        What is assumed of all maps, which are then filled with it; what the exact answer needs for it is prepared now
        (minutes at nside 2048). None: each call says what it assumes, and the first prepares it.

    Returns
    -------
    InpaintingPlan
        To be given to `inpaint_map` as ``plan=``, and to be kept in a file (`InpaintingPlan.save`). Neighbor weights
        follow from plan, model and sky model; those of the last model and sky model used with it are kept as long as
        the plan is.

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
    if sky_model is not None and not isinstance(sky_model, SkyModel):
        raise SpectrumError(f"sky_model is a {type(sky_model).__name__}; expected a SkyModel")
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
    return plan if sky_model is None else _prepared(replace(plan, sky_model=sky_model), sky_model)


def _prepared(plan: InpaintingPlan, sky_model: SkyModel) -> InpaintingPlan:
    """The plan with the exact answer prepared."""
    own = plan.of(sky_model.fields)
    if own.targets.any():
        with one_blas_thread():
            prepared_filler(load_model(), own, sky_model, None)
    return plan


def load_plan(path: str | os.PathLike[str]) -> InpaintingPlan:
    """The plan of a file that `InpaintingPlan.save` wrote, with what was prepared for it.

    Parameters
    ----------
    path
        The file. It is mapped into memory: processes that load it share it.

    Returns
    -------
    InpaintingPlan
        To be given to `inpaint_map` as ``plan=``. Maps are filled with its `sky_model`, where it was saved with one;
        another is refused.

    Raises
    ------
    PlanError
        If the file is none, damaged, or of another version of the package, whose fills may differ.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = plan_inpainting(np.arange(12 * 16**2) > 100).save(os.path.join(folder, "mask.plan"))
    ...     plan = load_plan(path)
    >>> int(plan.targets.sum())
    101
    """
    return InpaintingPlan.load(path, part_of_plan)


class _Last(threading.local):
    """The plan that a thread read last."""

    key: Any = None
    plan: InpaintingPlan | None = None


_last = _Last()


def loaded_plan(path: str | os.PathLike[str]) -> InpaintingPlan:
    """As `load_plan`, but one object for all maps of a thread: what was prepared for the last is found again."""
    stat = os.stat(path)
    key = (os.path.realpath(path), stat.st_mtime_ns, stat.st_size)
    if _last.key != key or _last.plan is None:
        _last.plan, _last.key = load_plan(path), key
    return _last.plan
