"""Weights on disk: what goes in comes out, what is damaged is refused, a broken write harms nothing."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from cmbinpaint.errors import WeightsError
from cmbinpaint.networks import store
from cmbinpaint.networks.card import Card
from cmbinpaint.networks.store import as_stored, list_models, load_into, load_weights, save_weights
from cmbinpaint.nn import PConvUNet
from cmbinpaint.nn.models import build_model

BFLOAT16_ROUNDING = 2.0**-8  # 8 bits of mantissa, rounded to nearest

CARD = Card(
    name="tiny",
    family="pconv",
    architecture={},
    data="none",
    recipe="none",
    normalization="none",
    seed=0,
    steps=0,
    commit="0",
    license="BSD-3-Clause",
    version="0.1.0",
)


def state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(4, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator),
        "b.num_batches_tracked": torch.tensor(5),
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the path of the tensors; the card lies beside."""
    return tmp_path / save_weights(tmp_path, CARD, state()).file


def rewrite(path: Path, content: bytes) -> None:
    """Replace the tensors, and make the card agree with their hash."""
    path.write_bytes(content)
    card_path = path.parent / "tiny.json"
    entries = json.loads(card_path.read_text())
    card_path.write_text(json.dumps(entries | {"sha256": hashlib.sha256(content).hexdigest()}))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    made = save_weights(tmp_path, CARD, state())
    for path in (tmp_path / "tiny.json", tmp_path / made.file, str(tmp_path / made.file)):
        card, tensors = load_weights(path)
        assert card == made
        assert set(tensors) == set(state())
        for name, tensor in state().items():
            assert tensors[name].dtype == tensor.dtype
            assert tensors[name].shape == tensor.shape
            assert torch.allclose(tensors[name].float(), tensor.float(), rtol=BFLOAT16_ROUNDING, atol=0)
            assert torch.equal(tensors[name], as_stored(state())[name])
        assert torch.equal(tensors["a.bias"], state()["a.bias"])  # vectors stay in float32
        assert not torch.equal(tensors["a.weight"], state()["a.weight"])  # matrices do not
    assert made.n_weights == 16
    assert made.file == f"tiny-{made.sha256[:8]}.safetensors"
    assert sorted(os.listdir(tmp_path)) == sorted(["tiny.json", made.file])


def test_the_same_weights_make_the_same_bytes(tmp_path: Path) -> None:
    first = save_weights(tmp_path / "a", CARD, state())
    assert save_weights(tmp_path / "b", CARD, state()) == first


def test_tied_and_non_contiguous_weights_are_saved(tmp_path: Path) -> None:
    shared = torch.randn(4, 3).T
    vector = torch.randn(6)
    card = save_weights(tmp_path, CARD, {"a": shared, "b": shared, "c": vector[:3], "d": vector})
    _, tensors = load_weights(tmp_path / card.file)
    assert torch.equal(tensors["c"], tensors["d"][:3])
    assert torch.equal(tensors["a"], tensors["b"])
    assert tensors["a"].shape == (3, 4)


def test_a_network_comes_back_and_fits(tmp_path: Path) -> None:
    net = PConvUNet(1, ((4, 3), (4, 3)), (4,))
    card = save_weights(tmp_path, CARD, net.state_dict())
    _, tensors = load_weights(tmp_path / "tiny.json")
    twin = PConvUNet(1, ((4, 3), (4, 3)), (4,))
    load_into(twin, tensors)
    image, mask = torch.randn(2, 1, 8, 8), torch.ones(2, 1, 8, 8)
    load_into(net, as_stored(net.state_dict()))
    assert torch.equal(net.eval()(image, mask), twin.eval()(image, mask))
    assert card.n_weights == sum(p.numel() for p in net.parameters()) + 2 * (4 + 4)  # and running statistics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("weight"), "tiny lack the tensor 'weight' (3, 2) of the architecture"),
        (
            lambda t: t.update(weight=torch.zeros(2, 2)),
            "tiny: tensor 'weight' has shape (2, 2); the architecture has (3, 2)",
        ),
        (
            lambda t: t.update(extra=torch.zeros(1)),
            "tiny have a tensor 'extra' that the architecture does not have",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message: str) -> None:
    network = nn.Linear(2, 3)
    before = network.weight.detach().clone()
    tensors = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    change(tensors)
    with pytest.raises(WeightsError) as caught:
        load_into(network, tensors, "tiny")
    assert message in str(caught.value)
    assert torch.equal(network.weight, before)


def test_the_first_tensor_that_differs_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    with pytest.raises(WeightsError, match=r"tensor '0\.bias' has shape \(9,\); the architecture has \(3,\)"):
        load_into(network, {k: torch.zeros(9) if "bias" in k else v for k, v in network.state_dict().items()})


