"""Deep predictions are interpolated: nothing else changes, and little is lost."""

import healpy as hp
import numpy as np
from scipy.spatial import cKDTree

from cmbinpaint.gaussian.deep_hole_interpolation import DEPTH_PER_STEP, thin_out
from cmbinpaint.gaussian.direct_kriging import kriging_weights
from cmbinpaint.sphere.harmonics import draw_alm

NSIDE = 64
NPIX = 12 * NSIDE**2
ELL = np.arange(2 * NSIDE + 1)
CL = np.where(ELL < 2, 0, np.exp(-0.5 * ELL * (ELL + 1) * 0.02**2) / (ELL + 2.0) ** 2)
VECTORS = np.array(hp.pix2vec(NSIDE, np.arange(NPIX))).T
VALID = VECTORS @ VECTORS[20_000] < np.cos(0.35)
VALID[[3, 40_000]] = False
TARGETS = np.flatnonzero(~VALID)
OBSERVED = cKDTree(VECTORS[VALID])


def depth_of(pixels: np.ndarray) -> np.ndarray:
    chord, _ = OBSERVED.query(VECTORS[pixels])
    return 2 * np.arcsin(chord / 2) / hp.nside2resol(NSIDE)


def test_every_target_is_there_once() -> None:
    targets, points, interpolation = thin_out(VALID, TARGETS)
    np.testing.assert_array_equal(np.sort(targets), TARGETS)
    assert interpolation is not None
    assert len(points) < len(targets) == interpolation.direct + len(interpolation.places)
    np.testing.assert_allclose(points[: interpolation.direct], VECTORS[targets[: interpolation.direct]])


def test_only_the_deep_is_interpolated_between_near_places() -> None:
    targets, points, interpolation = thin_out(VALID, TARGETS)
    assert interpolation is not None
    depth = depth_of(targets)
    assert depth[: interpolation.direct].max() < 2 * DEPTH_PER_STEP <= depth[interpolation.direct :].min()
    deep = VECTORS[targets[interpolation.direct :]]
    far = np.linalg.norm(points[interpolation.places] - deep[:, None], axis=-1) / hp.nside2resol(NSIDE)
    # The bilinear neighbors of a point lie within two coarse pixels, a coarse pixel within a quarter depth.
    assert np.all(far.max(axis=1) < 2 * depth[interpolation.direct :] / DEPTH_PER_STEP)


def test_interpolation_follows_a_smooth_function() -> None:
    targets, points, interpolation = thin_out(VALID, TARGETS)
    assert interpolation is not None
    alm = draw_alm(np.where(ELL <= 8, 1.0, 0.0), np.random.default_rng(0))
    theta, phi = hp.vec2ang(points)
    smooth = hp.alm2map(alm, 256)
    found = interpolation.apply(hp.get_interp_val(smooth, theta, phi))
    error = found - hp.get_interp_val(smooth, *hp.pix2ang(NSIDE, targets))
    assert np.abs(error).max() < 0.06 * smooth.std()  # (ell * step)² / 8 is 0.03 an axis at 4 pixels
    constant = interpolation.apply(np.full(len(points), 2.7e6))
    np.testing.assert_array_equal(constant, 2.7e6)


def test_thinned_kriging_is_no_worse() -> None:
    """The error on simulated skies stays within 2 %; the change is small beside the error."""
    direct = kriging_weights(VALID, CL, 0.02, neighbors=(16, 8), factors=(1, 4))
    thin = kriging_weights(VALID, CL, 0.02, neighbors=(16, 8), factors=(1, 4), thin=True)
    assert thin.interpolation is not None
    deep = depth_of(TARGETS) >= 2 * DEPTH_PER_STEP
    rng = np.random.default_rng(1)
    squares = np.zeros(3)
    for _ in range(8):
        signal = hp.alm2map(draw_alm(CL, rng), NSIDE, lmax=ELL.size - 1)
        data = signal + 0.02 * rng.normal(size=NPIX)
        data[~VALID] = np.nan
        one, other = np.zeros((2, NPIX))
        one[direct.targets] = direct.apply(data)
        other[thin.targets] = thin.apply(data)
        rows = TARGETS[deep]
        np.testing.assert_allclose(other[TARGETS[~deep]], one[TARGETS[~deep]], rtol=0, atol=1e-4)
        squares += [np.mean(x[rows] ** 2) for x in (one - signal, other - signal, other - one)]
    before, after, change = np.sqrt(squares)
    assert 0.95 < after / before < 1.02
    assert 0 < change < 0.15 * before


def test_shallow_holes_are_predicted_directly() -> None:
    valid = np.ones(NPIX, dtype=bool)
    valid[::500] = False
    targets, points, interpolation = thin_out(valid, np.flatnonzero(~valid))
    assert interpolation is None
    np.testing.assert_array_equal(points, VECTORS[targets])
