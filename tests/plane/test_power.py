"""Flat-sky power: Parseval, white noise, and a field simulated from a spectrum has that spectrum."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import SpectrumError
from cmbinpaint.plane import power
from cmbinpaint.plane.power import flat_cl

STEP = 2e-3


def simulated(cl: np.ndarray, side: int, step_rad: float, rng: np.random.Generator, n: int = 1) -> np.ndarray:
    return power.draw_fields(power.mode_variance(cl, side, step_rad), n, rng)


@settings(deadline=None, max_examples=20)
@given(side=st.integers(4, 33), seed=st.integers(0, 1000))
def test_all_modes_together_hold_the_variance(side: int, seed: int) -> None:
    field = np.random.default_rng(seed).standard_normal((side, side))
    top = power.mode_ells(side, STEP).max()
    _, cl = flat_cl(field, STEP, edges=np.array([1e-6, top * 1.01]))
    modes = side**2 - 1
    # Parseval: the sum of C_ell over modes, over the patch's area, is the variance; exact but for rounding.
    assert cl[0] * modes / (side * STEP) ** 2 == pytest.approx(np.var(field), rel=1e-12)


def test_white_noise_is_flat() -> None:
    rng = np.random.default_rng(0)
    cls = np.mean([flat_cl(3 * rng.standard_normal((64, 64)), STEP)[1] for _ in range(40)], axis=0)
    # White noise of variance 9 has C_ell = 9 step²; the first rings have 8 modes, 40 draws: 8 % each.
    np.testing.assert_allclose(cls, 9 * STEP**2, rtol=0.35)
    assert cls.mean() == pytest.approx(9 * STEP**2, rel=0.03)


@pytest.mark.parametrize("side", [64, 65])
def test_a_simulated_patch_has_its_spectrum(side: int) -> None:
    ell = np.arange(1600)
    cl = 1e3 / (ell + 50.0) ** 2 * np.exp(-((ell / 800) ** 2))
    rng = np.random.default_rng(1)
    draws = [flat_cl(field, STEP) for field in simulated(cl, side, STEP, rng, 60)]
    found_ell, found = draws[0][0], np.mean([d[1] for d in draws], axis=0)
    modes = 2 * np.pi * np.arange(1, found.size + 1)
    expected = np.interp(found_ell, ell, cl)
    good = found_ell < 1500
    # Half as many independent modes as modes, 60 draws; within a ring C_ell bends by up to 10 %.
    scatter = np.sqrt(2 / (modes * 60))
    assert np.all(np.abs(found / expected - 1)[good] < 4 * scatter[good] + 0.1)
    assert np.mean((found / expected)[good]) == pytest.approx(1, abs=0.03)


def test_variance_is_that_of_the_modes() -> None:
    cl = np.r_[0, 0, np.full(3000, 2.0)]
    expected = power.mode_variance(cl, 32, STEP)
    count = np.full(expected.shape, 2.0)
    count[:, [0, -1]] = 1
    rng = np.random.default_rng(2)
    fields = simulated(cl, 32, STEP, rng, 300)
    total = (expected * count).sum() / 32**4
    # 300 draws of about 1000 modes.
    assert np.var(fields) == pytest.approx(total, rel=0.02)
    assert np.abs(fields.mean(axis=(1, 2))).max() < 1e-12 * np.sqrt(total) * 32


def test_a_seed_decides_the_field() -> None:
    cl = np.ones(100)
    one, two = (simulated(cl, 16, 0.05, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_window_is_divided_out() -> None:
    rng = np.random.default_rng(3)
    taper = np.outer(*[np.sin(np.pi * (np.arange(64) + 0.5) / 64)] * 2)
    ratio = [
        np.nanmean(flat_cl(f, STEP, window=taper)[1][4:]) / np.nanmean(flat_cl(f, STEP)[1][4:])
        for f in rng.standard_normal((30, 64, 64))
    ]
    assert np.mean(ratio) == pytest.approx(1, abs=0.03)  # 30 fields of about 4000 x 0.44 modes


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: flat_cl(np.zeros((3, 4)), 1.0), "the patch has shape (3, 4); give (side, side)"),
        (
            lambda: flat_cl(np.full((4, 4), np.nan), 1.0),
            "the patch holds NaN or infinity; fill its holes first",
        ),
        (lambda: flat_cl(np.zeros((4, 4)), 0.0), "the step is 0.0 rad; give a positive angle"),
        (
            lambda: flat_cl(np.zeros((4, 4)), 1.0, window=np.ones(4)),
            "the window is (4,); the patch is (4, 4)",
        ),
        (lambda: flat_cl(np.zeros((4, 4)), 1.0, window=np.zeros((4, 4))), "the window is zero everywhere"),
        (lambda: flat_cl(np.zeros((4, 4)), 1.0, edges=np.array([2.0, 1.0])), "two or more growing numbers"),
        (
            lambda: power.mode_variance(np.array([1.0, -1.0]), 4, 1.0),
            "the first at ell = 1 (-1.0)",
        ),
        (
            lambda: power.mode_variance(np.ones((2, 2)), 4, 1.0),
            "cl has shape (2, 2); expected one spectrum (lmax+1,)",
        ),
    ],
)
def test_what_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(SpectrumError, match=re.escape(text)):
        make()


def test_a_patch_without_power_is_refused() -> None:
    cl = np.zeros(300)
    cl[2:20] = 1.0
    with pytest.raises(
        SpectrumError, match=r"no power above ell = 112, the scale of a patch; use model='gaussian'"
    ):
        power.patch_rms(cl, np.radians(0.1), 32)
    ell = np.arange(5, 20)
    wanted = np.sqrt(np.sum(2 * ell + 1) / (4 * np.pi))
    assert power.patch_rms(cl, 2 * np.pi / 5.5 / 32, 32) == pytest.approx(wanted)