def damage(content: bytes) -> Iterator[tuple[str, bytes, str]]:
    header = int.from_bytes(content[:8], "little")
    yield "empty", b"", "is empty; download it again"
    yield "short", content[:5], "is truncated: 5 bytes, expected at least 8; download it again"
    yield (
        "cut header",
        content[:20],
        f"is truncated: 20 bytes, expected at least {8 + header}; download it again",
    )
    yield (
        "cut data",
        content[:-7],
        f"is truncated: {len(content) - 7} bytes, expected {len(content)}; download it again",
    )
    giant = (2**40).to_bytes(8, "little") + content[8:]
    yield "giant header", giant, "declares a header of 1099511627776 bytes; expected at most 4000000"
    garbage = content[:8] + b"?" * header + content[8 + header :]
    yield "garbage header", garbage, "has a header that cannot be read; it is not a .safetensors file"
    yield "pickle", pickle.dumps({"a": 1}), "holds pickled code under another name and is never loaded"
    yield "zip", b"PK\x03\x04" + content, "holds pickled code under another name and is never loaded"
    yield "trailing", content + b"x", "is not a sound .safetensors file"
    nan = save({"a": torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]])})
    yield "NaN", nan, "tensor 'a' has 2 values that are NaN or infinite; download it again"


KINDS = [kind for kind, _, _ in damage(save(state()))]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused(saved: Path, kind: str) -> None:
    content, message = {k: (c, m) for k, c, m in damage(saved.read_bytes())}[kind]
    rewrite(saved, content)
    with pytest.raises(WeightsError) as caught:
        load_weights(saved)
    assert message in str(caught.value)
    assert str(saved) in str(caught.value)


def test_another_hash_is_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(WeightsError) as caught:
        load_weights(saved)
    actual = hashlib.sha256(bytes(content)).hexdigest()
    assert f"has sha256 {actual}; its card says " in str(caught.value)
    assert "the file is not the one the card describes, get both again" in str(caught.value)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_gets_through(saved: Path, data: st.DataObject) -> None:
    sound = saved.read_bytes()
    content = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        saved.write_bytes(bytes(content))
        if bytes(content) == sound:
            load_weights(saved)
        else:
            with pytest.raises(WeightsError):
                load_weights(saved)
    finally:
        saved.write_bytes(sound)


@pytest.mark.parametrize("name", ["net.pt", "net.PTH", "net.pkl", "net.ckpt", "net.bin"])
def test_pickled_files_are_never_opened(tmp_path: Path, name: str) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError) as caught:
        load_weights(tmp_path / name)
    assert "may hold pickled code and is never loaded; weights come as .safetensors" in str(caught.value)
    (tmp_path / "tiny.json").write_text(
        json.dumps(json.loads(CARD.to_json()) | {"file": "net.safetensors", "sha256": "0" * 64})
    )
    (tmp_path / name).rename(tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match=r"holds pickled code under another name"):
        load_weights(tmp_path / "tiny.json")
    assert not (tmp_path / "sprung").exists()


def test_an_unknown_name_suggests_the_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_weights(tmp_path, CARD, state())
    monkeypatch.setattr(store, "HOME", tmp_path)
    assert load_weights("tiny")[0].name == "tiny"
    with pytest.raises(WeightsError) as caught:
        load_weights("tinny")
    assert str(caught.value) == (
        "unknown model 'tinny'; did you mean 'tiny'? known: tiny; or give the path of a card (.json)"
    )
    monkeypatch.setattr(store, "HOME", tmp_path / "nothing")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(WeightsError, match=r"unknown model 'tiny'; known: none ship with this installation"):
        load_weights("tiny")


def test_paths_that_are_no_weights_are_refused(saved: Path) -> None:
    folder = saved.parent
    with pytest.raises(WeightsError, match=r"does not exist; expected a card"):
        load_weights(folder / "nothing.json")
    with pytest.raises(WeightsError, match=r"does not exist; expected a .safetensors file with its card"):
        load_weights(folder / "nothing.safetensors")
    with pytest.raises(WeightsError, match=r"is a folder; give a card in it, for example '.*tiny\.json'"):
        load_weights(folder)
    (folder / "empty").mkdir()
    with pytest.raises(
        WeightsError, match=r"is not a set of weights; weights come as .safetensors with a .json card"
    ):
        load_weights(folder / "empty")
    (folder / "tiny.json").rename(folder / "other.json")
    assert load_weights(saved)[0].name == "tiny"  # a card by another name still counts
    (folder / "unrelated.json").write_text("[1, 2]")
    (folder / "other.json").unlink()
    with pytest.raises(
        WeightsError, match=r"no card \(\.json\) in .* names tiny-.*weights are not used without one"
    ):
        load_weights(saved)


