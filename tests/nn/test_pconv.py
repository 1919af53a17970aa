"""The partial convolution against a plain multi-channel one, and its invariants."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.nn import PartialConv2d

FLOAT64_SUM = 1e-12  # sums of some hundred float64 terms of order one, in another order
FLOAT32_SUM = 1e-5  # the same in float32
BFLOAT16_SUM = 0.05  # 8 bits of mantissa: 0.4 % a term, some hundred terms of order one


def reference(layer: PartialConv2d, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Liu et al. 2018, eq. 1 and 2, word for word: a mask for every channel, counted by a convolution."""
    sizes = torch.tensor(layer.groups)
    full = torch.repeat_interleave(mask, sizes, dim=1).to(x.dtype).expand_as(x)
    k = layer.kernel_size
    how = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    count = functional.conv2d(full, torch.ones(1, full.shape[1], k, k, dtype=x.dtype), **how)
    y = functional.conv2d(torch.nan_to_num(x) * full, layer.weight, **how)
    y = y * (full.shape[1] * k * k / torch.clamp(count, min=1))
    if layer.bias is not None:
        y = y + layer.bias[None, :, None, None]
    return y * (count > 0), (count > 0).to(mask.dtype)


def make(seed: int, dtype: torch.dtype = torch.float64, **options: object) -> PartialConv2d:
    torch.manual_seed(seed)
    layer = PartialConv2d(**options).to(dtype)  # type: ignore[arg-type]
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer


def field_and_mask(
    seed: int, batch: int, groups: tuple[int, ...], size: tuple[int, int], coverage: float
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, sum(groups), *size, generator=generator, dtype=torch.float64)
    mask = (torch.rand(batch, len(groups), *size, generator=generator) < coverage).to(torch.float64)
    return x, mask


seeds = st.integers(0, 10_000)
coverages = st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0])
group_sizes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
sizes = st.tuples(st.integers(5, 14), st.integers(5, 14))


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds,
    groups=group_sizes,
    size=sizes,
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([None, 0, 1, 4]),
    bias=st.booleans(),
    coverage=coverages,
)
def test_equals_the_plain_reference(
    seed, groups, size, kernel, stride, dilation, padding, bias, coverage
) -> None:
    if padding is not None and dilation * (kernel - 1) >= min(size) + 2 * padding:
        padding = 4
    layer = make(
        seed,
        in_channels=groups,
        out_channels=3,
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
        bias=bias,
    )
    x, mask = field_and_mask(seed + 1, 2, groups, size, coverage)
    x_fast, x_plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    y_fast, mask_fast = layer(x_fast, mask)
    y_plain, mask_plain = reference(layer, x_plain, mask)
    assert y_fast.shape == y_plain.shape
    assert torch.equal(mask_fast, mask_plain)
    assert torch.allclose(y_fast, y_plain, rtol=0, atol=FLOAT64_SUM)

    push = torch.randn(y_fast.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    parameters = list(layer.parameters())
    fast = torch.autograd.grad((y_fast * push).sum(), [x_fast, *parameters])
    plain = torch.autograd.grad((y_plain * push).sum(), [x_plain, *parameters])
    for a, b in zip(fast, plain, strict=True):
        assert torch.allclose(a, b, rtol=FLOAT64_SUM, atol=20 * FLOAT64_SUM)


def test_equals_the_reference_in_float32() -> None:
    layer = make(3, torch.float32, in_channels=(16, 8), out_channels=8, kernel_size=3)
    x, mask = field_and_mask(4, 2, (16, 8), (32, 32), 0.4)
    y, _ = layer(x.float(), mask.float())
    expected, _ = reference(layer, x.float(), mask.float())
    assert y.dtype == torch.float32
    assert torch.allclose(y, expected, rtol=0, atol=FLOAT32_SUM * expected.abs().max().item())


def test_analytic_gradient_is_the_numerical_one() -> None:
    layer = make(5, in_channels=(2, 1), out_channels=2, kernel_size=3, stride=2)
    x, mask = field_and_mask(6, 1, (2, 1), (6, 6), 0.5)
    assert torch.autograd.gradcheck(lambda t: layer(t, mask)[0], x.requires_grad_())


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    size=sizes,
    kernel=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 2),
    coverage=coverages,
)
def test_at_stride_1_the_mask_never_loses_a_valid_pixel(seed, size, kernel, dilation, coverage) -> None:
    layer = make(seed, in_channels=2, out_channels=1, kernel_size=kernel, dilation=dilation)
    x, mask = field_and_mask(seed, 2, (2,), size, coverage)
    _, seen = layer(x, mask)
    assert (seen >= mask).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=seeds, groups=group_sizes, size=sizes, kernel=st.sampled_from([1, 2, 3, 5]), stride=st.integers(1, 3),
    dilation=st.integers(1, 2), padding=st.integers(0, 4), coverage=coverages,
)  # fmt: skip
def test_the_new_mask_is_the_union_of_windows_that_saw_a_datum(
    seed, groups, size, kernel, stride, dilation, padding, coverage
) -> None:
    """Window by window, of any group, with nothing of the layer's own."""
    if dilation * (kernel - 1) >= min(size) + 2 * padding:
        padding = 4
    layer = make(seed, in_channels=groups, out_channels=2, kernel_size=kernel, stride=stride, dilation=dilation,
                 padding=padding)  # fmt: skip
    x, mask = field_and_mask(seed, 2, groups, size, coverage)
    _, seen = layer(
        torch.where(torch.repeat_interleave(mask, torch.tensor(groups), 1) > 0, x, torch.nan), mask
    )
    expected = torch.zeros_like(seen)
    rows, cols = size
    for out_row in range(seen.shape[2]):
        for out_col in range(seen.shape[3]):
            for i in range(kernel):
                for j in range(kernel):
                    row = stride * out_row + dilation * i - padding
                    col = stride * out_col + dilation * j - padding
                    if 0 <= row < rows and 0 <= col < cols:
                        expected[:, 0, out_row, out_col] += mask[:, :, row, col].sum(1)
    assert torch.equal(seen, (expected > 0).to(seen.dtype))


