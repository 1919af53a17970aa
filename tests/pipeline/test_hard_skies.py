"""Little sky, much noise, nothing to fill: sensible fills, and an info that says how it stands."""

import warnings
from typing import Any

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import Draws, inpaint_map, plan_inpainting
from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size

MODELS = ["default", "kriging", "diffusive"]


def observation(nside: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A sky behind a beam of three pixels, and its signal alone."""
    total, parts = simulate_sky(
        fiducial_cl(3 * nside - 1), nside, fwhm=3 * pixel_size(nside), pixwin=True, noise_std=noise, seed=seed,
        return_parts=True,
    )  # fmt: skip
    return total, parts.signal


def height(nside: int) -> np.ndarray:
    return np.asarray(hp.pix2vec(nside, np.arange(12 * nside**2))[2])


def quiet(*args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CmbInpaintWarning)
        return inpaint_map(*args, **options)


class TestACutSky:
    """fsky 0.4: what is known of monopole and dipole is said, the rest of the spectrum is that of a full sky."""

    @pytest.mark.parametrize("model", MODELS)
    def test_the_info_is_honest(self, model: str) -> None:
        nside = 64
        sky, _ = observation(nside, 3.0, 1)
        mask = height(nside) > 0.2
        with pytest.warns(CmbInpaintWarning, match="ignore its ell = 0 and 1"):
            seen = np.where(mask, sky, np.nan)
            filled, info = inpaint_map(seen, mask, model=model, seed=1, return_info=True)
        assert info.fsky == pytest.approx(0.4, abs=0.01) and info.n_holes == 1
        assert info.n_filled == np.sum(~mask) and any("ell = 0 and 1" in text for text in info.warnings)
        assert np.array_equal(filled[mask], sky[mask]) and np.all(np.isfinite(filled))
        # What is left in the holes without a dipole is a sky, and no more uncertain than the info says.
        assert 0.5 * sky.std() < hp.remove_dipole(filled)[~mask].std() < 2.5 * sky.std()
        assert np.std(filled[~mask]) < 3 * np.hypot(info.monopole_dipole_std, sky.std())

    def test_the_spectrum_is_a_full_skys(self) -> None:
        nside, n = 16, 20
        plan = plan_inpainting(height(nside) > 0.2)
        model = SkyModel.from_theory(
            fiducial_cl(3 * nside - 1), nside, fwhm=3 * pixel_size(nside), noise_std=3.0
        )
        edges = [(4, 8), (9, 15), (16, 25)]
        cl = np.empty((2, n, 26))
        for seed in range(n):
            sky, _ = observation(nside, 3.0, seed)
            filled = quiet(sky, plan=plan, sky_model=model, seed=seed)
            cl[:, seed] = [hp.anafast(s, lmax=25) for s in (filled, sky)]
        bands = np.stack([cl[:, :, a : b + 1].mean(2) for a, b in edges], axis=-1)
        bias = (bands[0] - bands[1]) / bands[1].mean(0)
        error = bias.std(0) / np.sqrt(n)
        # Three standard errors; a prediction alone would lack half the power, ten of them.
        assert np.all(np.abs(bias.mean(0)) < 3 * error) and np.all(error < [0.1, 0.06, 0.05])

    def test_sources_in_what_is_left(self) -> None:
        """The rest of a partial sky excluded: single pixels are filled nearly as well as on a whole sky."""
        nside = 64
        sky, signal = observation(nside, 3.0, 1)
        mask = np.ones(sky.size, bool)
        mask[np.random.default_rng(0).integers(0, sky.size, 300)] = False
        away = height(nside) < 0.2
        filled, info = inpaint_map(sky, plan=plan_inpainting(mask, exclude=away), seed=1, return_info=True)
        holes = ~mask & ~away
        assert info.n_filled == holes.sum() and info.fsky == pytest.approx(0.396, abs=0.01)
        assert np.array_equal(filled[~holes], sky[~holes]) and info.warnings == ()
        assert np.std((info.prediction - signal)[holes]) < 0.1 * signal.std()
        assert info.monopole_dipole_std < 2 * signal.std()


class TestNoiseTenTimesTheSignal:
    def test_the_prediction_is_cautious_and_the_realization_noisy(self) -> None:
        nside = 64
        _, signal = observation(nside, 0.0, 2)
        sky = signal + 10 * signal.std() * np.random.default_rng(0).standard_normal(signal.size)
        mask = np.abs(height(nside)) > 0.2
        filled, info = quiet(sky, mask, seed=1, return_info=True)
        predicted = info.prediction[~mask]
        # Better than no prediction, and not blown up by noise.
        assert np.std(predicted - signal[~mask]) < 1.0 * signal[~mask].std()
        assert np.std(predicted) < signal.std()
        assert np.std(filled[~mask]) == pytest.approx(np.std(sky[mask]), rel=0.03)  # 10 000 pixels: 1 %
        assert info.sky_model.noise_std == pytest.approx(10 * signal.std(), rel=0.03)
        assert 0.5 * signal.std() < info.sky_model.rms < 2 * signal.std()
        assert "from blocks of pixels" in info.sky_model.source
        with pytest.raises(SpectrumError, match="kriging is for noise of up to 3 times the signal's rms"):
            quiet(sky, mask, model="kriging")

    def test_noise_that_is_known(self) -> None:
        nside = 64
        _, signal = observation(nside, 0.0, 2)
        level = 10 * signal.std()
        sky = signal + level * np.random.default_rng(0).standard_normal(signal.size)
        mask = np.abs(height(nside)) > 0.2
        known = {"cl": fiducial_cl(3 * nside - 1), "fwhm": 3 * pixel_size(nside), "noise_std": level}
        alone = quiet(sky, mask, draws=Draws(with_noise=False), seed=1, **known)
        assert np.std(alone[~mask]) == pytest.approx(signal.std(), rel=0.25)  # few modes are known


class TestNothingToFill:
    @pytest.mark.parametrize("model", MODELS)
    def test_sources_only_inside_an_excluded_galaxy(self, model: str) -> None:
        nside = 32
        sky, _ = observation(nside, 3.0, 3)
        galaxy = np.abs(height(nside)) < 0.3
        mask = np.ones(sky.size, bool)
        mask[np.flatnonzero(galaxy)[::97]] = False
        holed = np.where(mask, sky, np.nan)
        with pytest.warns(
            CmbInpaintWarning, match=f"all {np.sum(~mask)} pixels .* excluded: nothing is filled"
        ):
            plan = plan_inpainting(mask, exclude=galaxy)
        maps, info = inpaint_map(holed, plan=plan, model=model, n_realizations=2, seed=1, return_info=True)
        assert all(np.array_equal(m, holed, equal_nan=True) for m in maps)
        assert (info.n_holes, info.n_filled, info.steps, info.remaining) == (0, 0, (0, 0), None)
        assert info.fsky == pytest.approx(0.7, abs=0.01)
        assert np.array_equal(info.prediction, holed, equal_nan=True)
