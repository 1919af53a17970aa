"""Spectra in another unit or shape are refused by name; right models pass, whatever sky, mask, beam and noise."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from cmbinpaint import inpaint_map
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims import SkyModel, fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.sims.estimate import _DipoleFit
from cmbinpaint.sims.power_check import check_power
from cmbinpaint.sphere.masks import planck_like_mask
from cmbinpaint.sphere.pixels import pixel_angles, pixel_size, pixel_vectors

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NSIDE = 32
CL = fiducial_cl(3 * NSIDE - 1)
DL = CL * np.arange(CL.size) * np.arange(1, CL.size + 1) / (2 * np.pi)
FWHM = 2 * pixel_size(NSIDE)
MASK = planck_like_mask(NSIDE)


def observed(sky: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The map without monopole and dipole, NaN in holes, which are never read."""
    return np.where(valid, _DipoleFit(valid).removed(np.where(valid, sky, 0.0)), np.nan)


def model_of(cl: np.ndarray, nside: int = NSIDE, **known: object) -> SkyModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)  # D_ell does not fall off where the table ends
        return SkyModel.from_theory(cl, nside, **known)  # type: ignore[arg-type]


def random_mask(nside: int, rng: np.random.Generator) -> np.ndarray:
    """A Galactic cut, a Planck-like mask, a survey of 5 % of the sky and more, or single pixels."""
    vectors = pixel_vectors(nside)
    kind = rng.integers(4)
    if kind == 0:
        return planck_like_mask(nside, seed=int(rng.integers(1000)))
    if kind == 1:
        center = rng.normal(size=3)
        return vectors @ (center / np.linalg.norm(center)) > 1 - 2 * np.exp(rng.uniform(np.log(0.05), -0.5))
    if kind == 2:
        return np.abs(vectors[:, 2]) > rng.uniform(0.05, 0.75)
    return rng.random(len(vectors)) > rng.uniform(0, 0.9)


@pytest.mark.parametrize("seed", range(4))
def test_right_models_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        nside = int(rng.choice([16, 32, 64]))
        cl = fiducial_cl(3 * nside - 1) * rng.uniform(0.8, 1.2)  # A_s
        cl[1:] *= (np.arange(1, cl.size) / 700) ** (rng.uniform(0.9, 1.05) - 0.965)  # n_s
        fwhm = rng.choice([0, 0.5, 1, 2, 3, 6]) * pixel_size(nside)
        noise = rng.choice([0.0, 0.3, 3.0, 30.0, 100.0, 300.0])
        if rng.random() < 0.3:
            noise = noise * np.where(pixel_angles(nside, np.arange(12 * nside**2))[0] < 1, 0.5, 1.3)
        valid = random_mask(nside, rng)
        sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=noise, pixwin=True, seed=rng)
        told = noise if rng.random() < 0.7 else 0.0  # the noise need not be known
        check_power(observed(sky, valid), valid, model_of(cl, nside, fwhm=fwhm, noise_std=told), "uK_CMB")


