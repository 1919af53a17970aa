"""The sky model says what is in a map, and refuses to say nonsense."""

import dataclasses
import warnings

import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import CmbInpaintWarning, SpectrumError
from cmbinpaint.sims import SkyModel, fiducial_cl, fiducial_spectra
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import Harmonics
from cmbinpaint.sphere.windows import pixel_window

NSIDE = 16
NPIX = 12 * NSIDE**2
FWHM = 3 * hp.nside2resol(NSIDE)
CL = fiducial_cl(3 * NSIDE - 1)
finite = st.floats(1e-3, 1e3)


def make(**changes: object) -> SkyModel:
    arguments: dict = {"fwhm": FWHM, "noise_std": 3.0} | changes
    return SkyModel.from_theory(CL, NSIDE, **arguments)


def test_the_signal_is_the_sky_behind_beam_and_pixel() -> None:
    model = make()
    expected = CL * hp.gauss_beam(FWHM, CL.size - 1) ** 2 * pixel_window(NSIDE, CL.size - 1) ** 2
    # rtol: two formulas of one Gaussian, rounding only.
    np.testing.assert_allclose(model.signal_cl[2:], expected[2 : model.lmax + 1], rtol=1e-9)
    assert model.noise_cl == pytest.approx(9.0 * 4 * np.pi / NPIX, rel=1e-12)
    np.testing.assert_array_equal(model.total_cl, model.signal_cl + model.noise_cl)


def test_a_model_is_shown_in_one_line() -> None:
    assert repr(make(lmax=40)) == "<SkyModel of T, nside 16, lmax 40, noise 3: given cl>"
    levels = np.linspace(2, 7.5, NPIX)
    assert (
        str(make(lmax=40, noise_std=levels)) == "<SkyModel of T, nside 16, lmax 40, noise 2 to 7.5: given cl>"
    )


def test_a_given_beam_brings_its_own_pixel_window() -> None:
    beam = hp.gauss_beam(FWHM, 3 * NSIDE - 1)
    model = SkyModel.from_theory(CL, NSIDE, beam=beam, lmax=30)
    np.testing.assert_allclose(model.signal_cl[2:], (CL * beam**2)[2:31], rtol=1e-12)
    bare = SkyModel.from_theory(CL, NSIDE, lmax=30)
    np.testing.assert_allclose(bare.signal_cl[2:], (CL[:31] * pixel_window(NSIDE, 30) ** 2)[2:], rtol=1e-12)


def test_lmax_of_the_measured_case_is_about_twice_nside() -> None:
    cl = fiducial_cl(383)
    model = SkyModel.from_theory(cl, 128, fwhm=3 * hp.nside2resol(128), noise_std=3.0)
    assert 256 <= model.lmax <= 288
    assert SkyModel.from_theory(cl, 128, noise_std=3.0).lmax > 370
    assert SkyModel.from_theory(cl, 128, noise_std=3.0, fwhm=0.01, lmax=200).lmax == 200


@given(noise=st.floats(0.0, 100.0), beam_pixels=st.floats(0.5, 20.0))
@settings(max_examples=30, deadline=None)
def test_what_lies_beyond_lmax_is_negligible(noise: float, beam_pixels: float) -> None:
    fwhm = min(1.0, beam_pixels * hp.nside2resol(NSIDE))
    whole = SkyModel.from_theory(CL, NSIDE, fwhm=fwhm, noise_std=noise, lmax=3 * NSIDE - 1)
    model = SkyModel.from_theory(CL, NSIDE, fwhm=fwhm, noise_std=noise)
    lost = whole.rms**2 - model.rms**2
    # The limits that the module states; a factor for rounding of the difference.
    limit = np.clip(0.04 * noise**2, 1e-5 * whole.rms**2, 1e-3 * whole.rms**2)
    assert lost <= 1.001 * limit + 1e-9 * whole.rms**2
    quiet = max(noise, 0.01 * whole.rms) ** 2 * 4 * np.pi / (12 * NSIDE**2) / 4
    assert np.all(whole.signal_cl[model.lmax + 1 :] <= 1.001 * quiet)
    if 2 < model.lmax < 3 * NSIDE - 1:  # and no multipole more than needed
        last = model.signal_cl[-1]
        assert lost + (2 * model.lmax + 1) / (4 * np.pi) * last > 0.999 * limit or last > 0.999 * quiet


def test_monopole_and_dipole_are_free() -> None:
    model = make()
    assert (model.signal_cl[:2] >= 1e4 * model.signal_cl[2:].max()).all()
    noisy = model.with_noise(1e4)
    assert (noisy.signal_cl[:2] >= 1e3 * noisy.noise_cl).all()
    assert model.rms < 200.0  # µK: the broad prior is no part of the signal's rms


@given(factor=st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-6))
@settings(max_examples=20, deadline=None)
def test_scaling_the_map_scales_the_model(factor: float) -> None:
    model = make()
    scaled = model.scaled(factor)
    assert scaled.rms == pytest.approx(abs(factor) * model.rms, rel=1e-12)
    assert scaled.noise_std == pytest.approx(3.0 * abs(factor), rel=1e-12)
    assert scaled.lmax == model.lmax


