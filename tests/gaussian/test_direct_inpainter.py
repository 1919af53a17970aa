"""The kriging inpainter: what a predictor promises, for one resolution and for three."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError
from cmbinpaint.gaussian import direct_kriging as weights_of
from cmbinpaint.gaussian.direct_inpainter import THREE_RESOLUTIONS, KrigingInpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.harmonics import draw_alm
from tests.gaussian.promises import keeps_its_promises

NSIDE = 16
NPIX = 12 * NSIDE**2
ELL = np.arange(2 * NSIDE + 1)
CL = np.exp(-0.5 * ELL * (ELL + 1) * 0.06**2) / (ELL + 2.0) ** 2
MODEL = SkyModel(nside=NSIDE, signal_cl=CL, noise_std=0.02)
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T
METHODS = [KrigingInpainter(THREE_RESOLUTIONS), KrigingInpainter(16), KrigingInpainter((8, 6), (1, 4))]

# Double precision after sums of fifty terms; float32 weights do not enter: the same weights on both sides.
ROUNDING = 1e-12


def plan_of(seed: int = 0, guard: int = 0) -> InpaintingPlan:
    rng = np.random.default_rng(seed)
    valid = np.ones(NPIX, dtype=bool)
    for center in rng.integers(NPIX, size=5):
        valid[VECTORS @ VECTORS[center] > np.cos(rng.uniform(0.01, 0.5))] = False
    excluded = VECTORS @ VECTORS[rng.integers(NPIX)] > np.cos(0.2)
    return InpaintingPlan.from_valid(valid, exclude=excluded, guard=guard)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
@given(seed=st.integers(0, 1000), guard=st.integers(0, 1))
@settings(max_examples=5, deadline=None)
def test_a_predictor_keeps_its_promises(method: KrigingInpainter, seed: int, guard: int) -> None:
    keeps_its_promises(method, plan_of(seed, guard), MODEL, seed, 100 * ROUNDING)


def test_the_weights_are_those_of_the_sphere() -> None:
    plan = plan_of()
    values = np.random.default_rng(1).normal(size=NPIX)
    expected = weights_of.kriging_weights(plan.valid, CL, 0.02, targets=np.flatnonzero(plan.targets))
    filled = KrigingInpainter(16).prepare(plan, MODEL).predict(values)
    np.testing.assert_array_equal(filled[plan.targets], expected.apply(values))


def test_three_resolutions_see_farther_than_sixteen_pixels() -> None:
    """On simulations the rms error in a deep hole falls; sixteen pixels are worse there than zeros."""
    valid = VECTORS[:, 2] < np.cos(0.7)
    plan = InpaintingPlan.from_valid(valid)
    rng = np.random.default_rng(2)
    predictors = [
        KrigingInpainter(THREE_RESOLUTIONS).prepare(plan, MODEL),
        KrigingInpainter(16).prepare(plan, MODEL),
    ]
    errors = np.zeros(3)
    for _ in range(60):
        alm = draw_alm(np.where(ELL < 2, 0.0, CL), rng)
        signal = hp.alm2map(alm, NSIDE, lmax=ELL.size - 1)
        data = signal + 0.02 * rng.normal(size=NPIX)
        fills = [p.predict(data) for p in predictors] + [np.zeros(NPIX)]
        errors += [np.mean((fill - signal)[plan.depth > 3] ** 2) for fill in fills]
    three, one, none = np.sqrt(errors / errors[2])
    assert three < 0.98 * none < 0.98 * one, (three, one, none)


def test_names_tell_the_method() -> None:
    assert KrigingInpainter(THREE_RESOLUTIONS).name == "kriging32+8+8"
    assert KrigingInpainter(16).name == "kriging16"
    assert KrigingInpainter(64, (1,)).name == "kriging64"
    assert KrigingInpainter((16, 16, 16), (1, 4, 16)).name == "kriging16+16+16"


def test_errors_say_what_to_do() -> None:
    with pytest.raises(MapError, match=r"2 counts of neighbors \(8, 8\) for 3 resolutions \(1, 4, 16\)"):
        KrigingInpainter((8, 8), (1, 4, 16))
    plan = plan_of()
    with pytest.raises(MapError, match="the plan has nside 16, the sky model 8; degrade one of them"):
        KrigingInpainter(16).prepare(plan, SkyModel(nside=8, signal_cl=CL[:20], noise_std=0.1))
    with pytest.raises(MapError, match=r"the map has shape \(12,\); this plan is for \(3072,\)"):
        KrigingInpainter(4).prepare(plan, MODEL).predict(np.ones(12))
