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
from cmbinpaint.sphere.colors import planck_colors, to_rgb


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
