"""Which model fills: ways to fill holes, each an `Inpainter`, found by name.

Inputs: a name, a path of a card, or an inpainter. Outputs: the inpainter.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cmbinpaint.problem.model import Inpainter

# The names that need no weights; whatever else is asked for is looked up among the trained networks.
WEIGHTLESS = ("gaussian", "kriging", "kriging16", "kriging64", "diffusive")
# The network that `default` is at higher nside.
DEFAULT_NETWORK = "linear-sphere"
# Up to here the exact answer takes seconds, and `default` is it.
EXACT_NSIDE = 64

__all__ = ["EXACT_NSIDE", "WEIGHTLESS", "find_inpainter"]


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
    if model == "gaussian" or (model == "default" and nside is not None and nside <= EXACT_NSIDE):
        from cmbinpaint.gaussian.exact import GaussianInpainter

        return GaussianInpainter()
    if model == "diffusive":
        from cmbinpaint.gaussian.diffusive import DiffusiveInpainter

        return DiffusiveInpainter()
    if model == "kriging":
        from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter

        return CoarseToFineInpainter()
    if model in WEIGHTLESS:
        from cmbinpaint.gaussian.direct_inpainter import KrigingInpainter

        return KrigingInpainter(int(str(model)[len("kriging") :]))
    from cmbinpaint.networks.inpainter import NetworkInpainter

    return NetworkInpainter.load(DEFAULT_NETWORK if model == "default" else os.fspath(model), device)
