"""The network as an inpainter: linear, true to the data, blind under holes, from one pixel to a wide cut."""

import numpy as np
import pytest
import torch

from cmbinpaint.errors import DeviceError, WeightsError
from cmbinpaint.gaussian.coarse_to_fine import CoarseToFineInpainter
from cmbinpaint.gaussian.direct_inpainter import KrigingPredictor
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.inpainter import FADE, NetworkInpainter, NetworkPredictor
from cmbinpaint.nn.linear import LinearUNet
from cmbinpaint.pipeline.models import find_inpainter
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors

NSIDE = 128
WIDTHS, GATES = [4, 6, 8, 8, 8], [3, 4, 4, 4, 4]


def tiny_network(last: float) -> NetworkInpainter:
    """A network with random weights; `last` scales what it adds to the guess."""
    torch.manual_seed(0)
    net = LinearUNet(widths=WIDTHS, gate_widths=GATES)
    torch.nn.init.normal_(net.last.weight, std=last)
    card = Card(
        name="tiny", family="linear", architecture={"widths": WIDTHS, "gate_widths": GATES}, data="none",
        recipe="none", normalization="patch rms", seed=0, steps=0, commit="none", license="BSD-3-Clause",
        version="0",
    )  # fmt: skip
    return NetworkInpainter(card, net, "cpu")


@pytest.fixture(scope="module")
def sky_model() -> SkyModel:
    return SkyModel.from_theory(fiducial_cl(400), NSIDE, fwhm=3 * pixel_size(NSIDE), noise_std=3.0)


@pytest.fixture(scope="module")
def plan() -> InpaintingPlan:
    """A wide cut, discs at a pole and at longitude 0, single pixels."""
    vectors = pixel_vectors(NSIDE, np.arange(12 * NSIDE**2))
    valid = np.abs(vectors[:, 2]) > np.sin(np.radians(14))  # deeper than one patch reaches
    for center, radius in (((0, 0, 1), 3.0), ((0.6, 0, 0.8), 2.0)):
        valid &= vectors @ np.array(center) < np.cos(np.radians(radius))
    valid[np.random.default_rng(0).integers(0, valid.size, 200)] = False
    return InpaintingPlan.from_valid(valid)


@pytest.fixture(scope="module")
def predictor(plan: InpaintingPlan, sky_model: SkyModel) -> NetworkPredictor:
    prepared = tiny_network(0.3).prepare(plan, sky_model)
    assert isinstance(prepared, NetworkPredictor)
    return prepared


@pytest.fixture(scope="module")
def sky(sky_model: SkyModel) -> np.ndarray:
    return simulate_sky(
        fiducial_cl(400),
        NSIDE,
        fwhm=3 * pixel_size(NSIDE),
        noise_std=3.0,
        pixwin=True,
        lmax=sky_model.lmax,
        rng=3,
    )


def test_what_lies_deep_is_kriged_from_coarse_to_fine(
    predictor: NetworkPredictor, plan: InpaintingPlan, sky_model: SkyModel, sky: np.ndarray
) -> None:
    filled = predictor.predict(sky)
    expected = CoarseToFineInpainter().prepare(plan, sky_model).predict(sky)
    deep = plan.depth > FADE[1]
    assert deep.sum() > 1000
    assert np.array_equal(filled[deep], expected[deep])
    near = (plan.depth > 0) & (plan.depth < FADE[1])
    assert np.mean(np.abs(filled - expected)[near] > 1e-3) > 0.9


def test_data_stay_and_nothing_under_a_hole_matters(
    predictor: NetworkPredictor, plan: InpaintingPlan, sky: np.ndarray
) -> None:
    with_nan, with_huge = (np.where(plan.valid, sky, filler) for filler in (np.nan, 1e30))
    filled = predictor.predict(with_nan)
    assert np.array_equal(filled[plan.valid], sky[plan.valid])
    assert np.all(np.isfinite(filled))
    assert np.array_equal(predictor.predict(with_huge), filled)


def test_linear_and_constants_go_through(
    predictor: NetworkPredictor, plan: InpaintingPlan, sky: np.ndarray
) -> None:
    base = predictor.predict(sky)
    # Single precision, which sixteen digits of a constant pass through unharmed; the network adds up many of them.
    worst = 1e-3 * predictor.sky_model.rms / 60
    np.testing.assert_allclose(predictor.predict(-3.0 * sky), -3.0 * base, atol=worst, rtol=0)
    np.testing.assert_allclose(predictor.predict(sky + 500.0), base + 500.0, atol=worst, rtol=0)


def test_the_network_has_a_say(plan: InpaintingPlan, sky_model: SkyModel, sky: np.ndarray) -> None:
    filled = tiny_network(0.3).prepare(plan, sky_model).predict(sky)
    guess = tiny_network(0.0).prepare(plan, sky_model).predict(sky)
    moved = np.abs(filled - guess)
    within = (plan.depth > 0) & (plan.depth < 6)
    assert np.mean(moved[within] > 1e-3) > 0.9
    assert not moved[plan.valid].any()


def test_the_deep_is_near_the_exact_mean(plan: InpaintingPlan, sky_model: SkyModel, sky: np.ndarray) -> None:
    """Without a trained network: what is kriged directly and from coarse to fine is near already."""
    guess = tiny_network(0.0).prepare(plan, sky_model).predict(sky)
    exact = find_inpainter("gaussian").prepare(plan, sky_model).predict(sky)
    # 0.07 and 0.023 on this sky
    for chosen, within in ((plan.depth > 13, 0.1), ((plan.depth > 0) & (plan.depth < 1.3), 0.04)):
        assert np.std((guess - exact)[chosen]) < within * sky_model.rms


def test_to_be_refined_the_guess_is_the_cheaper_one(
    plan: InpaintingPlan, sky_model: SkyModel, sky: np.ndarray
) -> None:
    alone = tiny_network(0.0)
    guess = CoarseToFineInpainter().prepare(plan, sky_model, to_refine=True).predict(sky)
    assert np.array_equal(alone.prepare(plan, sky_model, to_refine=True).predict(sky), guess)
    assert not np.array_equal(alone.prepare(plan, sky_model).predict(sky), guess)  # and itself is as it was


def test_where_noise_rules_no_network_is_asked(plan: InpaintingPlan, sky_model: SkyModel) -> None:
    loud = SkyModel(nside=NSIDE, signal_cl=sky_model.signal_cl, noise_std=1.1 * sky_model.rms)
    assert isinstance(tiny_network(0.3).prepare(plan, loud), KrigingPredictor)


def test_low_nside_is_exact(sky_model: SkyModel) -> None:
    valid = np.ones(12 * 16**2, bool)
    valid[:50] = False
    small = InpaintingPlan.from_valid(valid)
    model = SkyModel.from_theory(fiducial_cl(60), 16, fwhm=0.2, noise_std=1.0)
    observed = np.random.default_rng(0).standard_normal(valid.size) * 50
    exact = find_inpainter("gaussian").prepare(small, model).predict(observed)
    again = tiny_network(0.3).prepare(small, model).predict(observed)
    np.testing.assert_allclose(again, exact, atol=1e-8, rtol=0)  # rounding


def test_names_and_devices_are_checked() -> None:
    with pytest.raises(WeightsError, match="unknown model 'defualt'"):
        find_inpainter("defualt")
    with pytest.raises(DeviceError, match="device 'cuda:77' is not there; use 'auto' or one of: cpu"):
        NetworkInpainter(tiny_network(0.0).card, LinearUNet(WIDTHS, GATES), "cuda:77")
