"""VGG16 weights: what ships, what a user has on disk, and what is never loaded."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cmbinpaint.errors import WeightsError
from cmbinpaint.networks.card import read_card
from cmbinpaint.nn.vgg import VGG16
from cmbinpaint.training.run.perceptual import SHIPPED, list_vgg, load_vgg


def torchvision_state() -> dict[str, torch.Tensor]:
    """Names and shapes of ImageNet's, up to pool3; values of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {name: tensor.clone() for name, tensor in VGG16(3, blocks=3).state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_users_file(tmp_path: Path, suffix: str) -> None:
    state, path = torchvision_state(), tmp_path / f"vgg16{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    network = load_vgg(str(path), 1)
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    summed = state["features.0.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(network.features[0].weight, summed)
    torch.testing.assert_close(
        network.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]).mean(0, keepdim=True)
    )
    three = load_vgg(str(path), 3, "unit")
    assert torch.equal(three.features[0].weight, state["features.0.weight"]) and three.scale == "unit"


def test_the_shipped_one_is_what_its_card_says() -> None:
    assert list_vgg() == ["vgg16-cmb"]
    network, card = load_vgg("vgg16-cmb", 1), read_card(SHIPPED / "vgg16-cmb.json")
    assert card.n_weights == sum(p.numel() for p in network.parameters()) == 1_735_488 - 64 * 9 * 2
    assert card.golden is not None
    card.golden.check(network.pools(torch.from_numpy(card.golden.draw()[0]))[-1])
    assert float(network.std) == pytest.approx(1 / 6), "temperatures are mapped as it was trained"


def test_a_card_in_a_folder_of_ones_own() -> None:
    own = load_vgg(str(SHIPPED / "vgg16-cmb.json"), 1)
    assert torch.equal(own.features[5].weight, load_vgg("vgg16-cmb", 1).features[5].weight)


def test_random_numbers_are_the_runs_own(thin_vgg: Path) -> None:
    before = torch.get_rng_state()
    load_vgg(str(thin_vgg), 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_card_may_have_widths_of_its_own(thin_vgg: Path) -> None:
    for channels in (1, 3):
        pools = load_vgg(str(thin_vgg), channels).pools(torch.zeros(1, channels, 16, 16))
        assert [tuple(pool.shape[1:]) for pool in pools] == [(4, 8, 8), (6, 4, 4), (8, 2, 2)]


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    state = torchvision_state()
    state["features.7.weight"] = torch.zeros(128, 64, 3, 3)
    save_file(state, tmp_path / "v.safetensors")
    with pytest.raises(
        WeightsError, match=r"'features.7.weight' has shape \(128, 64, 3, 3\), VGG16 has \(128, 128,"
    ):
        load_vgg(str(tmp_path / "v.safetensors"), 1)


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (print, ("owned",))


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("evil.pth", pickle.dumps(Evil(), protocol=2), "is not a state dict that can be read safely"),
        ("cut.safetensors", b"\x10", "is not a state dict that can be read safely"),
        ("empty.pth", b"", "is not a state dict that can be read safely"),
    ],
)
def test_files_that_are_not_loaded(
    tmp_path: Path, name: str, content: bytes, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=text):
        load_vgg(str(tmp_path / name), 1)
    assert "owned" not in capsys.readouterr().out


def test_a_pth_of_something_else(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(
        WeightsError, match=r"^\S*list\.pth holds a list; expected a state dict: tensors by name"
    ):
        load_vgg(str(tmp_path / "list.pth"), 1)


def test_absent_weights_say_what_is_known() -> None:
    with pytest.raises(WeightsError, match=r"'vgg16-cm' is not a file; give a .* or one of: vgg16-cmb"):
        load_vgg("vgg16-cm", 1)
    with pytest.raises(WeightsError, match="is of a network of family 'pconv'; expected 'vgg16'"):
        load_vgg(str(SHIPPED.parent / "combine128.json"), 1)
