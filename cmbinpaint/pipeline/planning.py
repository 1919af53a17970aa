"""What can be made before there is a map: the geometry of a mask, and the model.

Inputs: a mask, the name of a model. Outputs: `plan_inpainting`, `load_model`.
"""

import os
from typing import Any

from cmbinpaint.networks.card_limits import serving
from cmbinpaint.pipeline.models import find_inpainter
from cmbinpaint.problem.model import Inpainter
from cmbinpaint.problem.options import take_guard
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.maps import npix_to_nside


def plan_inpainting(
    mask: Any,
    *,
    model: str = "default",
    exclude: Any = None,
    guard: int = 0,
    nest: bool = False,
    mask_threshold: float | None = None,
) -> InpaintingPlan:
    """The geometry of filling a mask's holes, to be reused for many maps.

    Neighbor weights and patches follow from plan, model and sky model, and are kept with the plan for the last sky
    model it was used with.

    Parameters
    ----------
    mask, exclude, guard, nest, mask_threshold
        As in `inpaint_map`.
    model
        Is checked to exist and to serve this nside; the plan itself serves any.

    Returns
    -------
    InpaintingPlan
        To be given to `inpaint_map` as ``plan=``.

    Raises
    ------
    MaskError, WeightsError
        What came, what was expected, what to do.
    """
    valid = masks.validate_mask(mask, nest=nest, threshold=mask_threshold)
    nside = npix_to_nside(valid.size)
    serving(find_inpainter(model, nside), nside)
    excluded = None if exclude is None else masks.validate_mask(exclude, nside, nest=nest, hidden=True)
    return InpaintingPlan.from_valid(valid, exclude=excluded, guard=take_guard(guard))


def load_model(name_or_path: str | os.PathLike[str], device: str = "auto") -> Inpainter:
    """Load a network, or make another model by its name, to be given to `inpaint_map(model=...)`.

    Parameters
    ----------
    name_or_path
        A name from `list_models`, the path of a network's card, or ``"gaussian"``, ``"kriging"``, ``"diffusive"``.
    device
        For networks: ``"auto"``, ``"cpu"``, ``"cuda"``...

    Returns
    -------
    Inpainter
        The model; it may be used for any number of maps.

    Raises
    ------
    WeightsError, DeviceError
        If there is no such model, its files are damaged, or the device is not there.
    """
    return find_inpainter(name_or_path, None, device)
