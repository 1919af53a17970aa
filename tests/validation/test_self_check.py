"""The check passes what is right at its stated level, and catches a wrong noise and a wrong beam."""

from dataclasses import replace
from functools import cache
from typing import Any

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import inpaint_map, plan_inpainting, self_check
from cmbinpaint.errors import CmbInpaintError, MaskError, SpectrumError
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.validation.self_check import _together
from cmbinpaint.validation.self_check_result import LEVEL, SelfCheck

NOISE = 3.0


def known(nside: int) -> dict[str, Any]:
    return {"cl": fiducial_cl(3 * nside - 1), "fwhm": 3 * pixel_size(nside), "noise_std": NOISE}


def sky_of(nside: int, seed: int) -> np.ndarray:
    return simulate_sky(**known(nside), nside=nside, pixwin=True, seed=seed)


@cache
def mask_of(nside: int) -> Any:
    return planck_like_mask(nside)


def check(nside: int, sky_seed: int = 7, **changes: Any) -> SelfCheck:
    options = {**known(nside), "model": "kriging", **changes}
    return self_check(sky_of(nside, sky_seed), mask_of(nside), **options)


def test_what_is_right_passes_at_the_stated_level() -> None:
    found = [check(32, seed, seed=seed, n_rotations=12, n_simulations=40) for seed in range(16)]
    p = np.array([one.p for one in found])
    # p is conservative or even: of 16, 1.6 lie below 0.1 on average, six or more once in 200 times.
    assert np.sum(p < 0.1) <= 5 and np.sum(p < LEVEL) <= 1
    assert np.sum([one.fits for one in found]) >= 15
    ratios = np.array([one.ratio[0] for one in found])
    assert ratios.mean() == pytest.approx(1.0, abs=4 * found[0].ratio_error[0] / 4)  # 16 skies
    # The stated error is the scatter: 16 draws know it to 18 %.
    assert ratios.std() == pytest.approx(np.mean([one.ratio_error[0] for one in found]), rel=0.5)
    assert "fit this map" in str(found[0]) and "do NOT" not in str(found[0])


@pytest.mark.parametrize(
    ("change", "edge"),
    [
        ({"noise_std": NOISE / 1.3}, (1.1, 1.5)),
        ({"noise_std": NOISE * 1.3}, (0.7, 0.93)),
        ({"fwhm": 1.1 * 3 * pixel_size(64)}, (1.04, 1.25)),
        ({"fwhm": 0.9 * 3 * pixel_size(64)}, (0.85, 0.96)),
    ],
)
def test_noise_wrong_by_30_and_beam_by_10_percent_are_caught(
    change: dict[str, Any], edge: tuple[float, float]
) -> None:
    found = check(64, 3, **change)
    assert not found.fits and found.p < LEVEL
    assert edge[0] < found.ratio[0] < edge[1]
    assert "do NOT fit this map" in str(found) and "in the edge ring (0, 1.3]" in str(found)
    said = "noise understated, beam overstated" if edge[0] > 1 else "noise overstated, or beam understated"
    assert said in str(found)


def test_the_right_one_of_the_same_sky_passes() -> None:
    found = check(64, 3, model="default")
    assert found.fits and found.p > LEVEL and found.counts[0] > 3000
    assert found.model == "gaussian"
    tested = found.counts > 0
    # The exact mean errs no more than kriging; held-out pixels hold noise, which neither predicts.
    assert np.all(found.model_ratio[tested] < 1.03) and np.all(found.model_ratio[tested] > 0.7)
    worse = check(64, 3, model="diffusive", n_rotations=4, n_simulations=10)
    assert np.all(worse.model_ratio[:2] > 1.2) and worse.model == "diffusive"
    text = found.table()
    assert "gaussian / kriging" in text and "not tested" in text and text.count("±") >= 8
    filled, info = inpaint_map(
        sky_of(64, 3), mask_of(64), sky_model=found.sky_model, model="kriging", seed=1, return_info=True
    )
    assert info.sky_model is found.sky_model and np.all(np.isfinite(filled))


