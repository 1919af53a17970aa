"""CoMBInE's U-Net: sizes, holes that close, what is never read, norms that freeze."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import cmbinpaint.nn
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.nn import PartialConv2d, PConvUNet
from cmbinpaint.nn.unet import PRESETS, _JoinedConv

FLOAT32_NETWORK = 1e-4  # of the output's spread: sums of some hundred float32 terms, eight layers deep
BFLOAT16_NETWORK = 0.05  # of the largest output: rounding of 0.4 % through a dozen layers


def small(channels: int = 1, levels: int = 3, final: str = "linear", seed: int = 0) -> PConvUNet:
    torch.manual_seed(seed)
    encoder = ((4, 7), (6, 5), *((8, 3),) * (levels - 2))[:levels]
    return PConvUNet(channels, encoder, (8, 6, 4, 4, 4, 4)[-(levels - 1) :], final)  # type: ignore[arg-type]


def picture(seed: int, batch: int, channels: int, side: int, coverage: float):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(batch, channels, side, side, generator=generator)
    mask = (torch.rand(batch, 1, side, side, generator=generator) < coverage).float()
    return image, mask


def weights_by_hand(channels: int, encoder, decoder) -> int:
    """Count weights level by level, with nothing of the network's own."""
    count, above = 0, channels
    for i, (width, kernel) in enumerate(encoder):
        count += kernel**2 * above * width + width + (2 * width if i else 0)
        above = width
    skips = [channels, *(width for width, _ in encoder)][-2::-1]
    for i, (width, skip) in enumerate(zip([*decoder, channels], skips, strict=True)):
        count += 9 * (above + skip) * width + width + (2 * width if i < len(decoder) else 0)
        above = width
    return count + channels**2 + channels


@pytest.mark.parametrize(
    ("name", "channels", "levels", "millions"),
    [("unet128", 1, 7, 2.17), ("unet128", 3, 7, 2.17), ("unet512", 1, 8, 32.9)],
)
def test_presets_are_the_seeds(name: str, channels: int, levels: int, millions: float) -> None:
    with torch.device("meta"):
        net = PConvUNet.from_preset(name, channels)
    count = sum(p.numel() for p in net.parameters())
    assert net.factor == 2**levels
    assert count == weights_by_hand(channels, **PRESETS[name])
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_unet128_fills_a_whole_patch(channels: int) -> None:
    torch.manual_seed(1)
    net = PConvUNet.from_preset("unet128", channels).eval()
    image, mask = picture(2, 1, channels, 128, 1.0)
    mask[:, :, 20:110, 10:100] = 0
    with torch.no_grad():
        filled, seen = net.forward_with_mask(image, mask)
    assert filled.shape == image.shape
    assert seen.shape == mask.shape
    assert (seen == 1).all()
    assert torch.isfinite(filled).all()


def test_one_observed_pixel_is_enough_for_a_deep_network() -> None:
    net = PConvUNet.from_preset("unet128").eval()
    for row, col in [(0, 0), (127, 127), (64, 3)]:
        mask = torch.zeros(1, 1, 128, 128)
        mask[..., row, col] = 1
        with torch.no_grad():
            _, seen = net.forward_with_mask(torch.randn(1, 1, 128, 128), mask)
        assert (seen == 1).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), coverage=st.sampled_from([0.0, 0.02, 0.5]), channels=st.sampled_from([1, 3])
)
def test_at_depth_the_mask_is_all_ones_if_there_is_one_datum(
    seed: int, coverage: float, channels: int
) -> None:
    """As many levels as a side of 16 px has halvings; a datum is added at a place of chance."""
    image, mask = picture(seed, 2, channels, 16, coverage)
    place = torch.randint(16 * 16, (2,), generator=torch.Generator().manual_seed(seed))
    mask.view(2, -1)[torch.arange(2), place] = 1
    with torch.no_grad():
        _, seen = small(channels, levels=4).eval().forward_with_mask(image, mask)
        _, none = small(channels, levels=4).eval().forward_with_mask(image, torch.zeros_like(mask))
    assert (seen == 1).all() and (none == 0).all()


def test_a_shallow_network_leaves_the_deep_a_hole() -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 0, 0] = 1
    with torch.no_grad():
        _, seen = small(levels=2).eval().forward_with_mask(torch.randn(1, 1, 64, 64), mask)
    assert seen[..., 0, 0] == 1
    assert seen[..., 63, 63] == 0


