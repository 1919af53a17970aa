"""Kriging from coarse to fine: the contract of a predictor, and how near it is to the exact mean."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import CmbInpaintWarning, MapError, SpectrumError
from cmbinpaint.gaussian import coarse_to_fine
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from tests.gaussian.contract import fulfills_its_contract

NSIDE = 16
NPIX = 12 * NSIDE**2
ELL = np.arange(2 * NSIDE + 1)
CL = np.exp(-ELL * (ELL + 1) * (3 * hp.nside2resol(NSIDE) / 2.3548) ** 2) / (ELL + 3.0) ** 2  # beam 3 px
CL[:2] = 1e6 * CL[2], 0.0  # any constant is allowed; factors know of no dipole
MODEL = SkyModel(nside=NSIDE, signal_cl=CL, noise_std=0.02)
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T


def plan_of(seed: int, guard: int = 0) -> InpaintingPlan:
    rng = np.random.default_rng(seed)
    valid = np.ones(NPIX, dtype=bool)
    for center in rng.integers(NPIX, size=5):
        valid[VECTORS @ VECTORS[center] > np.cos(rng.uniform(0.01, 0.5))] = False
    excluded = VECTORS @ VECTORS[rng.integers(NPIX)] > np.cos(0.2)
    return InpaintingPlan.from_valid(valid, exclude=excluded, guard=guard)


@given(seed=st.integers(0, 1000), guard=st.integers(0, 1))
@settings(max_examples=8, deadline=None)
def test_a_predictor_fulfills_its_contract(seed: int, guard: int) -> None:
    # Single precision of data of size 10, handed on some ten times.
    fulfills_its_contract(CoarseToFineInpainter(), plan_of(seed, guard), MODEL, seed, 3e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_prediction_is_near_the_exact_mean(seed: int) -> None:
    nside = 64
    model = SkyModel.from_theory(fiducial_cl(200), nside, fwhm=3 * pixel_size(nside), noise_std=3.0)
    plan = InpaintingPlan.from_valid(planck_like_mask(nside, seed=seed))
    signal, noise = draw_observation(model, np.random.default_rng(seed))
    exact = GaussianSolver(plan.valid, model).solve(signal + noise).mean
    holes = plan.targets

    def away(k: int) -> float:
        """rms of prediction minus exact mean over the exact mean's error."""
        filled = CoarseToFineInpainter(k).prepare(plan, model).predict(signal + noise)
        return float(np.std((filled - exact)[holes]) / np.std((exact - signal)[holes]))

    # 0.05 with 64 neighbors, 0.09 with 32, 0.18 with eight
    assert away(32) < 0.15
    assert away(32) < away(8)


def test_without_holes_nothing_is_done() -> None:
    plan = InpaintingPlan.from_valid(np.ones(NPIX, dtype=bool))
    sky = np.arange(NPIX, dtype=float)
    np.testing.assert_array_equal(CoarseToFineInpainter().prepare(plan, MODEL).predict(sky), sky)


def test_it_is_what_kriging_means() -> None:
    assert isinstance(load_model("kriging"), CoarseToFineInpainter)
    assert load_model("kriging").name == "kriging"


def test_of_very_many_hole_pixels_or_before_a_solver_each_has_fewer_neighbors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(0)
    observed = np.random.default_rng(0).standard_normal(NPIX)
    few, default = (CoarseToFineInpainter(k).prepare(plan, MODEL).predict(observed) for k in (32, None))
    assert not np.array_equal(few, default)
    np.testing.assert_array_equal(
        CoarseToFineInpainter().prepare(plan, MODEL, to_refine=True).predict(observed), few
    )
    monkeypatch.setattr(coarse_to_fine, "MANY", 10)
    np.testing.assert_array_equal(CoarseToFineInpainter().prepare(plan, MODEL).predict(observed), few)


def test_noise_far_above_the_signal_is_refused() -> None:
    loud = SkyModel(nside=NSIDE, signal_cl=CL, noise_std=3.5 * MODEL.rms)
    with pytest.raises(
        SpectrumError, match=r"up to 3 times .*, and here it is 3.5.*model='default', which is exact"
    ):
        CoarseToFineInpainter().prepare(plan_of(0), loud)
    CoarseToFineInpainter().prepare(plan_of(0), loud, to_refine=True)  # the solver mends it
    CoarseToFineInpainter().prepare(plan_of(0), loud.with_noise(2.5 * MODEL.rms))


def test_errors_say_what_to_do() -> None:
    plan = plan_of(0)
    with pytest.raises(MapError, match="the plan has nside 16, the sky model 8; degrade one of them"):
        CoarseToFineInpainter().prepare(plan, SkyModel(nside=8, signal_cl=CL[:20], noise_std=0.1))
    with pytest.raises(MapError, match=r"the map has shape \(12,\); this plan is for \(3072,\)"):
        CoarseToFineInpainter().prepare(plan, MODEL).predict(np.ones(12))
    with pytest.warns(CmbInpaintWarning, match="noise_std is below 0.01 of the signal's rms in"):
        CoarseToFineInpainter().prepare(plan, SkyModel(nside=16, signal_cl=CL, noise_std=0.0))
