"""`optimal_spectrum`: right in the mean, its errors those of many skies, whatever unit or ordering the map is in."""

from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from astropy import units as u

from cmbinpaint import OptimalSpectrum, optimal_spectrum
from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.pipeline.bandpower_estimator import Estimator
from cmbinpaint.sims import SkyModel, fiducial_cl, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NSIDE, NOISE, FWHM = 8, 10.0, np.radians(15)
CL = fiducial_cl(3 * NSIDE - 1)
BINS = [2, 5, 9, 14]
KNOWN = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE, "bins": BINS, "unit": "uK"}


def observe(seed: int, signal_seed: int | None = None, cl: np.ndarray = CL) -> np.ndarray:
    signal = simulate_sky(
        cl, NSIDE, fwhm=FWHM, pixwin=True, seed=seed if signal_seed is None else signal_seed
    )
    return signal + NOISE * np.random.default_rng(10_000 + seed).standard_normal(signal.size)


def band_means(cl: np.ndarray) -> np.ndarray:
    ell = np.arange(cl.size)
    return np.array([np.average(cl[a:b], weights=2 * ell[a:b] + 1) for a, b in pairwise(BINS)])


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return np.abs(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1]) > 15


@pytest.fixture(scope="module")
def one(mask) -> OptimalSpectrum:
    return optimal_spectrum(observe(0), mask, seed=1, **KNOWN)


def estimator_of(mask: np.ndarray, cl: np.ndarray = CL) -> tuple[Estimator, np.ndarray]:
    model = SkyModel.from_theory(cl, NSIDE, fwhm=FWHM, noise_std=NOISE, lmax=3 * NSIDE - 1)
    window = (gaussian_beam(FWHM, model.lmax) * pixel_window(NSIDE, model.lmax)) ** 2
    estimator = Estimator(mask, model, Bandpowers(BINS), window, seed=1)
    return estimator, estimator.noise_bias


def test_many_skies_have_the_spectrum_and_the_errors_that_are_stated(mask) -> None:
    n = 120
    estimator, bias = estimator_of(mask)
    found = np.array([estimator.estimate(observe(seed)) - bias for seed in range(n)])
    wanted, errors = estimator.windows @ CL, np.sqrt(np.diag(estimator.solved))
    np.testing.assert_allclose(wanted, band_means(CL), rtol=0.02)
    chi2 = np.sum(np.square((found.mean(axis=0) - wanted) / errors)) * n
    assert chi2 < 16.3  # of three bands: p = 0.001
    scatter = found.std(axis=0, ddof=1) / errors
    assert np.all(np.abs(scatter - 1) < 3.3 / np.sqrt(2 * n))
    # What no estimate can beat: cosmic variance of all modes; and what is left of them behind the mask.
    modes = np.diff(np.square(BINS))
    assert np.all(errors > np.sqrt(2 / modes) * band_means(CL))
    assert errors[0] < 1.25 * np.sqrt(2 / modes[0] / mask.mean()) * band_means(CL)[0]


def test_a_wrong_model_biases_nothing(mask) -> None:
    n = 120
    estimator, bias = estimator_of(mask, CL * np.linspace(0.7, 1.4, CL.size))
    found = np.array([estimator.estimate(observe(seed)) - bias for seed in range(n)])
    wanted = estimator.windows @ CL
    error = found.std(axis=0, ddof=1) / np.sqrt(n)
    assert np.all(np.abs(found.mean(axis=0) - wanted) < 3.5 * error)
    assert np.all(np.abs(wanted / band_means(CL) - 1) < 0.05)


def test_two_splits_need_no_noise_level(mask) -> None:
    n, level = 80, 3 * NOISE  # the model says a third of it
    estimator, _ = estimator_of(mask)
    found = []
    for seed in range(n):
        splits = [
            simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, seed=seed)
            + level * np.random.default_rng([seed, part]).standard_normal(mask.size)
            for part in (0, 1)
        ]
        found.append(estimator.estimate(*splits))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(n)
    assert np.all(np.abs(np.mean(found, axis=0) - estimator.windows @ CL) < 3.5 * error)
    one_map = estimator.estimate(splits[0])  # with its noise, this one is far off
    assert one_map[-1] > (estimator.windows @ CL)[-1] + 5 * error[-1]