def test_arrays_are_copied_and_read_only() -> None:
    noise = np.full(NPIX, 2.0)
    model = make(noise_std=noise)
    noise[:] = 7.0
    assert np.mean(model.noise_std) == 2.0
    with pytest.raises(ValueError, match="read-only"):
        model.noise_std[0] = 1.0  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        model.signal_cl[0] = 1.0


def test_the_digest_tells_models_apart() -> None:
    model = make()
    assert model.digest == make().digest
    assert model.digest == make(source="elsewhere").digest
    others = [
        make(noise_std=3.1),
        make(fwhm=1.01 * FWHM),
        make(noise_std=np.full(NPIX, 3.0)),
        model.scaled(2.0),
    ]
    assert len({model.digest, *(other.digest for other in others)}) == 5


def test_a_short_spectrum_is_said_to_end() -> None:
    with pytest.warns(CmbInpaintWarning, match=r"the cl ends at ell = 20, .* Give a cl to ell = 47"):
        model = SkyModel.from_theory(CL[:21], NSIDE)
    assert model.lmax <= 20
    with pytest.warns(CmbInpaintWarning, match=r"the beam ends at ell = 25"):
        SkyModel.from_theory(CL, NSIDE, beam=np.ones(26))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SkyModel.from_theory(CL[:41], NSIDE, fwhm=3 * FWHM)  # behind this beam nothing is left at its end


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fwhm": 60.0}, r"fwhm is 60, above 1: it is in radians; did you mean np.radians\(60/60\)\?"),
        ({"beam": np.ones(48)}, "both fwhm and beam are given; give one"),
        ({"fwhm": None, "beam": np.ones((2, 48))}, r"beam has shape \(2, 48\)"),
        ({"noise_std": np.ones(100)}, r"noise_std has shape \(100,\); .*\(3072,\) at nside 16"),
        ({"noise_std": -1.0}, r"noise_std holds 1 negative or non-finite values \(-1.0\)"),
        ({"noise_std": np.append(np.ones(NPIX - 1), np.nan)}, "the first in pixel 3071"),
        ({"lmax": 64}, "lmax is 64; expected a whole number from 2 to 63"),
    ],
)
def test_contradictions_are_refused(changes: dict, text: str) -> None:
    with pytest.raises(SpectrumError, match=text):
        make(**changes)


@pytest.mark.parametrize(
    ("cl", "text"),
    [
        ([1.0, 1.0, -1.0, 1.0], r"cl holds 1 negative .* the first at ell = 2 \(-1.0\)"),
        ([1.0, 1.0, 1.0, np.nan], r"cl holds 1 negative or non-finite .* ell = 3"),
        ([1.0, 1.0], r"cl has shape \(2,\); it is needed from ell = 0 to 2 at least"),
        (np.ones((5, 48)), r"the spectra have shape \(5, 48\); expected"),
        (["a", "b", "c"], "cl is not an array of numbers"),
        (np.zeros(48), "neither signal nor noise"),
    ],
)
def test_spectra_that_are_none_are_refused(cl: object, text: str) -> None:
    with pytest.raises(SpectrumError, match=text):
        SkyModel.from_theory(cl, NSIDE)  # type: ignore[arg-type]


def test_more_refusals() -> None:
    with pytest.raises(SpectrumError, match="a finite number other than 0"):
        make().scaled(0.0)
    with pytest.raises(SpectrumError, match=r"signal_cl reaches ell = 64; .*from_theory choose lmax"):
        SkyModel(NSIDE, np.ones(65), 1.0)


SPECTRA = fiducial_spectra(3 * NSIDE - 1)


def test_the_signal_of_t_q_u_is_the_sky_behind_beam_and_pixel_of_each_spin() -> None:
    model = SkyModel.from_theory(SPECTRA, NSIDE, fwhm=FWHM, noise_std=[3.0, 0.3, 0.3])
    assert model.fields is Fields.TQU and model.signal_cl.shape == (3, 3, model.lmax + 1)
    temperature, polarization = (
        hp.gauss_beam(FWHM, 47, pol=True)[:, i] * pixel_window(NSIDE, 47, spin=2 * i) for i in (0, 1)
    )
    for row, (i, j) in zip(SPECTRA, Fields.TQU.pairs, strict=False):
        window = (temperature if i == 0 else polarization) * (temperature if j == 0 else polarization)
        np.testing.assert_allclose(model.signal_cl[i, j, 2:], (row * window)[2 : model.lmax + 1], rtol=1e-9)
    alone = SkyModel.from_theory(SPECTRA[0], NSIDE, fwhm=FWHM, noise_std=3.0, lmax=model.lmax)
    np.testing.assert_array_equal(model.signal_cl[0, 0], alone.signal_cl)
    assert model.stokes_rms[0] == alone.rms == model.rms
    assert model.stokes_rms[1] == model.stokes_rms[2]
    assert not model.signal_cl[1:, :, :2].any()  # no monopole and dipole of E and B


