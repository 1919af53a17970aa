"""What cards say their networks reach, computed again in small part."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.networks.store import list_models
from cmbinpaint.plane.shapes import circle

ROOT = Path(__file__).parents[2]
CLOSE = 2e-4  # other machines and thread counts differ by the rounding of float32 sums


@pytest.mark.parametrize(
    "card", [card for card in list_models() if "circles" in card.figures], ids=lambda card: card.name
)
def test_a_network_of_patches_reaches_in_a_circle_what_its_card_says(card, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from patch_circles import SETTINGS, SIDE, network, skies

    graded = card.figures["circles"]
    model, n = SETTINGS["seed"], graded["patches"]
    signal, data = (fields[:n] for fields in skies(model, n))
    for radius in (5, 20):
        valid = circle(SIDE, radius)
        missed = (network(card.name, model, data)(data, valid) - signal)[:, ~valid]
        row = graded["radii"].index(radius)
        assert np.sqrt(np.mean(np.square(missed))) == pytest.approx(graded["rms_uK"][row], rel=CLOSE)


def test_every_network_that_fills_is_graded() -> None:
    """By `cmbinpaint validate --card` or by `benchmarks/patch_circles.py --into-cards`."""
    for card in list_models():
        assert any(key == "circles" or key.startswith("validation_nside") for key in card.figures), card.name
