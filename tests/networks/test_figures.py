"""What cards say their networks reach, computed again in small part."""

from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.networks.inpainter import load_network
from cmbinpaint.networks.store import list_models

ROOT = Path(__file__).parents[2]
CLOSE = 0.01  # a machine without bfloat16 computes in float32: 0.3 %


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_a_network_reaches_on_the_first_sky_what_its_card_says(card, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from combine_on_sphere import Exam

    graded = card.figures["sphere"]
    found = Exam(1).grade(load_network(card.name, "cpu"))
    np.testing.assert_allclose(found["first_rms_uK"], graded["first_rms_uK"], rtol=CLOSE)
    # One sky scatters about the mean of several.
    np.testing.assert_allclose(found["excess"], graded["excess"], rtol=0.15)