@pytest.mark.parametrize(
    ("cl", "says"),
    [
        (CL * 1e-12, "its spectrum looks to be in K²"),
        (CL * 1e-6, "its spectrum looks to be in mK²"),
        (CL / 2.7255e6**2, r"its spectrum looks to be dimensionless, without T_CMB² = \(2.7255e6 µK\)²"),
        (DL, r"it looks to be D_ell = ell \(ell \+ 1\) C_ell / 2π"),
        (DL * 1e-12, r"its spectrum looks to be in K², and it looks to be D_ell"),
        (DL / 2.7255e6**2, "its spectrum looks to be dimensionless, .*, and it looks to be D_ell"),
        (CL * 1e12, "the map looks to be in K, not µK"),
        (CL * 4, r"it is about (3\.\d|4|4\.\d) times too large"),
        (CL / 9, r"it is about (8|9|10|8\.\d|9\.\d) times too small"),
        (
            CL * (1 + np.arange(CL.size) / 10) ** -3,
            "another cosmology, beam or noise, or foregrounds in the map",
        ),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_wrong_is_named(cl: np.ndarray, says: str, seed: int) -> None:
    sky = simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=3.0, pixwin=True, seed=seed)
    with pytest.raises(SpectrumError, match=r"^the sky model does not fit the map: at ell = \d+.*" + says):
        check_power(observed(sky, MASK), MASK, model_of(cl, fwhm=FWHM, noise_std=3.0), "uK_CMB")


def test_a_wrong_noise_is_no_wrong_spectrum() -> None:
    """Where the noise alone is wrong the spectrum is not said to be a factor off."""
    nside = 64
    cl, fwhm = fiducial_cl(3 * nside - 1), np.radians(160 / 60)
    mask = np.abs(pixel_vectors(nside)[:, 2]) > np.sin(np.radians(10))
    sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=10.0, pixwin=True, seed=1)
    model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=3.0)
    with pytest.warns(CmbInpaintWarning, match=r"\(noise dominates") as caught:
        check_power(observed(sky, mask), mask, model, "uK_CMB")
    text = str(caught[0].message)
    assert "another noise than is assumed, or foregrounds in the map" in text and "times too" not in text
    assert re.search(r"at ell = \d+ the observed pixels", text)  # one multipole is no range


def test_a_forgotten_beam_is_named_with_its_width() -> None:
    sky = simulate_sky(CL, NSIDE, fwhm=1.5 * FWHM, noise_std=1.0, pixwin=True, seed=0)
    with pytest.raises(
        SpectrumError, match="the map looks to be convolved with a further beam of "
    ) as caught:
        check_power(observed(sky, MASK), MASK, model_of(CL, noise_std=1.0), "uK_CMB")
    width = float(str(caught.value).split("beam of ")[1].split("'")[0])
    assert width == pytest.approx(60 * np.degrees(1.5 * FWHM), rel=0.2)  # what leaks makes it look narrower


def test_the_evidence_is_the_ratio_that_was_put_in() -> None:
    sky = simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, seed=1)
    everywhere = np.ones(sky.size, dtype=bool)
    with pytest.raises(
        SpectrumError, match=r"have .* times the model's power \(K_RJ assumed for both\)"
    ) as caught:
        check_power(observed(sky, everywhere), everywhere, model_of(CL / 50, fwhm=FWHM), "K_RJ")
    ratio = float(str(caught.value).split("have ")[1].split(" times")[0])
    assert ratio == pytest.approx(50, rel=0.5)  # the worst band's, which scatters by an eighth


def test_a_factor_within_two_passes() -> None:
    sky = simulate_sky(CL, NSIDE, fwhm=FWHM, noise_std=3.0, pixwin=True, seed=2)
    for factor in (0.6, 1.7):
        check_power(observed(sky, MASK), MASK, model_of(factor * CL, fwhm=FWHM, noise_std=3.0))


def test_a_little_sky_only_warns() -> None:
    nside = 16
    valid = pixel_vectors(nside)[:, 2] > 1 - 2 * 0.04
    sky = simulate_sky(fiducial_cl(47), nside, seed=3)
    model = model_of(fiducial_cl(47) * 1e-12, nside, noise_std=1.0)
    with pytest.warns(
        CmbInpaintWarning, match=r"may not fit the map \(little sky is observed, so it is not certain"
    ):
        check_power(observed(sky, valid), valid, model)


