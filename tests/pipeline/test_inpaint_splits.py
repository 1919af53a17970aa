"""`inpaint_splits`: one draw of the signal in all splits, noise of each its own; against dense linear algebra."""

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from scipy.special import eval_legendre

from cmbinpaint import inpaint_map, inpaint_splits
from cmbinpaint.errors import CmbInpaintError, MapError, MaskError, SpectrumError
from cmbinpaint.pipeline.inpaint_splits import _levels, _problems
from cmbinpaint.sims import fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NSIDE, FWHM = 8, np.radians(15)
NPIX = 12 * NSIDE**2
NOISE = [20.0, 35.0]
CL = fiducial_cl(3 * NSIDE - 1)
KNOWN = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE, "unit": "uK"}


def observe(seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    sky = simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, seed=seed)
    rng = np.random.default_rng(100 + seed)
    return sky, [sky + std * rng.standard_normal(NPIX) for std in NOISE]


@pytest.fixture(scope="module")
def masks() -> list[np.ndarray]:
    """A cut for both, and a disc that only the second split observes."""
    _, lat = hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)
    cut = np.abs(lat) > 12
    disc = hp.query_disc(NSIDE, hp.ang2vec(40, 60, lonlat=True), np.radians(15))
    first = cut.copy()
    first[disc] = False
    return [first, cut]


