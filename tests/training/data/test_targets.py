"""Targets of trainings whose skies are simulated on the way."""

import numpy as np
import pytest

from cmbinpaint.training.data.targets import take_targets


def test_a_stream_of_skies_has_targets_in_its_middle() -> None:
    table = {"kind": "sky", "side": 32, "step_arcmin": [5.0, 20.0], "beam_px": [0.0, 4.0]}
    table |= {"noise_over_rms": [0.01, 0.04]}
    targets = take_targets(table, 40, 3)
    assert targets.truth.shape == targets.data.shape == (40, 32, 32)
    assert targets.step_arcmin == pytest.approx(10.0) and len(targets.ns) == 1
    assert targets.noise_uK == pytest.approx(0.02 * targets.rms_uK)
    assert (targets.data - targets.truth).std() == pytest.approx(
        targets.noise_uK, rel=0.02
    )  # 40 960 draws: 0.4 %
    ell = np.arange(targets.fiducial_cl.size)
    sigma = np.radians(40 / 60) / np.sqrt(8 * np.log(2))  # a beam of two map pixels, four steps
    bare = take_targets({**table, "beam_px": [0.0, 0.0]}, 1, 3).fiducial_cl
    kept = bare > 0
    np.testing.assert_allclose(
        (targets.fiducial_cl / np.maximum(bare, 1e-300))[kept],
        np.exp(-ell * (ell + 1.0) * sigma**2)[kept],
        rtol=1e-9,
    )
    again = take_targets(table, 40, 3)
    assert np.array_equal(again.data, targets.data)