def test_noise_that_dominates_only_warns() -> None:
    sky = simulate_sky(CL, NSIDE, fwhm=0.3, noise_std=600.0, seed=4)
    with pytest.warns(
        CmbInpaintWarning, match=r"may not fit the map \(noise dominates, so it is not certain\): "
    ):
        check_power(observed(sky, MASK), MASK, model_of(CL, fwhm=0.3, noise_std=400.0))
    # Without a noise level nothing is known of what is not there; a signal above all power is wrong all the same.
    check_power(observed(sky, MASK), MASK, model_of(CL / 1e4, fwhm=0.3))
    with pytest.raises(SpectrumError, match="the sky model does not fit the map"):
        check_power(observed(sky, MASK), MASK, model_of(CL * 1e6, fwhm=0.3))


@pytest.mark.parametrize("nside", [1, 2, 4])
def test_the_smallest_maps_are_left_alone_if_right(nside: int) -> None:
    cl = fiducial_cl(max(2, 3 * nside - 1))
    valid = np.arange(12 * nside**2) % 5 > 0
    for seed in range(5):
        check_power(observed(simulate_sky(cl, nside, seed=seed), valid), valid, model_of(cl, nside))


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public files are not at {DATA}")
def test_planck_s_own_map_fits_planck_s_own_spectrum() -> None:
    from cmbinpaint.files.fits import read_map, read_mask

    sky, _ = read_map(DATA / "CMB_I_SMICA_128_R2.00.fits", unit="K")
    valid = read_mask(DATA / "planck_like_mask_nside128.fits") > 0.5
    seen, cl = observed(1e6 * sky.astype(np.float64), valid), fiducial_cl(383)
    check_power(seen, valid, model_of(cl, 128, fwhm=np.radians(5 / 60)), "uK_CMB")
    with pytest.raises(SpectrumError, match="the map looks to be in K, not µK"):
        check_power(1e-6 * seen, valid, model_of(cl, 128, fwhm=np.radians(5 / 60)), "uK_CMB")


class TestPolarization:
    """Of Q and U the power of E and B together is compared."""

    SPECTRA = fiducial_spectra(3 * NSIDE - 1)

    def test_right_models_pass(self) -> None:
        rng = np.random.default_rng(7)
        for _ in range(40):
            nside = int(rng.choice([16, 32]))
            cl = fiducial_spectra(3 * nside - 1)[1:3] * rng.uniform(0.8, 1.2)
            fwhm, noise = rng.choice([1, 3, 6]) * pixel_size(nside), rng.choice([0.02, 0.3, 3.0])
            valid = random_mask(nside, rng)
            sky = simulate_sky(cl, nside, fwhm=fwhm, noise_std=noise, pixwin=True, seed=rng)
            both = np.stack([valid, valid])
            check_power(
                np.where(both, sky, np.nan), both, model_of(cl, nside, fwhm=fwhm, noise_std=noise), "uK"
            )

    @pytest.mark.parametrize(
        ("factor", "words"),
        [
            (1e-6, "the map looks to be in K, not µK"),
            (1e-3, "the map looks to be in mK, not µK"),
            (3.0, "times too small"),
            (0.3, "times too large"),
        ],
    )
    def test_another_unit_or_level_is_named(self, factor: float, words: str) -> None:
        model = model_of(self.SPECTRA[1:3], fwhm=FWHM, noise_std=0.01)
        sky = factor * simulate_sky(self.SPECTRA[1:3], NSIDE, fwhm=FWHM, noise_std=0.01, pixwin=True, seed=1)
        both = np.stack([MASK, MASK])
        with pytest.raises(SpectrumError, match=f"does not fit Q and U: .*{words}"):
            check_power(np.where(both, sky, np.nan), both, model, "uK")

    def test_t_q_u_are_checked_apart(self) -> None:
        sky = simulate_sky(self.SPECTRA, NSIDE, fwhm=FWHM, noise_std=[3, 0.01, 0.01], pixwin=True, seed=2)
        sky[1:] *= 4
        with pytest.raises(SpectrumError, match="does not fit Q and U"):
            inpaint_map(sky, MASK, cl=self.SPECTRA, fwhm=FWHM, noise_std=[3, 0.01, 0.01], unit="uK", seed=1)
