"""Tiling covers, cutting evaluates, pasting puts back."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.networks.cutting import Scaling, SmoothMap, cut_field, known_pixels, nearest_pixels
from cmbinpaint.networks.pasting import paste_values
from cmbinpaint.networks.tiling import Tiling
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sphere.harmonics import draw_alm
from cmbinpaint.sphere.pixels import pixel_vectors


@pytest.mark.parametrize("nside", [128, 256, 2048])
def test_a_step_is_half_a_map_pixel(nside: int) -> None:
    (plane,) = Tiling.cover(nside, pixel_vectors(nside, np.array([12345]))).planes
    assert plane.grid.side == 128
    assert plane.grid.step_deg == pytest.approx(np.degrees(hp.nside2resol(nside)) / 2, rel=1e-12)
    assert plane.grid.field_deg < 30


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), nside=st.sampled_from([64, 128, 256]))
def test_every_wanted_pixel_has_a_patch_that_sees_beyond_it(seed: int, nside: int) -> None:
    npix = 12 * nside**2
    rng = np.random.default_rng(seed)
    pixels = np.unique(np.concatenate([rng.integers(0, npix, 300), [0, npix - 1, npix // 2]]))
    tiling = Tiling.cover(nside, pixel_vectors(nside, pixels))
    assert np.array_equal(np.sort(np.concatenate(tiling.members)), np.arange(pixels.size))
    for plane, members in zip(tiling.planes, tiling.members, strict=True):
        row, col = plane.to_plane(*hp.pix2ang(nside, pixels[members]))
        margin = np.minimum.reduce([row, col, 127 - row, 127 - col])
        # Patches lie half a side apart; no point is farther from a center than their cell's corner.
        assert margin.min() > 16


def test_an_empty_tiling_has_no_patches() -> None:
    assert len(Tiling.cover(128, np.empty((0, 3)))) == 0


def test_a_patch_pixel_is_data_if_it_overlaps_an_observed_one() -> None:
    nside = 128
    centre = hp.ang2pix(nside, np.radians(75.0), np.radians(30.0))
    known = np.ones(12 * nside**2, bool)
    known[[centre, *hp.get_all_neighbours(nside, centre)]] = False
    (plane,) = Tiling.cover(nside, pixel_vectors(nside, np.array([centre]))).planes
    data = known_pixels(known, nside, [plane])[0]
    theta, phi = plane.to_sky(*plane.grid.rows_cols())
    over_data = known[hp.ang2pix(nside, theta, phi)]
    assert np.all(data[over_data]), "what lies over data is data"
    # The hole is three map pixels wide, six patch pixels; half of one on each side mixes.
    assert np.count_nonzero(~over_data) == pytest.approx(36, abs=4)
    assert np.count_nonzero(~data) == pytest.approx(25, abs=5)
    assert (
        np.count_nonzero(~known_pixels(~known, nside, [plane])) > 16_000
    )  # an inverted mask is another thing


def test_a_scaling_is_undone_and_reads_only_what_is_known() -> None:
    rng = np.random.default_rng(0)
    fields = 40 * rng.standard_normal((3, 16, 16)) + 200
    known = rng.random(fields.shape) < 0.5
    scaling = Scaling.of(fields, known)
    pairs = list(zip(fields, known, strict=True))
    np.testing.assert_allclose(scaling.offset, [field[seen].mean() for field, seen in pairs])
    np.testing.assert_allclose(scaling.unit, [field[seen].std() for field, seen in pairs])
    other = Scaling.of(np.where(known, fields, np.nan), known)
    assert np.array_equal(other.offset, scaling.offset) and np.array_equal(other.unit, scaling.unit)
    np.testing.assert_allclose(scaling.undo(scaling.apply(fields)), fields, rtol=1e-5)
    few = known.copy()
    few[0] = False
    few[0, 3, 3] = True
    assert Scaling.of(fields, few).unit[0] == pytest.approx(np.median(scaling.unit[1:]))


def band_limited(lmax: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    cl = np.zeros(lmax + 1)
    cl[2:] = 1.0 / np.arange(2, lmax + 1) ** 2
    return draw_alm(cl, np.random.default_rng(seed)), cl


@pytest.mark.parametrize("lat", [-90.0, -35.0, 0.0, 80.0])
def test_a_cut_field_is_the_field(lat: float) -> None:
    lmax, nside = 24, 64
    alm, _ = band_limited(lmax, 1)
    plane = TangentPlane(0.0, lat, PatchGrid(16, 0.7), 45.0)
    theta, phi = plane.to_sky(*plane.grid.rows_cols())
    expected = np.zeros(theta.shape, complex)
    for m in range(lmax + 1):  # the definition, by scipy's own harmonics
        from scipy.special import sph_harm_y

        for ell in range(m, lmax + 1):
            term = alm[hp.Alm.getidx(lmax, ell, m)] * sph_harm_y(ell, m, theta, phi)
            expected += term if m == 0 else 2 * term.real
    # 1e-5 of the rms is what cutting asks of the transform.
    assert np.allclose(cut_field(alm, [plane])[0], expected.real, atol=3e-5 * expected.real.std(), rtol=0)
    assert np.array_equal(nearest_pixels(nside, [plane])[0], hp.ang2pix(nside, theta, phi))


def test_cut_then_paste_converges_as_the_step_shrinks() -> None:
    lmax, nside = 40, 128
    alm, _ = band_limited(lmax, 2)
    pixels = hp.query_disc(nside, hp.ang2vec(30.0, 40.0, lonlat=True), np.radians(3.0))
    truth = hp.alm2map(alm, nside, lmax=lmax)[pixels]
    errors = []
    for step in (1.6, 0.8, 0.4):
        plane = TangentPlane(30.0, 40.0, PatchGrid(int(32 / step), step))
        patch = cut_field(alm, [plane])[0]
        pasted = paste_values(patch, plane, pixel_vectors(nside, pixels))
        errors.append(np.std(pasted - truth) / np.std(truth))
    # Cubic splines: the error falls with the fourth power of the step.
    assert errors[0] / errors[1] > 10 and errors[1] / errors[2] > 5
    assert errors[2] < 1e-4


def test_a_smooth_map_is_the_map_between_its_pixels() -> None:
    """At a map's own pixels, and with its constant: nothing is added or taken."""
    alm, _ = band_limited(100, 3)
    nside = 64
    sky = hp.alm2map(alm, nside, lmax=100) + 3000.0
    pixels = np.arange(0, sky.size, 97)
    found = SmoothMap.of(sky, nside).at(*hp.pix2ang(nside, pixels))
    # HEALPix' quadrature, worst at the poles.
    assert np.sqrt(np.mean(np.square(found - sky[pixels]))) < 3e-3 * np.std(sky)