def test_a_card_without_its_tensors_is_refused(saved: Path) -> None:
    saved.unlink()
    with pytest.raises(
        WeightsError, match=r"card 'tiny' names 'tiny-.*', which is not in .*; download it again"
    ):
        load_weights(saved.parent / "tiny.json")


def test_a_card_cannot_point_out_of_its_folder(saved: Path) -> None:
    inner = saved.parent / "inner"
    inner.mkdir()
    entries = json.loads((saved.parent / "tiny.json").read_text())
    (inner / "tiny.json").write_text(json.dumps(entries | {"file": f"../{saved.name}"}))
    with pytest.raises(WeightsError, match=r"a path that leaves the folder is never followed"):
        load_weights(inner / "tiny.json")


def test_values_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"the weights of 'tiny': tensor 'a' has 1 values that are NaN or inf"
    ):
        save_weights(tmp_path, CARD, {"a": torch.tensor([[1.0, float("nan")]])})
    with pytest.raises(WeightsError, match=r"tensor 'a' has 1 values"):  # overflows in bfloat16
        save_weights(tmp_path, CARD, {"a": torch.tensor([[3.4028e38]], dtype=torch.float32)})
    assert os.listdir(tmp_path) == []


def test_a_file_too_large_to_ship_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"take 20.* bytes; expected at most 1000: make the network smaller"
    ):
        save_weights(tmp_path, CARD, {"a": torch.zeros(100, 100)}, max_bytes=1000)
    save_weights(tmp_path, CARD, {"a": torch.zeros(100, 100)}, max_bytes=None)


def test_new_weights_replace_the_old_ones(saved: Path) -> None:
    made = save_weights(saved.parent, CARD, state(1))
    assert not saved.exists()
    assert sorted(os.listdir(saved.parent)) == sorted(["tiny.json", made.file])
    assert torch.equal(load_weights(saved.parent / "tiny.json")[1]["a.bias"], state(1)["a.bias"])


def test_saving_the_same_weights_again_keeps_them(saved: Path) -> None:
    save_weights(saved.parent, CARD, state())
    assert load_weights(saved)[0].name == "tiny"


def test_weights_that_another_card_names_are_kept(saved: Path) -> None:
    (saved.parent / "copy.json").write_text((saved.parent / "tiny.json").read_text())
    neighbor = saved.parent / "tiny-b-00000000.safetensors"
    neighbor.touch()
    save_weights(saved.parent, CARD, state(1))
    assert neighbor.exists()
    assert load_weights(saved.parent / "copy.json")[0].file == saved.name


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("survived", [0, 1, 2, 3])
def test_a_write_that_breaks_leaves_the_old_weights_or_the_new(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: str, survived: int
) -> None:
    real, calls = getattr(os, call), []

    def fails(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > survived:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(os, call, fails)
    try:
        save_weights(saved.parent, CARD, state(1))
        broke = False
    except OSError:
        broke = True
    monkeypatch.undo()
    assert broke == (survived < {"fsync": 4, "replace": 2}[call])
    _, tensors = load_weights(saved.parent / "tiny.json")
    assert any(torch.equal(tensors["a.bias"], state(seed)["a.bias"]) for seed in (0, 1))
    assert not list(saved.parent.glob(".*.part"))
    made = save_weights(saved.parent, CARD, state(1))  # done again, it is as if nothing had happened
    assert sorted(os.listdir(saved.parent)) == sorted(["tiny.json", made.file])


def test_models_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        save_weights(tmp_path, replace(CARD, name=name), state())
    assert [card.name for card in list_models(tmp_path)] == ["a", "b"]
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"a\.json is not of format 1"):
        list_models(tmp_path)
    with pytest.raises(WeightsError, match=r"is not a folder; expected one with cards"):
        list_models(tmp_path / "nothing")


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_shipped_weights_are_sound_and_small(card: Card) -> None:
    loaded, tensors = load_weights(card.name)
    assert loaded == card
    assert (store.HOME / card.file).stat().st_size <= store.MAX_BYTES
    assert sum(t.numel() for t in tensors.values() if t.is_floating_point()) == card.n_weights
    assert card.golden is not None
    assert card.limits
    assert card.figures


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_shipped_networks_give_their_golden_output(card: Card) -> None:
    _, tensors = load_weights(card.name)
    network = build_model({"family": card.family, **card.architecture}).eval()
    network.load_state_dict(tensors)
    assert card.golden is not None
    x, valid = (torch.from_numpy(np.asarray(array, np.float32)) for array in card.golden.draw())
    with torch.inference_mode():
        card.golden.check(network(x, valid))


def test_listing_models_does_not_import_torch() -> None:
    code = (
        "import sys, cmbinpaint.networks.store as w; w.list_models(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'safetensors')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
