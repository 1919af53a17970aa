"""Pictures of skies: what each picture holds, read back from the axes."""

import healpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cmbinpaint import plots
from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.plots.figures import figure_png

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


@pytest.mark.parametrize("varied", [False, True])
def test_before_and_after_share_scale_and_rims(varied: bool, latitude: np.ndarray) -> None:
    before = np.where(np.abs(latitude) < 6, np.nan, latitude)
    figure = plots.draw_before_after(before, latitude, 10, 0, target=latitude if varied else None)
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    assert [ax.get_title(loc="left") for ax in panels] == ["with holes", "filled", "target"][: 2 + varied]
    assert len({ax.images[0].get_clim() for ax in panels}) == 1
    assert not panels[0].collections and all(ax.collections for ax in panels[1:])  # contours


def test_several_fills_are_drawn_side_by_side_by_name(latitude: np.ndarray) -> None:
    before = np.where(np.abs(latitude) < 6, np.nan, latitude)
    fills = {"one": latitude, "two": latitude + 20.0}
    figure = plots.draw_before_after(before, fills, 10, 0, target=latitude)
    panels = {ax.get_title(loc="left"): ax.images[0].get_array() for ax in figure.axes if ax.images}
    assert list(panels) == ["with holes", "one", "two", "target"]
    np.testing.assert_allclose(panels["two"] - panels["one"], 20.0, rtol=1e-12)


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


def test_rims_of_a_full_sky_are_drawn_where_there_are_holes(latitude: np.ndarray) -> None:
    ax = plots.draw_sky(latitude, pixels=200, outline=np.abs(latitude) > 20)
    (rims,) = ax.collections
    y = np.concatenate([path.vertices[:, 1] for path in rims.get_paths()])
    # Mollweide's y of 20 degrees; a pixel of nside 16 is 3.7 degrees, 0.06 here.
    theta = 0.0
    for _ in range(50):
        theta -= (2 * theta + np.sin(2 * theta) - np.pi * np.sin(np.radians(20))) / (
            2 + 2 * np.cos(2 * theta)
        )
    assert np.abs(np.abs(y) - np.sin(theta)).max() < 0.07
    assert not plots.draw_sky(latitude, pixels=200, outline=np.ones(NPIX, bool)).collections


def test_gray_tells_cold_from_hot_and_hatches_holes(latitude: np.ndarray) -> None:
    hole = np.abs(latitude) < 20
    ax = plots.draw_sky(np.where(hole, np.nan, latitude), pixels=200, colors="gray")
    luminance = ax.images[0].cmap(np.linspace(0, 1, 50))[:, :3].mean(axis=1)
    assert np.all(np.diff(luminance) > 0)
    (hatched,) = ax.collections
    assert hatched.hatches == ["/////"]
    assert not plots.draw_sky(np.where(hole, np.nan, latitude), pixels=200).collections


def test_the_hatching_is_where_nothing_is_known() -> None:
    field = np.zeros((40, 40))
    field[:, :20] = np.nan
    figure = Figure(figsize=(2, 2))
    ax = figure.add_axes((0, 0, 1, 1))
    plots.draw_field(field, side_deg=10, limit=1, colors="gray", colorbar=False, ax=ax)
    ax.set_axis_off()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shades = np.asarray(canvas.buffer_rgba())[20:-20, :, 0].astype(int)
    middle = shades.shape[1] // 2
    unknown, known = shades[:, 20 : middle - 5], shades[:, middle + 5 : -20]
    # White with lines of gray on the one side, the gray of zero alone on the other.
    assert unknown.max() > 240 and unknown.min() < 200
    assert known.max() - known.min() < 3 and 120 < known.mean() < 135


def test_a_spread_goes_from_zero_up_and_from_light_to_dark(latitude: np.ndarray) -> None:
    ax = plots.draw_sky(np.abs(latitude), pixels=100, limit=90, colors="deviation")
    assert ax.images[0].get_clim() == (0, 90)
    luminance = ax.images[0].cmap(np.linspace(0, 1, 20))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(luminance) < 0)


def test_unknown_colors_list_the_known(latitude: np.ndarray) -> None:
    with pytest.raises(CmbInpaintError, match="colors is 'jet'; known: planck, gray, deviation"):
        plots.draw_sky(latitude, pixels=100, colors="jet")


def test_a_field_that_was_cut_is_drawn_as_a_patch_is(latitude: np.ndarray) -> None:
    observed = np.abs(latitude) > 6
    patch = plots.draw_patch(latitude, 10, 5, side_deg=30, outline=observed, pixels=300)
    picture = patch.images[0].get_array()
    field = plots.draw_field(picture, side_deg=30, limit=90, outline=np.abs(picture) > 6, colors="gray")
    assert field.images[0].get_extent() == patch.images[0].get_extent()
    np.testing.assert_array_equal(field.images[0].get_array(), picture)
    rims = [np.concatenate([p.vertices for p in ax.collections[-1].get_paths()]) for ax in (patch, field)]
    np.testing.assert_allclose(rims[0], rims[1])


def test_png_bytes_are_the_same_for_the_same_drawing(latitude: np.ndarray) -> None:
    first, second = (figure_png(plots.draw_sky(latitude, pixels=100), dpi=50) for _ in range(2))
    assert first == second and first.startswith(b"\x89PNG")
    wider = figure_png(plots.draw_sky(latitude, pixels=100), dpi=100)
    width, again = (int.from_bytes(data[16:20], "big") for data in (first, wider))
    assert again == pytest.approx(2 * width, abs=3)
