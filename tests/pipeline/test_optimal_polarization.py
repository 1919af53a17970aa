"""`optimal_spectrum` of Q, U and of T, Q, U: right in the mean, E kept out of B, names, files, executors."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from cmbinpaint import OptimalSpectrum, SkyModel, optimal_spectrum
from cmbinpaint.errors import CmbInpaintError, FitsError, MapError, MissingExtraError, SpectrumError
from cmbinpaint.pipeline.bandpower_estimator import Estimator
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.windows import gaussian_beam, pixel_window

NSIDE, FWHM = 8, np.radians(15)
LMAX, NPIX = 3 * NSIDE - 1, 12 * NSIDE**2
NOISE = np.array([10.0, 0.05, 0.05])
BINS = [2, 5, 9, 14]
CL = fiducial_spectra(LMAX)
CL[2] = 0.1 * CL[1]  # a B that can be measured beside the noise
KNOWN = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE, "bins": BINS, "unit": "uK"}
LATITUDE = np.abs(hp.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)[1])
MASKS = np.stack([LATITUDE > 10, LATITUDE > 20])


def observe(seed: int, cl: np.ndarray = CL, noise_seed: int | None = None) -> np.ndarray:
    signal = simulate_sky(cl, NSIDE, fwhm=FWHM, pixwin=True, seed=seed)
    rng = np.random.default_rng([7, seed if noise_seed is None else noise_seed])
    return signal + NOISE[-len(signal) :, None] * rng.standard_normal(signal.shape)


def estimator_of(rows: slice, cl: np.ndarray) -> Estimator:
    model = SkyModel.from_theory(cl, NSIDE, fwhm=FWHM, noise_std=NOISE[rows], lmax=LMAX)
    beams = [gaussian_beam(FWHM, LMAX) * pixel_window(NSIDE, LMAX, spin=spin) for spin in (0, 2, 2)][rows]
    window = np.stack([beams[i] * beams[j] for i, j in model.fields.pairs])
    return Estimator(MASKS[[0, 1, 1]][rows], model, Bandpowers(BINS), window, seed=1)


@pytest.fixture(scope="module")
def qu() -> Estimator:
    return estimator_of(slice(1, 3), CL[1:3])


@pytest.fixture(scope="module")
def tqu() -> OptimalSpectrum:
    return optimal_spectrum(observe(0), MASKS, seed=1, **KNOWN)


# A quick case: Q and U in two bands.
QUICK = KNOWN | {"cl": CL[1:3], "noise_std": 0.05, "bins": [2, 8, 14], "seed": 1}


@pytest.fixture(scope="module")
def quick() -> OptimalSpectrum:
    return optimal_spectrum(observe(0)[1:], MASKS[1], **QUICK)


def rows_of(cl: np.ndarray) -> np.ndarray:
    """All spectra of a sky, EB (and TB) zero."""
    return np.concatenate([cl, np.zeros((2 if len(cl) == 4 else 1, cl.shape[1]))])


def test_many_skies_have_all_spectra_and_the_errors_that_are_stated() -> None:
    n, estimator = 100, estimator_of(slice(0, 3), CL)
    bias = estimator.noise_bias
    found = np.array([estimator.estimate(observe(seed)) - bias for seed in range(n)])
    wanted = np.tensordot(estimator.windows, rows_of(CL), 2)
    # Bandpowers of smooth spectra are their means; what leaks from one to another is taken out.
    ell = np.arange(LMAX + 1)
    for name in (0, 1, 2):
        means = [np.average(CL[name, a:b], weights=2 * ell[a:b] + 1) for a, b in pairwise(BINS)]
        np.testing.assert_allclose(wanted[name], means, rtol=0.05)
    distance = (found.mean(axis=0) - wanted).ravel()
    chi2 = n * distance @ np.linalg.solve(estimator.solved, distance)
    assert 4.9 < chi2 < 42.3  # of 18 bandpowers: p = 0.999 and 0.001
    scatter = found.std(axis=0, ddof=1) / np.sqrt(np.diag(estimator.solved)).reshape(6, 3)
    assert np.all(np.abs(scatter - 1) < 3.5 / np.sqrt(2 * n))
    # Correlations too: of TT with EE by TE, of EE with BB by the mask.
    correlation = np.corrcoef(found.reshape(n, -1), rowvar=False)
    std = np.sqrt(np.diag(estimator.solved))
    assert np.abs(correlation - estimator.solved / np.outer(std, std)).max() < 4 / np.sqrt(n)


def test_e_stays_out_of_b_because_the_response_is_inverted_as_one(qu: Estimator) -> None:
    n = 60
    only_e = CL[1:3] * [[1.0], [0.0]]
    clean = [simulate_sky(only_e, NSIDE, fwhm=FWHM, pixwin=True, seed=seed) for seed in range(n)]
    found = np.array([qu.estimate(sky)[1] for sky in clean])
    error = found.std(axis=0, ddof=1) / np.sqrt(n)
    assert np.all(np.abs(found.mean(axis=0)) < 3.5 * error)
    windows = np.tensordot(qu.windows[:, :, 0], CL[1], 1)
    assert np.all(np.abs(windows[1]) < 0.02 * windows[0])
    # Each spectrum's own block inverted alone: E is then in B, many errors off.
    n_around = qu._solved.shape[0] // 3
    block = np.linalg.inv(qu._solved)[n_around : 2 * n_around, n_around : 2 * n_around]
    own = [np.linalg.solve(block, qu._work.quadratic(qu._inverse, sky)[1])[:3] for sky in clean]
    assert np.mean(own, axis=0)[0] > 10 * np.abs(found.mean(axis=0)[0])
    assert np.all(np.mean(own, axis=0) > 5 * np.std(own, axis=0, ddof=1) / np.sqrt(n))


def test_the_full_sky_has_the_errors_of_the_textbook() -> None:
    best = optimal_spectrum(observe(0)[1:], seed=1, **(KNOWN | {"cl": CL[1:3], "noise_std": 0.05}))
    assert best.spectra == ("EE", "BB", "EB") and best.bandpowers.shape == (3, 3)
    level = 0.05**2 * 4 * np.pi / NPIX
    window = np.square(gaussian_beam(FWHM, LMAX) * pixel_window(NSIDE, LMAX, spin=2))
    ell = np.arange(5, 9)
    power = (CL[1:3] * window + level)[:, 5:9]
    shape = [CL[i, 5:9] / np.average(CL[i, 5:9], weights=2 * ell + 1) * window[5:9] for i in (1, 2)]
    both = np.sqrt(CL[1] * CL[2])[5:9]
    shape.append(both / np.average(both, weights=2 * ell + 1) * window[5:9])
    modes = 2 * ell + 1
    fisher = [
        np.sum(modes / 2 * np.square(shape[0] / power[0])),
        np.sum(modes / 2 * np.square(shape[1] / power[1])),
        np.sum(modes * np.square(shape[2]) / (power[0] * power[1])),
    ]
    np.testing.assert_allclose(best.errors[:, 1], 1 / np.sqrt(fisher), rtol=0.03)
    wanted = np.sum(modes / 2 * shape[1] * level / np.square(power[1])) / fisher[1]
    assert best.noise_bias[1, 1] == pytest.approx(wanted, rel=0.06)  # what the pixels mix
    assert np.abs(best.noise_bias[2]).max() < 0.1 * best.noise_bias[1].max()


def test_a_wrong_model_biases_nothing() -> None:
    n = 60
    wrong = CL[1:3] * np.stack([np.linspace(0.7, 1.4, LMAX + 1), np.linspace(2, 1, LMAX + 1)])
    estimator = estimator_of(slice(1, 3), wrong)
    bias = estimator.noise_bias
    found = np.array([estimator.estimate(observe(seed)[1:]) - bias for seed in range(n)])
    wanted = np.tensordot(estimator.windows, rows_of(CL[1:3]), 2)
    error = found.std(axis=0, ddof=1) / np.sqrt(n)
    assert np.all(np.abs(found.mean(axis=0) - wanted) < 3.7 * error)


def test_what_it_gives(tqu: OptimalSpectrum) -> None:
    assert tqu.spectra == ("TT", "EE", "BB", "TE", "EB", "TB")
    assert tqu.bandpowers.shape == tqu.errors.shape == tqu.noise_bias.shape == (6, 3)
    assert tqu.covariance.shape == tqu.response.shape == (18, 18)
    assert tqu.windows.shape == (6, 3, 6, LMAX + 1)
    np.testing.assert_allclose(np.sqrt(np.diag(tqu.covariance)), tqu.errors.ravel())
    np.testing.assert_allclose(tqu.expected(CL), np.tensordot(tqu.windows, rows_of(CL), 2))
    np.testing.assert_allclose(tqu.expected(CL * u.uK**2), tqu.expected(CL))
    assert np.all(np.abs(tqu.bandpowers - tqu.expected(CL)) < 4 * tqu.errors)
    ell, dl, _ = tqu.to_dl()
    np.testing.assert_allclose(dl[1], ell * (ell + 1) / (2 * np.pi) * tqu.bandpowers[1])
    lines = [line.split(",") for line in tqu.csv().splitlines()]
    assert lines[0] == ["spectrum", "ell_min", "ell_max", "cl", "cl_error", "noise_bias"]
    assert [line[0] for line in lines[1:]] == [name for name in tqu.spectra for _ in range(3)]
    assert lines[5][1:3] == ["5", "8"] and float(lines[5][3]) == pytest.approx(tqu.bandpowers[1, 1], rel=1e-7)
    with pytest.raises(SpectrumError, match="give rows of TT, EE, BB, TE, EB, TB"):
        tqu.expected(CL[:2])
    with pytest.raises(SpectrumError, match="cl ends at ell = 9, the bands at 13"):
        tqu.expected(CL[:, :10])


@pytest.mark.parametrize("kind", ["kelvin", "nested", "iau"])
def test_units_orderings_and_conventions_change_nothing_else(quick: OptimalSpectrum, kind: str) -> None:
    sky, mask, options, factor = observe(0)[1:], MASKS[1], dict(QUICK), 1.0
    if kind == "kelvin":
        sky, options["unit"], factor = sky * 1e-6, "K", 1e-12
    elif kind == "nested":
        sky, mask = (hp.reorder(np.array(x, dtype=float), r2n=True) for x in (sky, mask))
        mask, options["nest"] = mask > 0.5, True
    else:
        sky, options["polconv"] = sky * [[1], [-1]], "IAU"
    found = optimal_spectrum(sky, mask, **options)
    for name, power in (("bandpowers", 1), ("errors", 1), ("noise_bias", 1), ("covariance", 2)):
        wanted = getattr(quick, name) * factor**power
        np.testing.assert_allclose(
            getattr(found, name), wanted, rtol=1e-6, atol=1e-9 * np.abs(wanted).max(), err_msg=name
        )
    np.testing.assert_allclose(found.expected(CL[1:3] * factor), quick.expected(CL[1:3]) * factor, rtol=1e-6)


def test_t_alone_among_t_q_u_is_t_alone_where_te_is_zero() -> None:
    apart = CL.copy()
    apart[3] = 0.0
    known = KNOWN | {"cl": apart, "seed": 1}
    every = optimal_spectrum(observe(0), MASKS, **known)
    known["noise_std"] = NOISE[0]
    alone = optimal_spectrum(observe(0)[0], MASKS[0], **known)
    # Random signs and noise are other draws.
    np.testing.assert_allclose(every.bandpowers[0], alone.bandpowers, atol=0.2 * alone.errors.max())
    np.testing.assert_allclose(every.errors[0], alone.errors, rtol=0.03)


def test_two_splits_and_templates() -> None:
    dust = 0.15 * np.stack([LATITUDE / 90, np.sin(np.radians(2 * LATITUDE))])
    known, masks = QUICK, MASKS[1]
    halves = [observe(0, noise_seed=i)[1:] for i in (1, 2)]
    cross = optimal_spectrum(halves[0], masks, sky2=halves[1], n_sims=30, **known)
    assert not cross.noise_bias.any() and cross.covariance.shape == (6, 6)
    one = optimal_spectrum(halves[0], masks, **known)
    np.testing.assert_allclose(
        cross.errors[0, :2], one.errors[0, :2], rtol=0.45
    )  # signal rules; 30 pairs: 13 %
    np.testing.assert_allclose(cross.bandpowers[0, :2], one.bandpowers[0, :2], atol=one.errors[0, 0])
    clean, dusty = (optimal_spectrum(halves[0] + f * dust, masks, templates=[dust], **known) for f in (0, 1))
    np.testing.assert_allclose(dusty.bandpowers, clean.bandpowers, atol=0.01 * one.errors.min())
    # Not given as a template, it is there.
    plain = optimal_spectrum(halves[0] + dust, masks, **known)
    assert plain.bandpowers[0, 0] > one.bandpowers[0, 0] + 0.7 * one.errors[0, 0]


def test_a_given_covariance_of_the_noise_is_used(quick: OptimalSpectrum) -> None:
    known = {name: value for name, value in QUICK.items() if name != "noise_std"}
    sky, cov = observe(0)[1:], 0.05**2 * np.repeat([[1.0], [0.0], [1.0]], NPIX, axis=1)
    same = optimal_spectrum(sky, MASKS[1], noise_cov=cov, **known)
    np.testing.assert_allclose(same.bandpowers, quick.bandpowers, rtol=1e-3, atol=1e-3 * quick.errors.min())
    np.testing.assert_allclose(same.noise_bias, quick.noise_bias, rtol=1e-3, atol=1e-6)
    cov[1] = 0.9 * cov[0]  # Q + U is noisy, Q - U is not
    found = optimal_spectrum(sky, MASKS[1], noise_cov=cov, **known)
    assert np.all(found.errors[1] < 0.97 * quick.errors[1])
    with pytest.raises(SpectrumError, match="noise_std and noise_cov were given"):
        optimal_spectrum(sky, noise_cov=cov, noise_std=1.0, **known)


def test_a_fits_file_holds_all_of_it(tqu: OptimalSpectrum, tmp_path) -> None:
    path = tqu.write(tmp_path / "best.fits")
    with fits.open(path, checksum=True) as hdus:
        table, header = hdus["BANDPOWERS"].data, hdus["BANDPOWERS"].header
        assert [str(name) for name in table["SPECTRUM"][::3]] == list(tqu.spectra)
        np.testing.assert_array_equal(table["CL"].reshape(6, 3), tqu.bandpowers)
        np.testing.assert_array_equal(table["CL_ERROR"].reshape(6, 3), tqu.errors)
        np.testing.assert_array_equal(table["NOISE_BIAS"].reshape(6, 3), tqu.noise_bias)
        np.testing.assert_array_equal(table["ELL_MIN"][:3], BINS[:-1])
        np.testing.assert_array_equal(table["ELL_MAX"][-3:], np.array(BINS[1:]) - 1)
        assert header["TUNIT5"] == "uK_CMB^2" and header["NSIMS"] == 0 and header["SEED"] == "1"
        assert header["SPECTRA"] == "TT,EE,BB,TE,EB,TB" and header["WINDOW"] == "divided out"
        assert header["MODEL"] == "given cl, noise given" and header["DIGEST"] == tqu.sky_model.digest
        np.testing.assert_array_equal(hdus["COVARIANCE"].data, tqu.covariance)
        np.testing.assert_array_equal(hdus["RESPONSE"].data, tqu.response)
        # What a likelihood does with it.
        expected = np.tensordot(hdus["WINDOWS"].data, rows_of(CL), 2)
        np.testing.assert_allclose(expected.reshape(6, 3), tqu.expected(CL))
    with pytest.raises(FitsError, match="exists already"):
        tqu.write(path)
    tqu.write(path, overwrite=True)


def test_sacc_objects_are_what_a_likelihood_reads(tqu: OptimalSpectrum) -> None:
    pytest.importorskip("sacc", reason="the extra sacc is not installed")
    made = tqu.to_sacc()
    np.testing.assert_allclose(made.mean, tqu.bandpowers.ravel())
    np.testing.assert_allclose(made.covariance.covmat, tqu.covariance)
    ell, power, index = made.get_ell_cl("cl_ee", "cmb_E", "cmb_E", return_ind=True)
    np.testing.assert_allclose(ell, tqu.bands.centers)
    np.testing.assert_allclose(power, tqu.bandpowers[1])
    window = made.get_bandpower_windows(index)
    np.testing.assert_allclose(window.weight.T @ CL[1], tqu.windows[1, :, 1] @ CL[1])


def test_without_sacc_it_is_asked_for(tqu: OptimalSpectrum, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sacc", None)
    with pytest.raises(MissingExtraError, match=r"sacc.*pip install 'cmbinpaint\[sacc\]'"):
        tqu.to_sacc()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_any_executor_gives_the_same_bits(kind: str) -> None:
    halves = [observe(0, noise_seed=i)[1:] for i in (1, 2)]
    with (
        ThreadPoolExecutor(2)
        if kind == "threads"
        else ProcessPoolExecutor(2, mp_context=get_context("forkserver"))
    ) as pool:
        for more in ({}, {"n_sims": 12, "sky2": halves[1]}):
            one = optimal_spectrum(halves[0], MASKS[1], **QUICK, **more)
            other = optimal_spectrum(halves[0], MASKS[1], executor=pool, **QUICK, **more)
            for name in ("bandpowers", "covariance", "response", "noise_bias", "windows"):
                np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"n_sims": 2.5}, SpectrumError, "n_sims is 2.5; give a whole number"),
        ({"executor": "two"}, CmbInpaintError, "executor is a str; expected a concurrent.futures.Executor"),
        ({"bins": [1, 5, 9]}, SpectrumError, "the bands begin at ell = 1"),
        ({"bins": [2, 3, 9]}, SpectrumError, "the narrowest band has 1 multipoles"),
        ({"cl": CL[1:3] * [[1], [0]]}, SpectrumError, "the model has no BB power at ell = 2 to 4"),
        ({"templates": [np.ones(NPIX)]}, MapError, "the template has shape"),
        ({"templates": [np.zeros((2, NPIX))]}, MapError, "one is zero"),
        ({"sky2": np.zeros(NPIX)}, MapError, "the second split has shape"),
        ({"sky2": np.zeros((2, 48))}, MapError, "the second split has shape"),
        ({"sky2": observe(0)[1:], "n_sims": 99}, MapError, "the second split is the map itself"),
        ({"sky2": observe(1)[1:], "n_sims": 17}, SpectrumError, "the covariance of 9 bandpowers needs 18"),
        ({"colored_noise_cl": -CL[1:3]}, SpectrumError, "colored_noise_cl"),
        ({"polconv": "up"}, MapError, "polconv is 'up'"),
    ],
)
def test_bad_input_is_refused(change: dict, error: type, message: str) -> None:
    known = QUICK | {"bins": BINS}
    with pytest.raises(error, match=message):
        optimal_spectrum(observe(0)[1:], MASKS[1], **(known | change))


def test_a_split_in_another_unit_is_converted_or_refused() -> None:
    known = {k: v for k, v in QUICK.items() if k != "unit"}
    first, second = (observe(0, noise_seed=i)[1:] for i in (1, 2))
    plain = optimal_spectrum(first * u.uK, MASKS[1], sky2=second * u.uK, n_sims=12, **known)
    other = optimal_spectrum(first * u.uK, MASKS[1], sky2=second * 1e-6 * u.K, n_sims=12, **known)
    np.testing.assert_allclose(other.bandpowers, plain.bandpowers, rtol=1e-9)
    with pytest.raises(MapError, match="the second split is in uK_CMB, the map has no unit"):
        optimal_spectrum(first, MASKS[1], sky2=second * u.uK, n_sims=12, **known)


def test_a_model_estimated_from_the_map_serves() -> None:
    cl, npix = fiducial_spectra(47), 12 * 16**2
    noise = np.array([5.0, 0.1, 0.1])[:, None] * np.random.default_rng(1).standard_normal((3, npix))
    sky = simulate_sky(cl, 16, fwhm=0.2, pixwin=True, seed=3) + noise
    mask = np.abs(hp.pix2vec(16, np.arange(npix))[2]) > 0.2
    best = optimal_spectrum(sky, mask, bins=[2, 6, 12, 20], unit="uK", seed=1)
    assert best.sky_model.is_estimated and not best.beam_divided
    np.testing.assert_allclose(np.ravel(best.sky_model.noise_std), [5.0, 0.1, 0.1], rtol=0.08)
    beams = np.stack([gaussian_beam(0.2, 47) * pixel_window(16, 47, spin=spin) for spin in (0, 2, 2)])
    # Bandpowers of the map, beam in.
    expected = best.expected(cl * beams[[0, 1, 2, 0]] * beams[[0, 1, 2, 1]])
    assert np.all(np.abs(best.bandpowers - expected) < 3.7 * best.errors)
    assert np.all(best.bandpowers[:2, :2] > 2 * best.errors[:2, :2])
