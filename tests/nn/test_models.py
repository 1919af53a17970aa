"""Architectures by name: CoMBInE's presets, whole and thinned, and what is refused."""

import re

import pytest
import torch

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.nn.models import build_model
from cmbinpaint.nn.unet import PConvUNet


@pytest.mark.parametrize(("channels", "final"), [(1, "linear"), (3, "sigmoid")])
def test_presets_end_as_their_channels_need(channels: int, final: str) -> None:
    network = build_model({"family": "pconv", "preset": "unet128", "channels": channels})
    assert isinstance(network, PConvUNet)
    assert network.architecture == PConvUNet.from_preset("unet128", channels, final).architecture  # type: ignore[arg-type]


def test_what_was_built_is_built_again() -> None:
    network = build_model({"family": "pconv", "preset": "unet512", "thinner": 16, "channels": 3})
    assert isinstance(network, PConvUNet) and network.factor == 256
    assert [width for width, _ in network.architecture["encoder"]] == [4, 8, 16, 32, 32, 32, 32, 32]
    again = build_model({"family": "pconv", **network.architecture})
    shapes = {name: tensor.shape for name, tensor in again.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in network.state_dict().items()}


def test_vgg16() -> None:
    network = build_model({"family": "vgg16", "classes": 3, "blocks": 1, "widths": [2]})
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ({"family": "pcon"}, "unknown family 'pcon'; known: pconv, vgg16; did you mean 'pconv'?"),
        ({"family": "pconv"}, "family 'pconv' needs a preset, or encoder and decoder, and not both"),
        ({"family": "pconv", "preset": "unet128", "encoder": [[4, 3]], "decoder": []}, "and not both"),
        ({"family": "pconv", "preset": "unet12"}, "preset 'unet12'; expected one of unet128, unet512"),
        ({"family": "pconv", "preset": "unet128", "thinner": 64}, "thinner=64; expected 1 to 32"),
        ({"family": "pconv", "encoder": [[4]], "decoder": []}, "family 'pconv': not enough values to unpack"),
        ({"family": "pconv", "encoder": [[10**6, 3]] * 2, "decoder": [1]}, "GiB of weights, more than this machine"),
        ({"family": "pconv", "encoder": [[10**30, 3]], "decoder": []}, "architecture of family 'pconv': "),
        ({"family": "pconv", "presett": "unet128"}, "architecture of family 'pconv': pconv_unet() got an unexpected"),
    ],
)  # fmt: skip
def test_impossible_architectures_are_refused(architecture: dict, text: str) -> None:
    with pytest.raises(CmbInpaintError, match=re.escape(text)):
        build_model(architecture)
