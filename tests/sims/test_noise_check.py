"""Noise in another unit, or of another Stokes parameter, is refused by name; right noise passes, however small."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbinpaint import inpaint_map
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims import SkyModel, fiducial_spectra, simulate_sky
from cmbinpaint.sims.noise_check import check_noise
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.planck_mask import planck_like_mask

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NSIDE = 32
CL, FWHM, MASK = fiducial_spectra(3 * NSIDE - 1), 3 * pixel_size(NSIDE), planck_like_mask(NSIDE)
TQU = simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, noise_std=(5.0, 0.5, 0.5), seed=1)


def assume(sky: np.ndarray, **known: Any) -> SkyModel:
    cl = known.pop("cl", CL[0] if sky.ndim == 1 else CL)
    known |= {} if cl is None else {"cl": cl, "fwhm": FWHM}
    return Problem.make(sky, MASK, assume_microkelvin=True).assume_sky(**known)


@pytest.mark.parametrize("cl", ["given", None])
@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (5e-6, "a plateau of [45].*: the noise looks to be in K, and µK is expected"),
        (5e-3, "a plateau of [45].*: the noise looks to be in mK, and µK is expected"),
        (300.0, "300 uK_CMB .rms. was given as the noise of a pixel of the map, but .* rms of 4"),
    ],
)
def test_noise_of_another_unit_is_refused(noise: float, words: str, cl: str | None) -> None:
    with pytest.raises(SpectrumError, match=words):
        assume(TQU[0], noise_std=noise, **({} if cl else {"cl": None}))


def test_a_map_in_kelvin_is_named() -> None:
    with pytest.raises(SpectrumError, match="the map looks to be in K, not µK; unit= says"):
        assume(1e-6 * TQU[0], cl=None, noise_std=5.0)


@pytest.mark.parametrize("noise", [5.0, [5.0, 5.0, 5.0]])
def test_the_noise_of_t_is_not_that_of_q_and_u(noise: Any) -> None:
    with pytest.raises(
        SpectrumError,
        match=r"was given as the noise of a pixel of Q and U.* that of T; give noise_std as T, Q, U",
    ):
        assume(TQU, noise_std=noise)
    cov = np.zeros((6, TQU.shape[1]))
    cov[[0, 3, 5]] = 25.0
    with pytest.raises(SpectrumError, match="was given as the noise of a pixel of Q and U"):
        assume(TQU, noise_cov=cov)


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"noise_std": 1.0}, "1 uK_CMB .* ends in a plateau of [45].*omit noise_std to have it est"),
        ({"noise_std": 1.0, "cl": None}, "1 uK_CMB .* ends in a plateau of [45]"),
        (
            {"noise_std": 20.0, "cl": None},
            "20 uK_CMB .*times what the map's power at ell = 72 to 95 leaves room for",
        ),
        (
            {"noise_std": (5.0, 0.2, 0.2)},
            "0.2 uK_CMB .* was given as the noise of a pixel of Q and U, but .* plateau of 0.49",
        ),
    ],
    ids=["low", "low, no spectrum", "high", "polarization"],
)
@pytest.mark.filterwarnings("ignore:the sky model may not fit Q and U")  # which is said besides
def test_another_level_is_warned_of(known: dict[str, Any], words: str) -> None:
    sky = TQU if np.size(known["noise_std"]) == 3 else TQU[0]
    with pytest.warns(CmbInpaintWarning, match=words):
        assume(sky, **known)


def test_a_model_is_held_against_the_first_map_alone() -> None:
    model = SkyModel.from_theory(CL[0], NSIDE, fwhm=FWHM, noise_std=1.0)
    with pytest.warns(CmbInpaintWarning, match="plateau"):
        assume(TQU[0], cl=None, sky_model=model)
    assert assume(TQU[0], cl=None, sky_model=model) is model


@pytest.mark.parametrize("seed", range(3))
def test_right_noise_passes(seed: int) -> None:
    """With and without a beam, a given spectrum, even noise; tiny or dominant."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        nside = int(rng.choice([8, 16, 32, 64]))
        cl = fiducial_spectra(3 * nside - 1)
        fwhm, noise = rng.choice([0, 1, 3, 6]) * pixel_size(nside), rng.choice([1e-3, 0.3, 3.0, 30.0, 1000.0])
        sky = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=noise, seed=int(rng.integers(1000)))
        valid = (
            planck_like_mask(nside)
            if rng.random() < 0.7
            else np.arange(sky.shape[1]) < rng.integers(100, 700)
        )
        model = SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=noise)
        for is_estimated in (False, True):
            of_t = SkyModel(nside, model.signal_cl[0, 0], noise, is_estimated=is_estimated)
            of_p = SkyModel(nside, model.signal_cl[1:, 1:], [noise, noise], is_estimated=is_estimated)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                check_noise(np.where(valid, sky[0] - sky[0, valid].mean(), np.nan), valid, of_t)
                check_noise(np.where(valid, sky[1:], np.nan), np.tile(valid, (2, 1)), of_p)


@pytest.mark.skipif(not DATA.is_dir(), reason="the public maps are not beside this checkout")
def test_of_planck() -> None:
    """What a degraded map folds back passes for noise only where no signal is expected."""
    from cmbinpaint.files import fits

    with pytest.warns(CmbInpaintWarning, match="no TUNIT"):
        sky = fits.read_map(DATA / "CMB_I_SMICA_128_R2.00.fits")[0] * 1e6
    problem = Problem.make(sky, planck_like_mask(128), assume_microkelvin=True)
    cl, fwhm = fiducial_spectra(383)[0], np.radians(5 / 60)
    assert problem.assume_sky(cl=cl, fwhm=fwhm, noise_std=3.0).noise_std == 3.0
    with pytest.raises(SpectrumError, match="300 uK_CMB"):
        problem.assume_sky(cl=cl, fwhm=fwhm, noise_std=300.0)
    with pytest.raises(SpectrumError, match="the map looks to be in K"):
        inpaint_map(sky * 1e-6, planck_like_mask(128), noise_std=3.0, seed=1)
