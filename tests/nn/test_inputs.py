"""Conditions are in units of the patch: they know shape and noise, not scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import SpectrumError
from cmbinpaint.nn.inputs import N_CONDITIONS, conditions, patch_rms

STEP = np.radians(0.1)


def spectrum(lmax: int = 3000) -> np.ndarray:
    ell = np.arange(lmax + 1)
    cl = 1.0 / (1.0 + ell) ** 2.2
    cl[:2] = 1e9  # a broad prior must not be seen
    return cl


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(1e-12, 1e12), noise=st.floats(0, 10))
def test_scale_does_not_matter(factor: float, noise: float) -> None:
    cl = spectrum()
    level = noise * patch_rms(cl, STEP, 64)
    base = conditions(cl, level, STEP, 64)
    assert base.shape == (N_CONDITIONS,) and base.dtype == np.float32
    np.testing.assert_allclose(
        conditions(factor * cl, np.sqrt(factor) * level, STEP, 64), base, rtol=1e-5, atol=1e-6
    )


def test_more_noise_and_another_shape_are_told() -> None:
    cl = spectrum()
    base = conditions(cl, 0.1, STEP, 64)
    assert conditions(cl, 0.2, STEP, 64)[-1] > base[-1]
    smooth = cl * np.exp(-((np.arange(cl.size) * STEP) ** 2))
    assert conditions(smooth, 0.1, STEP, 64)[-2] < base[-2]


def test_the_rms_counts_waves_shorter_than_the_patch() -> None:
    cl = np.zeros(1000)
    cl[10] = 1.0  # far longer than the patch
    cl[900] = 1.0
    expected = np.sqrt((2 * 900 + 1) / (4 * np.pi))
    assert patch_rms(cl, STEP, 64) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(SpectrumError, match="no power above ell"):
        patch_rms(cl[:500], STEP, 64)
