"""Colored noise beside the white: dense algebra, by sums over ell, of the signal alone and of the sum."""

import numpy as np
import pytest

from cmbinpaint import error_map, inpaint_map
from cmbinpaint.errors import CmbInpaintError, SpectrumError
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.gaussian.solver import GaussianSolver
from cmbinpaint.pipeline.filler import Filler, draw_observation
from cmbinpaint.pipeline.models import load_model
from cmbinpaint.problem.draws import Draws
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims import SkyModel, fiducial_cl, fiducial_spectra
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl
from cmbinpaint.sphere.pixels import pixel_vectors
from tests.gaussian.dense_covariance import covariance, polarization_covariance

NSIDE, LMAX, WHITE = 4, 8, 5.0
ELL = np.arange(LMAX + 1)
SIGNAL = np.where(ELL < 2, 0.0, 1000.0 / (ELL + 1.0) ** 2)
COLORED = np.where(ELL < 2, 0.0, 4000.0 / (ELL + 1.0) ** 3)
VECTORS = pixel_vectors(NSIDE)
VALID = np.abs(VECTORS[:, 2] - 0.2) > 0.45


def model_of_t() -> SkyModel:
    return SkyModel(NSIDE, SIGNAL + COLORED, WHITE, colored_noise_cl=COLORED)


def dense_t() -> tuple[np.ndarray, np.ndarray]:
    """Weights of the data for the signal in the holes, and its posterior covariance."""
    data, holes = VECTORS[VALID], VECTORS[~VALID]
    of_data = covariance(SIGNAL + COLORED, data, data) + WHITE**2 * np.eye(len(data))
    cross = covariance(SIGNAL, holes, data)
    weights = np.linalg.solve(of_data, cross.T).T
    return weights, covariance(SIGNAL, holes, holes) - weights @ cross.T


def exact(model: SkyModel) -> GaussianInpainter:
    return GaussianInpainter(tolerance=1e-7, power_tolerance=1e-12, max_steps=2000)


def test_the_signal_s_prediction_is_that_of_dense_algebra() -> None:
    model, plan = model_of_t(), InpaintingPlan.from_valid(VALID)
    sky = np.where(VALID, np.add(*draw_observation(model, np.random.default_rng(0))), 0.0)
    predictor = exact(model).prepare(plan, model)
    weights, _ = dense_t()
    wanted = weights @ sky[VALID]
    found = predictor.predict_signal(sky)
    np.testing.assert_allclose(found[~VALID], wanted, atol=1e-4 * wanted.std())
    np.testing.assert_array_equal(found[VALID], sky[VALID])
    both = predictor.predict(sky)[~VALID]
    assert np.std(both - wanted) > 0.1 * wanted.std()  # what is left out matters here


