"""Held-out pixels are observed, apart from the mask's holes, and shaped and as deep as those are."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MaskError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.validation.holdout import GAP, MOST, _rotated_pixels, _rotation, hold_out

NSIDE = 32
NPIX = 12 * NSIDE**2


def beside(region: np.ndarray) -> np.ndarray:
    """The region and its 8 neighbors, by healpy."""
    out = region.copy()
    near = hp.get_all_neighbours(NSIDE, np.flatnonzero(region)).ravel()
    out[near[near >= 0]] = True
    return out


def sources(seed: int) -> np.ndarray:
    """Forty discs of up to two pixels."""
    rng, out = np.random.default_rng(seed), np.ones(NPIX, bool)
    for center in rng.standard_normal((40, 3)):
        out[hp.query_disc(NSIDE, center, rng.uniform(0.02, 0.07))] = False
    return out


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), guard=st.integers(0, 1))
def test_what_is_held_out_lies_in_clean_sky(seed: int, guard: int) -> None:
    mask = sources(seed) if guard else planck_like_mask(NSIDE, seed=seed % 5)  # guards want room
    plan = InpaintingPlan.from_valid(mask, guard=guard)
    found = hold_out(plan, np.random.default_rng(seed), 4)
    test = found.plan
    assert not np.any(test.targets & ~plan.valid) and not np.any(test.valid & ~plan.valid)
    held = plan.valid & ~test.valid
    assert np.all(held[test.targets]) and found.n_holes + found.n_discs > 0
    if not guard:
        assert np.array_equal(held, test.targets)
    near = ~plan.valid
    for _ in range(GAP):
        near = beside(near)
    assert not np.any(near & held)
    assert held.sum() < (MOST + 0.06) * plan.valid.sum()  # the last rotation may pass it
    # Nothing but the mask's own holes, guards and exclusions is left out of data and targets.
    assert np.array_equal(test.excluded, ~test.valid & ~test.targets)


def test_a_rotation_is_one() -> None:
    for seed in range(5):
        r = _rotation(np.random.default_rng(seed))
        np.testing.assert_allclose(r @ r.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(r) == pytest.approx(1.0)
    # A pixel's content goes where the rotation takes its center.
    turned = _rotated_pixels(NSIDE, r)
    disc = np.zeros(NPIX, bool)
    center = np.array(hp.ang2vec(1.0, 2.0))
    disc[hp.query_disc(NSIDE, center, 0.2)] = True
    expected = np.zeros(NPIX, bool)
    expected[hp.query_disc(NSIDE, r @ center, 0.2)] = True
    assert np.sum(disc[turned] != expected) < 0.15 * expected.sum()  # pixels at the rim


def test_a_hole_keeps_its_shape() -> None:
    """One disc in a clean sky: held-out discs have its size and its depths."""
    valid = np.ones(NPIX, bool)
    valid[hp.query_disc(NSIDE, hp.ang2vec(0.8, 1.0), np.radians(8))] = False
    plan = InpaintingPlan.from_valid(valid)
    found = hold_out(plan, np.random.default_rng(1), 3)
    assert found.n_holes == 3 and found.n_discs == 0
    assert found.plan.targets.sum() == pytest.approx(3 * plan.targets.sum(), rel=0.05)
    depths = [np.sort(p.depth[p.targets])[-3:].mean() for p in (plan, found.plan)]
    assert depths[1] == pytest.approx(depths[0], abs=0.5)


def test_discs_stand_in_for_a_band() -> None:
    z = np.abs(hp.pix2vec(NSIDE, np.arange(NPIX))[2])
    plan = InpaintingPlan.from_valid(z > 0.25)
    found = hold_out(plan, np.random.default_rng(2), 2)
    assert found.n_holes == 0 and 8 <= found.n_discs <= 32
    # As deep as the band's bins ask, and no deeper than the discs.
    assert 8.3 < found.plan.depth[found.plan.targets].max() < 12


def test_exclusions_are_not_rotated() -> None:
    galaxy = np.abs(hp.pix2vec(NSIDE, np.arange(NPIX))[2]) < 0.3
    valid = np.ones(NPIX, bool)
    valid[np.flatnonzero(~galaxy)[100]] = False
    plan = InpaintingPlan.from_valid(valid, exclude=galaxy)
    found = hold_out(plan, np.random.default_rng(0), 12)
    assert 1 <= found.plan.targets.sum() <= 24  # a pixel rotated covers none, one or two centers


def test_without_room_it_says_so() -> None:
    checkered = hp.ring2nest(NSIDE, np.arange(NPIX)) % 4 > 0  # each pixel within a ring or two of a hole
    with pytest.raises(MaskError, match="no hole of this mask fits into the observed sky"):
        hold_out(InpaintingPlan.from_valid(checkered), np.random.default_rng(0), 2)
    with pytest.raises(MaskError, match="no pixel is filled with this mask, so there is nothing to check"):
        hold_out(InpaintingPlan.from_valid(np.ones(NPIX, bool)), np.random.default_rng(0), 2)
