"""A trained network as an inpainter of maps.

Inputs: a name or a path of a card. Outputs: nothing yet, for no family fills maps; it is said which was asked for.
"""

from cmbinpaint.errors import WeightsError
from cmbinpaint.networks.store import load_weights
from cmbinpaint.problem.model import Inpainter


def load_network(name_or_path: str, device: str = "auto") -> Inpainter:
    """Refuse weights by what they are.

    Raises
    ------
    WeightsError
        If they are not found, damaged, or of a family that fills no maps.
    """
    card, _ = load_weights(name_or_path)
    raise WeightsError(
        f"{card.name!r} is a network of family {card.family!r}, which fills patches and no maps; use model='gaussian'"
    )
