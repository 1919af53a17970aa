"""The card of a trained network: where it comes from, what it reached, what it must answer.

Inputs: a JSON file or plain values. Outputs: a `Card`, checked when made.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._types import BoolArray, Float32Array
from cmbinpaint.errors import WeightsError

FORMAT = 1
MAX_CARD_BYTES = 1_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GOLDEN_VALUES = 8


@dataclass(frozen=True)
class Golden:
    """An input that a seed draws, and a few values of the output it must give.

    Parameters
    ----------
    seed
        Of the input, see `draw`.
    shape
        Of the input field, `(B, C, H, W)`.
    positions
        Flat indices into the output.
    values
        The values there, in the output's unit.
    tolerance
        Largest absolute difference that another machine may show.
    """

    seed: int
    shape: tuple[int, ...]
    positions: tuple[int, ...]
    values: tuple[float, ...]
    tolerance: float

    def __post_init__(self) -> None:
        for name, kind in (("shape", int), ("positions", int), ("values", float)):
            object.__setattr__(self, name, tuple(kind(v) for v in getattr(self, name)))
        if len(self.positions) != len(self.values) or not self.values:
            raise WeightsError(
                f"got a golden output with {len(self.positions)} positions and {len(self.values)} values; "
                "expected as many of both, at least one"
            )
        if not (math.isfinite(self.tolerance) and self.tolerance > 0):
            raise WeightsError(f"got golden tolerance {self.tolerance}; expected a number above 0")

    def draw(self) -> tuple[Float32Array, BoolArray]:
        """Draw the input: a normal field `(B, C, H, W)` and `valid` `(B, 1, H, W)` with one square hole."""
        field_ = np.random.default_rng(self.seed).standard_normal(self.shape).astype(np.float32)
        height, width = self.shape[-2:]
        valid = np.ones((self.shape[0], 1, height, width), bool)
        valid[..., height // 4 : height // 2, width // 4 : width // 2] = False
        return field_, valid

    @classmethod
    def of(cls, output: Any, *, seed: int, shape: tuple[int, ...], tolerance: float) -> "Golden":
        """Remember a few values, evenly spaced, of what a network gave for `draw()`."""
        flat = np.asarray(output, np.float64).ravel()
        positions = np.linspace(0, flat.size - 1, min(_GOLDEN_VALUES, flat.size) + 2).astype(int)[1:-1]
        return cls(seed, shape, tuple(positions.tolist()), tuple(flat[positions].tolist()), tolerance)

    def check(self, output: Any) -> None:
        """Raise `WeightsError` where an output differs from the remembered one, naming the worst place."""
        flat = np.asarray(output, np.float64).ravel()
        if max(self.positions) >= flat.size:
            raise WeightsError(
                f"got an output of {flat.size} values; the golden one has a value at {max(self.positions)}: "
                "the network is not the one of the card"
            )
        gap = np.abs(flat[list(self.positions)] - self.values)
        worst = int(np.argmax(gap))  # a NaN counts as the largest
        if not gap[worst] <= self.tolerance:
            raise WeightsError(
                f"the golden output differs: {flat[self.positions[worst]]:.6g} at {self.positions[worst]}, "
                f"expected {self.values[worst]:.6g} within {self.tolerance:g}; weights or code changed"
            )


@dataclass(frozen=True)
class Card:
    """What is known about a set of weights; stored as JSON beside them.

    Parameters
    ----------
    name
        By which users ask for it: letters, digits, `.`, `_` and `-`.
    family
        Which kind of network, "pconv" or "vgg16".
    architecture
        Arguments of the network's constructor, as JSON can hold them.
    data, recipe, normalization
        What it was trained on, how, and what its input was divided by: a text or a mapping.
    seed, steps
        Of the training.
    commit
        Of the code that trained.
    license
        SPDX name.
    version
        Of the package that trained.
    figures
        What was measured, by name.
    limits
        What it is not for, a sentence each.
    golden
        An input and output to check an installation by.
    file, sha256, n_weights
        The weights' file beside the card, its hash and how many numbers it holds; `save_weights` sets them.

    Raises
    ------
    WeightsError
        A name or file that could leave the folder, a hash that is none, or negative counts.

    Examples
    --------
    >>> Card(name="x", family="pconv", architecture={}, data="sims", recipe="r", normalization="rms",
    ...      seed=1, steps=10, commit="abc", license="BSD-3-Clause", version="0.1.0").steps
    10
    """

    name: str
    family: str
    architecture: Mapping[str, Any]
    data: str | Mapping[str, Any]
    recipe: str | Mapping[str, Any]
    normalization: str | Mapping[str, Any]
    seed: int
    steps: int
    commit: str
    license: str
    version: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    golden: Golden | None = None
    file: str = ""
    sha256: str = ""
    n_weights: int = 0

    def __post_init__(self) -> None:
        _check_types(self)
        object.__setattr__(self, "limits", tuple(self.limits))
        if not _NAME.fullmatch(self.name):
            raise WeightsError(f"got name {self.name!r}; expected letters, digits, '.', '_' or '-'")
        if self.file and not (_NAME.fullmatch(self.file) and self.file.endswith(".safetensors")):
            raise WeightsError(
                f"card {self.name!r} names the file {self.file!r}; expected a plain name beside "
                "the card, ending in .safetensors: a path that leaves the folder is never followed"
            )
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise WeightsError(
                f"card {self.name!r} has sha256 {self.sha256!r}; expected 64 hexadecimal digits"
            )
        for key in ("steps", "n_weights"):
            if getattr(self, key) < 0:
                raise WeightsError(f"card {self.name!r} has {key}={getattr(self, key)}; expected at least 0")

    def to_json(self) -> str:
        """Return the card as JSON text, the same for the same card."""
        try:
            return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, allow_nan=False) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise WeightsError(f"card {self.name!r} cannot be written as JSON: {error}") from None

    @classmethod
    def from_json(cls, text: str, where: str = "the card") -> "Card":
        """Read a card from JSON text; `where` names it in errors."""
        try:
            entries = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{where} is not JSON: {error}") from None
        if not isinstance(entries, dict):
            raise WeightsError(f"{where} holds a {type(entries).__name__}; expected a JSON object")
        if entries.pop("format", None) != FORMAT:
            raise WeightsError(f"{where} is not of format {FORMAT}; update cmbinpaint, or get the card again")
        _check_keys(cls, entries, where)
        try:
            if entries.get("golden") is not None:
                _check_keys(Golden, entries["golden"], f"the golden entry of {where}")
                entries["golden"] = Golden(**entries["golden"])
            return cls(**entries)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise WeightsError(f"{where}: {error}") from None


def read_card(path: Path) -> Card:
    """Read a card from its file.

    Raises
    ------
    WeightsError
        If it is not a card, or over a megabyte.
    """
    with open(path, "rb") as stream:
        content = stream.read(MAX_CARD_BYTES + 1)
    if len(content) > MAX_CARD_BYTES:
        raise WeightsError(f"{path} is over {MAX_CARD_BYTES} bytes; a card is a few kilobytes of JSON")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise WeightsError(f"{path} is not text; expected a card in JSON") from None
    return Card.from_json(text, where=str(path))


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "family", "commit", "license", "version", "file", "sha256"), (str,)),
    **dict.fromkeys(("seed", "steps", "n_weights"), (int,)),
    **dict.fromkeys(("data", "recipe", "normalization"), (str, Mapping)),
    **dict.fromkeys(("architecture", "figures"), (Mapping,)),
    "limits": (list, tuple),
    "golden": (Golden, type(None)),
}


def _check_types(card: Card) -> None:
    for key, kinds in _KINDS.items():
        value = getattr(card, key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise WeightsError(f"card entry {key!r} is a {type(value).__name__}; expected {expected}")


def _check_keys(cls: type, entries: Any, where: str) -> None:
    """Refuse keys that are unknown or missing."""
    if not isinstance(entries, dict):
        raise WeightsError(f"{where} holds a {type(entries).__name__}; expected a JSON object")
    known = [f.name for f in fields(cls)]
    for key in entries:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise WeightsError(f"{where} has an unknown entry {key!r}{hint}")
    missing = [
        f.name
        for f in fields(cls)
        if f.name not in entries and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise WeightsError(f"{where} lacks {', '.join(missing)}")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
