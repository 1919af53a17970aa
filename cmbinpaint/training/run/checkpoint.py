"""The state of a training run on disk: complete or absent, never half.

Inputs: tensors by name and a manifest. Outputs: folders ``step_00001000``, read back after checking.

A checkpoint is a folder of safetensors files and ``manifest.json`` with their sha256. It is written under
another name, synced to disk, and renamed; the last few are kept, and damaged ones are skipped for the
one before. Nothing is pickled.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cmbinpaint._files import read_regular, sync_folder, write_whole
from cmbinpaint.errors import CheckpointError, CmbInpaintWarning

KEEP = 3
_FORMAT = 1
_GROUPS = ("model", "ema", "optimizer", "random")
_NAME = re.compile(r"step_(\d{8})")

TensorDict = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on.

    Attributes
    ----------
    step
        Optimizer steps done.
    recipe
        `Recipe.to_mapping` of the run.
    model, ema
        State dicts of the network and of the running mean of its weights.
    optimizer
        The optimizer's tensors, named ``parameter/what``.
    random
        States of random number generators, uint8.
    position
        Where the run is in its stages (`position.Position`).
    losses
        The last step's loss and the last validation's figures.
    """

    step: int
    recipe: Mapping[str, Any]
    model: TensorDict
    ema: TensorDict
    optimizer: TensorDict
    random: TensorDict
    position: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(
    folder: str | Path, checkpoint: Checkpoint, *, keep: int = KEEP, pinned: Collection[int] = ()
) -> Path:
    """Write a checkpoint, then remove all but the newest `keep` and those that are pinned.

    Parameters
    ----------
    folder
        Holds the run's checkpoints; made if absent.
    checkpoint
        What to write.
    keep
        How many to leave; 0: all.
    pinned
        Steps whose checkpoints stay besides.

    Returns
    -------
    The new checkpoint's path.

    Raises
    ------
    CheckpointError
        If weights are not finite, or the disk refuses.
    """
    root = Path(folder)
    final = root / f"step_{checkpoint.step:08d}"
    for group in ("model", "ema", "optimizer"):
        _check_finite(group, getattr(checkpoint, group))
    beside = root / f".{final.name}.{os.getpid()}.part"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        beside.mkdir()
        _write_files(beside, checkpoint)
        if final.exists():  # damaged, or this very state: the new one is whole
            shutil.rmtree(final)
        beside.rename(final)
        sync_folder(root)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise CheckpointError(
            f"cannot write checkpoint {final} ({error.strerror}); earlier checkpoints are untouched: "
            "make room, then the same command resumes"
        ) from error
    found = list_checkpoints(root)
    newest = found.index(final)
    # What lies beyond this step was damaged, or left by going back: the run now has another future.
    spare = found[: max(newest + 1 - keep, 0)] if keep else []
    for old in [path for path in spare if step_of(path) not in pinned] + found[newest + 1 :]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def step_of(path: Path) -> int:
    """The step in a checkpoint's name."""
    return int(path.name.removeprefix("step_"))


def list_checkpoints(folder: str | Path) -> list[Path]:
    """The folder's checkpoints, oldest first, unread."""
    root = Path(folder)
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read one checkpoint.

    Raises
    ------
    CheckpointError
        If anything is absent, truncated, altered, not finite, or points outside the folder.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    groups: dict[str, TensorDict] = {}
    for group in _GROUPS:
        name = f"{group}.safetensors"
        try:
            content = read_regular(folder / name)
        except OSError as error:
            raise CheckpointError(f"{folder / name}: cannot be read ({error.strerror})") from error
        found, expected = hashlib.sha256(content).hexdigest(), manifest["files"][name]
        if found != expected:
            raise CheckpointError(
                f"{folder / name}: sha256 is {found[:12]}, the manifest says {expected[:12]}"
            )
        try:
            groups[group] = load(content)
        except SafetensorError as error:
            raise CheckpointError(f"{folder / name}: not a safetensors file ({error})") from error
        _check_finite(f"{folder / name}", groups[group])
    extra = {key: manifest.get(key, {}) for key in ("position", "losses")}
    return Checkpoint(step=manifest["step"], recipe=manifest["recipe"], **groups, **extra)


