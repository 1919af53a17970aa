"""Tiling covers, cutting evaluates, pasting puts back."""

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.networks.cutting import cut_field, nearest_pixels
from cmbinpaint.networks.pasting import paste_values
from cmbinpaint.networks.tiling import WIDEST_FIELD_DEG, Tiling, patch_side
from cmbinpaint.plane.tangent import PatchGrid, TangentPlane
from cmbinpaint.sphere.harmonics import draw_alm


@pytest.mark.parametrize("nside", [128, 256, 512, 1024, 2048])
def test_fields_stay_narrow_enough_for_a_plane(nside: int) -> None:
    side = patch_side(nside)
    assert np.degrees(side * hp.nside2resol(nside)) <= WIDEST_FIELD_DEG
    assert side == (64 if nside == 128 else 128)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), nside=st.sampled_from([128, 256]))
def test_every_wanted_pixel_has_a_patch_that_sees_beyond_it(seed: int, nside: int) -> None:
    npix = 12 * nside**2
    rng = np.random.default_rng(seed)
    pixels = np.unique(np.concatenate([rng.integers(0, npix, 300), [0, npix - 1, npix // 2]]))
    tiling = Tiling.cover(nside, pixels)
    assert np.array_equal(np.sort(np.concatenate(tiling.members)), pixels)
    for plane, members in zip(tiling.planes, tiling.members, strict=True):
        row, col = plane.to_plane(*hp.pix2ang(nside, members))
        margin = np.minimum.reduce([row, col, tiling.grid.side - 1 - row, tiling.grid.side - 1 - col])
        # Patches lie half a side apart, and no point is farther from a center than their cell's corner.
        assert margin.min() > 0.13 * tiling.grid.side


def test_an_empty_tiling_has_no_patches() -> None:
    assert len(Tiling.cover(128, np.empty(0, np.int64))) == 0


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
    for step in (0.8, 0.4, 0.2):
        plane = TangentPlane(30.0, 40.0, PatchGrid(int(16 / step), step))
        patch = cut_field(alm, [plane])[0]
        pasted = paste_values(patch, np.ones(patch.shape, bool), plane, nside, pixels)
        errors.append(np.std(pasted - truth) / np.std(truth))
    # Bilinear interpolation: the error falls with the square of the step.
    assert errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3
    assert errors[2] < 2e-3


def test_pasting_reads_only_what_counts() -> None:
    plane = TangentPlane(10.0, 5.0, PatchGrid(16, 0.5))
    counts = np.zeros((16, 16), bool)
    counts[4:9, 4:9] = True
    patch = np.where(counts, 3.5, np.nan)
    pixels = hp.query_disc(64, hp.ang2vec(10.0, 5.0, lonlat=True), np.radians(3.0))
    pasted = paste_values(patch, counts, plane, 64, pixels)
    assert np.all(np.isfinite(pasted))
    assert set(np.round(pasted, 12)) <= {0.0, 3.5} and 3.5 in np.round(pasted, 12)
