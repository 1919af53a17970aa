"""Which model fills: the one place that decides it.

Inputs: a name, the path of a network's card, or an inpainter. Outputs: the inpainter.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from cmbinpaint.errors import CmbInpaintError, WeightsError, requires
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.gaussian.diffusive import DiffusiveInpainter
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.networks.store import find_card
from cmbinpaint.problem.model import Inpainter


class Method(NamedTuple):
    """A model without weights, and what it is in one line."""

    make: Callable[[], Inpainter]
    what: str


# Whatever else is asked for is looked up among the trained networks.
METHODS = {
    "default": Method(GaussianInpainter, "the same as gaussian"),
    "gaussian": Method(
        GaussianInpainter, "exact: the conditional mean of a Gaussian sky, by conjugate gradients"
    ),
    "kriging": Method(CoarseToFineInpainter, "approximate: each hole pixel from nearby data, coarse to fine"),
    "diffusive": Method(DiffusiveInpainter, "a baseline: the mean of the neighbors, iterated"),
}

_EXACT = "model='default', the exact answer, which is more accurate and faster"
# Models of earlier versions, and what to use instead.
RETIRED = {
    "linear-sphere": _EXACT,
    "linear-first": _EXACT,
    "kriging16": "model='kriging'",
    "kriging64": "model='kriging'",
    "combine128_rgb": "model='combine128', or train its recipe (docs/training.md)",
}


def load_model(model: str | os.PathLike[str] | Inpainter = "default", *, device: str = "auto") -> Inpainter:
    """Make a model by its name, or load a network; the result is given to `inpaint_map(model=...)`.

    Parameters
    ----------
    model
        ``"default"`` or ``"gaussian"`` (the exact answer), ``"kriging"``, ``"diffusive"``, a name from `list_models`,
        the path of a network's card, or an inpainter (returned as it is).
    device
        For networks: ``"auto"``, ``"cpu"``, ``"cuda"``...

    Returns
    -------
    Inpainter
        The model; it may be used for any number of maps.

    Raises
    ------
    WeightsError, DeviceError, MissingExtraError
        If there is no such model, its files are damaged, the device is not available, or torch is not installed.
    """
    if isinstance(model, Inpainter):
        return model
    if not isinstance(model, str | os.PathLike):
        raise CmbInpaintError(
            f"model is a {type(model).__name__}; give a name ({', '.join(METHODS)}), the path of a network's card, "
            "or an Inpainter"
        )
    name = os.fspath(model)
    if name in METHODS:
        return METHODS[name].make()
    if name in RETIRED:
        raise WeightsError(f"the model {name!r} is no longer part of the package; use {RETIRED[name]}")
    find_card(name, METHODS)  # whether it exists can be said without torch
    requires("network")
    from cmbinpaint.networks.inpainter import load_network

    return load_network(name, device)