def test_q_and_u_have_the_rms_that_their_skies_have() -> None:
    model = SkyModel.from_theory(SPECTRA[1:3], NSIDE, fwhm=FWHM, noise_std=0.3)
    skies = [
        Harmonics(NSIDE, model.lmax).synthesis(model.signal.draw(np.random.default_rng(seed)))
        for seed in range(200)
    ]
    assert model.fields is Fields.QU
    np.testing.assert_allclose(
        np.std(skies, axis=(0, 2)), model.stokes_rms, rtol=0.05
    )  # 200 skies, some 60 modes


def test_beams_of_each_mode() -> None:
    beams = np.exp(-np.linspace(0, [[1.0], [2.0], [3.0]], 48, axis=1)[..., 0])
    three = SkyModel.from_theory(SPECTRA, NSIDE, beam=beams, lmax=40)
    np.testing.assert_allclose(three.signal_cl[2, 2], (SPECTRA[2] * beams[2] ** 2)[:41], rtol=1e-12)
    two = SkyModel.from_theory(SPECTRA, NSIDE, beam=beams[:2], lmax=40)
    np.testing.assert_allclose(two.signal_cl[0, 1], (SPECTRA[3] * beams[0] * beams[1])[:41], rtol=1e-12)
    np.testing.assert_allclose(two.signal_cl[2, 2], (SPECTRA[2] * beams[1] ** 2)[:41], rtol=1e-12)


def test_camb_s_columns_are_read_and_healpys_old_order_is_named() -> None:
    np.testing.assert_array_equal(
        SkyModel.from_theory(SPECTRA.T, NSIDE, noise_std=0.3).signal_cl,
        SkyModel.from_theory(SPECTRA, NSIDE, noise_std=0.3).signal_cl,
    )
    with pytest.raises(
        SpectrumError, match=r"healpy's old order, TT, TE, EE, BB: .*Give cl\[\[0, 2, 3, 1\]\]"
    ):
        SkyModel.from_theory(fiducial_spectra(191)[[0, 3, 1, 2]], 64)
    wrong = SPECTRA.copy()
    wrong[3, 17] = 2 * np.sqrt(wrong[0, 17] * wrong[1, 17])
    with pytest.raises(SpectrumError, match=r"cl: .* not those of any sky at ell = 17: TT = .* TE² <= TT·EE"):
        SkyModel.from_theory(wrong, NSIDE)


def test_noise_of_stokes_parameters() -> None:
    cov = np.array([9.0, 0.0, 0.1, 0.09, 0.02, 0.16])[:, None] * np.ones(NPIX)
    model = SkyModel.from_theory(SPECTRA, NSIDE, noise_cov=cov)
    np.testing.assert_allclose(model.noise_std[:, 5], [3.0, 0.3, 0.4])
    assert model.digest != SkyModel.from_theory(SPECTRA, NSIDE, noise_std=model.noise_std).digest
    np.testing.assert_allclose(model.scaled(2.0).noise_cov, 4 * cov)
    np.testing.assert_allclose(SkyModel.from_theory(SPECTRA, NSIDE, noise_std=0.2).noise_std, [0.2, 0.2, 0.2])
    assert model.with_noise([1.0, 2.0, 2.0]).noise_cov is None
    for noise, words in (
        ([1.0, 2.0], r"noise_std has shape \(2,\); .*one for each Stokes parameter: \(3,\)"),
        (np.ones(NPIX), r"noise_std has shape \(3072,\)"),
        ([1.0, -2.0, 2.0], "1 negative"),
    ):
        with pytest.raises(SpectrumError, match=words):
            SkyModel.from_theory(SPECTRA, NSIDE, noise_std=noise)
    with pytest.raises(
        SpectrumError, match=r"noise_cov has shape \(3, 3072\); expected .*\(6, 3072\) for T, Q, U"
    ):
        SkyModel.from_theory(SPECTRA, NSIDE, noise_cov=cov[:3])
    cov[4, 7] = 0.5
    with pytest.raises(SpectrumError, match="noise_cov is no covariance in 1 pixels, the first 7"):
        SkyModel.from_theory(SPECTRA, NSIDE, noise_cov=cov)


@pytest.mark.parametrize("k", [1, 3])
def test_a_model_made_again_of_its_arrays_lacks_nothing(k: int) -> None:
    """Every field of the class, so that one added tomorrow is not lost in plans' files."""
    cl, noise = (SPECTRA[0], 3.0) if k == 1 else (SPECTRA, [3.0, 0.3, 0.3])
    model = SkyModel.from_theory(cl, NSIDE, noise_std=noise, colored_noise_cl=0.1 * cl, source="a file")
    model = dataclasses.replace(model, noise_source="the map's end", is_estimated=True)
    again = SkyModel.of_arrays(*model.to_arrays())
    assert again.digest == model.digest
    for field in dataclasses.fields(SkyModel):
        mine, its = getattr(model, field.name), getattr(again, field.name)
        assert (mine is None) == (its is None) and (mine is None or np.array_equal(mine, its)), field.name
