"""The estimated sky model is the one the map was made with, as far as a map with holes can tell."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.sims import SkyModel, estimate_sky_model, fiducial_cl, simulate_sky
from cmbinpaint.sims.estimate import NOISE_FLOOR
from cmbinpaint.sims.smooth_fill import faces, smooth_fill, unfaces

NSIDE = 32
NPIX = 12 * NSIDE**2
FWHM = 3 * hp.nside2resol(NSIDE)
LMAX = 3 * NSIDE - 1
NOISE = 3.0


def holes(nside: int, seed: int = 0) -> np.ndarray:
    """A Galactic band and discs: True = observed, about 0.75."""
    rng = np.random.default_rng(seed)
    vectors = np.array(hp.pix2vec(nside, np.arange(12 * nside**2)))
    valid = np.abs(vectors[2]) > 0.12
    for center in rng.standard_normal((60, 3)):
        valid &= center @ vectors / np.linalg.norm(center) < np.cos(2.0 * hp.nside2resol(nside))
    return valid


def truth(nside: int = NSIDE) -> np.ndarray:
    """Return signal power in a map that samples a sky behind a beam of three pixels."""
    lmax = 3 * nside - 1
    return fiducial_cl(lmax) * hp.gauss_beam(3 * hp.nside2resol(nside), lmax) ** 2


def observation(seed: int, nside: int = NSIDE, noise: float = NOISE) -> np.ndarray:
    lmax = 3 * nside - 1
    return simulate_sky(fiducial_cl(lmax), nside, fwhm=3 * hp.nside2resol(nside), noise_std=noise, seed=seed)


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    return holes(NSIDE)


@pytest.fixture(scope="module")
def model(valid: np.ndarray) -> SkyModel:
    return estimate_sky_model(observation(1), valid, nside=NSIDE)


def same(one: SkyModel, other: SkyModel, rtol: float) -> None:
    assert one.lmax == other.lmax
    np.testing.assert_allclose(one.signal_cl, other.signal_cl, rtol=rtol)
    np.testing.assert_allclose(one.noise_std, other.noise_std, rtol=rtol)


def test_signal_and_noise_are_found() -> None:
    nside = 64
    valid = holes(nside)
    expected = truth(nside)
    ratios, levels = [], []
    for seed in range(3):
        found = estimate_sky_model(observation(seed, nside), valid, nside=nside)
        signal_dominates = slice(2, 100)  # above, less than 20 times the noise
        ratios.append(found.signal_cl[signal_dominates] / expected[signal_dominates])
        levels.append(found.noise_std)
    # Cosmic variance of the sky's scale is 3 to 10 % at nside 64, less after averaging.
    ratio = np.mean(ratios, axis=0)
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.04)
    assert ratio.min() > 0.85
    assert ratio.max() < 1.15
    assert np.mean(levels) == pytest.approx(NOISE, rel=0.015)
    assert f"noise {found.noise_std:.3g} per pixel from blocks of pixels" in found.source


def test_below_ell_30_the_shape_is_the_fiducial_s(model: SkyModel) -> None:
    ratio = model.signal_cl[2:30] / truth()[2:30]
    steps = np.diff(np.log(ratio))
    assert np.abs(steps).max() < 0.02  # a beam of another width tilts it, nothing else
    assert model.signal_cl[0] > 1e3 * model.signal_cl[2]


@given(
    factor=st.floats(1e-6, 1e6),
    constant=st.floats(-1e4, 1e4),
    lon=st.floats(0, 360),
    dipole=st.floats(0, 3e3),
)
@settings(max_examples=4, deadline=None)
def test_scale_constant_and_dipole(
    model: SkyModel, valid: np.ndarray, factor: float, constant: float, lon: float, dipole: float
) -> None:
    axis = hp.ang2vec(lon, 20.0, lonlat=True)
    sky = observation(1) + constant + dipole * (axis @ np.array(hp.pix2vec(NSIDE, np.arange(NPIX))))
    # Rounding of the dipole's fit, enlarged by the descent's tolerance.
    same(estimate_sky_model(factor * sky, valid, nside=NSIDE), model.scaled(factor), rtol=1e-3)


@pytest.mark.parametrize("junk", [np.nan, 1e30, hp.UNSEEN, np.inf])
def test_nothing_under_a_hole_is_read(model: SkyModel, valid: np.ndarray, junk: float) -> None:
    sky = np.where(valid, observation(1), junk)
    assert estimate_sky_model(sky, valid, nside=NSIDE).digest == model.digest


def test_noise_that_is_known_is_kept(valid: np.ndarray) -> None:
    sky = observation(1)
    assert estimate_sky_model(sky, valid, nside=NSIDE, noise_std=NOISE).noise_std == pytest.approx(
        NOISE, rel=1e-12
    )
    level = np.linspace(2.0, 4.0, NPIX)
    found = estimate_sky_model(sky, valid, nside=NSIDE, noise_std=level)
    np.testing.assert_allclose(found.noise_std, level, rtol=1e-12)
    assert "noise given" in found.source


def test_a_map_without_noise_gets_a_little(valid: np.ndarray) -> None:
    found = estimate_sky_model(observation(2, noise=0.0), valid, nside=NSIDE)
    assert isinstance(found.noise_std, float)
    assert found.noise_std > 0.99 * NOISE_FLOOR * found.rms
    assert found.noise_std < 0.05 * found.rms
    assert "no noise seen, a small noise assumed" in found.source


def test_a_map_of_noise_is_noise(valid: np.ndarray) -> None:
    sky = np.random.default_rng(5).standard_normal(NPIX) * 7.0
    found = estimate_sky_model(sky, valid, nside=NSIDE)
    assert found.noise_std == pytest.approx(7.0, rel=0.03)
    assert found.rms < 0.1 * 7.0


def test_a_signal_below_the_noise_is_found() -> None:
    nside = 64
    found = estimate_sky_model(observation(8, nside, noise=100.0), holes(nside), nside=nside)
    assert found.noise_std == pytest.approx(100.0, rel=0.03)
    assert found.lmax > 60
    # Below ell = 20 signal is 10 to 1000 times the noise: 400 modes times 0.75, and the reference's shape.
    assert np.mean(found.signal_cl[2:20] / truth(nside)[2:20]) == pytest.approx(1.0, abs=0.25)


def test_part_of_the_sky_suffices() -> None:
    nside = 64
    cap = hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1] > 10
    found = estimate_sky_model(observation(3, nside), cap, nside=nside)
    ratio = found.signal_cl[2:80] / truth(nside)[2:80]
    # 40 % of the sky: 10 % of scale, and what the other 60 % leak.
    assert ratio.min() > 0.75
    assert ratio.max() < 1.3


def test_a_constant_map_has_a_model(valid: np.ndarray) -> None:
    found = estimate_sky_model(np.full(NPIX, 5.0), valid, nside=NSIDE)
    assert found.rms == pytest.approx(0.005, rel=1e-6)
    assert "the observed sky is constant" in found.source
    assert estimate_sky_model(np.zeros(NPIX), valid, nside=NSIDE).rms > 0


def test_refusals(valid: np.ndarray) -> None:
    sky = observation(1)
    with pytest.raises(MapError, match=r"shapes \(10,\) and \(12288,\); nside 32 needs \(12288,\)"):
        estimate_sky_model(sky[:10], valid, nside=NSIDE)
    with pytest.raises(
        MapError, match=r"5 pixels of nside 32 are observed; a sky model is estimated from at least 32"
    ):
        estimate_sky_model(sky, np.arange(NPIX) < 5, nside=NSIDE)
    sky[np.flatnonzero(valid)[0]] = np.nan
    with pytest.raises(MapError, match="observed pixels hold NaN or inf; add them to the mask"):
        estimate_sky_model(sky, valid, nside=NSIDE)
    with pytest.raises(SpectrumError, match="noise_std has shape"):
        estimate_sky_model(observation(1), valid, nside=NSIDE, noise_std=np.ones(5))


def test_faces_are_healpy_s() -> None:
    nested = np.arange(12 * 16**2)
    images = faces(nested)
    x, y, face = hp.pix2xyf(16, nested, nest=True)
    np.testing.assert_array_equal(images[face, y, x], nested)
    np.testing.assert_array_equal(unfaces(images), nested)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_bridges_are_smooth(seed: int) -> None:
    valid = holes(NSIDE, seed)
    sky = observation(seed)
    filled = smooth_fill(np.where(valid, sky, np.nan), valid)
    np.testing.assert_array_equal(filled[valid], sky[valid])
    assert filled[~valid].min() >= sky[valid].min()  # a mean of means
    assert filled[~valid].max() <= sky[valid].max()
    rim = (~valid) & valid[np.maximum(hp.get_all_neighbours(NSIDE, np.arange(NPIX)), 0)].any(axis=0)
    # Beside the rim a bridge is closer to the sky than 0 is.
    assert np.std((filled - sky)[rim]) < 0.6 * np.std(sky[rim])
    np.testing.assert_allclose(smooth_fill(2 * sky + 1, valid), 2 * filled + 1, rtol=0, atol=1e-9)
