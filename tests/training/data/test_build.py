"""Streams of holes, stored and simulated: pure functions of their number, varied without interpolation."""

import pickle
import re
import textwrap
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from cmbinpaint.errors import RecipeError
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.training.data.build import build_stream
from cmbinpaint.training.data.examples import Rendering
from cmbinpaint.training.data.flat import FlatStream
from cmbinpaint.training.data.planck_colors import planck_colors, to_rgb
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.stored import StoredStream

SMALL_MASKS = {"kind": "circles", "radius_px": [2, 6]}
FLAT = {"kind": "flat", "side": 32, "batch_size": 2, "masks": SMALL_MASKS}


def table(kind: str, built: Path, **options: Any) -> dict[str, Any]:
    if kind == "flat":
        return {**FLAT, **options}
    return {"kind": "stored", "folder": str(built), "batch_size": 2, "masks": SMALL_MASKS, **options}


@pytest.mark.parametrize("kind", ["flat", "stored"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_a_function_of_its_number(kind: str, channels: int, built: Path) -> None:
    options = table(kind, built, channels=channels)
    stream = build_stream(options, 5)
    first, again = stream.batch(7), pickle.loads(pickle.dumps(stream)).batch(7)
    side = first.x.shape[-1]
    assert first.x.shape == first.truth.shape == (2, channels, side, side)
    assert first.valid.shape == (2, 1, side, side)
    for f in fields(first):
        array = getattr(first, f.name)
        assert array.dtype == np.float32 and np.array_equal(array, getattr(again, f.name))
    for other in (stream.batch(8), stream.batch(7, "validation"), build_stream(options, 6).batch(7)):
        assert not np.array_equal(first.truth, other.truth) and not np.array_equal(first.valid, other.valid)
    assert not np.array_equal(stream.batch(7, "validation").valid, stream.batch(7, "test").valid)


@pytest.mark.parametrize("kind", ["flat", "stored"])
@pytest.mark.parametrize("channels", [1, 3])
def test_data_are_the_truth_with_holes_zeroed(kind: str, channels: int, built: Path) -> None:
    batch = build_stream(table(kind, built, channels=channels), 1).batch(3)
    assert set(np.unique(batch.valid)) == {0.0, 1.0}
    np.testing.assert_array_equal(batch.x, batch.truth * batch.valid)
    if channels == 3:
        colors = {tuple(c) for c in planck_colors().astype(np.float32).tolist()}
        seen = {tuple(c) for c in np.moveaxis(batch.truth, 1, -1).reshape(-1, 3).tolist()}
        assert seen <= colors and len(seen) > 50


def test_training_patches_are_windows_of_stored_ones_turned_and_mirrored(built: Path) -> None:
    stream = build_stream(table("stored", built, batch_size=12, balanced=False), 2)
    assert isinstance(stream, StoredStream)
    skies = StoredSkies.open(built)
    found = set()
    for index in range(3):
        batch = stream.batch(index)
        for number, truth in zip(stream.numbers(index), batch.truth[:, 0], strict=True):
            stored = (skies.patch("train", int(number)) / np.float32(skies.rms_uK)).astype(np.float32)
            images = [np.rot90(m, k) for m in (stored, stored[:, ::-1]) for k in range(4)]
            hits = [
                (
                    image,
                    *np.argwhere(np.isclose(sliding_window_view(m, (16, 16)), truth, rtol=1e-5).all((2, 3)))[
                        0
                    ],
                )
                for image, m in enumerate(images)
                if np.isclose(sliding_window_view(m, (16, 16)), truth, rtol=1e-5).all((2, 3)).any()
            ]
            assert len(hits) == 1
            found.add(hits[0])
    images, rows, cols = zip(*found, strict=True)
    assert set(images) == set(range(8)) and len(set(rows)) > 5 and len(set(cols)) > 5
    assert len(found) > 30  # of 36 draws from 8 x 81


@pytest.mark.parametrize("options, split", [({}, "validation"), ({"augment": False}, "train")])
def test_other_patches_are_the_middles(built: Path, options: dict, split: str) -> None:
    stream = build_stream(table("stored", built, batch_size=4, **options), 2)
    skies = StoredSkies.open(built)
    expected = skies.patches(split, stream.numbers(1, split)) / skies.rms_uK
    np.testing.assert_allclose(stream.batch(1, split).truth[:, 0], expected, rtol=1e-6)


def test_classes_are_balanced_where_there_are_several(built: Path) -> None:
    stream = build_stream(table("stored", built, batch_size=3), 0)
    for index in range(20):
        assert set(stream.labels(index).tolist()) == {0, 1}
    with pytest.raises(
        RecipeError, match="batch_size is 1 and there are 2 classes; a balanced batch holds every"
    ):
        build_stream(table("stored", built, batch_size=1), 0)
    build_stream(table("stored", built, batch_size=1, balanced=False), 0)


def test_one_patch_for_every_batch(built: Path) -> None:
    stream = build_stream(table("stored", built, only_patch=7, augment=False), 0)
    expected = StoredSkies.open(built).patches("train", [7, 7])[:, None]
    for split in ("train", "validation", "test"):
        batch = stream.batch(4, split)
        np.testing.assert_allclose(batch.truth, expected / stream.skies.rms_uK, rtol=1e-6)
        assert not np.array_equal(batch.valid[0], batch.valid[1])
        assert stream.labels(0, split).tolist() == [stream.skies.labels("train")[7]] * 2


def test_noise_is_in_the_data_alone() -> None:
    stream = build_stream({**FLAT, "batch_size": 20, "noise_uK": 30.0}, 3)
    batch = stream.batch(0)
    seen = batch.valid > 0
    noise = (batch.x - batch.truth)[seen] * stream.rms_uK
    # 20 x 32 x 32 draws: 0.5 %.
    assert noise.std() == pytest.approx(30.0, rel=0.03) and abs(noise.mean()) < 1.0
    assert np.all(batch.x[~seen] == 0)


def test_noise_of_a_stored_set_is_added_when_read(built: Path, copy: Path) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"noise_uK": 0.0', '"noise_uK": 25.0'))
    options = {"batch_size": 12, "balanced": False, "augment": False}
    clean, noisy = (build_stream(table("stored", folder, **options), 3).batch(0) for folder in (built, copy))
    np.testing.assert_array_equal(clean.truth, noisy.truth)
    difference = (noisy.x - clean.x)[clean.valid > 0] * StoredSkies.open(built).rms_uK
    assert difference.std() == pytest.approx(25.0, rel=0.1)  # 2500 draws: 1.5 %


@pytest.mark.parametrize("fwhm", [0.0, 60.0])
def test_simulated_patches_have_the_fiducial_power(fwhm: float) -> None:
    """And behind a beam, its square."""
    stream = FlatStream(seed=0, batch_size=40, side=32, step_arcmin=20.0, beam_fwhm_arcmin=fwhm)
    patches = np.concatenate([stream.batch(index).truth[:, 0] for index in range(10)])
    # Oracle: the variance between neighbors of a flat isotropic field, 2 (C(0) - C(h)), by a sum over its modes.
    ell = np.arange(3001)
    cl = fiducial_cl(3000) * np.exp(-ell * (ell + 1) * np.radians(fwhm / 60) ** 2 / (8 * np.log(2)))
    step = np.radians(20 / 60)
    f = 2 * np.pi * np.fft.fftfreq(64) / step
    kx, ky = np.meshgrid(f, f, indexing="ij")
    power = cl[np.minimum(np.rint(np.hypot(kx, ky)), 3000).astype(int)] / (64 * step) ** 2
    expected = np.sum(power * 2 * (1 - np.cos(ky * step)))
    rms = stream.rms_uK
    found = np.mean(np.diff(patches, axis=2) ** 2) * rms**2
    assert found == pytest.approx(expected, rel=0.03)  # 400 patches of some 250 modes: 0.5 %


def test_rendering_in_color_is_the_pictures_of_the_temperatures() -> None:
    field = np.random.default_rng(0).normal(0, 100, (2, 9, 9))
    rgb = Rendering(3, 100.0, 250.0).render(field)
    np.testing.assert_array_equal(np.moveaxis(rgb, 1, -1), to_rgb(field, 250.0))
    np.testing.assert_allclose(Rendering(1, 50.0).render(field)[:, 0], field / 50, rtol=1e-6)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"kind": "store"}, "[data] kind is 'store'; known: sky, flat, stored; did you mean 'stored'?"),
        ({"kind": "stored"}, "[data] folder is None; kind = 'stored' needs the folder of a data set"),
        ({"kind": "stored", "foldr": "x"}, "[data] unknown key 'foldr'; did you mean 'folder'"),
        ({"kind": "flat", "skies": 3}, "[data] unknown key 'skies'"),
        ({"kind": "flat", "channels": 2}, "[data] channels is 2; give 1 (temperature) or 3 (RGB)"),
        ({"kind": "flat", "batch_size": 0}, "[data] batch_size is 0; give 1 or more"),
        ({"kind": "flat", "limit_uK": 0.0}, "[data] limit_uK is 0.0; it must be above 0.0"),
        ({"masks": {}}, "[data] unknown key 'masks'"),
    ],
)
def test_what_is_refused(options: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        build_stream(options, 0)


@pytest.mark.parametrize(
    "options, text",
    [
        ({"only_patch": 12}, "[data] only_patch is 12; the set has 12 training patches, from 0"),
        (
            {"only_patch": 1, "balanced": True},
            "[data] only_patch and balanced contradict each other; drop one",
        ),
        ({"augment": 1}, "[data] augment is 1; give true or false"),
    ],
)
def test_contradictions_with_a_stored_set(built: Path, options: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        build_stream(table("stored", built, **options), 0)


def test_the_documented_table_is_a_stream(built: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")
    block = textwrap.dedent(text[text.index("    [data]\n") : text.index("\n\n| key |")])
    data = tomllib.loads(block)["data"]
    stream = build_stream({**data, "folder": str(built)}, 0)
    assert stream.batch(0).x.shape == (3, 1, 16, 16)


def test_an_unknown_split(built: Path) -> None:
    for kind in ("flat", "stored"):
        with pytest.raises(RecipeError, match="split is 'valid'; known: train, validation, test"):
            build_stream(table(kind, built), 0).batch(0, "valid")
