"""The plan: what is data, what is filled, and what contradicts itself."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MaskError
from cmbinpaint.pipeline.planning import plan_inpainting
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims import SkyModel

NSIDE = 8
NPIX = 12 * NSIDE**2


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.floats(0.05, 0.95), guard=st.integers(0, 2))
def test_every_pixel_has_at_most_one_role(seed: int, share: float, guard: int) -> None:
    rng = np.random.default_rng(seed)
    valid, exclude = rng.random(NPIX) > share * 0.3, rng.random(NPIX) > 0.9
    try:
        plan = InpaintingPlan.from_valid(valid, exclude=exclude, guard=guard)
    except MaskError as error:
        assert "nothing is observed" in str(error)
        return
    assert not np.any(plan.valid & plan.targets) and not np.any(plan.valid & plan.excluded)
    assert np.array_equal(plan.targets, ~valid & ~exclude)
    assert np.all(plan.valid <= valid)
    assert np.array_equal(plan.depth > 0, ~plan.valid)
    if not guard:
        assert np.array_equal(plan.valid, valid & ~exclude)


def test_guard_turns_data_off_around_holes_but_not_around_what_is_excluded() -> None:
    valid, exclude = np.ones(NPIX, bool), np.zeros(NPIX, bool)
    valid[[100, 300]], exclude[[600, 300]] = False, True
    plan = InpaintingPlan.from_valid(valid, exclude=exclude, guard=1)
    assert plan.targets.sum() == 1
    assert (
        ~plan.valid
    ).sum() == 1 + 8 + 2  # the hole, its eight neighbors, the excluded pixels, masked or not


def test_a_plan_is_shown_in_one_line() -> None:
    valid, exclude = np.ones(NPIX, bool), np.zeros(NPIX, bool)
    valid[:100], exclude[90:120] = False, True
    plan = InpaintingPlan.from_valid(valid, exclude=exclude)
    assert repr(plan) == "<InpaintingPlan of nside 8: fsky 0.8438, 90 pixels to fill, 30 excluded>"
    model = SkyModel(nside=8, signal_cl=np.ones(4), noise_std=0.5)
    assert repr(dataclasses.replace(plan, sky_model=model)).endswith(
        ", 30 excluded, for <SkyModel of T, nside 8, lmax 3, noise 0.5: given>>"
    )


def test_digest_tells_plans_apart() -> None:
    valid = np.ones(NPIX, bool)
    valid[3] = False
    first, again = InpaintingPlan.from_valid(valid), InpaintingPlan.from_valid(valid)
    assert first.digest == again.digest
    assert first.digest != InpaintingPlan.from_valid(np.roll(valid, 1)).digest
    assert first.digest != InpaintingPlan.from_valid(valid, exclude=~valid).digest


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"valid": np.zeros(NPIX, bool)}, "nothing is observed"),
        ({"targets": np.ones(NPIX, bool)}, "overlap"),
        ({"excluded": np.zeros(NPIX - 1, bool)}, "excluded has shape"),
    ],
)
def test_contradictions_are_refused(change: dict[str, np.ndarray], text: str) -> None:
    parts = {
        "valid": np.ones(NPIX, bool),
        "targets": np.zeros(NPIX, bool),
        "excluded": np.zeros(NPIX, bool),
    }
    with pytest.raises(MaskError, match=text):
        InpaintingPlan(nside=NSIDE, **(parts | change))


def test_rows_of_mask_and_exclusion_agree() -> None:
    mask = np.ones((3, 192), bool)
    mask[:, :20] = False
    with pytest.raises(MaskError, match="the exclude mask has 2 rows, the mask 3; make them agree"):
        plan_inpainting(mask, exclude=np.zeros((2, 192), bool))
