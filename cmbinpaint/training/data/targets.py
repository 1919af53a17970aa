"""Patches whose truth is known, for analyses of what networks make of them.

Inputs: a recipe's ``[data]`` table or the folder of a data set. Outputs: `Targets`, in µK, with their classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray, IntArray
from cmbinpaint.errors import DataSetError
from cmbinpaint.plane.tangent import PatchGrid
from cmbinpaint.training.data.build import build_stream
from cmbinpaint.training.data.flat import FlatStream
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.sky import SkyStream

_FIDUCIAL_NS = 0.9649
_KEY = 7  # of the generator that chooses patches and draws noise


@dataclass(frozen=True, eq=False)
class Targets:
    """Patches of known truth.

    Attributes
    ----------
    truth
        (n, side, side) float32, µK: the signal.
    data
        (n, side, side) float32, µK: the same with the noise that the data set's readers add.
    labels
        (n,) the class of each.
    ns
        The classes' spectral indices.
    spectra
        (classes, lmax+1) C_ell of the field, µK².
    rms_uK
        rms of the field over all classes: what networks of CoMBInE's family take temperatures over.
    step_arcmin
        The pixel's side.
    noise_uK
        White noise a pixel.
    """

    truth: Float32Array
    data: Float32Array
    labels: IntArray
    ns: tuple[float, ...]
    spectra: FloatArray
    rms_uK: float
    step_arcmin: float
    noise_uK: float = 0.0

    @property
    def side(self) -> int:
        """Pixels along an edge."""
        return int(self.truth.shape[-1])

    @property
    def step_rad(self) -> float:
        """The pixel's side."""
        return PatchGrid(self.side, self.step_arcmin / 60).step_rad

    @property
    def fiducial(self) -> int:
        """The class nearest to Planck 2018's n_s."""
        return int(np.argmin(np.abs(np.asarray(self.ns) - _FIDUCIAL_NS)))

    @property
    def fiducial_cl(self) -> FloatArray:
        """(lmax+1,) the spectrum of that class."""
        return np.asarray(self.spectra[self.fiducial], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, chosen: Any) -> "Targets":
        """Those that a slice or an index array chooses."""
        return replace(
            self, truth=self.truth[chosen], data=self.data[chosen], labels=self.labels[chosen]
        )  # fmt: skip


def take_targets(
    data: Mapping[str, Any] | None, n: int, seed: int, *, folder: str | Path | None = None,
    split: str = "validation", per_class: bool = False, name: str = "the network",
) -> Targets:  # fmt: skip
    """Choose patches at random.

    Parameters
    ----------
    data
        A recipe's ``[data]``; None if there is none.
    n
        How many, or how many of each class; all, if there are fewer.
    seed
        Of the choice.
    folder
        A data set to be taken instead.
    split
        Which part of the set.
    per_class
        Whether `n` counts each class.
    name
        Of the network, for errors.

    Raises
    ------
    DataSetError
        If no target is known, or the set has none in this split.
    """
    if folder is not None:
        return _stored(StoredSkies.open(folder), n, seed, split, per_class)
    if data is None:
        raise DataSetError(
            f"no target is known: {name} comes without its data; give the folder of a data set with --data "
            "(`cmbinpaint dataset` makes one)"
        )
    table = {key: value for key, value in data.items() if key not in ("only_patch", "verify")}
    if table.get("kind") == "stored":
        where = Path(str(table.get("folder")))
        if not where.is_dir():
            raise DataSetError(
                f"no target is known: the data set of {name} was in {where}, which does not exist; say where it is "
                "with --data"
            )
        return _stored(StoredSkies.open(where), n, seed, split, per_class)
    stream = build_stream(table, seed)
    if isinstance(stream, SkyStream):
        return _simulated(_middle(stream, n), split)
    if not isinstance(stream, FlatStream):
        raise DataSetError(f"no target is known: the data of {name} are of kind {table.get('kind')!r}")
    return _simulated(replace(stream, channels=1, batch_size=n), split)


def _middle(stream: SkyStream, n: int) -> FlatStream:
    """Flat patches in the middle of what a stream of skies draws: its steps, beams and noise."""
    step = float(np.sqrt(np.prod(stream.step_arcmin)))
    beam = float(np.mean(stream.beam_px)) * 2 * step  # a map pixel is two steps
    flat = FlatStream(stream.seed, n, stream.side, step, beam)
    return replace(flat, noise_uK=float(np.sqrt(np.prod(stream.noise_over_rms))) * flat.rms_uK)


def _stored(skies: StoredSkies, n: int, seed: int, split: str, per_class: bool) -> Targets:
    if skies.count(split) == 0:
        raise DataSetError(f"no target is known: the data set in {skies.folder} has no patches for {split!r}")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_KEY,)))
    labels = skies.labels(split)
    groups = (
        [np.flatnonzero(labels == k) for k in range(len(skies.ns))] if per_class else [np.arange(labels.size)]
    )
    numbers = np.concatenate([np.sort(rng.permutation(group)[:n]) for group in groups])
    truth = skies.patches(split, numbers)
    noise = skies.recipe.noise_uK
    data = truth + np.float32(noise) * rng.standard_normal(truth.shape, dtype=np.float32) if noise else truth
    return Targets(
        truth, data, labels[numbers], skies.ns, skies.spectra(), skies.rms_uK, skies.recipe.step_arcmin, noise
    )  # fmt: skip


def _simulated(stream: FlatStream, split: str) -> Targets:
    rms = np.float32(stream.rms_uK)
    truth = stream.batch(0, split).truth[:, 0] * rms
    rng = np.random.default_rng(np.random.SeedSequence(stream.seed, spawn_key=(_KEY,)))
    noise = np.float32(stream.noise_uK) * rng.standard_normal(truth.shape, dtype=np.float32)
    return Targets(
        truth, truth + noise, np.zeros(len(truth), np.int64), (_FIDUCIAL_NS,), stream.spectrum[None],
        float(rms), stream.step_arcmin, stream.noise_uK,
    )  # fmt: skip
