"""Patches of simulated skies: pure functions, cut as maps are, with their beam, window, noise and masks."""

import pickle
import re

import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import RecipeError
from cmbinpaint.networks.inpainter import NetworkInpainter, NetworkPredictor
from cmbinpaint.networks.tiling import Tiling
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors
from cmbinpaint.training.data import sky as module
from cmbinpaint.training.data.build import build_stream
from cmbinpaint.training.data.sky import SkyStream, draw_sphere_mask

SMALL = {"nside": 32, "side": 32, "batch_size": 4, "spheres": 2, "skies": 2}
SMOOTH = {
    **SMALL,
    "beam_px": [3.0, 3.0],
    "noise_over_rms": [0.3, 0.3],
    "step_arcmin": [13.75, 13.75],
    "tilt_std": 0.0,
}


def fixed(**changes: object) -> SkyStream:
    stream = build_stream({**SMOOTH, **changes}, 5)
    assert isinstance(stream, SkyStream)
    return stream


def test_a_batch_is_a_function_of_its_number() -> None:
    stream = build_stream(SMALL, 5)
    first, again = stream.batch(7), pickle.loads(pickle.dumps(stream)).batch(7)
    for name in ("x", "valid", "truth"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name).dtype == np.float32 and getattr(first, name).shape == (4, 1, 32, 32)
    assert not np.array_equal(first.x, stream.batch(8).x)
    assert not np.array_equal(first.x, stream.batch(7, "validation").x)
    assert not np.array_equal(first.x, build_stream(SMALL, 6).batch(7).x)


def test_every_patch_of_a_block_comes_about_once() -> None:
    stream = fixed()
    drawn = np.concatenate([stream.batch(i).x for i in range(stream.batches_a_block)])
    # Turned and mirrored, a patch keeps its sorted absolute values.
    kinds = {np.sort(np.abs(patch).ravel()).tobytes() for patch in drawn}
    assert len(kinds) == len(module._block(stream, 0, 0).x) > 300
    assert len(drawn) == 2 * 2 * 12 * 4**2, "as many as patches that cover the sky"


def test_the_mask_hides_what_it_says() -> None:
    batch = fixed().batch(3)
    hole = batch.valid == 0
    assert np.array_equal(batch.x[hole], np.zeros(hole.sum(), np.float32)) and 0.02 < hole.mean() < 0.7
    assert np.mean(batch.x[~hole] == 0) < 1e-3
    assert np.std(batch.truth[hole]) > 0.3, "the truth is under the holes too"
    seen = (batch.x - batch.truth)[~hole]
    assert np.std(seen) < 0.5 and np.corrcoef(batch.x[~hole], batch.truth[~hole])[0, 1] > 0.9


def test_beam_and_pixel_window_are_the_maps_own() -> None:
    """Behind a beam of three pixels and a pixel window, written here anew."""
    stream = fixed()
    model = stream.draw_sky_model(np.random.default_rng(0))
    ell = np.arange(2, 60)
    sigma = 3 * hp.nside2resol(32) / 2.3548200450309493
    # A step of 13.75' is a pixel of 27.5': that of nside 128, four times as fine as the sphere's.
    theory = np.interp(4 * ell * 1.0, np.arange(400), fiducial_cl(399))
    side = hp.nside2resol(32)
    window = (
        np.sinc(ell * side / (2 * np.pi) / np.sqrt(2)) ** 2
    )  # of a square, at 45 degrees; to 1 % up to here
    expected = theory * np.exp(-ell * (ell + 1) * sigma**2) * window**2
    ratio = model.signal_cl[ell] / expected
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.02)
    finest = fixed(step_arcmin=[0.86, 0.86]).draw_sky_model(np.random.default_rng(0))
    stretched = np.interp(4 * 13.74 / 0.859 * ell, np.arange(6201), fiducial_cl(6200))
    ratio = finest.signal_cl[ell] / (stretched * np.exp(-ell * (ell + 1) * sigma**2) * window**2)
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.03)


