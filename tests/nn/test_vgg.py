"""VGG16: torchvision's names and shapes, pools, and state dicts that are made to fit or refused."""

import re

import pytest
import torch

from cmbinpaint.errors import WeightsError
from cmbinpaint.nn.vgg import VGG16, fit_state

THIN = (2, 3, 4, 5, 6)
# torchvision's vgg16().state_dict(), its convolutions: index -> (out, in).
TORCHVISION = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):  # 138 M weights are named, not made
        state = VGG16(3, 1000, head="fc", statistics="imagenet").state_dict()
    expected = {}
    for index, (outs, ins) in TORCHVISION.items():
        expected |= {f"features.{index}.weight": (outs, ins, 3, 3), f"features.{index}.bias": (outs,)}
    for index, (outs, ins) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        expected |= {f"classifier.{index}.weight": (outs, ins), f"classifier.{index}.bias": (outs,)}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected
    assert sum(t.numel() for n, t in state.items() if n.startswith("features")) == 14_714_688


@pytest.mark.parametrize("channels", [1, 3])
def test_pools(channels: int) -> None:
    network = VGG16(channels, blocks=3, widths=THIN)
    pools = network.pools(torch.randn(2, channels, 32, 32))
    assert [tuple(pool.shape) for pool in pools] == [(2, 2, 16, 16), (2, 3, 8, 8), (2, 4, 4, 4)]
    assert len(network.pools(torch.randn(1, channels, 32, 32), 1)) == 1
    assert all((pool >= 0).all() for pool in pools)  # after ReLU


@pytest.mark.parametrize("head", ["pool", "fc"])
def test_logits(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cmbinpaint.nn.vgg._HIDDEN", 8)
    network = VGG16(1, 10, widths=THIN, head=head).eval()  # type: ignore[arg-type]
    for side in (32, 64):
        assert network(torch.randn(3, 1, side, side)).shape == (3, 10)
    assert VGG16(**network.architecture).architecture == network.architecture


def test_temperatures_are_mapped_and_not_clipped() -> None:
    """±3 rms are 0 and 1; then mean and spread of the statistics are taken out."""
    x = torch.tensor([-3.0, 0.0, 3.0, 9.0]).view(1, 1, 2, 2)
    unit = x / 6 + 0.5
    grey = sum((0.485, 0.456, 0.406)) / 3, sum((0.229, 0.224, 0.225)) / 3
    found = VGG16(1, blocks=1, statistics="imagenet")._normalized(x)
    torch.testing.assert_close(found, (unit - grey[0]) / grey[1])
    torch.testing.assert_close(VGG16(1, blocks=1)._normalized(x), x)  # of a CMB map: the rms itself
    torch.testing.assert_close(VGG16(1, blocks=1, scale="unit")._normalized(unit), x)


def test_three_channel_weights_for_one_channel_see_a_grey_picture() -> None:
    three = VGG16(3, blocks=2, widths=THIN).eval()
    one = VGG16(1, blocks=2, widths=THIN).eval()
    one.load_state_dict(fit_state(one, three.state_dict(), "w"))
    grey = torch.randn(2, 1, 16, 16)
    for a, b in zip(one.pools(grey), three.pools(grey.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)  # float32, another order of sums


def test_one_channel_weights_for_three_channels_see_their_mean() -> None:
    one = VGG16(1, blocks=2, widths=THIN).eval()
    three = VGG16(3, blocks=2, widths=THIN).eval()
    three.load_state_dict(fit_state(three, one.state_dict(), "w"))
    picture = torch.randn(2, 3, 16, 16)
    for a, b in zip(three.pools(picture), one.pools(picture.mean(1, keepdim=True)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_blocks_that_are_not_needed_are_not_looked_at() -> None:
    whole = VGG16(1, 4, widths=THIN).state_dict()
    whole["features.28.weight"] = torch.full((1,), torch.nan)
    network = VGG16(1, blocks=3, widths=THIN)
    assert fit_state(network, whole, "w").keys() == network.state_dict().keys()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"features.2.weight": None}, "w: lacks the tensor 'features.2.weight' (2, 2, 3, 3) of VGG16"),
        (
            {"features.2.weight": torch.zeros(2, 3, 3, 3), "features.5.bias": torch.zeros(1)},
            "w: tensor 'features.2.weight' has shape (2, 3, 3, 3), VGG16 has (2, 2, 3, 3); give a state dict with "
            "torchvision's names (vgg16, not vgg16_bn)",
        ),
        ({"features.0.weight": torch.zeros(2, 4, 3, 3)}, "'features.0.weight' has shape (2, 4, 3, 3), VGG16 has (2, 1"),
        ({"features.5.bias": torch.full((3,), torch.inf)}, "'features.5.bias' holds values that are not finite"),
        ({"features.5.bias": torch.zeros(3, dtype=torch.int8)}, "'features.5.bias' holds values that are not finite"),
    ],
)  # fmt: skip
def test_the_first_tensor_that_differs_is_named(change: dict, text: str) -> None:
    network = VGG16(1, blocks=2, widths=THIN)
    state = {**network.state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(WeightsError, match=re.escape(text)):
        fit_state(network, state, "w")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"channels": 2}, "VGG16 with channels=2, blocks=5"),
        ({"blocks": 6}, "1 to 5 blocks and a width for each"),
        ({"widths": (4,)}, "widths=(4,)"),
        ({"head": "pol"}, "VGG16 head='pol'; known: pool, fc; did you mean 'pool'?"),
        ({"scale": "sigma"}, "VGG16 scale='sigma'; known: rms, unit"),
        ({"statistics": "photo"}, "VGG16 statistics='photo'; known: cmb, imagenet"),
    ],
)
def test_impossible_options_are_refused(options: dict, text: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(text)):
        VGG16(**options)


def test_wrong_use_is_refused() -> None:
    network = VGG16(1, blocks=1, widths=THIN)
    with pytest.raises(WeightsError, match=r"shape \(1, 3, 8, 8\); this VGG16 expects \(B, 1, H, W\)"):
        network.pools(torch.zeros(1, 3, 8, 8))
    with pytest.raises(WeightsError, match="made without classes; use pools"):
        network(torch.zeros(1, 1, 8, 8))