def plain_forward(net: PConvUNet, image: Tensor, mask: Tensor) -> Tensor:
    """Liu et al. 2018, section 3.2, written out: masks as large as the features, no group, no level class."""
    weights = net.state_dict()

    def layer(name: str, x: Tensor, m: Tensor, kernel: int, stride: int) -> tuple[Tensor, Tensor]:
        ones = torch.ones(1, x.shape[1], kernel, kernel)
        count = functional.conv2d(m, ones, stride=stride, padding=kernel // 2)
        y = functional.conv2d(x * m, weights[f"{name}.conv.weight"], stride=stride, padding=kernel // 2)
        y = y * ones.numel() / count.clamp(min=1) + weights[f"{name}.conv.bias"][:, None, None]
        y = y * (count > 0)
        if f"{name}.norm.weight" in weights:
            keys = ("running_mean", "running_var", "weight", "bias")
            y = functional.batch_norm(y, *(weights[f"{name}.norm.{key}"] for key in keys))
        return y, (count > 0).float().expand_as(y)

    levels = net.architecture["encoder"]
    x, m = image, mask.expand_as(image)
    skips = []
    for i, (_, kernel) in enumerate(levels):
        skips.append((x, m))
        x, m = layer(f"encoder.{i}", x, m, kernel, 2)
        x = functional.relu(x)
    for i in range(len(levels)):
        skip, skip_mask = skips.pop()
        x = torch.cat([x.repeat_interleave(2, -1).repeat_interleave(2, -2), skip], 1)
        m = torch.cat([m.repeat_interleave(2, -1).repeat_interleave(2, -2), skip_mask], 1)
        x, m = layer(f"decoder.{i}", x, m, 3, 1)
        if i < len(levels) - 1 or net.final == "sigmoid":
            x = functional.leaky_relu(x, 0.2)
    x = functional.conv2d(x, weights["last.weight"], weights["last.bias"])
    return torch.sigmoid(x) if net.final == "sigmoid" else x


@pytest.mark.parametrize("final", ["linear", "sigmoid"])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_the_network_written_out(channels: int, final: str) -> None:
    net = small(channels, levels=4, final=final)
    for coverage in (0.9, 0.5):  # so that norms have statistics of their own
        net(*picture(9, 4, channels, 32, coverage))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    net.eval()
    image, mask = picture(10, 2, channels, 32, 0.3)
    with torch.no_grad():
        filled, expected = net(image, mask), plain_forward(net, image, mask)
    scale = expected.std().item()
    assert scale > 1e-4
    assert torch.allclose(filled, expected, rtol=0, atol=FLOAT32_NETWORK * scale)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    channels=st.sampled_from([1, 3]),
    coverage=st.sampled_from([0.02, 0.5, 1.0]),
    junk=st.sampled_from([float("nan"), float("inf"), 1e30]),
)
def test_nothing_under_a_hole_matters(seed, channels, coverage, junk) -> None:
    net = small(channels, seed=seed)
    image, mask = picture(seed, 2, channels, 16, coverage)
    clean = torch.where(mask > 0, image, 0.0)
    dirty = torch.where(mask > 0, image, junk).requires_grad_()
    filled = net(dirty, mask)
    assert torch.equal(filled, net(clean, mask))
    filled.square().sum().backward()
    assert dirty.grad is not None
    assert torch.isfinite(dirty.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_the_mask_reaches_the_output() -> None:
    net = small().eval()
    image, mask = picture(3, 1, 1, 16, 0.5)
    assert not torch.allclose(net(image, mask), net(image, torch.ones_like(mask)))


@pytest.mark.parametrize("coverage", [0.0, 0.01, 0.5])
def test_bfloat16_autocast_is_finite_and_near_float32(coverage: float) -> None:
    net = small(levels=4).eval()
    image, mask = picture(4, 2, 1, 32, coverage)
    exact = net(image, mask)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(image, mask)
    assert torch.isfinite(half).all()
    assert (half.float() - exact).abs().max().item() < BFLOAT16_NETWORK * max(exact.abs().max().item(), 1.0)


def test_an_input_of_holes_alone_gives_no_nan() -> None:
    image = torch.full((2, 1, 16, 16), float("nan"))
    filled, seen = small().forward_with_mask(image, torch.zeros(2, 1, 16, 16))
    assert torch.isfinite(filled).all()
    assert (seen == 0).all()


def test_final_sigmoid_stays_within_0_and_1_and_linear_does_not() -> None:
    image, mask = picture(5, 2, 3, 16, 0.8)
    filled = small(3, final="sigmoid")(10 * image, mask)
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert small(3)(10 * image, mask).min() < 0


def test_frozen_encoder_norm_outlives_train_and_thaws() -> None:
    net = small()
    image, mask = picture(6, 2, 1, 16, 0.5)
    encoder_norm, decoder_norm = net.encoder[1].norm, net.decoder[0].norm
    net.train()
    net.freeze_encoder_norm()
    net.train()
    held = encoder_norm.running_mean.clone()
    net(image, mask).sum().backward()
    assert torch.equal(encoder_norm.running_mean, held)
    assert encoder_norm.weight.grad is None
    assert not torch.equal(decoder_norm.running_mean, torch.zeros_like(decoder_norm.running_mean))
    net.freeze_encoder_norm(False)
    net(image, mask).sum().backward()
    assert not torch.equal(encoder_norm.running_mean, held)
    assert encoder_norm.weight.grad is not None


def test_thawing_in_evaluation_does_not_start_training() -> None:
    net = small().eval()
    net.freeze_encoder_norm()
    net.freeze_encoder_norm(False)
    assert not net.encoder[1].norm.training


def test_architecture_makes_the_same_network() -> None:
    net = small(3, final="sigmoid").eval()
    twin = PConvUNet(**json.loads(json.dumps(net.architecture))).eval()
    twin.load_state_dict(net.state_dict())
    image, mask = picture(7, 1, 3, 16, 0.5)
    assert torch.equal(net(image, mask), twin(image, mask))


def test_it_learns_one_picture() -> None:
    net = small()
    image, mask = picture(8, 2, 1, 16, 0.7)
    image = functional.avg_pool2d(image, 5, 1, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (net(image, mask) - image).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    net = small()
    with pytest.raises(CmbInpaintError) as caught:
        net(torch.zeros(1, 1, 100, 96), torch.ones(1, 1, 100, 96))
    assert str(caught.value) == (
        "got a picture of 100 x 96 px; expected multiples of 8: each of the 3 levels halves it. "
        "Pad with holes, or use a shallower network"
    )
    with pytest.raises(CmbInpaintError, match=r"shape \(1, 16, 16\); expected \(B, C, H, W\)"):
        net(torch.zeros(1, 16, 16), torch.ones(1, 16, 16))


def test_one_picture_in_training_is_refused_where_norm_would_fail() -> None:
    net = small()
    with pytest.raises(CmbInpaintError, match="a batch of one picture of 8 x 8 px in training"):
        net(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    net.eval()(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    net.train().freeze_encoder_norm()
    net(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(CmbInpaintError, match="'unet12'; expected one of unet128, unet512; did you mean"):
        PConvUNet.from_preset("unet12")
    with pytest.raises(CmbInpaintError, match="final='tanh'; expected one of linear, sigmoid"):
        PConvUNet.from_preset("unet128", final="tanh")  # type: ignore[arg-type]
    with pytest.raises(CmbInpaintError, match="2 encoder levels with 2 decoder levels; expected 1"):
        PConvUNet(1, ((4, 3), (4, 3)), (4, 4))


def test_importing_the_room_does_not_import_torch() -> None:
    assert "PConvUNet" in dir(cmbinpaint.nn)
    code = "import sys, cmbinpaint.nn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_of_the_room_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'cmbinpaint\.nn' has no attribute 'Nothing'"):
        _ = cmbinpaint.nn.Nothing


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("coverage", [0.3, 1.0])
def test_a_decoder_level_is_the_partial_convolution_of_what_is_joined(side: int, coverage: float) -> None:
    """Doubling, joining and `PartialConv2d`, small pictures and large ones; junk under the holes of both inputs."""
    generator = torch.Generator().manual_seed(side)
    fast = _JoinedConv(3, 2, 4)
    plain = PartialConv2d((3, 2), 4, 3)
    plain.load_state_dict(fast.state_dict())
    below = torch.randn(2, 3, side, side, generator=generator)
    above = torch.randn(2, 2, 2 * side, 2 * side, generator=generator)
    masks = [(torch.rand(2, 1, n, n, generator=generator) < coverage).float() for n in (side, 2 * side)]
    junk = [
        torch.where(m > 0, x, torch.nan).requires_grad_() for x, m in zip((below, above), masks, strict=True)
    ]
    wide = [functional.interpolate(t, scale_factor=2) for t in (junk[0], masks[0])]
    expected, seen = plain(torch.cat([wide[0], junk[1]], 1), torch.cat([wide[1], masks[1]], 1))
    gradients = torch.autograd.grad(expected.square().sum(), [*junk, plain.weight])
    found, mask = fast((junk[0], masks[0]), (junk[1], masks[1]))
    # float32; the sums run in another order.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(mask, seen)
    for a, b in zip(torch.autograd.grad(found.square().sum(), [*junk, fast.weight]), gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("coverage", [0.002, 0.3, 1.0])
@pytest.mark.parametrize("preset", ["unet128", "small"])
def test_a_network_of_averages_keeps_a_constant(preset: str, coverage: float) -> None:
    """Every layer averages what it sees: 3 goes in beside NaN, 3 comes out everywhere, through masks of all levels."""
    network = PConvUNet.from_preset("unet128") if preset == "unet128" else small()
    for module in network.modules():
        if isinstance(module, PartialConv2d):
            torch.nn.init.constant_(module.weight, 1 / module.window)
            torch.nn.init.zeros_(module.bias)
    torch.nn.init.ones_(network.last.weight)
    torch.nn.init.zeros_(network.last.bias)
    valid = (torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(3)) < coverage).float()
    with torch.no_grad():
        drawn, seen = network.eval().forward_with_mask(torch.where(valid > 0, 3.0, torch.nan), valid)
    assert (seen == 1).all() or preset == "small"
    # Batch norm divides by sqrt(1 + 1e-5) at each level; the rest is float32.
    torch.testing.assert_close(drawn, 3.0 * seen.expand_as(drawn), rtol=1e-3, atol=0)
