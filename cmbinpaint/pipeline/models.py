"""Which model fills: ways to fill holes, each an `Inpainter`, found by name.

Inputs: a name, a path of a card, or an inpainter. Outputs: the inpainter.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmbinpaint.problem.model import Inpainter

# The names that need no weights; whatever else is asked for is looked up among the trained networks.
WEIGHTLESS = ("gaussian", "kriging", "diffusive")

__all__ = ["WEIGHTLESS", "find_inpainter"]


def find_inpainter(
    model: "str | os.PathLike[str] | Inpainter", nside: int | None = None, device: str = "auto"
) -> "Inpainter":
    """The inpainter of that name.

    Parameters
    ----------
    model
        ``"default"``, one of `WEIGHTLESS`, the name or path of a network, or an inpainter (returned as it is).
    nside
        Of the map; only ``"default"`` looks at it.
    device
        For networks.

    Raises
    ------
    WeightsError
        If no network has that name; lists the known ones.
    """
    if not isinstance(model, str | os.PathLike):
        return model
    if model in ("gaussian", "default"):
        from cmbinpaint.gaussian.exact import GaussianInpainter

        return GaussianInpainter()
    if model == "diffusive":
        from cmbinpaint.gaussian.diffusive import DiffusiveInpainter

        return DiffusiveInpainter()
    if model == "kriging":
        from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter

        return CoarseToFineInpainter()
    from cmbinpaint.networks.inpainter import load_network

    return load_network(os.fspath(model))
