"""The linear family: linear in the data, whatever the mask; the data pass through untouched."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import WeightsError
from cmbinpaint.nn.inputs import N_CONDITIONS
from cmbinpaint.nn.linear import LinearUNet, detrended
from cmbinpaint.nn.models import build_model

SIDE = 16


def network(seed: int = 0) -> LinearUNet:
    torch.manual_seed(seed)
    net = LinearUNet(widths=(4, 6, 8), gate_widths=(3, 4, 5)).double()
    torch.nn.init.normal_(net.last.weight)  # a fresh network gives the guess itself; this one must not
    return net


def inputs(seed: int, batch: int = 2, fields: int = 1) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    valid = (torch.rand(batch, 1, SIDE, SIDE, generator=g) > 0.4).double()
    spread = torch.rand(batch, 1, SIDE, SIDE, generator=g).double() * (1 - valid)
    x = torch.randn(batch, fields, SIDE, SIDE, generator=g).double()
    return x, valid, spread, torch.randn(batch, N_CONDITIONS, generator=g).double()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), a=st.floats(-50, 50), b=st.floats(-50, 50))
def test_linear_in_the_data(seed: int, a: float, b: float) -> None:
    net = network()
    x, valid, spread, told = inputs(seed)
    y = inputs(seed + 1)[0]
    with torch.no_grad():
        both = net(a * x + b * y, valid, spread, told)
        apart = a * net(x, valid, spread, told) + b * net(y, valid, spread, told)
    # float64 rounding over some thirty layers
    torch.testing.assert_close(both, apart, rtol=1e-9, atol=1e-9 * (1 + abs(a) + abs(b)))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_observed_pixels_pass_and_holes_change(seed: int) -> None:
    net = network()
    x, valid, spread, told = inputs(seed)
    with torch.no_grad():
        y = net(x, valid, spread, told)
    assert torch.equal(y[valid > 0], x[valid > 0])
    assert not torch.allclose(y[valid == 0], x[valid == 0])


def test_a_constant_and_a_gradient_go_through() -> None:
    net = network()
    x, valid, spread, told = inputs(3)
    plane = (
        7.0
        + torch.linspace(-1, 1, SIDE, dtype=torch.float64)[:, None]
        - 2 * torch.linspace(-1, 1, SIDE, dtype=torch.float64)[None]
    )
    with torch.no_grad():
        shifted = net(x + plane, valid, spread, told) - net(x, valid, spread, told)
    torch.testing.assert_close(shifted, plane.expand_as(shifted), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(detrended(plane[None, None]), torch.zeros(1, 1, SIDE, SIDE).double())


def test_fields_that_share_a_mask_do_not_mix() -> None:
    net = network()
    x, valid, spread, told = inputs(4, batch=2, fields=3)
    with torch.no_grad():
        together = net(x, valid, spread, told)
        alone = torch.cat([net(x[:, i : i + 1], valid, spread, told) for i in range(3)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)


def test_it_depends_on_mask_and_conditions() -> None:
    net = network()
    x, valid, spread, told = inputs(5)
    with torch.no_grad():
        base = net(x, valid, spread, told)
        assert not torch.allclose(base, net(x, valid, spread, told + 1))
        assert not torch.allclose(base, net(x, valid, 0.5 * spread, told))


def test_a_fresh_network_gives_the_guess() -> None:
    x, valid, spread, told = (t.float() for t in inputs(6))
    fresh = LinearUNet(widths=(4, 6, 8), gate_widths=(3, 4, 5))
    assert torch.equal(fresh(x, valid, spread, told), x)


def test_sizes_and_architectures_are_checked() -> None:
    x, valid, spread, told = (t.float() for t in inputs(7))
    with pytest.raises(WeightsError, match="15x16 px; this network needs multiples of 8"):
        net = LinearUNet(widths=(4, 6, 8), gate_widths=(3, 4, 5))
        net(x[..., :15, :], valid[..., :15, :], spread[..., :15, :], told)
    with pytest.raises(WeightsError, match="2 widths but 1 gate widths"):
        LinearUNet(widths=(4, 4), gate_widths=(4,))
    with pytest.raises(WeightsError, match="did you mean 'linear'"):
        build_model({"family": "linaer"})
    with pytest.raises(WeightsError, match="width"):
        build_model({"family": "linear", "width": 3})
