"""Colors: healpy's own table, and the same picture that matplotlib would paint."""

import re
import warnings

import numpy as np
import pytest
from healpy.projaxes import create_colormap
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import Colormap, Normalize

from cmbinpaint.errors import MapError
from cmbinpaint.training.data.planck_colors import from_rgb, luma, planck_colors, render, to_rgb


def healpys() -> Colormap:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # healpy's use of matplotlib
        return create_colormap("planck")


def test_the_table_is_healpys() -> None:
    expected = healpys()(np.arange(256))[:, :3]
    np.testing.assert_array_equal(planck_colors(), expected)
    assert not planck_colors().flags.writeable


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), limit=st.floats(1.0, 1000.0))
def test_pictures_are_what_matplotlib_paints(seed: int, limit: float) -> None:
    field = np.random.default_rng(seed).normal(0, limit, (5, 7))
    expected = healpys()(Normalize(-limit, limit, clip=True)(field))[..., :3]
    # float32 against float64
    np.testing.assert_allclose(to_rgb(field, limit), expected, atol=1e-7)


def test_what_is_beyond_the_limit_is_clipped() -> None:
    np.testing.assert_array_equal(to_rgb([-1e9, 1e9]), to_rgb([-300.0, 300.0]))
    np.testing.assert_array_equal(to_rgb([-300.0, 300.0]), planck_colors()[[0, 255]].astype(np.float32))


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan, np.inf])
def test_limits_are_positive(limit: float) -> None:
    with pytest.raises(MapError, match=re.escape(f"the color limit is {limit} µK; give a positive number")):
        to_rgb([0.0], limit)


def test_holes_have_no_color() -> None:
    with pytest.raises(MapError, match="1 temperatures are not finite; they have no color"):
        to_rgb([0.0, np.nan])


def test_a_picture_ends_where_it_is_told() -> None:
    field = np.array([-900.0, -150.0, -149.0, 0.0, 249.0, 250.0, 900.0])
    grey = render(field, -150.0, 250.0, "grey")
    expected = np.clip(np.floor((field + 150) / 400 * 256), 0, 255) / 255
    np.testing.assert_allclose(grey, np.repeat(expected[:, None], 3, axis=1), atol=1e-7)  # float32
    np.testing.assert_array_equal(render(field, -300.0, 300.0), to_rgb(field))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), colors=st.sampled_from(["planck", "grey"]))
def test_within_the_range_a_picture_tells_temperature_to_half_a_step(seed: int, colors: str) -> None:
    field = np.random.default_rng(seed).uniform(-100, 200, 50)
    back = from_rgb(render(field, -100.0, 200.0, colors), -100.0, 200.0, colors)
    # two of Planck's colors may be equal in float32; half a step is 0.6 µK
    assert np.abs(back - field).max() <= 300 / 256 / 2 * 1.0001


def test_grey_weighs_the_eye() -> None:
    np.testing.assert_allclose(luma(np.eye(3)), [0.2989, 0.5870, 0.1140])


@pytest.mark.parametrize("low, high", [(1.0, 1.0), (2.0, -2.0), (np.nan, 1.0), (0.0, np.inf)])
def test_an_empty_range_is_refused(low: float, high: float) -> None:
    for call in (lambda: render(0.0, low, high), lambda: from_rgb(np.zeros(3), low, high)):
        with pytest.raises(MapError, match="µK; expected T_min below T_max, both finite"):
            call()


def test_unknown_color_maps_suggest_the_near_one() -> None:
    with pytest.raises(
        MapError, match="unknown color map 'plank'; known: planck, grey; did you mean 'planck'"
    ):
        render(0.0, -1.0, 1.0, "plank")
