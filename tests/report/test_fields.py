"""What a report shows: close-ups against healpy's projection, panoramas against plain means."""

import healpy
import numpy as np
import pytest

from cmbinpaint.report.fields import CLOSE_UP_SIDE, PANORAMA_NSIDE, CloseUp, Maps, Panorama
from cmbinpaint.report.hole_table import Hole

NSIDE = 64
NPIX = 12 * NSIDE**2


def hole(lon: float, lat: float, radius: float, depth: float) -> Hole:
    return Hole(lon, lat, 10, 1.0, depth, radius)


def maps(nside: int = NSIDE, *, seed: int = 0, under: float = np.nan) -> Maps:
    rng = np.random.default_rng(seed)
    npix = 12 * nside**2
    sky = rng.standard_normal(npix)
    holes = np.zeros(npix, bool)
    holes[healpy.query_disc(nside, healpy.ang2vec(30.0, 20.0, lonlat=True), 0.3)] = True
    return Maps(
        np.where(holes, under, sky), sky, ~holes, holes, sky + 1, np.where(holes, np.abs(sky), np.nan)
    )


@pytest.mark.parametrize(("lon", "lat"), [(30.0, 20.0), (0.0, 0.0), (211.0, -72.0), (100.0, 90.0)])
def test_a_close_up_is_healpys_gnomonic_view(lon: float, lat: float) -> None:
    shown = CloseUp.of("it", hole(lon, lat, 4.0, 4.0), maps(), offset=0.5)
    projection = healpy.projector.GnomonicProj(
        rot=(lon, lat), xsize=CLOSE_UP_SIDE, reso=60 * shown.side_deg / CLOSE_UP_SIDE, flipconv="astro"
    )
    picture = projection.projmap(maps().filled, lambda x, y, z: healpy.vec2pix(NSIDE, x, y, z))
    # healpy's grid is off by half a step in each direction: pixels at borders differ, no more.
    assert np.mean(np.isclose(shown.filled + 0.5, picture)) > 0.93
    assert np.mean(np.isclose(shown.filled[::-1] + 0.5, picture)) < 0.1
    np.testing.assert_allclose(shown.target, shown.filled + 1)


def test_a_close_up_fits_its_hole() -> None:
    pixel = float(np.degrees(healpy.nside2resol(NSIDE)))
    sides = [
        CloseUp.of("it", hole(0, 0, radius, depth), maps(), 0.0).side_deg
        for radius, depth in ((0.0, 1.0), (9.5, 9.5 / pixel), (180.0, 8.0), (180.0, 40.0))
    ]
    assert sides == pytest.approx([24 * pixel, 2.6 * 9.5, 5 * 8 * pixel, 60.0])


@pytest.mark.parametrize("nside", [NSIDE, 2 * PANORAMA_NSIDE])
def test_nothing_under_a_hole_is_shown(nside: int) -> None:
    plain, wild = maps(nside), maps(nside, under=1e30)
    for of in (
        lambda given: Panorama.of(given, 0.2),
        lambda given: CloseUp.of("it", hole(30, 20, 17, 200), given, 0.2),
    ):
        one, other = of(plain), of(wild)
        np.testing.assert_array_equal(one.before, other.before)
        assert np.isnan(one.before).any() and np.nanmax(np.abs(one.before)) < 10


def test_a_panorama_of_a_small_map_is_the_map() -> None:
    given = maps()
    shown = Panorama.of(given, 0.25)
    assert shown.nside == NSIDE
    np.testing.assert_allclose(shown.filled, given.filled - 0.25)
    np.testing.assert_array_equal(np.isnan(shown.before), given.holes)
    np.testing.assert_allclose(shown.error, given.error)


def test_a_panorama_of_a_large_map_holds_means() -> None:
    given = maps(2 * PANORAMA_NSIDE)
    shown = Panorama.of(given, 0.0)
    assert shown.nside == PANORAMA_NSIDE and shown.filled.size == 12 * PANORAMA_NSIDE**2
    np.testing.assert_allclose(shown.filled, healpy.ud_grade(given.filled, PANORAMA_NSIDE), atol=1e-12)
    share = healpy.ud_grade(given.observed.astype(float), PANORAMA_NSIDE)
    np.testing.assert_array_equal(np.isnan(shown.before), share < 0.5)
    np.testing.assert_array_equal(np.isnan(shown.error), share == 1)
    filled = np.where(given.holes, np.square(np.nan_to_num(given.error)), 0.0)
    mean_square = healpy.ud_grade(filled, PANORAMA_NSIDE)[share < 1] / (1 - share[share < 1])
    np.testing.assert_allclose(shown.error[share < 1], np.sqrt(mean_square))


def test_rims_are_kept_of_large_holes_only() -> None:
    given = maps()
    single = healpy.ang2pix(NSIDE, 200.0, 0.0, lonlat=True)
    given.observed[single] = False
    outline = Panorama.of(given, 0.0).outline
    assert outline[single] and np.array_equal(~outline, given.holes)
