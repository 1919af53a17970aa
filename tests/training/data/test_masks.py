"""Masks for training: binary, seeded, within their limits, and cut where the sky says."""

import re
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmbinpaint.errors import MaskError, RecipeError
from cmbinpaint.files.fits import write_map
from cmbinpaint.training.data.masks import (
    Bounded,
    Circles,
    MaskSource,
    MixedShapes,
    Pictures,
    RandomShapes,
    SkyCuts,
    build_masks,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        valid = rng.random((90, 70)) > 0.002
        Image.fromarray((valid * 255).astype(np.uint8)).save(path / name)
    (path / "notes.txt").write_text("not a picture")
    return path


@pytest.fixture(scope="module")
def sources(folder: Path) -> dict[str, MaskSource]:
    sky = np.random.default_rng(1).random(12 * 16**2) > 0.3
    return {
        "shapes": RandomShapes(),
        "mixed": MixedShapes(),
        "circles": Circles(centered=False),
        "pictures": Pictures(str(folder)),
        "sky": SkyCuts(sky, step_arcmin=30.0),
        "bounded": Bounded(Circles((1.0, 12.0), centered=False), (0.02, 0.3)),
    }


@pytest.mark.parametrize("kind", ["shapes", "mixed", "circles", "pictures", "sky", "bounded"])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 4), side=st.sampled_from([16, 33, 64]))
def test_a_seed_decides_binary_masks(
    sources: dict[str, MaskSource], kind: str, seed: int, n: int, side: int
) -> None:
    valid = sources[kind].draw(n, side, np.random.default_rng(seed))
    assert valid.shape == (n, side, side) and valid.dtype == bool
    np.testing.assert_array_equal(valid, sources[kind].draw(n, side, np.random.default_rng(seed)))


def test_bounds_hold() -> None:
    source = build_masks({"kind": "circles", "radius_px": [0, 50], "hole_fraction": [0.2, 0.4]})
    shares = 1 - source.draw(50, 64, np.random.default_rng(0)).mean(axis=(1, 2))
    assert 0.2 <= shares.min() < 0.25 and 0.35 < shares.max() <= 0.4


def test_impossible_bounds_are_named() -> None:
    source = build_masks({"kind": "circles", "radius_px": [2, 3], "hole_fraction": [0.5, 0.6]})
    text = (
        r"300 masks of Circles had holes over 0.00\d+ to 0.00\d+ of the patch, none within hole_fraction = "
    )
    with pytest.raises(MaskError, match=text + re.escape("[0.5, 0.6]; widen it, or use other masks")):
        source.draw(1, 64, np.random.default_rng(0))


def test_circles_cover_from_nothing_to_all() -> None:
    rng = np.random.default_rng(0)
    assert Circles((0.0, 0.0)).draw(1, 128, rng).all()  # the middle of an even side is no pixel's center
    assert not Circles((91.0, 91.0)).draw(1, 128, rng).any()  # 128 / sqrt 2 = 90.5
    share = 1 - Circles((30.0, 30.0)).draw(1, 128, rng).mean()
    assert share == pytest.approx(np.pi * 30**2 / 128**2, rel=0.01)
    rows = [np.argwhere(~v)[:, 0].mean() for v in Circles((3.0, 3.0), centered=False).draw(200, 64, rng)]
    # Uniform over 0 to 63: mean 31.5, scatter 18.2, of 200: 1.3.
    assert np.mean(rows) == pytest.approx(31.5, abs=4.5) and np.std(rows) == pytest.approx(18.2, abs=3)


def test_pictures_are_taken_as_they_are_when_nothing_turns_them(tmp_path: Path) -> None:
    valid = np.random.default_rng(0).random((64, 64)) > 0.5
    Image.fromarray((valid * 255).astype(np.uint8)).save(tmp_path / "m.png")
    drawn = Pictures(str(tmp_path), rotation_deg=0, dilation_px=(1, 1)).draw(20, 8, np.random.default_rng(0))
    everywhere = np.pad(valid, 8, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(everywhere, (8, 8)).reshape(-1, 64)
    for mask in drawn:
        assert (windows == mask.ravel()).all(axis=1).any()


def test_dark_and_bright_holes_are_each_others_negative(folder: Path) -> None:
    rng = [np.random.default_rng(5) for _ in range(2)]
    options = {"rotation_deg": 90.0, "dilation_px": (1, 1)}
    dark = Pictures(str(folder), **options)
    for picture in dark.valid:
        assert picture.mean() > 0.9
    bright = Pictures(str(folder), holes="bright", **options)
    np.testing.assert_array_equal(dark.draw(3, 32, rng[0]), ~bright.draw(3, 32, rng[1]))


@pytest.mark.parametrize("width", [5, 12, 47])
def test_a_hole_grows_to_the_square_asked_for(tmp_path: Path, width: int) -> None:
    one = np.ones((301, 301), dtype=np.uint8)
    one[150, 150] = 0
    np.save(tmp_path / "one.npy", one)
    source = Pictures(str(tmp_path), rotation_deg=0, dilation_px=(width, width))
    holes = [int((~mask).sum()) for mask in source.draw(40, 200, np.random.default_rng(0))]
    assert max(holes) == width**2  # whole where the window holds it all


def test_a_turned_picture_keeps_its_share_of_holes(tmp_path: Path) -> None:
    stripes = np.zeros((200, 200), dtype=np.uint8)
    stripes[:, ::2] = 1
    np.save(tmp_path / "stripes.npy", stripes)
    drawn = Pictures(str(tmp_path), dilation_px=(1, 1)).draw(30, 100, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)  # a grey ring would fall to one side
    rows_differ = [bool((mask != mask[:1]).any()) for mask in drawn]
    assert sum(rows_differ) > 25, "turned by any angle"


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("a.png", b"", "a.png cannot be read as a picture"),
        ("a.png", b"\x89PNG\r\n\x1a\nrubbish", "a.png cannot be read as a picture"),
        ("a.npy", b"rubbish", "a.npy cannot be read as an array"),
        ("a.txt", b"", "holds no picture; known endings: .png"),
    ],
)
def test_bad_pictures_are_named(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MaskError, match=re.escape(text)):
        Pictures(str(tmp_path)).draw(1, 16, np.random.default_rng(0))