def test_errors_of_two_splits_are_those_of_pairs(mask, one) -> None:
    found = optimal_spectrum(observe(0), mask, sky2=observe(1, signal_seed=0), seed=1, n_sims=40, **KNOWN)
    assert not found.noise_bias.any()
    np.testing.assert_allclose(found.errors[:2], one.errors[:2], rtol=0.4)  # signal rules: 40 pairs give 11 %
    np.testing.assert_allclose(found.bandpowers[:2], one.bandpowers[:2], atol=0.5 * one.errors[0])


def test_noise_bias_of_a_full_sky_is_known(mask) -> None:
    found = optimal_spectrum(observe(0), np.ones(mask.size, bool), seed=1, **KNOWN)
    level = NOISE**2 * 4 * np.pi / mask.size
    ell = np.arange(2, 5)
    window = (hp.gauss_beam(FWHM, 4) ** 2 * pixel_window(NSIDE, 4) ** 2)[2:]
    shape = window * CL[2:5] / band_means(CL)[0]
    weight = (2 * ell + 1) / np.square(CL[2:5] * window + level)
    wanted = level * np.sum(weight * shape) / np.sum(weight * shape**2)
    assert found.noise_bias[0] == pytest.approx(wanted, rel=0.06)  # what the pixels mix


@pytest.mark.parametrize("kind", ["quantity", "kelvin", "nested", "masked"])
def test_units_and_orderings_change_nothing_else(mask, one, kind: str) -> None:
    sky, options, factor, hidden = observe(0), dict(KNOWN), 1.0, mask
    if kind == "quantity":
        sky, options = sky * u.uK, {k: v for k, v in KNOWN.items() if k != "unit"}
    elif kind == "kelvin":
        sky, options["unit"], factor = sky * 1e-6, "K", 1e-12
    elif kind == "nested":
        sky, hidden = (hp.reorder(x, r2n=True) for x in (sky, mask.astype(float)))
        hidden, options["nest"] = hidden > 0.5, True
    else:
        sky = np.ma.array(np.where(mask, sky, 1e30), mask=~mask)
    found = optimal_spectrum(sky, hidden, seed=1, **options)
    for name, power in (
        ("bandpowers", 1),
        ("errors", 1),
        ("noise_bias", 1),
        ("covariance", 2),
        ("response", -2),
    ):
        np.testing.assert_allclose(getattr(found, name), getattr(one, name) * factor**power, rtol=1e-6)


def test_the_same_seed_gives_the_same_result(mask, one) -> None:
    again = optimal_spectrum(observe(0), mask, seed=1, **KNOWN)
    np.testing.assert_array_equal(again.bandpowers, one.bandpowers)
    other = optimal_spectrum(observe(0), mask, seed=2, **KNOWN)
    assert np.all(other.noise_bias != one.noise_bias)
    np.testing.assert_allclose(other.bandpowers, one.bandpowers, atol=0.3 * one.errors.max())


def test_monopole_dipole_and_templates_are_projected_out(mask, one) -> None:
    x, y, _ = hp.pix2vec(NSIDE, np.arange(mask.size))
    smooth = observe(0) + 300 + 200 * x
    found = optimal_spectrum(smooth, mask, seed=1, **KNOWN)
    np.testing.assert_allclose(found.bandpowers, one.bandpowers, rtol=1e-4)
    dust = x * y * 100
    known = {**KNOWN, "templates": [dust], "seed": 1}
    clean, dusty = (optimal_spectrum(observe(0) + f * dust, mask, **known) for f in (0, 1))
    np.testing.assert_allclose(dusty.bandpowers, clean.bandpowers, rtol=0.01)
    assert np.all(clean.errors >= one.errors * 0.99) and clean.errors[0] > one.errors[0]


