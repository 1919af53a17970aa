"""What a stored data set is made of: its recipe, its spectra, and the patches of any of its skies.

Inputs: a TOML file or a mapping. Outputs: `DataSetRecipe`, spectra, patches in µK.

A sky is Gaussian, of one class: one value of the scalar index n_s at fixed A_s (pivot 0.05/Mpc). Its patches are
evaluated from its a_lm at their pixels' centers, at places and angles of their own that do not overlap, so no full
map is ever made and nothing is interpolated. Every sky is a pure function of (seed, class, sky).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint._types import Float32Array, FloatArray
from cmbinpaint.errors import RecipeError
from cmbinpaint.networks.cutting import cut_field
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sims.theory import Cosmology, theory_cl
from cmbinpaint.sphere.harmonics import draw_alm
from cmbinpaint.sphere.power import pixel_variance
from cmbinpaint.sphere.windows import gaussian_beam
from cmbinpaint.training.data.splits import SPLITS
from cmbinpaint.training.recipes.checks import (
    check_flag,
    check_integer,
    check_number,
    check_table,
    read_recipe,
)

_RECIPES = Path(__file__).parents[1] / "recipes"
_FULLEST = 0.25  # of the sky in patches' circumscribed circles: random places are still found quickly
_TABLES = ("ns", "split")


@dataclass(frozen=True)
class DataSetRecipe:
    """A data set of simulated patches.

    Attributes
    ----------
    name
        What the set is called.
    seed
        Seed of everything; 0 is a seed.
    ns
        The classes: values of the scalar spectral index, ascending.
    skies
        Skies a class.
    patches
        Patches a sky, at random places and angles, none overlapping another.
    side, margin
        A patch as a network sees it, and what is kept around it on each side for shifts, pixels.
    step_arcmin
        The pixel's side.
    lmax
        Highest multipole of the skies.
    beam_fwhm_arcmin
        Gaussian beam; 0: none.
    pixel_window
        Whether pixels average the sky (the square pixel's window, to second order, isotropic) or sample it at
        their centers.
    noise_uK
        White noise a pixel, which readers add to the data and never to the truth.
    split
        Shares of training, validation and test, by sky, within each class.
    skies_per_shard
        Skies in one file.

    Raises
    ------
    RecipeError
        For entries out of range or against each other.
    """

    name: str
    seed: int
    ns: tuple[float, ...] = (0.9649,)
    skies: int = 1000
    patches: int = 10
    side: int = 128
    margin: int = 16
    step_arcmin: float = 6.87
    lmax: int = 3000
    beam_fwhm_arcmin: float = 0.0
    pixel_window: bool = False
    noise_uK: float = 0.0
    split: tuple[float, ...] = (0.70, 0.15, 0.15)
    skies_per_shard: int = 5

    def __post_init__(self) -> None:
        where = "data set:"
        if not isinstance(self.name, str) or not self.name:
            raise RecipeError(f"{where} name is {self.name!r}; give the data set a name")
        check_integer(where, "seed", self.seed, least=0)
        limits = {
            "skies": (1, 10**6), "patches": (1, 10**5), "side": (8, 8192), "margin": (0, 8192), "lmax": (2, 20_000),
            "skies_per_shard": (1, 10**6),
        }  # fmt: skip
        for key, (least, most) in limits.items():
            check_integer(where, key, getattr(self, key), least=least, most=most)
        check_number(where, "step_arcmin", self.step_arcmin, above=0.0)
        for key in ("beam_fwhm_arcmin", "noise_uK"):
            check_number(where, key, getattr(self, key), least=0.0)
        check_flag(where, "pixel_window", self.pixel_window)
        self._check_classes(where)
        self._check_split(where)
        self._check_room(where)

    def _check_classes(self, where: str) -> None:
        if not isinstance(self.ns, list | tuple) or not 0 < len(self.ns) < 100:
            raise RecipeError(f"{where} ns is {self.ns!r}; give a list of spectral indices, one per class")
        for value in self.ns:
            check_number(where, "ns", value, least=-1.0, most=3.0)
        if list(self.ns) != sorted(set(self.ns)):
            raise RecipeError(f"{where} ns is {list(self.ns)}; give ascending values, each once")
        object.__setattr__(self, "ns", tuple(float(value) for value in self.ns))

    def _check_split(self, where: str) -> None:
        if not isinstance(self.split, list | tuple) or len(self.split) != len(SPLITS):
            raise RecipeError(f"{where} split is {self.split!r}; give the shares of {', '.join(SPLITS)}")
        for share in self.split:
            check_number(where, "split", share, least=0.0, most=1.0)
        if abs(sum(self.split) - 1) > 1e-9:
            raise RecipeError(
                f"{where} split is {list(self.split)}, which adds to {sum(self.split):g}, not 1"
            )
        object.__setattr__(self, "split", tuple(float(share) for share in self.split))
        for name, share, skies in zip(SPLITS, self.split, self.split_sizes, strict=True):
            if share > 0 and skies == 0:
                raise RecipeError(
                    f"{where} {self.skies} skies a class leave none for {name} at a share of {share:g}; "
                    "give more skies"
                )

    def _check_room(self, where: str) -> None:
        if (full := self.patches * (1 - np.cos(self.radius)) / 2) > _FULLEST:
            raise RecipeError(
                f"{where} {self.patches} patches of {np.degrees(self.radius):.1f} deg radius cover {full:.2f} of "
                f"a sky; above {_FULLEST} they do not find places without overlap: give fewer patches, more skies"
            )

    @property
    def stored_side(self) -> int:
        """Pixels along an edge of a stored patch, margins included."""
        return self.side + 2 * self.margin

    @property
    def grid(self) -> PatchGrid:
        """The stored patch's pixels."""
        return PatchGrid(self.stored_side, self.step_arcmin / 60)

    @property
    def radius(self) -> float:
        """Angle from a stored patch's middle to its corner, radians."""
        return float(np.arctan(self.stored_side * self.grid.step_rad / np.sqrt(2)))

    @property
    def split_sizes(self) -> tuple[int, int, int]:
        """Skies a class in each split: two are rounded, the rest is for training, or for the test if none is."""
        train, validation, test = self.split
        skies = round(self.skies * validation)
        tested = round(self.skies * test) if train > 0 else self.skies - skies
        return self.skies - skies - tested, skies, tested

    @property
    def n_bytes(self) -> int:
        """Size of all patches on disk."""
        return len(self.ns) * self.skies * self.patches * self.stored_side**2 * 4

    @classmethod
    def from_mapping(cls, table: Mapping[str, Any]) -> "DataSetRecipe":
        """Make a recipe of a table as TOML or JSON gives it.

        Raises
        ------
        RecipeError
            For an unknown, absent, ill-typed or out-of-range entry.
        """
        check_table("data set", table, [f.name for f in fields(cls)], ["name", "seed"])
        return cls(**table)

    @classmethod
    def read(cls, path: str | Path) -> "DataSetRecipe":
        """Read a TOML file, or a data-set recipe of the package by its name.

        Raises
        ------
        RecipeError
            If there is no such file, it is not TOML, or not a data set's recipe.
        """
        file = Path(path)
        if not file.is_file() and str(path) in list_data_recipes():
            file = _RECIPES / f"{path}.toml"
        return read_recipe(cls.from_mapping, file, f"data set recipe {str(path)!r}", list_data_recipes())

    def to_mapping(self) -> dict[str, Any]:
        """The recipe as plain JSON types; `from_mapping` gives it back."""
        table = asdict(self)
        return table | {key: list(table[key]) for key in _TABLES}


def list_data_recipes() -> list[str]:
    """Names of the data-set recipes that come with the package."""
    return sorted(path.stem for path in _RECIPES.glob("data-*.toml"))


def class_spectra(recipe: DataSetRecipe) -> FloatArray:
    """(classes, lmax+1) C_ell in µK² of the stored field, by CAMB: lensed, with beam and pixel window if any."""
    ell = np.arange(recipe.lmax + 1)
    window = gaussian_beam(np.radians(recipe.beam_fwhm_arcmin / 60), recipe.lmax)
    if recipe.pixel_window:
        # A square of side h averages a wave k over sinc(k_x h/2) sinc(k_y h/2) = 1 - k² h²/24 + O(k⁴).
        window = window * np.exp(-ell * (ell + 1.0) * recipe.grid.step_rad**2 / 24)
    return np.stack([theory_cl(Cosmology(ns=ns), lmax=recipe.lmax) * window**2 for ns in recipe.ns])


def field_rms(spectrum: FloatArray) -> float:
    """rms of a field of spectrum C_ell, monopole and dipole left out: ``sqrt(sum (2 ell + 1) C_ell / 4 pi)``."""
    return float(np.sqrt(pixel_variance(spectrum)))


def split_skies(recipe: DataSetRecipe, label: int) -> dict[str, list[int]]:
    """Which skies of a class belong to which split: every sky to one, at random, ascending."""
    order = _generator(recipe, label).permutation(recipe.skies)
    edges = np.cumsum(recipe.split_sizes)[:-1]
    return {split: sorted(part.tolist()) for split, part in zip(SPLITS, np.split(order, edges), strict=True)}


def sky_planes(recipe: DataSetRecipe, label: int, sky: int) -> list[TangentPlane]:
    """Where a sky's patches lie: uniform on the sphere, at random angles, no two overlapping."""
    rng = _generator(recipe, label, sky, 0)
    centers = np.empty((0, 3))
    closest = np.cos(min(2 * recipe.radius, np.pi))
    while len(centers) < recipe.patches:
        vector = rng.standard_normal(3)
        vector /= np.linalg.norm(vector)
        if not np.any(centers @ vector > closest):
            centers = np.vstack([centers, vector])
    lon = np.degrees(np.arctan2(centers[:, 1], centers[:, 0]))
    lat = np.degrees(np.arctan2(centers[:, 2], np.hypot(centers[:, 0], centers[:, 1])))
    turns = rng.uniform(0, 360, recipe.patches)
    return [
        TangentPlane(float(a), float(b), recipe.grid, float(c))
        for a, b, c in zip(lon, lat, turns, strict=True)
    ]


def sky_patches(recipe: DataSetRecipe, spectrum: FloatArray, label: int, sky: int) -> Float32Array:
    """(patches, stored_side, stored_side) µK: the patches of one sky of a class.

    Bit for bit the same whatever ran before; one thread computes it.
    """
    alm = draw_alm(spectrum, _generator(recipe, label, sky, 1))
    return cut_field(alm, sky_planes(recipe, label, sky), threads=1).astype(np.float32)


def _generator(recipe: DataSetRecipe, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=key))
