"""The tangent plane agrees with healpy's projector and astropy's TAN, at the poles and at lon 0 too."""

import re

import numpy as np
import pytest
from astropy.wcs import WCS
from healpy.projector import GnomonicProj
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane

# Float64 rounding through a dozen operations on unit vectors, over an angle of order one.
ANGLE_TOL = 1e-9
PIXEL_TOL = 1e-9  # the same, over steps of 1e-3 rad and more, relative to a patch of 100 px

POINTS = [
    (0.0, 0.0),
    (0.0, 90.0),
    (0.0, -90.0),
    (123.0, 90.0),
    (359.999, 10.0),
    (180.0, -45.0),
    (37.0, 89.99),
]


def vectors(theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1)


def some_pixels(side: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, side, 40), rng.integers(0, side, 40)


@pytest.mark.parametrize("lon, lat", POINTS)
@pytest.mark.parametrize("side", [32, 33])
def test_agrees_with_healpy(lon: float, lat: float, side: int) -> None:
    step_arcmin = 20.0
    row, col = some_pixels(side)
    proj = GnomonicProj(rot=(lon, lat, 0), xsize=side, ysize=side, reso=step_arcmin)
    expected = np.transpose(proj.xy2vec(*proj.ij2xy(row, col)))
    plane = TangentPlane(lon, lat, PatchGrid(side, step_arcmin / 60))
    np.testing.assert_allclose(vectors(*plane.to_sky(row, col)), expected, atol=ANGLE_TOL, rtol=0)
    np.testing.assert_allclose(plane.to_vectors(row, col), expected, atol=ANGLE_TOL, rtol=0)


@pytest.mark.parametrize("lon, lat", POINTS)
@pytest.mark.parametrize("rotation", [0.0, 30.0, -110.0])
def test_agrees_with_astropy(lon: float, lat: float, rotation: float) -> None:
    side, step = 64, 0.3
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    wcs.wcs.crval = [lon, lat]
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    wcs.wcs.cdelt = [-step, step]
    wcs.wcs.lonpole = 180  # TAN's default turns the map by 180 deg at the north pole itself
    turn = np.radians(rotation)
    # Rows point `rotation` east of north, columns as much north of west.
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    row, col = some_pixels(side)
    sky_lon, sky_lat = wcs.wcs_pix2world(col, row, 0)
    plane = TangentPlane(lon, lat, PatchGrid(side, step), rotation)
    expected = vectors(np.radians(90 - sky_lat), np.radians(sky_lon))
    np.testing.assert_allclose(vectors(*plane.to_sky(row, col)), expected, atol=ANGLE_TOL, rtol=0)
    found = plane.to_plane(np.radians(90 - sky_lat), np.radians(sky_lon))
    np.testing.assert_allclose(found, (row, col), atol=PIXEL_TOL * 100, rtol=0)


@settings(deadline=None, max_examples=60)
@given(
    lon=st.floats(-360, 720),
    lat=st.floats(-90, 90),
    rotation=st.floats(-180, 180),
    row=st.floats(-5, 70),
    col=st.floats(-5, 70),
    step=st.floats(0.001, 0.7),
)
def test_there_and_back(lon: float, lat: float, rotation: float, row: float, col: float, step: float) -> None:
    plane = TangentPlane(lon, lat, PatchGrid(64, step), rotation)
    theta, phi = plane.to_sky(row, col)
    assert 0 <= theta <= np.pi and 0 <= phi < 2 * np.pi
    # Rounding of angles (1e-16 of a few radians) over the step.
    np.testing.assert_allclose(plane.to_plane(theta, phi), (row, col), atol=2e-14 / np.radians(step) + 1e-9)


def test_directions_on_the_sky() -> None:
    plane = TangentPlane(10.0, 20.0, PatchGrid(11, 1.0))
    theta, phi = plane.to_sky([5, 6, 5], [5, 5, 6])
    np.testing.assert_allclose((90 - np.degrees(theta[0]), np.degrees(phi[0])), (20, 10), atol=1e-12)
    assert theta[1] < theta[0], "row grows north"
    assert phi[2] < phi[0], "column grows west"
    turned = TangentPlane(10.0, 20.0, PatchGrid(11, 1.0), rotation_deg=90.0)
    assert turned.to_sky(6, 5)[1] > phi[0], "rows turned by 90 deg grow east"


def test_behind_the_horizon_is_nan() -> None:
    plane = TangentPlane(0.0, 0.0, PatchGrid(8, 1.0))
    row, col = plane.to_plane([np.pi / 2, 0.0, np.pi / 2], [np.pi, 0.0, 1e-3])
    assert np.isnan(row).tolist() == np.isnan(col).tolist() == [True, True, False]


def test_shapes_and_grid() -> None:
    grid = PatchGrid(6, 0.5)
    plane = TangentPlane(0, 0, grid)
    theta, phi = plane.to_sky(*grid.rows_cols())
    assert theta.shape == phi.shape == (6, 6)
    assert plane.to_vectors(np.zeros((2, 1)), np.zeros(3)).shape == (2, 3, 3)
    assert grid.center == 2.5
    assert grid.field_deg == pytest.approx(np.degrees(2 * np.arctan(np.radians(1.5))), rel=1e-12)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: PatchGrid(0, 1.0), "patch side is 0; give a whole number of pixels, 1 or more"),
        (lambda: PatchGrid(8.0, 1.0), "patch side is 8.0; give a whole number"),  # type: ignore[arg-type]
        (lambda: PatchGrid(8, -1.0), "patch step is -1.0 deg; give a positive number of degrees"),
        (lambda: PatchGrid(8, float("nan")), "patch step is nan deg"),
        (
            lambda: PatchGrid(1024, 10.0),
            "a tangent plane bears at most 170: use fewer pixels or a smaller step",
        ),
        (lambda: TangentPlane(0, 91, PatchGrid(8, 1)), "lat_deg is 91; give -90 to 90"),
        (lambda: TangentPlane(np.inf, 0, PatchGrid(8, 1)), "lon_deg is inf; give a finite angle in degrees"),
        (
            lambda: TangentPlane(0, 0, PatchGrid(8, 1)).vectors_to_plane(np.zeros((3, 2))),
            "directions have shape (3, 2); give vectors (..., 3)",
        ),
    ],
)
def test_what_is_refused(make: object, text: str) -> None:
    with pytest.raises(MapError, match=re.escape(text)):
        make()  # type: ignore[operator]
