"""Weights on disk: safetensors in bfloat16 beside a card, nothing ever unpickled.

Inputs: a name or a path. Outputs: a `Card` and tensors.

A set of weights is two files, `NAME.json` and `NAME-HASH.safetensors`. The card counts: it says which
hash is meant, and is replaced last and at once. So a reader finds the old pair or the new one, never a
mixture, even if the writer is killed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint._files import write_whole
from cmbinpaint.errors import WeightsError, requires
from cmbinpaint.networks.card import Card, read_card

if TYPE_CHECKING:  # torch takes a second to import, and listing models needs none of it
    from torch import Tensor, nn

HOME = Path(__file__).parent / "weights"
MAX_BYTES = 16_000_000  # of a file that ships with the package
MAX_HEADER_BYTES = 4_000_000  # names and shapes of some ten thousand tensors
_PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib"}
_SAFE = "weights come as .safetensors with a .json card beside"


def list_models(folder: str | os.PathLike[str] | None = None) -> list[Card]:
    """List the networks that ship with the package, or those in a folder, by name.

    Parameters
    ----------
    folder
        With cards (.json) and weights; None: the package's own.

    Returns
    -------
    list of Card
        What is known of each: data, recipe, measured figures, hash.

    Raises
    ------
    WeightsError
        If one of the cards is damaged, or the folder is none.
    """
    home = HOME if folder is None else Path(folder)
    if not home.is_dir():
        raise WeightsError(f"{home} is not a folder; expected one with cards (.json)")
    return sorted((read_card(path) for path in home.glob("*.json")), key=lambda card: card.name)


def load_weights(name_or_path: str | os.PathLike[str]) -> "tuple[Card, dict[str, Tensor]]":
    """Load a network's card and weights.

    Parameters
    ----------
    name_or_path
        A name from `list_models`, or the path of a card or of the `.safetensors` file beside it.

    Returns
    -------
    card
        What is known about the weights.
    tensors
        By name, floating ones in float32, on the CPU.

    Raises
    ------
    WeightsError
        An unknown name, or a file that is missing, damaged, of another hash, holds NaN, or could hold code.
    MissingExtraError
        If torch or safetensors is not installed.
    """
    card, folder = find_card(name_or_path)
    path = folder / card.file
    if not card.file or not path.is_file():
        raise WeightsError(
            f"card {card.name!r} names {card.file!r}, which is not in {folder}; download it again"
        )
    content = path.read_bytes()
    tensors = _parse(content, path)
    if not card.sha256 or hashlib.sha256(content).hexdigest() != card.sha256:
        raise WeightsError(
            f"{path} has sha256 {hashlib.sha256(content).hexdigest()}; its card says "
            f"{card.sha256 or 'nothing'}: the file is not the one the card describes, get both again"
        )
    return card, tensors


def save_weights(
    folder: str | os.PathLike[str],
    card: Card,
    state_dict: "Mapping[str, Tensor]",
    *,
    max_bytes: int | None = MAX_BYTES,
) -> Card:
    """Save weights and their card; matrices in bfloat16, vectors (biases, norms) in float32.

    Parameters
    ----------
    folder
        Made if it does not exist.
    card
        Its `file`, `sha256` and `n_weights` are set here.
    state_dict
        What `network.state_dict()` gives. To measure figures or a golden output on what will be loaded, use
        `as_stored` first.
    max_bytes
        Largest file; None for no limit.

    Returns
    -------
    The card as written.

    Raises
    ------
    WeightsError
        Values that are not finite, or a file too large.
    """
    requires("network")
    from safetensors.torch import save

    stored = _to_storage(state_dict)
    _check_finite(stored, f"the weights of {card.name!r}", "train again from an earlier checkpoint")
    content = save(stored, metadata={"name": card.name})  # one entry: more come out in random order
    if max_bytes is not None and len(content) > max_bytes:
        raise WeightsError(
            f"the weights of {card.name!r} take {len(content)} bytes; expected at most {max_bytes}: "
            "make the network smaller, or give max_bytes=None if it will not ship with the package"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    n_weights = sum(tensor.numel() for tensor in stored.values() if tensor.is_floating_point())
    card = replace(card, file=f"{card.name}-{sha256[:8]}.safetensors", sha256=sha256, n_weights=n_weights)
    text = card.to_json()  # before anything is written: it may refuse
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    card_path = home / f"{card.name}.json"
    write_whole(home / card.file, content)
    write_whole(card_path, text)
    _remove_orphans(home, card.name)
    return Card.from_json(text)


def as_stored(state_dict: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return the weights as they come back from a file: rounded to bfloat16, in float32."""
    return {name: _to_float32(tensor) for name, tensor in _to_storage(state_dict).items()}


