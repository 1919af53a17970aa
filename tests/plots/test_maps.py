"""Pictures of skies: what each picture holds, read back from the axes."""

import healpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from cmbinpaint import plots

NSIDE = 16
NPIX = 12 * NSIDE**2


@pytest.fixture
def latitude() -> np.ndarray:
    theta, _ = healpy.pix2ang(NSIDE, np.arange(NPIX))
    return 90 - np.degrees(theta)


@pytest.fixture
def longitude() -> np.ndarray:
    return healpy.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[0]


def test_a_sky_is_drawn_north_up_and_east_to_the_left(latitude: np.ndarray, longitude: np.ndarray) -> None:
    picture = plots.draw_sky(latitude, pixels=200).images[0].get_array()
    rows, _ = picture.shape
    assert picture[rows // 10].mean() < -50 and picture[-rows // 10].mean() > 50  # row 0 is the bottom
    east = np.where(longitude < 180, longitude, longitude - 360)
    picture = plots.draw_sky(east, pixels=200).images[0].get_array()
    assert picture[:, 40].mean() > 60 and picture[:, 160].mean() < -60


def test_orderings_give_the_same_picture(latitude: np.ndarray) -> None:
    ring = plots.draw_sky(latitude, pixels=200).images[0].get_array()
    nest = plots.draw_sky(healpy.reorder(latitude, r2n=True), nest=True, pixels=200).images[0].get_array()
    np.testing.assert_array_equal(ring, nest)
    ring = plots.draw_patch(latitude, 30, 50).images[0].get_array()
    nest = plots.draw_patch(healpy.reorder(latitude, r2n=True), 30, 50, nest=True).images[0].get_array()
    np.testing.assert_array_equal(ring, nest)


@pytest.mark.parametrize("hole", [healpy.UNSEEN, np.float32(healpy.UNSEEN), np.nan, "masked"])
def test_holes_are_masked_in_the_picture(hole: object, latitude: np.ndarray) -> None:
    south = latitude < 0
    sky = np.ma.array(latitude, mask=south) if hole == "masked" else np.where(south, hole, latitude)
    image = plots.draw_sky(sky, pixels=200).images[0]
    picture = image.get_array()
    assert picture.compressed().min() >= 0
    assert 0.45 < np.ma.getmaskarray(picture).mean() < 0.7  # half the ellipse, and the corners
    assert image.cmap.get_bad()[:3] == pytest.approx((0xB8 / 255,) * 3)


def test_a_patch_looks_at_its_center_with_east_to_the_left(
    latitude: np.ndarray, longitude: np.ndarray
) -> None:
    ax = plots.draw_patch(longitude, 120.0, 0.0, side_deg=20)
    picture = ax.images[0].get_array()
    assert picture[250, 250] == pytest.approx(120, abs=4)
    assert picture[250, 10] > 125 and picture[250, -10] < 115
    assert ax.images[0].get_extent() == [10, -10, -10, 10]
    picture = plots.draw_patch(latitude, 120.0, 40.0, side_deg=20).images[0].get_array()
    assert picture[10, 250] < 35 and picture[-10, 250] > 45


def test_the_color_scale_is_symmetric_and_says_its_unit(latitude: np.ndarray) -> None:
    ax = plots.draw_sky(latitude, unit="uK_CMB", limit=70, title="north")
    assert ax.images[0].get_clim() == (-70, 70)
    assert "µK" in [other.get_xlabel() for other in ax.figure.axes]
    assert ax.get_title(loc="left") == "north"


@given(st.floats(1e-6, 1e6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_the_limit_covers_the_quantile_and_is_round(scale: float, seed: int) -> None:
    sky = scale * np.random.default_rng(seed).standard_normal(NPIX)
    sky[:5] = [healpy.UNSEEN, np.nan, np.inf, -np.inf, healpy.UNSEEN]
    limit = plots.symmetric_limit(sky)
    wanted = np.quantile(np.abs(sky[5:]), 0.995)
    assert wanted * (1 - 1e-6) <= limit <= 1.51 * wanted
    digits = limit / 10 ** np.floor(np.log10(limit) + 1e-9)
    assert 10 * digits == pytest.approx(np.round(10 * digits))


@pytest.mark.parametrize("sky", [np.zeros(NPIX), np.full(NPIX, np.nan), np.full(NPIX, healpy.UNSEEN)])
def test_an_empty_or_constant_sky_is_drawn(sky: np.ndarray) -> None:
    assert plots.symmetric_limit(sky) == 1.0
    assert plots.draw_sky(sky, pixels=100).images[0].get_clim() == (-1, 1)


@pytest.mark.parametrize("with_truth", [False, True])
def test_before_and_after_share_scale_and_rims(with_truth: bool, latitude: np.ndarray) -> None:
    before = np.where(np.abs(latitude) < 6, np.nan, latitude)
    figure = plots.draw_before_after(before, latitude, 10, 0, truth=latitude if with_truth else None)
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["with holes", "filled", "truth"][: 2 + with_truth]
    assert len({ax.images[0].get_clim() for ax in panels}) == 1
    assert not panels[0].collections and all(ax.collections for ax in panels[1:])  # contours


def test_drawing_never_writes_to_its_input_nor_to_the_global_style(latitude: np.ndarray) -> None:
    import matplotlib

    settings_before = dict(matplotlib.rcParams)
    latitude.flags.writeable = False
    plots.draw_sky(latitude, pixels=100)
    plots.draw_patch(latitude, 0, 90)
    assert dict(matplotlib.rcParams) == settings_before


def test_given_axes_are_drawn_on(latitude: np.ndarray) -> None:
    ax = Figure().add_subplot()
    assert plots.draw_sky(latitude, pixels=100, ax=ax, colorbar=False) is ax
    assert plots.draw_patch(latitude, 0, 0, ax=ax, colorbar=False) is ax
    assert len(ax.images) == 2 and len(ax.figure.axes) == 1
