"""Patches of skies as the pipeline cuts them, simulated while a network trains.

Inputs: a description of skies, beams, noise and masks, and a seed. Outputs: `HoleBatch`es, each a pure function of
(seed, split, index), of skies that never repeat.

A sphere is simulated with a mask, its holes are kriged, and patches are cut by the very functions that fill maps
(`networks.levels`, `networks.cutting`). Its spectrum is stretched so that its pixels stand for those of any nside: what
a patch of a map of nside 2048 looks like, one of nside 128 with a sixteenth of the multipoles shows too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cmbinpaint._types import BoolArray, Float32Array, FloatArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.gaussian.hole_posterior import hole_factor
from cmbinpaint.networks.cutting import Scaling, SmoothMap, known_pixels, patch_angles
from cmbinpaint.networks.levels import lay_levels, level_map
from cmbinpaint.networks.tiling import SIDE, Tiling
from cmbinpaint.pipeline.filler import draw_observation
from cmbinpaint.plane.power import patch_rms
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size, pixel_vectors
from cmbinpaint.sphere.planck_mask import planck_like_mask
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window
from cmbinpaint.training.data.examples import HoleBatch
from cmbinpaint.training.data.masks import Bounded, Circles, MaskSource, MixedShapes, RandomShapes, SkyCuts
from cmbinpaint.training.data.splits import split_number
from cmbinpaint.training.recipes.checks import check_integer, check_number

_ARCMIN = np.pi / 180 / 60
_FIDUCIAL_LMAX = 6200
_HOLE_SHARE = (0.001, 0.7)  # of a patch
# nside whose Planck-like masks are cut: at each the same regions and sources are of another size in pixels.
_MASK_NSIDES = (128, 512)


@dataclass(frozen=True)
class SkyStream:
    """Simulated skies behind masks, cut into patches; every option is the range that it is drawn from.

    Attributes
    ----------
    seed
        Seed of everything.
    batch_size
        Patches a batch.
    side
        Pixels along a patch's edge.
    nside
        Of the spheres that patches are cut from.
    spheres, skies
        Spheres that the patches of a batch come from, each with a mask and a sky model of its own, and skies behind
        each mask.
    step_arcmin
        What a step of the finest patches stands for, drawn log-uniformly; those of the second level have twice that.
    beam_px
        The beam's fwhm in map pixels (two steps), drawn uniformly.
    noise_over_rms
        White noise of a map pixel over the rms of what a patch resolves, drawn log-uniformly.
    tilt_std
        Scatter of the spectral tilt around the fiducial's.
    """

    seed: int
    batch_size: int = 16
    side: int = SIDE
    nside: int = 128
    spheres: int = 8
    skies: int = 2
    step_arcmin: tuple[float, float] = (0.86, 13.75)
    beam_px: tuple[float, float] = (0.0, 5.0)
    noise_over_rms: tuple[float, float] = (1e-2, 0.5)
    tilt_std: float = 0.1

    def __post_init__(self) -> None:
        for key in ("batch_size", "spheres", "skies"):
            check_integer("[data]", key, getattr(self, key), least=1)
        for key in ("side", "nside"):
            check_integer("[data]", key, getattr(self, key), least=16)
            if getattr(self, key) & (getattr(self, key) - 1):
                raise RecipeError(f"[data] {key} is {getattr(self, key)}; give a power of two")
        check_number("[data]", "tilt_std", self.tilt_std, least=0.0)
        for key, above in (("step_arcmin", 0.0), ("noise_over_rms", 0.0), ("beam_px", -1e-9)):
            given = getattr(self, key)
            if not isinstance(given, list | tuple) or len(given) != 2 or given[0] > given[1]:
                raise RecipeError(f"[data] {key} is {given!r}; give two numbers, the least and the most")
            for number in given:
                check_number("[data]", key, number, above=above)

    def batch(self, index: int, split: str = "train") -> HoleBatch:
        """The batch number `index` of a split; the same whoever asks, whenever."""
        block, place = divmod(index, self.batches_a_block)
        patches = _block(self, split_number(split), block)
        n = patches.x.shape[0]
        rng = np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(split_number(split), block, 0))
        )
        rounds = -(-self.batches_a_block * self.batch_size // n)
        wanted = np.concatenate([rng.permutation(n) for _ in range(rounds)])
        chosen = wanted[place * self.batch_size : (place + 1) * self.batch_size]
        rng = np.random.default_rng(
            np.random.SeedSequence(self.seed, spawn_key=(split_number(split), index, 1))
        )
        varied = [_turned(patches, int(number), rng) for number in chosen]
        x, valid, truth = (np.stack(column)[:, None] for column in zip(*varied, strict=True))
        return HoleBatch(x, valid, truth)

    @property
    def batches_a_block(self) -> int:
        """Batches made of the same spheres: about as many as these have patches for."""
        tiles = 12 * max(1, 4 * self.nside // self.side) ** 2
        return max(1, self.spheres * self.skies * tiles // self.batch_size)

    def draw_sky_model(self, rng: np.random.Generator) -> SkyModel:
        """The signal's power as it is in the map, stretched, and the noise."""
        low, high = np.log(self.step_arcmin)
        step = pixel_size(self.nside) / 2
        stretch = step / (np.exp(rng.uniform(low, high)) * _ARCMIN)
        lmax = 3 * self.nside - 1
        ell = stretch * np.arange(lmax + 1)
        cl = np.interp(ell, np.arange(_FIDUCIAL_LMAX + 1), fiducial_cl(_FIDUCIAL_LMAX), right=0.0)
        cl *= np.maximum(ell / 1000, 1e-3) ** (self.tilt_std * rng.standard_normal())
        beam = gaussian_beam(rng.uniform(*self.beam_px) * pixel_size(self.nside), lmax)
        cl *= np.square(beam * pixel_window(self.nside, lmax))
        cl[:2] = 0.0
        noise = np.exp(rng.uniform(*np.log(self.noise_over_rms))) * patch_rms(cl, step, self.side)
        return SkyModel(nside=self.nside, signal_cl=cl, noise_std=float(noise))


