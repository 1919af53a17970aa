"""White and colored noise from two splits, against the noise that was put into them."""

import numpy as np
import pytest

from cmbinpaint import noise_of_splits
from cmbinpaint.errors import MapError
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.sims.noise_fit import fit_noise
from cmbinpaint.sphere.pixels import pixel_vectors

NSIDE, WHITE = 32, 20.0
ELL = np.arange(3 * NSIDE)
LEVEL = WHITE**2 * 4 * np.pi / (12 * NSIDE**2)  # of the white noise
COLORED = np.where(ELL < 2, 0.0, LEVEL * (np.maximum(ELL, 1) / 20.0) ** -2.0)  # they cross at ell = 20
MASK = np.abs(pixel_vectors(NSIDE)[:, 2]) > 0.25


def splits(colored: np.ndarray | None, seed: int) -> list[np.ndarray]:
    """Two splits whose mean has the noise above; NaN behind the mask."""
    sky = simulate_sky(fiducial_cl(3 * NSIDE - 1), NSIDE, fwhm=np.radians(5), seed=seed)
    rng = np.random.default_rng((seed, 1))
    made = []
    for i in range(2):
        one = sky + np.sqrt(2) * WHITE * rng.standard_normal(sky.size)
        if colored is not None:
            one = one + simulate_sky(2 * colored, NSIDE, seed=(seed + 1) * 100 + i)
        made.append(np.where(MASK, one, np.nan))
    return made


def test_both_parts_are_found() -> None:
    """The mean over 12 skies, within three standard errors of the truth, and 5 % of the white level in each."""
    found = [noise_of_splits(*splits(COLORED, seed), MASK, unit="uK") for seed in range(12)]
    std = np.array([white for white, _ in found])
    np.testing.assert_allclose(std, WHITE, rtol=0.05)
    power = np.array([colored[[3, 8, 20]] for _, colored in found])
    error = power.std(axis=0, ddof=1) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(power.mean(axis=0) - COLORED[[3, 8, 20]]), 3.5 * error)
    np.testing.assert_array_less(error, 0.2 * COLORED[[3, 8, 20]])
    assert found[0][1].shape == (3 * NSIDE,) and not found[0][1][:2].any()


def test_white_noise_has_no_color() -> None:
    std, colored = noise_of_splits(*splits(None, 3), MASK, unit="uK")
    assert std == pytest.approx(WHITE, rel=0.02)
    assert not colored.any()


def test_a_map_in_kelvin_gives_microkelvin() -> None:
    one, two = splits(COLORED, 1)
    expected = noise_of_splits(one, two, MASK, unit="uK")
    found = noise_of_splits(one * 1e-6, two * 1e-6, MASK, unit="K")
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)


def test_the_fit_of_a_law_gives_it_back() -> None:
    ell = np.geomspace(3, 200, 12)
    white, colored, slope = fit_noise(2.0 + 5.0 * (ell / 3) ** -1.5, ell, np.full(12, 100.0))
    assert (white, colored, slope) == pytest.approx((2.0, 5.0, 1.5), rel=1e-3)


def test_what_cannot_be() -> None:
    one, two = splits(None, 0)
    with pytest.raises(MapError, match="temperature maps"):
        noise_of_splits(np.stack([one] * 3), np.stack([two] * 3), unit="uK")
    with pytest.raises(MapError, match="the two splits are the same map"):
        noise_of_splits(one, one, unit="uK")
    with pytest.raises(MapError, match="splits are of one sky"):
        noise_of_splits(one, two[: 12 * 16**2], unit="uK")
    few = np.zeros(one.size, bool)
    few[:40] = True
    with pytest.raises(MapError, match="too little to tell"):
        noise_of_splits(*(np.where(few, split, np.nan) for split in (one, two)), unit="uK")