def test_what_is_missing_is_counted_over_channels_and_window() -> None:
    """By hand: channels 1, 2, 3 behind one mask and 7 behind another, weights of one, a window of one pixel."""
    layer = PartialConv2d((3, 1), 1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    x = torch.tensor([1.0, 2.0, 3.0, 7.0]).view(1, 4, 1, 1)
    for shown, expected in (((1, 1), 13.0), ((1, 0), 6.0 * 4 / 3), ((0, 1), 7.0 * 4), ((0, 0), 0.0)):
        y, seen = layer(x, torch.tensor(shown, dtype=torch.float32).view(1, 2, 1, 1))
        assert y.item() == pytest.approx(expected) and seen.item() == float(any(shown))
    # Two of three pixels in a row: 5 of the sum, times 9 over 2, for the padding is missing too.
    row = PartialConv2d(1, 1, 3, bias=False)
    torch.nn.init.ones_(row.weight)
    y, seen = row(torch.tensor([[[[2.0, 1e30, 3.0]]]]), torch.tensor([[[[1.0, 0.0, 1.0]]]]))
    assert y[0, 0, 0].tolist() == pytest.approx([2.0 * 9, 5.0 * 9 / 2, 3.0 * 9]) and seen.min() == 1


@settings(max_examples=30, deadline=None)
@given(seed=seeds, stride=st.integers(1, 2), coverage=coverages)
def test_empty_window_gives_zero_and_stays_a_hole(seed, stride, coverage) -> None:
    layer = make(seed, in_channels=(2, 1), out_channels=3, kernel_size=3, stride=stride)
    x, mask = field_and_mask(seed, 2, (2, 1), (9, 9), coverage)
    y, seen = layer(x, mask)
    observed = functional.max_pool2d(mask.amax(1, keepdim=True), 3, stride, 1)
    assert torch.equal(seen, observed)
    assert (y[(seen == 0).expand_as(y)] == 0).all()
    assert (y[(seen == 1).expand_as(y)] != 0).all()  # the bias is there


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds, groups=group_sizes, kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 3),
    dilation=st.integers(1, 2), coverage=coverages,
)  # fmt: skip
def test_a_constant_comes_back_whatever_is_missing(seed, groups, kernel, stride, dilation, coverage) -> None:
    """With weights that average, 7 stays 7 at edges and beside holes: what is missing is counted, channels and all."""
    layer = make(
        seed,
        in_channels=groups,
        out_channels=2,
        kernel_size=kernel,
        stride=stride,
        dilation=dilation,
        bias=False,
    )
    torch.nn.init.constant_(layer.weight, 1 / (sum(groups) * kernel**2))
    _, mask = field_and_mask(seed, 2, groups, (13, 11), coverage)
    shown = torch.repeat_interleave(mask, torch.tensor(groups), dim=1) > 0
    y, seen = layer(torch.where(shown, 7.0, torch.nan).double(), mask)
    expected = (7.0 * seen).expand_as(y)
    torch.testing.assert_close(y, expected, rtol=FLOAT64_SUM, atol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_single_datum_is_seen_from_its_window_alone(stride: int) -> None:
    """At row 4, column 7: by the outputs whose window holds it, each through its own weight, times the window."""
    layer = make(1, in_channels=2, out_channels=1, kernel_size=3, stride=stride, bias=False)
    mask = torch.zeros(1, 1, 10, 12, dtype=torch.float64)
    mask[..., 4, 7] = 1
    x = torch.full((1, 2, 10, 12), torch.nan, dtype=torch.float64)
    x[0, :, 4, 7] = torch.tensor([2.0, -3.0])
    y, seen = layer(x, mask)
    expected = torch.zeros_like(y)
    for row in range(y.shape[2]):
        for col in range(y.shape[3]):
            up, left = 4 - (stride * row - 1), 7 - (stride * col - 1)  # the datum's place in this window
            if 0 <= up < 3 and 0 <= left < 3:
                pair = layer.weight[0, :, up, left]
                expected[0, 0, row, col] = (2 * pair[0] - 3 * pair[1]) * 18 / 2  # two entries of eighteen
    torch.testing.assert_close(y, expected, rtol=FLOAT64_SUM, atol=FLOAT64_SUM)
    assert torch.equal(seen, (expected != 0).double()) and int(seen.sum()) == (9 if stride == 1 else 2)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, groups=group_sizes, kernel=st.sampled_from([1, 3, 5]))