def posterior(splits, masks) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the signal in all pixels, from the coadd, by dense linear algebra."""
    vectors = np.array(hp.pix2vec(NSIDE, np.arange(NPIX)))
    cosine = np.clip(vectors.T @ vectors, -1, 1)
    window = (gaussian_beam(FWHM, 3 * NSIDE - 1) * pixel_window(NSIDE, 3 * NSIDE - 1)) ** 2
    power = CL * window
    power[:2] = 1e8
    signal = sum((2 * ell + 1) / (4 * np.pi) * c * eval_legendre(ell, cosine) for ell, c in enumerate(power))
    weight = sum(mask / std**2 for mask, std in zip(masks, NOISE, strict=True))
    seen = weight > 0
    coadd = sum(mask * sky / std**2 for mask, sky, std in zip(masks, splits, NOISE, strict=True))[seen]
    gain = np.linalg.solve(signal[np.ix_(seen, seen)] + np.diag(1 / weight[seen]), signal[seen]).T
    return gain @ (coadd / weight[seen]), signal - gain @ signal[seen]


def test_the_holes_of_each_split_hold_the_posterior_and_its_own_noise(masks) -> None:
    _, splits = observe(1)
    n = 600
    filled = inpaint_splits(splits, masks, n_realizations=n, seed=3, **KNOWN)
    mean, covariance = posterior(splits, masks)
    # Chi-squares of the draws' means in all filled pixels, with the covariance that dense algebra gives.
    for maps, mask, std in zip(filled, masks, NOISE, strict=True):
        holes = ~mask
        wanted = covariance[np.ix_(holes, holes)] + std**2 * np.eye(holes.sum())
        off = maps[:, holes].mean(axis=0) - mean[holes]
        chi2 = n * off @ np.linalg.solve(wanted, off)
        assert abs(chi2 - holes.sum()) < 4.5 * np.sqrt(2 * holes.sum())
        white = np.linalg.solve(np.linalg.cholesky(wanted), (maps[:, holes] - mean[holes]).T)
        scatter = np.square(white).mean(axis=1)
        assert np.all(np.abs(scatter - 1) < 5 * np.sqrt(2 / n))
        assert abs(scatter.mean() - 1) < 4.5 * np.sqrt(2 / (n * holes.sum()))
    both = ~masks[0] & ~masks[1]
    a, b = ((maps[:, both] - mean[both]) for maps in filled)
    np.testing.assert_allclose(
        np.mean(a * b), np.diag(covariance)[both].mean(), rtol=0.1
    )  # one signal: their products hold its variance, and no noise
    np.testing.assert_allclose(np.var(a - b), NOISE[0] ** 2 + NOISE[1] ** 2, rtol=0.02)


def test_cross_spectra_are_those_of_the_sky_and_of_maps_filled_apart_are_not(masks) -> None:
    ratios, apart = [], []
    for seed in range(40):
        sky, splits = observe(seed)
        true = hp.anafast(sky, lmax=9, iter=3)[2:].sum()
        a, b = inpaint_splits(splits, masks[1], seed=seed, **KNOWN)
        ratios.append(hp.anafast(a, b, lmax=9, iter=3)[2:].sum() / true)
        known = {"cl": CL, "fwhm": FWHM, "unit": "uK"}
        a, b = (
            inpaint_map(split, masks[1], seed=2 * seed + i, noise_std=NOISE[i], **known)
            for i, split in enumerate(splits)
        )
        apart.append(hp.anafast(a, b, lmax=9, iter=3)[2:].sum() / true)
    error = np.std(ratios, ddof=1) / np.sqrt(40)
    assert error < 0.02 and abs(np.mean(ratios) - 1) < 4 * error
    assert np.mean(apart) < np.mean(ratios) - 3 * error


def test_observed_pixels_stay_and_realization_i_is_its_own(masks) -> None:
    _, splits = observe(2)
    single = [split.astype(np.float32) for split in splits]
    one = inpaint_splits(single, masks, seed=5, **KNOWN)
    three = inpaint_splits(single, masks, seed=5, n_realizations=3, **KNOWN)
    for split, mask, a, many in zip(single, masks, one, three, strict=True):
        assert a.dtype == np.float32 and np.array_equal(a[mask], split[mask])
        assert many.shape == (3, NPIX) and np.array_equal(many[0], a)
        assert not np.array_equal(many[1][~mask], a[~mask])


def test_units_orderings_and_containers_are_the_users(masks) -> None:
    _, splits = observe(3)
    plain = inpaint_splits(splits, masks, seed=5, **KNOWN)
    nested = [hp.reorder(split, r2n=True) * 1e-6 * u.K for split in splits]
    known = {**KNOWN, "unit": None, "noise_std": [std * u.uK for std in NOISE]}
    other = inpaint_splits(
        nested, [hp.reorder(m.astype(float), r2n=True) for m in masks], seed=5, nest=True, **known
    )
    for a, b in zip(plain, other, strict=True):
        assert b.unit == u.K
        np.testing.assert_allclose(hp.reorder(b.value, n2r=True), a * 1e-6, rtol=0, atol=1e-11)


def test_noise_is_measured_from_the_splits_products(masks) -> None:
    _, splits = observe(4)
    # An offset between splits is not noise.
    shifted = [splits[0], splits[1] + 500.0]
    problems = _problems(shifted, masks, unit="uK")
    values = [np.where(p.plan.valid, p.sky.values, 0.0) for p in problems]
    found = [float(level[0]) for level in _levels(None, problems, values)]
    # Products of 70 µK of signal with noise scatter: 70 * 20 / sqrt(500) of 400, and of 1225.
    assert found[0] == pytest.approx(NOISE[0], rel=0.25) and found[1] == pytest.approx(NOISE[1], rel=0.15)
    made = inpaint_splits(splits, masks, cl=CL, fwhm=FWHM, unit="uK", seed=1)
    assert np.isfinite(made).all()


def test_where_every_pixel_is_seen_by_some_split(masks) -> None:
    _, splits = observe(5)
    apart = [~masks[1], np.ones(NPIX, bool)]
    splits = [np.where(apart[0], splits[0], 0.0), splits[1]]  # as a survey's; else the mask looks inverted
    filled = inpaint_splits(splits, apart, seed=1, n_realizations=300, **KNOWN)
    mean, covariance = posterior(splits, apart)
    holes = masks[1]
    wanted = covariance[np.ix_(holes, holes)] + NOISE[0] ** 2 * np.eye(holes.sum())
    off = filled[0][:, holes].mean(axis=0) - mean[holes]
    assert abs(300 * off @ np.linalg.solve(wanted, off) - holes.sum()) < 4.5 * np.sqrt(2 * holes.sum())
    assert np.array_equal(filled[1][0], splits[1])


def test_stokes_parameters_together(masks) -> None:
    spectra = fiducial_spectra(3 * NSIDE - 1)
    sky = simulate_sky(spectra, NSIDE, fwhm=FWHM, pixwin=True, seed=1)
    rng = np.random.default_rng(2)
    levels = [np.array([20.0, 0.3, 0.3]), np.array([30.0, 0.5, 0.5])]
    splits = [sky + std[:, None] * rng.standard_normal(sky.shape) for std in levels]
    mask = np.stack([masks[1], masks[0]])  # of T, and of Q and U
    known = {"cl": spectra, "fwhm": FWHM, "noise_std": levels, "unit": "uK"}
    a, b = inpaint_splits(splits, mask, seed=1, n_realizations=80, **known)
    assert a.shape == (80, 3, NPIX)
    for row in range(3):
        hole = ~mask[min(row, 1)]
        assert np.array_equal(a[0, row, ~hole], splits[0][row, ~hole])
        wanted = levels[0][row] ** 2 + levels[1][row] ** 2
        assert np.var((a - b)[:, row, hole]) == pytest.approx(wanted, rel=0.05)
        assert np.mean(np.var(a[:, row, hole], axis=0)) > levels[0][row] ** 2, "the signal is drawn"
        residual = np.sqrt(np.mean(np.square(a[:, row, hole].mean(axis=0) - sky[row, hole])))
        assert residual < 1.2 * np.std(sky[row]), "and follows the data"
    iau = [split * [[1], [1], [-1]] for split in splits]
    c, _ = inpaint_splits(iau, mask, seed=1, polconv="IAU", **known)
    np.testing.assert_allclose(c * [[1], [1], [-1]], a[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"splits": [np.zeros(NPIX)]}, MapError, "two maps of one sky or more"),
        ({"splits": "ab"}, MapError, "two maps of one sky or more"),
        (
            {
                "splits": [np.arange(NPIX, dtype=float), np.arange(192.0)],
                "mask": [np.arange(n) > 9 for n in (NPIX, 192)],
            },
            MapError,
            "the first has nside 8, split 2 has 4",
        ),
        ({"mask": [None]}, MapError, "2 splits and 1 masks"),
        ({"mask": np.ones(192)}, MaskError, "nside"),
        (
            {"noise_std": 20.0},
            SpectrumError,
            "noise_std is to be a list of the noise of each of the 2 splits",
        ),
        ({"noise_std": [20.0, 0.0]}, SpectrumError, "the noise of split 2 is 0 in data"),
        ({"noise_std": [20.0, -1.0]}, SpectrumError, "negative"),
        ({"n_realizations": 0}, CmbInpaintError, "n_realizations is 0"),
        ({"splits": [np.ones(NPIX), np.arange(NPIX, dtype=float)]}, MapError, "the first split is constant"),
    ],
)
def test_errors_say_what_is_wrong(change: dict, error: type, text: str, masks) -> None:
    _, splits = observe(6)
    given = {"splits": splits, "mask": masks[1], **KNOWN} | change
    with pytest.raises(error, match=text):
        inpaint_splits(given.pop("splits"), given.pop("mask"), seed=1, **given)


def test_one_map_twice_has_no_noise_to_measure(masks) -> None:
    _, splits = observe(7)
    with pytest.raises(MapError, match="splits 1 and 3 are the same map; splits have independent noise"):
        inpaint_splits(
            [*splits, splits[0]], masks[1], cl=CL, fwhm=FWHM, unit="uK", seed=1, noise_std=[20.0] * 3
        )
    with pytest.raises(SpectrumError, match="no noise is seen in split 1"):
        inpaint_splits([splits[0], 2 * splits[0]], masks[1], cl=CL, fwhm=FWHM, unit="uK", seed=1)
    with pytest.raises(SpectrumError, match="no pixel in common"):
        rest = np.where(masks[1], 0.0, splits[1])
        inpaint_splits([splits[0], rest], [masks[1], ~masks[1]], cl=CL, fwhm=FWHM, unit="uK", seed=1)
