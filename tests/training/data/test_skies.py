"""Data sets' recipes, and the skies they describe."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from cmbinpaint.errors import RecipeError
from cmbinpaint.sims.theory import Cosmology, theory_cl
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.skies import (
    SPLITS,
    DataSetRecipe,
    class_spectra,
    field_rms,
    list_data_recipes,
    sky_patches,
    sky_planes,
    split_skies,
)

PLAIN = {"name": "d", "seed": 0}


@pytest.mark.parametrize("name", list_data_recipes())
def test_packaged_recipes_are_read(name: str) -> None:
    recipe = DataSetRecipe.read(name)
    assert recipe.name == name
    assert DataSetRecipe.from_mapping(recipe.to_mapping()) == recipe


def test_small_recipes_are_the_full_ones_with_other_numbers() -> None:
    for kind in ("old", "new"):
        full, small = (DataSetRecipe.read(f"data-{kind}{size}") for size in ("", "-small"))
        assert replace(small, name=full.name, skies=full.skies) == full
    new = DataSetRecipe.read("data-new")
    assert new.ns == (0.5, 0.7, 0.9, 0.95, 0.9649, 1.0, 1.05, 1.1, 1.3, 1.5)
    old = DataSetRecipe.read("data-old")
    assert (old.skies, old.patches, old.side, old.step_arcmin, old.ns) == (1000, 10, 128, 6.87, (0.9649,))
    assert old.split_sizes == (700, 150, 150)


@settings(deadline=None, max_examples=30)
@given(
    skies=st.integers(7, 60),
    seed=st.integers(0, 2**32 - 1),
    label=st.integers(0, 1),
    split=st.sampled_from([(0.7, 0.15, 0.15), (0.0, 0.5, 0.5), (0.5, 0.5, 0.0), (0.0, 0.0, 1.0)]),
)
def test_a_sky_is_in_one_split(skies: int, seed: int, label: int, split: tuple[float, float, float]) -> None:
    recipe = DataSetRecipe(name="d", seed=seed, ns=(0.9, 1.0), skies=skies, split=split)
    chosen = split_skies(recipe, label)
    assert sorted(sky for skies_of in chosen.values() for sky in skies_of) == list(range(skies))
    assert tuple(len(chosen[split]) for split in SPLITS) == recipe.split_sizes
    for share, size in zip(recipe.split, recipe.split_sizes, strict=True):
        assert share > 0 or size == 0
        assert size == pytest.approx(share * skies, abs=1.01)  # two splits are rounded, the third is the rest


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), sky=st.integers(0, 5))
def test_patches_of_a_sky_do_not_overlap(seed: int, sky: int) -> None:
    recipe = DataSetRecipe(name="d", seed=seed, patches=8)
    planes = sky_planes(recipe, 0, sky)
    corners = [p.to_vectors([0, 0, 159, 159], [0, 159, 0, 159]) for p in planes]
    middles = [p.to_vectors(79.5, 79.5) for p in planes]
    for a, b in combinations(range(8), 2):
        angle = np.arccos(middles[a] @ middles[b])
        reach = sum(np.arccos((corners[i] @ middles[i]).min()) for i in (a, b))
        assert angle > reach


def test_places_are_uniform_on_the_sphere() -> None:
    recipe = DataSetRecipe(name="d", seed=1, patches=4)
    planes = [plane for sky in range(400) for plane in sky_planes(recipe, 0, sky)]
    height = np.sin(np.radians([p.lat_deg for p in planes]))
    assert np.mean(height) == pytest.approx(0, abs=0.05)  # 1600 of scatter 0.58: 0.015
    assert np.mean(height**2) == pytest.approx(1 / 3, abs=0.03)
    assert np.mean([p.rotation_deg for p in planes]) == pytest.approx(180, abs=10)


def test_patches_have_the_spectrums_covariance() -> None:
    # Oracle: the covariance of two points, sum (2 ell + 1) / 4 pi C_ell P_ell(cos), by numpy's Legendre series.
    recipe = DataSetRecipe(
        name="d",
        seed=2,
        skies=300,
        patches=4,
        side=8,
        margin=0,
        step_arcmin=60.0,
        lmax=120,
        skies_per_shard=1,
    )
    ell = np.arange(121)
    cl = np.zeros(121)
    cl[30:] = 1e4 / (ell[30:] + 1.0) ** 2  # no long waves: patches of one sky are nearly independent
    patches = np.concatenate([sky_patches(recipe, cl, 0, sky) for sky in range(300)])
    assert patches.shape == (1200, 8, 8) and patches.dtype == np.float32
    series = (2 * ell + 1) / (4 * np.pi) * cl
    plane = sky_planes(recipe, 0, 0)[0]
    for col in (3, 4, 6):
        cosine = plane.to_vectors(3, 3) @ plane.to_vectors(3, col)
        expected = legendre.legval(cosine, series)
        found = np.mean(patches[:, 3, 3] * patches[:, 3, col])
        # 1200 products of unit scatter: 3 % of the variance.
        assert found == pytest.approx(expected, abs=0.1 * series.sum())
    assert patches.std() == pytest.approx(field_rms(cl), rel=0.02)


def test_a_sky_depends_on_its_key_alone(tiny: DataSetRecipe) -> None:
    cl = 1.0 / (1.0 + np.arange(201)) ** 2
    first = sky_patches(tiny, cl, 0, 1)
    np.testing.assert_array_equal(first, sky_patches(tiny, cl, 0, 1))
    for other in (
        sky_patches(tiny, cl, 1, 1),
        sky_patches(tiny, cl, 0, 2),
        sky_patches(replace(tiny, seed=4), cl, 0, 1),
    ):
        assert not np.array_equal(first, other)


def test_the_amplitude_is_fixed_at_the_pivot() -> None:
    # At 0.05/Mpc all n_s have the power of A_s. Last scattering lies at 13.9 Gpc, so that wave is seen edge-on at
    # ell = 700; projection spreads a wave to lower ell, and the spectra cross near 550. A pivot of 0.002/Mpc would
    # have them cross near 25.
    low, high = (theory_cl(Cosmology(ns=ns), lmax=900, lensed=False)[2:] for ns in (0.5, 1.5))
    crossing = np.flatnonzero(np.diff(np.sign(low - high))) + 2
    assert crossing.size == 1 and 450 < crossing[0] < 700


def test_spectra_carry_beam_and_pixel(tiny: DataSetRecipe, built: Path) -> None:
    bare = StoredSkies.open(built).spectra()[0]
    seen = class_spectra(replace(tiny, ns=(0.9,), beam_fwhm_arcmin=30.0, pixel_window=True))
    assert seen.shape == (1, 201)
    ell = np.arange(2, 201)
    sigma = np.radians(0.5) / np.sqrt(8 * np.log(2))
    beam = np.exp(-ell * (ell + 1) * sigma**2)
    # A square pixel's window in power, averaged over directions; 40' and ell 200 are k h = 2.3.
    angle = np.linspace(0, np.pi / 2, 2001)
    half = ell[:, None] * np.radians(40 / 60) / 2
    window = np.mean(
        (np.sinc(half * np.cos(angle) / np.pi) * np.sinc(half * np.sin(angle) / np.pi)) ** 2, axis=1
    )
    # What the second order leaves out grows as k⁴ and is 1 % at k h = 2.3.
    np.testing.assert_allclose(seen[0, 2:] / bare[2:], beam * window, rtol=0.015)


@pytest.mark.parametrize(
    "table, text",
    [
        ({"skys": 3}, "data set: unknown key 'skys'; did you mean 'skies'"),
        ({"skies": 0}, "data set: skies is 0; give 1 or more"),
        ({"ns": []}, "data set: ns is []; give a list of spectral indices, one per class"),
        ({"ns": [1.0, 0.9]}, "data set: ns is [1.0, 0.9]; give ascending values, each once"),
        ({"ns": [1.0, 1.0]}, "give ascending values, each once"),
        ({"ns": [9.0]}, "data set: ns is 9.0; it must be at most 3.0"),
        ({"split": [0.5, 0.5]}, "data set: split is [0.5, 0.5]; give the shares of train, validation, test"),
        ({"split": [0.5, 0.2, 0.2]}, "data set: split is [0.5, 0.2, 0.2], which adds to 0.9, not 1"),
        ({"skies": 2}, "2 skies a class leave none for validation at a share of 0.15; give more skies"),
        ({"patches": 100}, "100 patches of 12.7 deg radius cover 1.23 of a sky; above 0.25"),
        ({"pixel_window": 1}, "data set: pixel_window is 1; give true or false"),
        ({"noise_uK": -1.0}, "data set: noise_uK is -1.0; it must be at least 0.0"),
        ({"name": ""}, "data set: name is ''; give the data set a name"),
    ],
)
def test_what_is_refused(table: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        DataSetRecipe.from_mapping({**PLAIN, **table})


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"cannot read data set recipe 'nowhere'.*one of: data-new, data-new-small"
    ):
        DataSetRecipe.read("nowhere")
    (tmp_path / "a.toml").write_text("skies = [")
    with pytest.raises(RecipeError, match=r"a\.toml is not TOML"):
        DataSetRecipe.read(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text("skies = 3")
    with pytest.raises(RecipeError, match=r"b\.toml: data set: name is missing"):
        DataSetRecipe.read(tmp_path / "b.toml")


def test_a_folder_named_like_a_packaged_recipe_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cmbinpaint dataset data-old-small -o data-old-small` makes one, and must be able to go on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data-old-small").mkdir()
    assert DataSetRecipe.read("data-old-small").name == "data-old-small"
