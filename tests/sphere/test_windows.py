"""Beams and pixel windows against healpy's, direct sums and averaged skies; what is none is refused."""

import astropy.units as u
import healpy as hp
import numpy as np
import pytest

from cmbinpaint.errors import SpectrumError, UnitsError
from cmbinpaint.sims import fiducial_cl, simulate_sky
from cmbinpaint.spectra import Bandpowers
from cmbinpaint.sphere import windows
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.harmonics import Harmonics

# The fit of the pixel window to its definition, relative amplitude; its docstring states it.
WINDOW_FIT = 1e-4
# The indicator of a pixel is cut at 4 nside of a map 32 times finer, and its own pixels average again.
INDICATOR_SAMPLING = 8e-4


def test_the_beam_is_healpys():
    np.testing.assert_allclose(
        windows.gaussian_beam(np.radians(0.5), 700), hp.gauss_beam(np.radians(0.5), 700), rtol=1e-12
    )
    assert (windows.gaussian_beam(0.0, 10) == 1).all()


@pytest.mark.parametrize(
    "given", [20 * u.arcmin, np.radians(1 / 3) * u.rad, u.Quantity("0.333333333333333 deg")]
)
def test_a_width_with_a_unit_is_converted(given):
    assert windows.validate_fwhm(given) == pytest.approx(np.radians(20 / 60), rel=1e-12)
    np.testing.assert_allclose(
        windows.gaussian_beam(given, 50), windows.gaussian_beam(np.radians(20 / 60), 50), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("fwhm", "error", "text"),
    [
        (10.0, SpectrumError, r"fwhm is 10, above 1: it is in radians; did you mean np.radians\(10/60\)"),
        (100 * u.deg, SpectrumError, r"fwhm is 1\.74533, above 1"),
        (-0.1, SpectrumError, "fwhm is -0.1; expected radians, finite and >= 0"),
        (np.nan, SpectrumError, "fwhm is nan; expected radians"),
        ([0.1, 0.2], SpectrumError, r"fwhm is one number of radians; got list \[0.1, 0.2\]"),
        (5 * u.uK, UnitsError, "fwhm is a Quantity in 'uK'; an angle was expected"),
    ],
)
def test_widths_that_are_none_are_refused(fwhm, error, text):
    with pytest.raises(error, match=text):
        windows.gaussian_beam(fwhm, 10)


@pytest.mark.parametrize(
    ("beam", "error", "text"),
    [
        (np.ones((2, 48)), SpectrumError, r"beam has shape \(2, 48\)"),
        (np.full(48, np.nan), SpectrumError, "beam holds NaN or inf"),
        (np.zeros(48), SpectrumError, "zero everywhere"),
        (np.ones(48) * u.arcmin, UnitsError, "beam is a Quantity in 'arcmin'; a bare number was expected"),
    ],
)
def test_beams_that_are_none_are_refused(beam, error, text):
    with pytest.raises(error, match=text):
        windows.map_window(16, 40, beam=beam)


def test_a_beam_in_percent_is_a_number():
    np.testing.assert_allclose(windows.validate_beam([100, 90, 80] * u.percent), [1.0, 0.9, 0.8], rtol=1e-15)


def test_the_window_of_a_map_is_beam_times_pixel():
    np.testing.assert_allclose(
        windows.map_window(16, 40, fwhm=0.02, pixwin=False), hp.gauss_beam(0.02, 40), rtol=1e-9
    )
    both = windows.map_window(16, 40, fwhm=0.02)
    np.testing.assert_allclose(both, hp.gauss_beam(0.02, 40) * windows.pixel_window(16, 40), rtol=1e-9)
    assert windows.map_window(16, 40, beam=np.ones(11)).size == 11  # a beam ends where it ends
    with pytest.raises(SpectrumError, match="both fwhm and beam are given; give one"):
        windows.map_window(16, 40, fwhm=0.1, beam=np.ones(41))


@pytest.mark.parametrize(("nside", "subdivisions"), [(1, 16), (4, 16), (8, 8), (16, 8), (32, 4)])
def test_the_fitted_window_is_the_computed_one(nside, subdivisions):
    computed = windows.computed_pixel_window(nside, 4 * nside, subdivisions=subdivisions)
    fitted = windows.pixel_window(nside, 4 * nside)
    # Fewer subdivisions leave an error of the extrapolation at the highest multipoles only.
    upto = 4 * nside if subdivisions > 4 else 2 * nside
    assert np.abs(fitted / computed - 1)[: upto + 1].max() < 2 * WINDOW_FIT
    assert fitted[0] == 1 and (np.diff(fitted) < 0).all()


