"""Cards: the same after JSON, and refused when they contradict themselves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import WeightsError
from cmbinpaint.networks.card import MAX_CARD_BYTES, Card, Golden, read_card


def card(**changes: object) -> Card:
    entries = {
        "name": "net-a",
        "family": "pconv",
        "architecture": {"widths": [4, 8], "final": "linear"},
        "data": {"skies": 12, "nside": 128},
        "recipe": "seed.toml",
        "normalization": "the sky model's rms",
        "seed": 7,
        "steps": 1000,
        "commit": "0123abc",
        "license": "BSD-3-Clause",
        "version": "0.1.0",
        "figures": {"excess": [1.2, 1.1], "minutes": 61.5},
        "limits": ("temperature only",),
        "golden": Golden(3, (1, 1, 8, 8), (5, 9), (0.25, -1.5), 1e-3),
    }
    return Card(**entries | changes)  # type: ignore[arg-type]


texts = st.text(max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(
    architecture=st.dictionaries(texts, json_values, max_size=3),
    figures=st.dictionaries(texts, json_values, max_size=3),
    limits=st.lists(texts, max_size=3),
    data=texts | st.dictionaries(texts, json_values, max_size=3),
)
def test_a_card_survives_json(**entries: object) -> None:
    made = card(**entries)
    assert Card.from_json(made.to_json()) == made


def test_optional_entries_may_be_absent() -> None:
    entries = json.loads(card().to_json())
    for key in ("figures", "limits", "golden", "file", "sha256", "n_weights"):
        del entries[key]
    made = Card.from_json(json.dumps(entries))
    assert made.golden is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../net"}, "name '../net'; expected letters, digits, '.', '_' or '-'"),
        ({"name": ""}, "name ''; expected letters"),
        (
            {"file": "../net.safetensors"},
            "names the file '../net.safetensors'; expected a plain name beside the card",
        ),
        ({"file": "/tmp/net.safetensors"}, "a path that leaves the folder is never followed"),
        ({"file": "a/net.safetensors"}, "a path that leaves the folder is never followed"),
        ({"file": "a\\net.safetensors"}, "a path that leaves the folder is never followed"),
        ({"file": "..safetensors"}, "a path that leaves the folder is never followed"),
        (
            {"file": "net.pt"},
            "names the file 'net.pt'; expected a plain name beside the card, ending in .safetensors",
        ),
        ({"sha256": "abc"}, "has sha256 'abc'; expected 64 hexadecimal digits"),
        ({"steps": -1}, "has steps=-1; expected at least 0"),
        ({"seed": "7"}, "card entry 'seed' is a str; expected int"),
        ({"seed": True}, "card entry 'seed' is a bool; expected int"),
        ({"architecture": [1]}, "card entry 'architecture' is a list; expected Mapping"),
        ({"data": 3}, "card entry 'data' is a int; expected str or Mapping"),
    ],
)
def test_contradictions_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        card(**changes)
    assert message in str(caught.value)


def altered(**changes: object) -> str:
    return json.dumps(json.loads(card().to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "net.json is not JSON"),
        ("[" * 100_000, "net.json is not JSON"),
        ("[1]", "net.json holds a list; expected a JSON object"),
        ("{}", "net.json is not of format 1; update cmbinpaint, or get the card again"),
        (altered(format=2), "net.json is not of format 1"),
        (altered(nam="x"), "net.json has an unknown entry 'nam'; did you mean 'name'?"),
        (altered(seed=None), "net.json: card entry 'seed' is a NoneType; expected int"),
        (
            altered(file="../../x.safetensors"),
            "net.json: card 'net-a' names the file '../../x.safetensors'",
        ),
        (altered(golden=[1]), "the golden entry of net.json holds a list; expected a JSON object"),
        (
            altered(golden={"seed": 1}),
            "the golden entry of net.json lacks shape, positions, values, tolerance",
        ),
        (card().to_json().replace("61.5", "NaN"), "net.json is not JSON: NaN is not a JSON number"),
        (card().to_json().replace('"commit": "0123abc",', ""), "net.json lacks commit"),
    ],
)
def test_damaged_cards_are_refused(text: str, message: str) -> None:
    with pytest.raises(WeightsError) as caught:
        Card.from_json(text, where="net.json")
    assert message in str(caught.value)


def test_a_card_file_must_be_small_text(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(b" " * (MAX_CARD_BYTES + 1))
    with pytest.raises(WeightsError, match="over 1000000 bytes; a card is a few kilobytes of JSON"):
        read_card(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="is not text; expected a card in JSON"):
        read_card(path)


def test_figures_that_are_no_json_are_refused() -> None:
    deep: list = []
    for _ in range(2000):
        deep = [deep]
    for wrong in (float("nan"), deep):
        with pytest.raises(WeightsError, match="'net-a' cannot be written as JSON"):
            card(figures={"excess": wrong}).to_json()
    with pytest.raises(WeightsError, match="'net-a' cannot be written as JSON"):
        card(figures={"excess": np.float32(1)}).to_json()


def test_a_golden_input_is_drawn_by_its_seed() -> None:
    golden = card().golden
    assert golden is not None
    field, valid = golden.draw()
    again, _ = golden.draw()
    assert np.array_equal(field, again)
    assert field.dtype == np.float32
    assert field.shape == (1, 1, 8, 8)
    assert valid.shape == (1, 1, 8, 8)
    assert (~valid).sum() == 4
    assert not np.array_equal(field, replace(golden, seed=4).draw()[0])


def test_a_golden_output_is_checked_on_both_sides() -> None:
    output = np.random.default_rng(1).standard_normal((2, 1, 8, 8))
    golden = Golden.of(output, seed=1, shape=(2, 1, 8, 8), tolerance=1e-3)
    golden.check(output)
    golden.check(output + 0.9e-3)
    for shift in (1.1e-3, -1.1e-3, np.nan):
        with pytest.raises(
            WeightsError, match=r"golden output differs.*within 0.001; weights or code changed"
        ):
            golden.check(output + shift)
    with pytest.raises(WeightsError, match="an output of 64 values; the golden one has a value at"):
        golden.check(output[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": (1,)}, "with 1 positions and 2 values; expected as many of both"),
        ({"positions": (), "values": ()}, "with 0 positions and 0 values"),
        ({"tolerance": 0.0}, "golden tolerance 0.0; expected a number above 0"),
        ({"tolerance": float("nan")}, "golden tolerance nan; expected a number above 0"),
    ],
)
def test_impossible_goldens_are_refused(changes: dict, message: str) -> None:
    entries = {
        "seed": 3,
        "shape": (1, 1, 8, 8),
        "positions": (5, 9),
        "values": (0.25, -1.5),
        "tolerance": 1e-3,
    }
    with pytest.raises(WeightsError, match=message):
        Golden(**entries | changes)