def test_all_valid_is_an_ordinary_convolution_in_the_interior(seed, groups, kernel) -> None:
    layer = make(seed, in_channels=groups, out_channels=2, kernel_size=kernel)
    x, mask = field_and_mask(seed, 1, groups, (12, 12), 1.0)
    y, seen = layer(x, mask)
    plain = functional.conv2d(x, layer.weight, layer.bias, padding=kernel // 2)
    edge = kernel // 2
    inside = (..., slice(edge, 12 - edge), slice(edge, 12 - edge))
    assert torch.allclose(y[inside], plain[inside], rtol=0, atol=FLOAT64_SUM)
    assert (seen == 1).all()
    if edge:  # padding is a hole, so the border is rescaled
        assert not torch.allclose(y, plain, rtol=0, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=seeds,
    junk=st.sampled_from([float("nan"), float("inf"), 1e30, -1.6375e30]),
    groups=group_sizes,
)
def test_nothing_under_a_hole_matters(seed, junk, groups) -> None:
    layer = make(seed, torch.float32, in_channels=groups, out_channels=2, kernel_size=3)
    x, mask = field_and_mask(seed, 2, groups, (10, 10), 0.5)
    full = torch.repeat_interleave(mask, torch.tensor(groups), dim=1) > 0
    clean = torch.where(full, x, 0.0).float()
    dirty = torch.where(full, x, junk).float().requires_grad_()
    y, _ = layer(dirty, mask)
    assert torch.equal(y, layer(clean, mask)[0])
    y.square().sum().backward()
    assert dirty.grad is not None
    assert torch.isfinite(dirty.grad).all()
    assert (dirty.grad[~full] == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


@pytest.mark.parametrize("coverage", [0.0, 0.01, 0.5, 1.0])
def test_bfloat16_autocast_is_finite_and_near_float32(coverage: float) -> None:
    # 300 channels x 25 pixels: a count of 7500 that bfloat16 cannot hold.
    layer = make(8, torch.float32, in_channels=(200, 100), out_channels=4, kernel_size=5)
    x, mask = field_and_mask(9, 1, (200, 100), (12, 12), coverage)
    x, mask = x.float().requires_grad_(), mask.float()
    exact, seen = layer(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        y, seen_half = layer(x, mask)
    assert y.dtype == torch.bfloat16
    assert torch.equal(seen, seen_half)
    scale = max(exact.abs().max().item(), 1.0)
    assert (y.float() - exact).abs().max().item() < BFLOAT16_SUM * scale
    y.float().square().sum().backward()
    assert torch.isfinite(x.grad).all()


def test_one_mask_serves_the_whole_batch() -> None:
    layer = make(10, in_channels=(2, 1), out_channels=2, kernel_size=3, stride=2)
    x, mask = field_and_mask(11, 3, (2, 1), (8, 8), 0.3)
    y, seen = layer(x, mask[:1])
    expected, seen_all = layer(x, mask[:1].expand(3, -1, -1, -1))
    assert torch.equal(y, expected)
    assert seen.shape == (1, 1, 4, 4)
    assert torch.equal(seen.expand(3, -1, -1, -1), seen_all)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_the_mask_keeps_its_dtype(dtype: torch.dtype) -> None:
    layer = make(12, in_channels=1, out_channels=1, kernel_size=3)
    x, mask = field_and_mask(13, 1, (1,), (6, 6), 0.3)
    y, seen = layer(x, mask.to(dtype))
    assert seen.dtype == dtype
    assert torch.equal(y, layer(x, mask)[0])


def test_default_weights_keep_the_variance() -> None:
    layer = make(14, torch.float32, in_channels=64, out_channels=64, kernel_size=3, bias=False)
    x, mask = field_and_mask(15, 2, (64,), (24, 24), 1.0)
    y, _ = layer(x.float(), mask)
    assert 0.85 < y[..., 1:-1, 1:-1].var().item() < 1.15  # 36 864 weights: a few percent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": ()}, "in_channels=(); expected one number of at least 1 for each group"),
        ({"in_channels": (2, 0)}, "in_channels=(2, 0); expected one number of at least 1"),
        ({"stride": 0}, "stride=0; expected at least 1"),
        ({"kernel_size": 4}, "an even kernel cannot keep the size: give padding, or an odd kernel_size"),
        ({"padding": -1}, "padding=-1; expected at least 0, or None to keep the size"),
    ],
)
def test_impossible_layers_are_refused(options: dict, message: str) -> None:
    with pytest.raises(CmbInpaintError) as caught:
        PartialConv2d(**{"in_channels": 1, "out_channels": 1, "kernel_size": 3} | options)
    assert message in str(caught.value)


def test_an_even_kernel_works_with_padding() -> None:
    layer = make(16, in_channels=1, out_channels=1, kernel_size=2, padding=0)
    x, mask = field_and_mask(17, 1, (1,), (6, 6), 0.3)
    y, seen = layer(x, mask)
    expected, seen_plain = reference(layer, x, mask)
    assert torch.allclose(y, expected, rtol=0, atol=FLOAT64_SUM)
    assert torch.equal(seen, seen_plain)


def test_shapes_that_do_not_fit_are_refused() -> None:
    layer = PartialConv2d((2, 1), 1, 3)
    with pytest.raises(CmbInpaintError, match=r"shape \(1, 2, 8, 8\); expected \(B, 3, H, W\)"):
        layer(torch.zeros(1, 2, 8, 8), torch.ones(1, 2, 8, 8))
    with pytest.raises(
        CmbInpaintError, match=r"a mask of shape \(1, 3, 8, 8\).*expected \(1, 2, 8, 8\): one"
    ):
        layer(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
    with pytest.raises(CmbInpaintError, match="one mask channel for each group"):
        layer(torch.zeros(3, 3, 8, 8), torch.ones(2, 2, 8, 8))


def test_a_layer_says_what_it_is() -> None:
    assert "(2, 1), 4, kernel_size=3, stride=2" in repr(PartialConv2d((2, 1), 4, 3, 2))