@pytest.mark.filterwarnings("ignore:the beam ends at ell = 13")
def test_bands_may_end_where_the_beam_does(mask) -> None:
    beam = gaussian_beam(FWHM, 13) * pixel_window(NSIDE, 13)
    known = {key: value for key, value in KNOWN.items() if key != "fwhm"}
    found = optimal_spectrum(observe(0), mask, beam=beam, seed=1, **known)
    assert found.bands.edges[-1] == 14 and np.all(found.errors > 0)
    assert not found.windows[:, 14:].any()
    with pytest.raises(SpectrumError, match="the model has no power at ell = 14 to 18"):
        optimal_spectrum(observe(0), mask, beam=beam, **(known | {"bins": [2, 14, 19]}))


def test_multipoles_that_the_noise_hides_are_left_out(mask, one) -> None:
    # Behind this beam the power at ell = 21 is 1.3 %, at 22 0.6 % of the noise's.
    assert one.sky_model.lmax == 21 and one.windows.shape == (3, CL.size)
    assert one.windows[:, 21].any() and not one.windows[:, 22:].any()
    model = SkyModel.from_theory(CL, NSIDE, fwhm=FWHM, noise_std=NOISE, lmax=3 * NSIDE - 1)
    whole = optimal_spectrum(observe(0), mask, sky_model=model, bins=BINS, unit="uK", seed=1)
    assert whole.sky_model.lmax == 23
    np.testing.assert_allclose(one.bandpowers / one.errors, whole.bandpowers / whole.errors, rtol=1e-3)
    wide = optimal_spectrum(observe(0), mask, seed=1, **(KNOWN | {"bins": [2, 5, 9, 23]}))
    assert wide.sky_model.lmax == 22  # as far as the bands


def test_what_it_gives_to_papers(one) -> None:
    ell, dl, error = one.to_dl()
    np.testing.assert_allclose(ell, [67 / 21, 374 / 56, 1285 / 115])
    np.testing.assert_allclose(dl, one.bandpowers * ell * (ell + 1) / (2 * np.pi))
    np.testing.assert_allclose(error / dl, one.errors / one.bandpowers)
    rows = [line.split(",") for line in one.csv().splitlines()]
    assert rows[0] == ["ell_min", "ell_max", "cl", "cl_error", "noise_bias"]
    assert [row[:2] for row in rows[1:]] == [["2", "4"], ["5", "8"], ["9", "13"]]
    np.testing.assert_allclose([float(row[2]) for row in rows[1:]], one.bandpowers, rtol=1e-7)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bins": [0, 5, 9]}, SpectrumError, "begin at ell = 0; monopole and dipole are projected out"),
        ({"bins": [2, 3, 9]}, SpectrumError, "narrowest band has 1 multipoles"),
        ({"bins": [2, 9, 99]}, SpectrumError, "the bands reach ell = 98"),
        ({"n_sims": 0}, SpectrumError, "n_sims is 0; give a whole number"),
        ({"templates": [np.ones(768)]}, MapError, "a constant or a dipole"),
        ({"templates": np.ones(768)}, MapError, "templates is a ndarray; give a list of maps"),
        ({"templates": 3}, MapError, "templates is a int; give a list of maps"),
        ({"templates": [np.ones(12)]}, MapError, "the template has shape"),
        ({"sky2": np.zeros(12 * 16**2)}, MapError, "the second split has shape"),
        ({"sky2": np.full(768, hp.UNSEEN)}, MapError, "the second split is missing in"),
        ({"sky_model": SkyModel(8, CL, 1.0)}, SpectrumError, "sky_model was given with cl"),
    ],
)
def test_bad_input_is_refused(mask, change: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        optimal_spectrum(observe(0), mask, **(KNOWN | change))


def test_few_simulations_of_splits_are_refused(mask) -> None:
    with pytest.raises(SpectrumError, match="the covariance of 3 bandpowers needs 6"):
        optimal_spectrum(observe(0), mask, sky2=observe(1, 0), n_sims=5, **KNOWN)