def test_the_truth_has_the_models_power_and_no_noise() -> None:
    """Structure function of the truth at lags of one and two steps, against the model's covariance."""
    stream = fixed(skies=6)
    batches = [stream.batch(i) for i in range(40)]
    truth = np.concatenate([batch.truth[:, 0] for batch in batches])
    model = stream.draw_sky_model(np.random.default_rng(0))
    ell = np.arange(model.lmax + 1)
    weights = (2 * ell + 1) * model.signal_cl / (4 * np.pi)
    lags = np.array([1, 4]) * pixel_size(32) / 2
    from scipy.special import eval_legendre

    expected = [2 * np.sum(weights * (1 - eval_legendre(ell, np.cos(lag)))) for lag in lags]
    found = [np.mean(np.square(truth[:, :, lag:] - truth[:, :, :-lag])) for lag in (1, 4)]
    # Patches are over their own spread: only the shape can be told. Twice the beam's variance would make it 0.12.
    assert found[0] / found[1] == pytest.approx(expected[0] / expected[1], rel=0.06)


def test_the_noise_has_its_level() -> None:
    model = fixed(noise_over_rms=[0.4, 0.4]).draw_sky_model(np.random.default_rng(0))
    ell = np.arange(model.lmax + 1)
    inside = ell >= int(2 * np.pi / (32 * pixel_size(32) / 2))  # waves shorter than a patch
    rms = np.sqrt(np.sum(((2 * ell + 1) * model.signal_cl)[inside]) / (4 * np.pi))
    assert model.noise_std == pytest.approx(0.4 * rms, rel=0.01)
    # It is in the data and not in the truth: observed pixels differ by it, less where patches are of means of four.
    batches = [
        fixed(noise_over_rms=[level, level], beam_px=[5.0, 5.0]).batch(2) for level in (0.5, 0.25, 0.01)
    ]
    rough = [np.std((batch.x - batch.truth)[batch.valid > 0]) for batch in batches]
    assert rough[0] == pytest.approx(2 * rough[1], rel=0.15) and 0.15 < rough[0] < 0.5 and rough[2] < 0.05


def test_patches_are_cut_as_the_pipeline_cuts_them() -> None:
    """What a network is given of a filled map is in the stream's block, value by value."""
    from cmbinpaint.gaussian.hole_posterior import hole_factor
    from cmbinpaint.networks.levels import lay_levels
    from cmbinpaint.pipeline.filler import draw_observation
    from cmbinpaint.problem.plan import InpaintingPlan

    stream = fixed(spheres=1, skies=1)
    key = (0, 0, 2)
    rng = np.random.default_rng(np.random.SeedSequence(stream.seed, spawn_key=key))
    model = stream.draw_sky_model(rng)
    plan = InpaintingPlan.from_valid(draw_sphere_mask(32, 32, rng))
    signal, noise = draw_observation(model, rng)
    given: list[tuple[np.ndarray, np.ndarray]] = []

    class Spy(NetworkInpainter):
        def __init__(self) -> None:
            self._batch = 16

        def _pass(self, x: np.ndarray, known: np.ndarray) -> np.ndarray:
            given.extend(zip(x, known, strict=True))
            return x

    posterior = hole_factor(plan.valid, model)
    levels = lay_levels(plan, plan.depth, side=32, coarsest=16)
    NetworkPredictor(Spy(), plan, levels, posterior).predict(signal + noise)
    block = module._block(stream, 0, 0)
    fine = len(levels[0].tiling)
    for number in range(fine):
        assert np.array_equal(given[number][1], block.known[number])
        np.testing.assert_allclose(given[number][0], block.x[number], atol=1e-4)


def test_a_spheres_mask_is_made_of_patches_masks() -> None:
    valid = draw_sphere_mask(64, 32, np.random.default_rng(3))
    assert 0.5 < valid.mean() < 0.95
    vectors = pixel_vectors(64)
    shares = [1 - valid[members].mean() for members in Tiling.cover(64, vectors, 32).members]
    assert np.ptp(shares) > 0.5, "each patch has a mask of its own"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"skys": 3}, "[data] unknown key 'skys'; did you mean 'skies'"),
        ({"skies": 0}, "[data] skies is 0; give 1 or more"),
        ({"beam_px": [3.0]}, "[data] beam_px is (3.0,); give two numbers, the least and the most"),
        ({"noise_over_rms": [0.5, 0.1]}, "[data] noise_over_rms is (0.5, 0.1); give two numbers, the least"),
        ({"step_arcmin": [0.0, 1.0]}, "[data] step_arcmin is 0.0; it must be above 0.0"),
        ({"nside": 100}, "[data] nside is 100; give a power of two"),
    ],
)
def test_what_is_refused(options: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        build_stream(options, 0)