def test_the_window_is_the_power_of_a_pixels_indicator():
    """Without Legendre sums: transform maps that are 1 in a single pixel, at a much finer resolution."""
    nside, finer, lmax = 4, 32, 16
    power = np.zeros(lmax + 1)
    for pixel in range(12 * nside**2)[:: 12 * nside**2 // 64]:
        indicator = np.zeros(12 * (nside * finer) ** 2)
        children = hp.ring2nest(nside, pixel) * finer**2 + np.arange(finer**2)
        indicator[hp.nest2ring(nside * finer, children)] = 1
        power += hp.anafast(indicator, lmax=lmax, iter=0)
    window = np.sqrt(power / power[0])
    # 64 of the 192 pixels stand for all: their shapes scatter the mean by some 1e-3 at the highest ell.
    np.testing.assert_allclose(windows.pixel_window(nside, lmax), window, rtol=5 * INDICATOR_SAMPLING)


def test_the_window_is_what_averaging_does_to_a_sky():
    """A sky averaged over pixels loses the power the window says, at every nside alike."""
    nside, fine = 32, 256
    ratio = []
    for seed in range(3):
        sky = simulate_sky(fiducial_cl(95), fine, lmax=95, seed=seed)
        ratio.append(hp.anafast(hp.ud_grade(sky, nside), lmax=48) / hp.anafast(sky, lmax=48))
    bands = Bandpowers([4, 16, 32, 48])
    expected = windows.pixel_window(nside, 48) ** 2 / windows.pixel_window(fine, 48) ** 2 * 1.0
    # Aliasing of power above 2 nside and the scatter of shapes between pixels: a percent.
    np.testing.assert_allclose(bands.bin(np.mean(ratio, axis=0)), bands.bin(expected), rtol=0.01)


def test_the_window_ends_at_four_nside():
    assert windows.pixel_window(64).size == 192
    with pytest.raises(
        SpectrumError,
        match="lmax is 65; expected a whole number from 0 to 64: the pixel window of nside 16 ends there",
    ):
        windows.pixel_window(16, 65)


@pytest.mark.parametrize("nside", [8, 16])
def test_the_window_of_polarization_is_its_definition(nside):
    computed = windows.computed_pixel_window(nside, 4 * nside, spin=2)
    np.testing.assert_allclose(windows.pixel_window(nside, 4 * nside, spin=2)[2:], computed[2:], rtol=2e-4)
    assert (
        np.abs(computed / windows.pixel_window(nside, 4 * nside) - 1)[2:].max() > 5e-4
    )  # it is not that of T
    np.testing.assert_allclose(
        windows.pixel_window(2, 8, spin=2), windows.computed_pixel_window(2, 8, spin=2, subdivisions=16)
    )


@pytest.mark.parametrize("ell", [4, 16, 28])
def test_averaged_q_and_u_have_the_power_that_the_window_says(ell):
    nside, fine, n = 8, 128, 6
    harmonics, ratio = Harmonics(fine, ell), []
    for seed in range(n):
        spectra = np.zeros((2, ell + 1))
        spectra[:, ell] = 1.0, 0.5
        sky = harmonics.synthesis(EllMatrix.from_spectra(spectra).draw(np.random.default_rng(seed)))
        ratio.append(np.mean(np.square(hp.ud_grade(sky, nside))) / np.mean(np.square(sky)))
    expected = windows.pixel_window(nside, ell, spin=2)[ell] ** 2
    # 256 sub-pixels miss 1/256 of what is averaged out; the shapes of pixels are sampled by 2 ell + 1 modes
    assert np.mean(ratio) == pytest.approx(
        expected, abs=4 * np.std(ratio) / np.sqrt(n - 1) + (1 - expected) / 256
    )
    assert np.std(ratio) < 0.02


def test_a_gaussian_beam_of_polarization_is_healpys():
    fwhm = np.radians(5)
    expected = hp.gauss_beam(fwhm, 50, pol=True)[:, 1]
    np.testing.assert_allclose(windows.gaussian_beam(fwhm, 50, spin=2)[2:], expected[2:], rtol=1e-12)
    both = windows.map_window(16, 40, fwhm=fwhm, spin=2)
    np.testing.assert_allclose(
        both[2:], (expected[:41] * windows.pixel_window(16, 40, spin=2))[2:], rtol=1e-12
    )