def test_q_and_u_are_too() -> None:
    """E and B with colored noise of their own, and of both together in E."""
    e, b = SIGNAL, SIGNAL / 3
    signal = np.array([[e, 0 * e], [0 * e, b]])
    colored = np.array([[COLORED, 0.2 * COLORED], [0.2 * COLORED, COLORED / 2]])
    model = SkyModel(NSIDE, signal + colored, np.full(2, WHITE), colored_noise_cl=colored)
    data, holes = VECTORS[VALID], VECTORS[~VALID]

    def blocks(spectra: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        made = polarization_covariance(spectra, first, second)
        return made.transpose(0, 2, 1, 3).reshape(2 * len(first), 2 * len(second))

    of_data = blocks(signal + colored, data, data) + WHITE**2 * np.eye(2 * len(data))
    sky = np.add(*draw_observation(model, np.random.default_rng(1)))
    wanted = blocks(signal, holes, data) @ np.linalg.solve(of_data, sky[:, VALID].ravel())
    plan = InpaintingPlan.from_valid(np.array([VALID, VALID]))
    found = exact(model).prepare(plan, model).predict_signal(np.where(VALID, sky, 0.0))
    np.testing.assert_allclose(found[:, ~VALID].ravel(), wanted, atol=1e-4 * wanted.std())


def test_draws_of_the_signal_scatter_as_its_posterior() -> None:
    """Mean and covariance of 600 draws against dense algebra: z-scores whitened by its Cholesky factor."""
    model, plan, n = model_of_t(), InpaintingPlan.from_valid(VALID), 600
    filler = Filler.prepare(exact(model), plan, model, None)
    sky = np.where(VALID, np.add(*draw_observation(model, np.random.default_rng(2))), 0.0)
    weights, posterior = dense_t()
    rng = np.random.default_rng(3)
    draws = np.array([filler.realize(sky, rng, with_noise=False)[~VALID] for _ in range(n)])
    values, modes = np.linalg.eigh(posterior)
    known = values > 1e-6 * values.max()  # the model has fewer modes than there are holes
    white = (draws - weights @ sky[VALID]) @ modes[:, known] / np.sqrt(values[known])
    assert np.abs(white.mean(axis=0)).max() * np.sqrt(n) < 4.5
    assert np.square(white).mean() == pytest.approx(1, abs=4 * np.sqrt(2 / white.size))


def test_observations_have_both_and_the_white() -> None:
    """The spectrum of simulated noise is the colored part and the white level; of the signal its own."""
    model, harmonics = model_of_t(), Harmonics(NSIDE, LMAX)
    rng, n = np.random.default_rng(4), 400
    powers = np.array(
        [
            [
                alm_to_cl(harmonics.analysis(part[None], iterations=3)[0], LMAX)
                for part in draw_observation(model, rng)
            ]
            for _ in range(n)
        ]
    ).mean(axis=0)
    wanted = np.array([SIGNAL, COLORED + WHITE**2 * 4 * np.pi / VALID.size])
    error = np.sqrt(2 / (n * (2 * ELL + 1))) * wanted
    assert np.abs((powers - wanted)[:, 2:] / error[:, 2:]).max() < 4.5


def test_the_error_map_is_the_signal_s() -> None:
    model, plan = model_of_t(), InpaintingPlan.from_valid(VALID)
    found = error_map(plan, model, n=400, seed=5)[~VALID]
    _, posterior = dense_t()
    np.testing.assert_allclose(found, np.sqrt(np.diag(posterior)), rtol=5 / np.sqrt(2 * 400))


def test_the_beam_is_not_on_the_noise() -> None:
    cl, colored = fiducial_cl(47), 0.01 * fiducial_cl(47)
    model = SkyModel.from_theory(cl, 16, fwhm=np.radians(20), noise_std=1.0, colored_noise_cl=colored)
    assert model.colored_noise_cl is not None
    without = SkyModel.from_theory(cl, 16, fwhm=np.radians(20), noise_std=1.0, lmax=model.lmax)
    np.testing.assert_allclose(model.colored_noise_cl[2:], colored[2 : model.lmax + 1])
    np.testing.assert_allclose(
        (model.signal_cl - model.colored_noise_cl)[2:], without.signal_cl[2:], atol=1e-12 * cl.max()
    )
    assert model.lmax > SkyModel.from_theory(cl, 16, fwhm=np.radians(20), noise_std=1.0).lmax
    assert model.digest != without.digest
    np.testing.assert_allclose(model.scaled(2.0).colored_noise_cl, 4 * model.colored_noise_cl)


def test_t_and_polarization_keep_their_own() -> None:
    spectra = fiducial_spectra(47)
    model = SkyModel.from_theory(spectra, 16, noise_std=[1.0, 0.1, 0.1], colored_noise_cl=0.1 * spectra)
    for part, rows in ((model.only(model.fields.T), (0, 0)), (model.only(model.fields.QU), slice(1, 3))):
        kept = part.colored_noise_cl
        assert kept is not None
        whole = (
            model.colored_noise_cl[rows] if isinstance(rows, tuple) else model.colored_noise_cl[rows, rows]
        )
        np.testing.assert_array_equal(kept, whole)


def test_maps_are_filled_with_it_and_predicted_without() -> None:
    """`inpaint_map`: the data stay, the prediction is the signal's and below that of the sum."""
    cl, nside = fiducial_cl(47), 16
    colored = np.where(np.arange(48) < 2, 0.0, 0.5 * cl)
    model = SkyModel.from_theory(cl, nside, noise_std=5.0, colored_noise_cl=colored)
    sky = np.add(*draw_observation(model, np.random.default_rng(6)))
    mask = np.abs(pixel_vectors(nside)[:, 2]) > 0.3
    known = {"cl": cl, "noise_std": 5.0, "colored_noise_cl": colored, "unit": "uK"}
    filled, info = inpaint_map(sky, mask, seed=1, return_info=True, **known)
    np.testing.assert_array_equal(filled[mask], sky[mask])
    signal = inpaint_map(sky, mask, fill="prediction", **known)
    together = inpaint_map(
        sky, mask, fill="prediction", sky_model=SkyModel(nside, model.signal_cl, 5.0), unit="uK"
    )
    assert signal[~mask].std() == pytest.approx(together[~mask].std() * 2 / 3, rel=0.05)
    np.testing.assert_allclose(info.prediction[~mask], signal[~mask], rtol=1e-6, atol=1e-6)
    alone = inpaint_map(sky, mask, seed=1, draws=Draws(with_noise=False), n_realizations=20, **known)
    assert (
        np.abs(alone.mean(axis=0) - signal)[~mask].mean()
        < np.abs(alone.mean(axis=0) - together)[~mask].mean()
    )


def test_what_cannot_be() -> None:
    cl = fiducial_cl(47)
    with pytest.raises(SpectrumError, match=r"colored_noise_cl.*negative"):
        SkyModel.from_theory(cl, 16, noise_std=1.0, colored_noise_cl=-cl)
    with pytest.raises(SpectrumError, match="not those of any sky"):
        SkyModel(16, cl, 1.0, colored_noise_cl=2 * cl)
    with pytest.raises(SpectrumError, match="which includes it"):
        SkyModel(16, cl, 1.0, colored_noise_cl=cl[:10])
    with pytest.raises(SpectrumError, match="expected the form of cl, of T, Q, U"):
        SkyModel.from_theory(fiducial_spectra(47), 16, noise_std=1.0, colored_noise_cl=cl)
    sky = np.random.default_rng(0).standard_normal(12 * 16**2)
    with pytest.raises(SpectrumError, match="given without cl"):
        inpaint_map(sky, colored_noise_cl=cl)
    model = SkyModel.from_theory(cl, 16, noise_std=1.0, colored_noise_cl=0.1 * cl)
    plan = InpaintingPlan.from_valid(np.abs(pixel_vectors(16)[:, 2]) > 0.3)
    filler = Filler.prepare(load_model("kriging"), plan, model, None)
    with pytest.raises(CmbInpaintError, match="cannot tell the signal from colored noise"):
        filler.predict(sky)
    solver = GaussianSolver(plan.valid, model)
    from cmbinpaint.gaussian.colored_noise import signal_of

    with pytest.raises(CmbInpaintError, match="keep_modes=True"):
        signal_of(solver.solve(sky, steps=1), solver, model)
