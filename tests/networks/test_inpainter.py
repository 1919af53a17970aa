"""CoMBInE's network on maps: every hole filled, data as they came, nothing under a hole read, the right way up."""

from typing import Any

import numpy as np
import pytest
import torch

from cmbinpaint.errors import CmbInpaintWarning, DeviceError, MaskError, WeightsError
from cmbinpaint.gaussian.exact import GaussianInpainter
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.inpainter import NetworkInpainter, NetworkPredictor, load_network
from cmbinpaint.networks.levels import FADE, fade, lay_levels
from cmbinpaint.nn.models import build_model
from cmbinpaint.pipeline.filler import Filler, draw_observation, realization_rng
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.problem.progress import Progress
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors

NSIDE = 128
DEPTHS = (0.0, 1.3, 2.3, 4.3, np.inf)


def card_of(architecture: dict[str, Any], family: str = "pconv") -> Card:
    return Card(
        name="tiny", family=family, architecture=architecture, data="none", recipe="none", normalization="none",
        seed=0, steps=0, commit="none", license="BSD-3-Clause", version="0",
    )  # fmt: skip


def tiny(bf16: bool = False) -> NetworkInpainter:
    """A network with random weights."""
    torch.manual_seed(0)
    architecture = {"preset": "unet128", "thinner": 16}
    return NetworkInpainter(
        card_of(architecture), build_model({"family": "pconv", **architecture}), "cpu", bf16=bf16
    )


class Drawn(torch.nn.Module):
    """Draws the same whatever it sees: a function of row, column and mask."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.architecture = what, {"channels": 1}

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        if self.what == "valid":
            return valid
        place = torch.arange(x.shape[-1], dtype=x.dtype) / x.shape[-1]
        return (place[:, None] if self.what == "row" else place[None, :]).expand_as(x)


def drawing(what: str) -> NetworkInpainter:
    return NetworkInpainter(card_of({}), Drawn(what), "cpu", bf16=False)


@pytest.fixture(scope="module")
def sky_model() -> SkyModel:
    return SkyModel.from_theory(fiducial_cl(383), NSIDE, fwhm=3 * pixel_size(NSIDE), noise_std=3.0)


@pytest.fixture(scope="module")
def plan() -> InpaintingPlan:
    """A cut too wide for the first level, discs at a pole and at longitude 0, single pixels, an excluded disc."""
    vectors = pixel_vectors(NSIDE)
    valid = (np.abs(vectors[:, 2]) > np.sin(np.radians(9))) | (vectors[:, 0] < 0.5)
    for center, radius in (((0, 0, 1), 3.0), ((0.6, 0, 0.8), 2.0)):
        valid &= vectors @ np.array(center) < np.cos(np.radians(radius))
    valid[np.random.default_rng(0).integers(0, valid.size, 60)] = False
    return InpaintingPlan.from_valid(
        valid, exclude=vectors @ np.array([0, 0, -1.0]) > np.cos(np.radians(2.0))
    )


@pytest.fixture(scope="module")
def observation(sky_model: SkyModel) -> tuple[np.ndarray, np.ndarray]:
    signal, noise = draw_observation(sky_model, np.random.default_rng(3))
    return signal, signal + noise


@pytest.fixture(scope="module")
def predictor(plan: InpaintingPlan, sky_model: SkyModel) -> NetworkPredictor:
    prepared = tiny().prepare(plan, sky_model)
    assert isinstance(prepared, NetworkPredictor)
    return prepared


def with_network(predictor: NetworkPredictor, inpainter: NetworkInpainter) -> NetworkPredictor:
    return NetworkPredictor(inpainter, predictor.plan, predictor.levels, predictor.posterior)


def test_data_stay_and_nothing_under_a_hole_matters(predictor: NetworkPredictor, observation) -> None:
    plan, (_, sky) = predictor.plan, observation
    filled, with_huge = (predictor.predict(np.where(plan.valid, sky, filler)) for filler in (np.nan, 1e30))
    assert np.array_equal(filled[plan.valid], sky[plan.valid])
    assert np.all(np.isfinite(filled)) and np.array_equal(with_huge, filled)
    assert plan.excluded.sum() > 50 and not filled[plan.excluded].any()


def test_every_hole_pixel_has_the_networks_answer(predictor: NetworkPredictor, observation) -> None:
    """With weights of one where finer levels do not reach, and none left to the guess."""
    plan, (_, sky) = predictor.plan, observation
    share = np.zeros(plan.valid.size)  # of the guess
    share[~plan.valid & ~plan.excluded] = 1.0
    for level in predictor.levels:
        assert np.array_equal(np.sort(np.concatenate(level.tiling.members)), np.arange(level.pixels.size))
        share[level.pixels] *= 1 - level.weight
    assert len(predictor.levels) == 2 and not share.any()
    guess = np.where(plan.valid, sky, 0.0)
    guess[predictor.posterior.holes] = predictor.posterior.mean(sky)
    assert np.all(np.abs(predictor.predict(sky) - guess)[plan.targets] > 0)


def test_levels_fade_with_the_depth(predictor: NetworkPredictor) -> None:
    depths = np.linspace(0, 20, 400)
    weight = fade(depths)
    assert np.all(np.diff(weight) >= 0)
    assert not weight[depths <= FADE[0]].any() and np.all(weight[depths >= FADE[1]] == 1)
    fine, coarse = predictor.levels
    depth = predictor.plan.depth
    assert depth[fine.pixels].max() < FADE[1] and depth[coarse.pixels].min() > FADE[0]
    assert (fine.nside, coarse.nside) == (128, 64)
    assert coarse.tiling.grid.step_deg * 60 == pytest.approx(27.5, abs=0.05)
    # Its data: what is observed, and what the finer level fills alone.
    assert coarse.known.sum() > predictor.plan.valid.sum() / 4


@pytest.mark.parametrize("what", ["row", "col"])
def test_a_patch_comes_back_the_right_way_up(predictor: NetworkPredictor, observation, what: str) -> None:
    """Sign and axes: where a patch is drawn as its row, a pixel has the row at which it lies, in the patch's unit."""
    _, sky = observation
    fine = predictor.levels[0]
    filled = with_network(predictor, drawing(what)).predict(sky)
    alone = fine.pixels[predictor.plan.depth[fine.pixels] <= FADE[0]]
    slopes = []
    for plane, members in zip(fine.tiling.planes, fine.tiling.members, strict=True):
        pixels = np.intersect1d(fine.pixels[members], alone)
        if pixels.size < 60:
            continue
        vectors = pixel_vectors(NSIDE, pixels)
        row, col = plane.vectors_to_plane(vectors)
        place = (row if what == "row" else col) / 128
        inside = predictor.plan.depth[pixels] > 3  # beside the rim splines mix in the data
        slope, _ = np.polyfit(place[inside], filled[pixels[inside]], 1)
        residual = filled[pixels[inside]] - np.polyval([slope, _], place[inside])
        assert np.std(residual) < 0.02 * abs(slope) * np.ptp(place)
        slopes.append(slope)
    # The unit is the spread of what each patch sees: positive, and about the field's rms.
    assert len(slopes) > 3 and np.all(np.array(slopes) > 0)
    assert np.mean(slopes) == pytest.approx(sky.std(), rel=0.3)