@pytest.mark.parametrize(
    "array, text",
    [
        (np.ones((20, 20)), "a.npy has no hole; is it the other way round? give the other value of `holes`"),
        (np.zeros((4, 90)), "a.npy has shape (4, 90); a mask is two-dimensional with sides of 8 px or more"),
        (np.zeros((9, 9, 3)), "a.npy has shape (9, 9, 3)"),
        (np.array([{}]), "a.npy cannot be read as an array"),
    ],
)
def test_arrays_that_are_no_mask(tmp_path: Path, array: np.ndarray, text: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(MaskError, match=re.escape(text)):
        Pictures(str(tmp_path)).draw(1, 16, np.random.default_rng(0))


def test_sixteen_bits_are_cut_at_half_of_their_own_scale(tmp_path: Path) -> None:
    deep = np.zeros((20, 20), dtype=np.uint16)
    deep[:, 10:] = 40_000
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert Pictures(str(tmp_path)).valid[0].mean() == 0.5


def test_a_missing_folder() -> None:
    with pytest.raises(MaskError, match="nowhere is not a folder; give one that holds pictures of masks"):
        Pictures("nowhere").draw(1, 16, np.random.default_rng(0))


def test_cuts_follow_the_sky() -> None:
    # One cap: a cut's share of holes averages to the cap's share of the sky, whatever the projection's stretch
    # (5 deg wide fields stretch by 0.2 %).
    vectors = np.stack(hp.pix2vec(64, np.arange(12 * 64**2)), axis=-1)
    valid = vectors @ np.array([0.0, 0.6, 0.8]) < 0.5
    cuts = SkyCuts(valid, step_arcmin=20.0).draw(1500, 16, np.random.default_rng(0))
    # Cuts are nearly whole or empty: the scatter of the mean is sqrt(0.25 * 0.75 / 1500) = 1.1 %.
    assert 1 - cuts.mean() == pytest.approx(1 - valid.mean(), abs=0.035)
    assert {0.0, 1.0} <= set(cuts.mean(axis=(1, 2)).tolist())


def test_a_sky_mask_is_read_from_its_file(tmp_path: Path) -> None:
    valid = np.random.default_rng(1).random(12 * 8**2) > 0.3
    write_map(tmp_path / "mask.fits", valid.astype(np.float32))
    table = {"kind": "sky", "mask": str(tmp_path / "mask.fits"), "step_arcmin": 60.0}
    from_file = build_masks(table).draw(3, 16, np.random.default_rng(2))
    direct = Bounded(SkyCuts(valid, step_arcmin=60.0)).draw(3, 16, np.random.default_rng(2))
    np.testing.assert_array_equal(from_file, direct)


@pytest.mark.parametrize(
    "table, text",
    [
        ({"kind": "shape"}, "[masks] kind is 'shape'; known: shapes, circles, pictures, sky, mixed; did you mean"),
        ({"mots": 3}, "[masks] of kind 'shapes': unknown key 'mots'; did you mean 'most'"),
        ({"most": 0}, "[masks] most is 0; give 1 or more"),
        ({"kind": "circles", "radius_px": [9, 3]}, "[masks] radius_px is [9, 3]; the least comes first"),
        ({"kind": "circles", "radius_px": 4}, "[masks] radius_px is 4; give two numbers"),
        ({"kind": "circles", "centered": 1}, "[masks] centered is 1; give true or false"),
        ({"kind": "pictures"}, "[masks] of kind 'pictures' needs folder, a path; it is None"),
        ({"kind": "sky"}, "[masks] of kind 'sky' needs mask, a path; it is None"),
        ({"kind": "pictures", "folder": "x", "holes": "darc"}, "[masks] holes is 'darc'; known: dark, bright; did"),
        ({"kind": "pictures", "folder": "x", "dilation_px": [0, 3]}, "dilation_px is (0, 3); give whole numbers"),
        ({"hole_fraction": [0.1, 1.5]}, "[masks] hole_fraction is 1.5; it must be at most 1.0"),
        ("shapes", "[data] masks is 'shapes'; write a table"),
    ],
)  # fmt: skip
def test_what_is_refused(table: dict, text: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(text)):
        build_masks(table)