def load_into(network: "nn.Module", tensors: "Mapping[str, Tensor]", name: str = "these weights") -> None:
    """Put weights into a network.

    Raises
    ------
    WeightsError
        At the first tensor, in the network's order, that is missing or has another shape; then at the first
        that the network does not have.
    """
    expected = network.state_dict()
    for key, tensor in expected.items():
        if key not in tensors:
            raise WeightsError(f"{name} lack the tensor {key!r} {tuple(tensor.shape)} of the architecture")
        if tensors[key].shape != tensor.shape:
            raise WeightsError(
                f"{name}: tensor {key!r} has shape {tuple(tensors[key].shape)}; the architecture has "
                f"{tuple(tensor.shape)}: the card's architecture and the file do not belong together"
            )
    for key in tensors:
        if key not in expected:
            raise WeightsError(f"{name} have a tensor {key!r} that the architecture does not have")
    network.load_state_dict(dict(tensors))


def find_card(name_or_path: str | os.PathLike[str], other_models: Iterable[str] = ()) -> tuple[Card, Path]:
    """Return a card and the folder of its weights; `other_models` are named where it is unknown."""
    path = Path(name_or_path)
    if path.suffix.lower() in _PICKLED:
        raise WeightsError(f"{path} may hold pickled code and is never loaded; {_SAFE}")
    if path.suffix.lower() == ".safetensors":
        return _card_beside(path), path.parent
    if path.suffix.lower() == ".json":
        if not path.is_file():
            raise WeightsError(f"{path} does not exist; expected a card (.json)")
        return read_card(path), path.parent
    name = os.fspath(name_or_path)
    cards = {card.name: card for card in list_models()}
    if name in cards:
        return cards[name], HOME
    if path.is_dir() and (inside := sorted(path.glob("*.json"))):
        raise WeightsError(f"{path} is a folder; give a card in it, for example {str(inside[0])!r}")
    if path.exists() or len(path.parts) > 1:
        raise WeightsError(f"{path} is not a set of weights; {_SAFE}")
    names = [*other_models, *cards]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(names) or "none ship with this installation"
    raise WeightsError(f"unknown model {name!r}; {hint}known: {known}; or give the path of a card (.json)")


def _card_beside(path: Path) -> Card:
    if not path.is_file():
        raise WeightsError(
            f"{path} does not exist; expected a .safetensors file with its card (.json) beside"
        )
    likely = path.with_name(f"{path.stem.rpartition('-')[0]}.json")
    if likely.is_file() and read_card(likely).file == path.name:
        return read_card(likely)
    for other in path.parent.glob("*.json"):  # not all of them need be cards
        if _file_of(other) == path.name:
            return read_card(other)
    raise WeightsError(
        f"no card (.json) in {path.parent} names {path.name}; weights are not used without one"
    )


def _parse(content: bytes, path: Path) -> "dict[str, Tensor]":
    """Read safetensors from bytes, with errors that say what is wrong."""
    requires("network")
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check_frame(content, path)
    try:
        stored = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{path} is not a sound .safetensors file ({error}); download it again") from None
    _check_finite(stored, str(path), "download it again")
    return {name: _to_float32(tensor) for name, tensor in stored.items()}


def _check_frame(content: bytes, path: Path) -> None:
    """Check the lengths that a safetensors file declares: 8 bytes of header length, the header, the data."""
    size = len(content)
    if size == 0:
        raise WeightsError(f"{path} is empty; download it again")
    if content.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        raise WeightsError(f"{path} holds pickled code under another name and is never loaded; {_SAFE}")
    if size < 8:
        raise WeightsError(f"{path} is truncated: {size} bytes, expected at least 8; download it again")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{path} declares a header of {length} bytes; expected at most {MAX_HEADER_BYTES}: "
            "it is damaged or no .safetensors file"
        )
    if 8 + length > size:
        raise WeightsError(
            f"{path} is truncated: {size} bytes, expected at least {8 + length}; download it again"
        )
    try:
        header = json.loads(content[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise WeightsError(
            f"{path} has a header that cannot be read; it is not a .safetensors file"
        ) from None
    if size < expected:
        raise WeightsError(f"{path} is truncated: {size} bytes, expected {expected}; download it again")


def _check_finite(tensors: "Mapping[str, Tensor]", where: str, advice: str) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            bad = int(tensor.numel() - tensor.isfinite().sum())
            if bad:
                raise WeightsError(
                    f"{where}: tensor {name!r} has {bad} values that are NaN or infinite; {advice}"
                )


def _to_storage(state_dict: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    import torch

    stored = {}
    for name, tensor in state_dict.items():
        kept = tensor.detach().cpu().contiguous()
        if kept.is_floating_point():
            kept = kept.to(torch.bfloat16 if kept.ndim > 1 else torch.float32)
        stored[name] = kept.clone()  # tied weights would share memory, which the format refuses
    return stored


def _to_float32(tensor: "Tensor") -> "Tensor":
    return tensor.float() if tensor.is_floating_point() else tensor


def _file_of(card_path: Path) -> str:
    """Return which weights a card names, or nothing if it is not a readable card."""
    try:
        return read_card(card_path).file
    except (OSError, WeightsError):
        return ""


def _remove_orphans(folder: Path, name: str) -> None:
    """Remove earlier weights of this name that no card names: replaced ones, and those of a killed writer."""
    used = {_file_of(path) for path in folder.glob("*.json")}
    for path in folder.glob(f"{name}-{'[0-9a-f]' * 8}.safetensors"):
        if path.name not in used:
            path.unlink(missing_ok=True)