def test_units_orderings_and_seeds_do_not_matter_or_do() -> None:
    nside = 16
    mask = np.ones(12 * nside**2, bool)
    mask[np.random.default_rng(0).integers(0, mask.size, 60)] = False
    sky = sky_of(nside, 1)
    options: dict[str, Any] = {**known(nside), "model": "kriging", "n_simulations": 10, "n_rotations": 4}
    base = self_check(sky, mask, **options)
    nest = hp.nest2ring(nside, np.arange(sky.size))
    again = self_check(1e-6 * sky[nest], mask[nest], nest=True, unit="K", **options)
    np.testing.assert_allclose(again.ratio, base.ratio, rtol=1e-6)
    planned = self_check(sky, plan=plan_inpainting(mask), **options)
    np.testing.assert_array_equal(planned.ratio, base.ratio)
    other = self_check(sky, mask, seed=1, **options)
    assert other.ratio[0] != base.ratio[0]
    # Nothing under a hole is read.
    wild = self_check(np.where(mask, sky, 1e30), mask, **options)
    np.testing.assert_array_equal(wild.ratio, base.ratio)


def test_small_deviations_are_of_no_consequence_however_sure() -> None:
    base = check(32, n_simulations=20, n_rotations=8)
    k = len(base.ratio)
    sure = {"ratio_p": np.full(k, 1e-9), "depth_p": 1e-9, "ratio_error": np.full(k, 0.002)}
    small = replace(base, ratio=np.where(np.isnan(base.ratio), np.nan, 1.02), **sure)
    large = replace(base, ratio=np.where(np.isnan(base.ratio), np.nan, 1.06), **sure)
    assert small.fits and not large.fits
    assert "1.060 ± 0.002 times what is expected" in str(large)
    away = replace(
        base, coverage=base.expected_coverage - 0.1, coverage_p=np.full(5, 1e-8), all_coverage_p=1e-8, depth_p=0.5,
        ratio_p=np.full(k, 0.5),
    )  # fmt: skip
    assert not away.fits and "in quintile 1 of the prediction" in str(away)


def test_several_statistics_together_are_hotellings() -> None:
    rng = np.random.default_rng(0)
    root = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.3, 1.0]])
    p = [_together(root @ rng.standard_normal(3), rng.standard_normal((30, 3)) @ root.T) for _ in range(800)]
    # Even between 0 and 1: fractions of 800 known to 0.011 and 0.018.
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.04)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.07)
    assert _together(np.full(2, np.nan), np.full((30, 2), np.nan)) == 1.0


def test_what_cannot_be_checked_is_refused() -> None:
    sky, mask = sky_of(16, 1), np.ones(12 * 16**2, bool)
    mask[50:60] = False
    with pytest.raises(CmbInpaintError, match="n_rotations is 0; give 1 or more"):
        self_check(sky, mask, n_rotations=0)
    with pytest.raises(CmbInpaintError, match="n_simulations is 3; give 10 or more"):
        self_check(sky, mask, n_simulations=3)
    with pytest.raises(SpectrumError, match="give cl too, or neither"):
        self_check(sky, mask, fwhm=0.1)
    with pytest.raises(MaskError, match="no pixel is filled with this mask"):
        self_check(sky, np.ones(mask.size))


def test_colored_noise_that_is_given_fits() -> None:
    """7 µK beside 3 µK of white noise; left out, it is seen."""
    nside = 32
    ell = np.arange(3 * nside)
    colored = np.where(ell < 2, 0.0, 3.0 / (ell + 1.0))
    sky = sky_of(nside, 3) + simulate_sky(colored, nside, seed=4)
    options = {**known(nside), "model": "default", "seed": 1, "n_rotations": 12, "n_simulations": 40}
    given = self_check(sky, mask_of(nside), colored_noise_cl=colored, **options)
    without = self_check(sky, mask_of(nside), **options)
    assert given.fits and not without.fits
    assert without.ratio[0] > given.ratio[0] + 4 * given.ratio_error[0]