def read_position(path: str | Path) -> Mapping[str, Any]:
    """Where a checkpoint's run is in its stages, its tensors unread; empty of a run in one stage.

    Raises
    ------
    CheckpointError
        If the manifest is absent or no checkpoint's.
    """
    return _read_manifest(Path(path)).get("position", {})


def load_latest(folder: str | Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if there is no checkpoint at all.

    Damaged ones are skipped with a `CmbInpaintWarning`.

    Parameters
    ----------
    folder
        The run's folder ``checkpoints``.

    Returns
    -------
    Checkpoint or None
        Weights, optimizer, random state and the place in the stages.

    Raises
    ------
    CheckpointError
        If there are checkpoints and none is whole.
    """
    found = list_checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except CheckpointError as error:
            last = error
            warnings.warn(f"damaged checkpoint skipped: {error}", CmbInpaintWarning, stacklevel=2)
    if not found:
        return None
    raise CheckpointError(
        f"none of the {len(found)} checkpoints in {folder} is whole (last: {last}); start in another folder"
    )


def check_fits(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Compare a state dict with the network's own.

    Raises
    ------
    CheckpointError
        Naming the first tensor that is absent, of another shape or type, or not known to the network.
    """
    for name, tensor in expected.items():
        if name not in state:
            raise CheckpointError(
                f"the checkpoint has no tensor {name!r}, which this network needs; {_OTHER}"
            )
        found = state[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise CheckpointError(
                f"tensor {name!r} is {describe(found)} in the checkpoint and {describe(tensor)} in this "
                f"network; {_OTHER}"
            )
    for name in state:
        if name not in expected:
            raise CheckpointError(f"the checkpoint's tensor {name!r} is unknown to this network; {_OTHER}")


_OTHER = "the recipe's [model] changed: use the one that the run began with, or another output folder"


def describe(tensor: Tensor) -> str:
    """Type and shape, for errors."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _write_files(folder: Path, checkpoint: Checkpoint) -> None:
    hashes = {}
    for group in _GROUPS:
        tensors = {name: t.detach().cpu().contiguous() for name, t in getattr(checkpoint, group).items()}
        content = save(tensors)
        hashes[f"{group}.safetensors"] = hashlib.sha256(content).hexdigest()
        write_whole(folder / f"{group}.safetensors", content)
    manifest = {
        "format": _FORMAT,
        "step": checkpoint.step,
        "recipe": dict(checkpoint.recipe),
        "position": dict(checkpoint.position),
        "losses": dict(checkpoint.losses),
        "torch": torch.__version__,
        "files": hashes,
    }
    write_whole(folder / "manifest.json", json.dumps(manifest, indent=1))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(read_regular(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint manifest of format {_FORMAT}")
    files, step, recipe = (manifest.get(key) for key in ("files", "step", "recipe"))
    if not isinstance(step, int) or not isinstance(recipe, dict) or not isinstance(files, dict):
        raise CheckpointError(f"{path}: step, recipe or files is absent or of the wrong type")
    for key in ("position", "losses"):
        if not isinstance(manifest.get(key, {}), dict):
            raise CheckpointError(f"{path}: {key} is {manifest[key]!r}; a table is needed")
    wanted = {f"{group}.safetensors" for group in _GROUPS}
    for name in files:
        if name not in wanted:
            raise CheckpointError(
                f"{path}: names the file {name!r}; a checkpoint holds only {sorted(wanted)}"
            )
    if missing := sorted(wanted - files.keys()):
        raise CheckpointError(f"{path}: does not name {missing[0]!r}")
    for name, digest in files.items():
        if not isinstance(digest, str):
            raise CheckpointError(f"{path}: the sha256 of {name!r} is {digest!r}; text is needed")
    if _NAME.fullmatch(folder.name) and step_of(folder) != step:
        raise CheckpointError(f"{path}: is of step {step}, the folder's name says {step_of(folder)}")
    return manifest


def _check_finite(where: str, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{where}: tensor {name!r} holds NaN or infinity")


def _remove_leftovers(root: Path) -> None:
    for path in root.glob(".step_*.part"):
        shutil.rmtree(path, ignore_errors=True)