def test_the_mask_says_what_is_observed(predictor: NetworkPredictor, observation) -> None:
    """A network that draws its mask draws 0 deep in holes: a patch's own mean."""
    plan, (_, sky) = predictor.plan, observation
    filled = with_network(predictor, drawing("valid")).predict(sky + 1000.0)
    deep = plan.targets & (plan.depth > 3)
    assert np.abs(filled[deep] - 1000.0).max() < 3 * sky.std()
    unit = sky.std()
    assert np.mean(filled[deep] - 1000.0 > 0.7 * unit) < 0.1  # an inverted one has the unit there


def test_units_and_constants_pass(predictor: NetworkPredictor, observation) -> None:
    _, sky = observation
    base = predictor.predict(sky)
    # Single precision, and a transform of a map some ten times as large.
    within = 1e-3 * sky.std()
    np.testing.assert_allclose(predictor.predict(1e-6 * sky), 1e-6 * base, atol=1e-6 * within, rtol=0)
    targets = predictor.plan.targets
    np.testing.assert_allclose(
        predictor.predict(sky + 500.0)[targets], base[targets] + 500.0, atol=within, rtol=0
    )
    np.testing.assert_allclose(predictor.predict(np.full(sky.size, 7.0))[targets], 7.0, rtol=1e-5)


def test_what_ships_is_near_the_exact_mean(plan: InpaintingPlan, sky_model: SkyModel, observation) -> None:
    signal, sky = observation
    exact = GaussianInpainter().prepare(plan, sky_model).predict(sky)
    filled = load_network("combine128", "cpu").prepare(plan, sky_model).predict(sky)
    for low, high, limit in zip(DEPTHS[:-1], DEPTHS[1:], EXCESS_LIMITS, strict=True):
        chosen = plan.targets & (plan.depth > low) & (plan.depth <= high)
        errors = [np.sqrt(np.mean(np.square(fill - signal)[chosen])) for fill in (filled, exact)]
        assert errors[0] < limit * errors[1], (low, high)


EXCESS_LIMITS = (2.0, 1.5, 1.25, 1.15)