class _Patches(NamedTuple):
    """What batches are drawn from: (n, side, side) each, in a network's units."""

    x: Float32Array  # 0 in holes
    known: BoolArray
    truth: Float32Array


@lru_cache(maxsize=2)  # one of training and one of validation
def _block(stream: SkyStream, split: int, number: int) -> _Patches:
    parts = []
    for sphere in range(stream.spheres):
        key = (split, number, 2 + sphere)
        rng = np.random.default_rng(np.random.SeedSequence(stream.seed, spawn_key=key))
        parts += list(_cut_sphere(stream, rng))
    return _Patches(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _cut_sphere(stream: SkyStream, rng: np.random.Generator) -> Iterator[_Patches]:
    """All patches of a sphere, sky after sky and level after level."""
    model = stream.draw_sky_model(rng)
    plan = InpaintingPlan.from_valid(draw_sphere_mask(stream.nside, stream.side, rng))
    posterior = hole_factor(plan.valid, model, threads=1)
    depth = np.zeros(plan.valid.size, np.float32)
    depth[posterior.holes] = posterior.depth
    levels = lay_levels(plan, depth, side=stream.side, coarsest=stream.nside // 2)
    angles = [patch_angles(level.tiling.planes) for level in levels]
    known = [known_pixels(level.known, level.nside, level.tiling.planes) for level in levels]
    for _ in range(stream.skies):
        signal, noise = draw_observation(model, rng)
        filled = signal + noise
        filled[posterior.holes] = posterior.mean(filled)
        for level, at, seen in zip(levels, angles, known, strict=True):
            data, truth = (
                SmoothMap.of(level_map(sky, stream.nside, level.nside), level.nside, threads=1).at(
                    *at, threads=1
                )
                for sky in (filled, signal)
            )
            scaling = Scaling.of(data, seen)
            x = np.where(seen, scaling.apply(data), np.float32(0))
            yield _Patches(x, seen, scaling.apply(truth))


def draw_sphere_mask(nside: int, side: int, rng: np.random.Generator) -> BoolArray:
    """(npix,) RING, True = observed: each patch's own part of the sphere behind a mask of its own.

    Kinds of masks are drawn at random: CoMBInE's shapes, circles, mixtures with bands and point sources, and cuts of
    Planck-like masks of several nside.
    """
    vectors = pixel_vectors(nside)
    tiling = Tiling.cover(nside, vectors, side)
    sources = mask_sources(side)
    valid = np.ones(len(vectors), bool)
    for plane, member in zip(tiling.planes, tiling.members, strict=True):
        patch = sources[rng.integers(len(sources))].draw(1, side, rng)[0]
        row, col = (np.rint(place).astype(int) for place in plane.vectors_to_plane(vectors[member]))
        valid[member] = patch[row, col]
    return valid


@lru_cache(maxsize=2)
def mask_sources(side: int) -> tuple[MaskSource, ...]:
    """The kinds of masks that patches get."""
    radii = (5.0 * side / SIDE, 65.0 * side / SIDE)
    cuts = [
        SkyCuts(planck_like_mask(nside, seed=nside), step_arcmin=float(pixel_size(nside) / 2 / _ARCMIN))
        for nside in _MASK_NSIDES
    ]
    kinds: list[MaskSource] = [RandomShapes(), Circles(radii, centered=False), MixedShapes(), *cuts]
    return tuple(Bounded(kind, _HOLE_SHARE) for kind in kinds)


def _turned(patches: _Patches, number: int, rng: np.random.Generator) -> tuple[FloatArray, ...]:
    """A patch turned by right angles, mirrored or not, and with either sign: the sky has no preference."""
    turns, mirrored, sign = int(rng.integers(4)), bool(rng.integers(2)), np.float32(rng.choice((-1, 1)))
    x, known, truth = (np.rot90(field[number], turns) for field in patches)
    if mirrored:
        x, known, truth = x[:, ::-1], known[:, ::-1], truth[:, ::-1]
    return sign * x, known.astype(np.float32), sign * truth
