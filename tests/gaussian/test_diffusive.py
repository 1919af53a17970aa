"""The diffusive inpainter against plain sweeps, and harmonic functions' own laws."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import ConvergenceError, MapError
from cmbinpaint.gaussian import diffusive
from cmbinpaint.gaussian.diffusive import DiffusiveInpainter
from cmbinpaint.problem.model import Inpainter, Predictor
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel

NSIDE = 16
NPIX = 12 * NSIDE**2
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T
MODEL = SkyModel(nside=NSIDE, signal_cl=np.ones(20), noise_std=0.0)

# The residual is 1e-10 of the right side; a hole's width squared magnifies it.
SOLVED = 1e-7


def plan_of(seed: int = 0) -> InpaintingPlan:
    rng = np.random.default_rng(seed)
    valid = np.ones(NPIX, dtype=bool)
    centers = rng.integers(NPIX, size=5)
    for center in centers:
        valid[VECTORS @ VECTORS[center] > np.cos(rng.uniform(0.01, 0.5))] = False
    # What is excluded touches both holes and data.
    valid[VECTORS @ VECTORS[centers[0]] > np.cos(0.3)] = False
    rim = np.flatnonzero(VECTORS @ VECTORS[centers[0]] > np.cos(0.3))[0]
    excluded = VECTORS @ VECTORS[rim] > np.cos(0.2)
    return InpaintingPlan.from_valid(valid, exclude=excluded)


def swept(plan: InpaintingPlan, values: np.ndarray, sweeps: int = 6000) -> np.ndarray:
    """The oracle: every target becomes the mean of its neighbors (not the excluded ones), again and again."""
    sky = np.where(plan.valid, values, 0.0)
    targets = np.flatnonzero(plan.targets)
    around = hp.get_all_neighbours(NSIDE, targets)
    counts = (around >= 0) & ~plan.excluded[around]
    for _ in range(sweeps):
        sky[targets] = np.where(counts, sky[around], 0).sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    return sky


def test_it_is_the_limit_of_plain_sweeps() -> None:
    plan = plan_of()
    values = np.random.default_rng(1).normal(size=NPIX)
    filled = DiffusiveInpainter().prepare(plan, MODEL).predict(values)
    np.testing.assert_allclose(filled, swept(plan, values), rtol=0, atol=SOLVED)


@given(seed=st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_a_predictor_fulfills_its_contract(seed: int) -> None:
    plan = plan_of(seed)
    method = DiffusiveInpainter()
    predictor = method.prepare(plan, MODEL)
    assert isinstance(method, Inpainter) and isinstance(predictor, Predictor)
    first, second = np.random.default_rng(seed).normal(size=(2, NPIX))
    first[~plan.valid] = np.nan
    filled = predictor.predict(first)
    np.testing.assert_array_equal(filled[plan.valid], first[plan.valid])
    np.testing.assert_array_equal(filled[plan.excluded], 0)
    # A harmonic function takes its extremes at the boundary.
    assert np.abs(filled[plan.targets]).max(initial=0) <= np.abs(filled[plan.valid]).max() + SOLVED
    both = predictor.predict(2 * first - 3 * second + 5)
    expected = 2 * filled - 3 * predictor.predict(second) + 5
    np.testing.assert_allclose(both[~plan.excluded], expected[~plan.excluded], rtol=0, atol=10 * SOLVED)


def test_a_constant_gives_itself() -> None:
    plan = plan_of(3)
    filled = DiffusiveInpainter().prepare(plan, MODEL).predict(np.full(NPIX, 2.7e6))
    np.testing.assert_allclose(filled[~plan.excluded], 2.7e6, rtol=1e-15)


def test_targets_without_data_beside_them_get_the_mean() -> None:
    island = np.array([500])
    ring = hp.get_all_neighbours(NSIDE, 500)
    excluded = np.zeros(NPIX, dtype=bool)
    excluded[ring] = True
    valid = np.ones(NPIX, dtype=bool)
    valid[island] = False
    valid[2000:2100] = False
    plan = InpaintingPlan.from_valid(valid, exclude=excluded)
    values = np.random.default_rng(4).normal(size=NPIX)
    filled = DiffusiveInpainter().prepare(plan, MODEL).predict(values)
    np.testing.assert_allclose(filled[500], values[plan.valid].mean(), rtol=1e-12)
    assert np.isfinite(filled).all()


def test_nothing_to_fill() -> None:
    plan = InpaintingPlan.from_valid(np.ones(NPIX, dtype=bool))
    values = np.random.default_rng(5).normal(size=NPIX)
    np.testing.assert_array_equal(DiffusiveInpainter().prepare(plan, MODEL).predict(values), values)


def test_errors_say_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = DiffusiveInpainter().prepare(plan_of(), MODEL)
    with pytest.raises(MapError, match=r"the map has shape \(12,\); this plan is for \(3072,\)"):
        predictor.predict(np.ones(12))
    monkeypatch.setattr(diffusive, "MAX_STEPS", 1)
    with pytest.raises(ConvergenceError, match="the mean of neighbors did not converge in 1 steps"):
        predictor.predict(np.random.default_rng(6).normal(size=NPIX))