def test_progress_counts_patches(predictor: NetworkPredictor, observation) -> None:
    said: list[Progress] = []
    predictor.predict(observation[1], watch=said.append)
    total = sum(len(level.tiling) for level in predictor.levels)
    assert [p.stage for p in said] == ["patches"] * len(predictor.levels)
    assert said[-1].done == said[-1].total == total > 10


def test_a_realization_is_two_predictions(
    predictor: NetworkPredictor, sky_model: SkyModel, observation
) -> None:
    plan, (_, sky) = predictor.plan, observation
    filler = Filler(plan, sky_model, predictor, 0, None, linear=False)
    made = filler.realize(sky, realization_rng(4, 0))
    signal, noise = draw_observation(sky_model, realization_rng(4, 0))
    expected = signal + noise + predictor.predict(sky) - predictor.predict(signal + noise)
    np.testing.assert_allclose(made[plan.targets], expected[plan.targets], atol=1e-9 * sky.std(), rtol=0)
    assert np.array_equal(made[plan.valid], sky[plan.valid])
    at_once = signal + noise + predictor.predict(np.where(plan.valid, sky - signal - noise, 0.0))
    assert np.std((made - at_once)[plan.targets]) > 0.01 * sky.std()  # a network is not linear


def test_bf16_changes_little(predictor: NetworkPredictor, observation) -> None:
    _, sky = observation
    shipped = load_network("combine128", "cpu")
    fills = []
    for shipped.bf16 in (False, True):
        fills.append(with_network(predictor, shipped).predict(sky)[predictor.plan.targets])
    assert 0 < np.std(fills[1] - fills[0]) < 0.03 * sky.std()  # 8 bits of mantissa, through eight layers


def test_without_holes_nothing_is_done(sky_model: SkyModel, observation) -> None:
    whole = InpaintingPlan.from_valid(np.ones(12 * NSIDE**2, bool))
    assert np.array_equal(tiny().prepare(whole, sky_model).predict(observation[1]), observation[1])


def test_a_hole_wider_than_a_patch_is_refused() -> None:
    vectors = pixel_vectors(NSIDE)
    plan = InpaintingPlan.from_valid(vectors[:, 2] > 0.2)
    with pytest.raises(MaskError, match=r"a patch 5. deg wide sees no observed pixel .* use model='default'"):
        lay_levels(plan, plan.depth)
    excluded = InpaintingPlan.from_valid(vectors[:, 2] > 0.2, exclude=vectors[:, 2] < 0.15)
    assert lay_levels(excluded, excluded.depth)


def test_names_devices_and_resolutions_are_checked() -> None:
    with pytest.raises(DeviceError, match="device 'cuda:77' is not available; use 'auto' or one of: cpu"):
        NetworkInpainter(card_of({}), Drawn("row"), "cuda:77")
    with pytest.raises(
        WeightsError, match="is for nside 128 to 2048, the map has 64; use model='default', the exact"
    ):
        tiny().check(64)
    with pytest.raises(
        WeightsError, match=r"is for nside 128 to 2048, the map has 4096; .*ud_grade the map to 2048"
    ):
        tiny().check(4096)
    three = build_model({"family": "pconv", "preset": "unet128", "thinner": 16, "channels": 3})
    with pytest.raises(
        WeightsError, match="'tiny' draws pictures of 3 channels; a map is filled by networks of one"
    ):
        NetworkInpainter(card_of({}), three, "cpu")
    with pytest.raises(
        WeightsError, match="'tiny' is a network of family 'vgg16', which fills no maps; expected"
    ):
        NetworkInpainter(card_of({}, "vgg16"), Drawn("row"), "cpu")


class Small(torch.nn.Module):
    """A network on a device that has room for some patches."""

    def __init__(self, network: torch.nn.Module, room: int) -> None:
        super().__init__()
        self.network, self.room = network, room

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return self.network(x, valid)


def test_a_full_device_gets_fewer_patches_at_a_time() -> None:
    rng = np.random.default_rng(0)
    fields, known = rng.standard_normal((5, 128, 128)), rng.random((5, 128, 128)) > 0.3
    expected = tiny().draw(fields, known)
    small = tiny()
    small.network = Small(small.network, 2)
    with pytest.warns(CmbInpaintWarning, match="cpu is out of memory: . patches at a time") as warned:
        drawn = small.draw(fields, known)
    assert [str(w.message)[22:23] for w in warned] == ["4", "2"]
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=1e-4)
    small.network = Small(small.network, 0)
    with (
        pytest.warns(CmbInpaintWarning),
        pytest.raises(DeviceError, match="for a single patch of the network 'tiny'"),
    ):
        small.draw(fields, known)
