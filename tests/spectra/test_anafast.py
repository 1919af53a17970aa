"""Spectra, windows and mode coupling against direct sums, 3j symbols and simulated skies."""

import itertools

import ducc0
import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import MapError, SpectrumError
from cmbinpaint.spectra import anafast as spectra
from cmbinpaint.spectra import pseudo_cl as cut_sky
from cmbinpaint.sphere import masks, windows

# The fit of the pixel window to its definition, relative amplitude; its docstring states it.
WINDOW_FIT = 1e-4
# The indicator of a pixel is cut at 4 nside of a map 32 times finer, and its own pixels average again.
INDICATOR_SAMPLING = 8e-4
# healpy's transforms are iterated, not exact: full-sky weights show power of 1e-9 away from ell = 0.
TRANSFORM = 1e-3


def draw(cl, nside, rng, lmax):
    ell, m = hp.Alm.getlm(lmax)
    alm = (rng.normal(size=ell.size) + 1j * rng.normal(size=ell.size)) / np.sqrt(2)
    alm[m == 0] = rng.normal(size=np.count_nonzero(m == 0))
    return hp.alm2map(alm * np.sqrt(cl[ell]), nside, lmax=lmax)


def steep(lmax):
    ell = np.arange(lmax + 1)
    return np.where(ell > 1, 1 / np.maximum(ell * (ell + 1.0), 1), 0)


# --- C_ell, D_ell, bands ----------------------------------------------------------------------------------


@given(st.lists(st.floats(1e-100, 1e6) | st.just(0.0), min_size=1, max_size=50))
def test_dl_and_cl_are_inverse(values):
    cl = np.array(values)
    dl = spectra.dl_from_cl(cl)
    for ell, value in enumerate(values):
        assert dl[ell] == pytest.approx(ell * (ell + 1) * value / (2 * np.pi))
    back = spectra.cl_from_dl(dl)
    assert back[0] == 0
    np.testing.assert_allclose(back[1:], cl[1:], rtol=1e-14)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=2, max_size=8, unique=True), st.integers(0, 99))
def test_bandpowers_are_means_over_modes(edges, seed):
    edges = sorted(edges)
    bands = spectra.Bandpowers(edges)
    cl = np.random.default_rng(seed).random((2, 70))
    assert bands.n == len(edges) - 1 and bands.lmax == edges[-1] - 1
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        weights = np.array([2 * ell + 1 for ell in range(low, high)], dtype=float)
        expected = (cl[:, low:high] * weights).sum(axis=1) / weights.sum()
        np.testing.assert_allclose(bands.bin(cl)[:, i], expected, rtol=1e-12)
        assert low <= bands.centers[i] < high
        assert bands.n_modes[i] == weights.sum() and bands.widths[i] == high - low


@given(st.integers(0, 30), st.integers(0, 2000), st.integers(1, 30), st.integers(1, 4))
def test_log_bands_cover_their_range(lmin, extra, n, width):
    lmax = lmin + extra
    if lmax + 1 - lmin < n * width:
        with pytest.raises(
            SpectrumError, match=f"{n} bands of at least {width} do not fit into ell = {lmin}"
        ):
            spectra.log_bands(lmin, lmax, n, min_width=width)
        return
    bands = spectra.log_bands(lmin, lmax, n, min_width=width)
    assert bands.n == n and bands.edges[0] == lmin and bands.lmax == lmax and bands.widths.min() >= width


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        ([2, 8, 5], "bands overlap: edge 5 follows 8"),
        ([2, 2], "bands overlap: edge 2 follows 2"),
        ([2.5, 8], "band edges are whole numbers from 0"),
        ([-1, 8], "band edges are whole numbers from 0"),
        ([2], "band edges are 2 or more multipoles in ascending order"),
        (["a", "b"], "band edges are 2 or more multipoles"),
    ],
)
def test_bands_that_are_none_are_refused(edges, text):
    with pytest.raises(SpectrumError, match=text):
        spectra.Bandpowers(edges)


def test_bands_beyond_the_spectrum_are_refused():
    with pytest.raises(
        SpectrumError, match=r"the bands reach ell = 9, the spectrum has shape .5,.: it must have"
    ):
        spectra.Bandpowers([2, 10]).bin(np.ones(5))
    with pytest.raises(ValueError, match="read-only"):
        spectra.Bandpowers([2, 10]).edges[0] = 1


@pytest.mark.parametrize(
    ("cl", "text"),
    [
        ([1.0, -1.0], "cl has 1 negative or non-finite values, the first at ell = 1 .-1.0."),
        ([1.0, np.nan], "the first at ell = 1 .nan."),
        (np.ones((2, 3)), "cl has shape .2, 3.; one spectrum .lmax.1,. from ell = 0 was expected"),
    ],
)
def test_spectra_that_are_none_are_refused(cl, text):
    with pytest.raises(SpectrumError, match=text):
        spectra.take_cl(cl)
    with pytest.raises(SpectrumError, match="noise ends at ell = 1; it is needed to ell = 4"):
        spectra.take_cl([1.0, 1.0], "noise", length=5)


# --- beams and windows ------------------------------------------------------------------------------------


def test_the_beam_is_healpys():
    np.testing.assert_allclose(
        spectra.gaussian_beam(np.radians(0.5), 700), hp.gauss_beam(np.radians(0.5), 700), rtol=1e-12
    )
    assert (spectra.gaussian_beam(0.0, 10) == 1).all()


@pytest.mark.parametrize(
    ("fwhm", "text"),
    [(10.0, r"did you mean np.radians\(10.0/60\)"), (-0.1, "0 or more; got -0.1"), (np.nan, "finite number")],
)
def test_beams_that_are_none_are_refused(fwhm, text):
    with pytest.raises(SpectrumError, match=text):
        spectra.gaussian_beam(fwhm, 10)


@pytest.mark.parametrize(("nside", "subdivisions"), [(1, 16), (4, 16), (8, 8), (16, 8), (32, 4)])
def test_the_fitted_window_is_the_computed_one(nside, subdivisions):
    computed = windows.computed_pixel_window(nside, 4 * nside, subdivisions=subdivisions)
    fitted = spectra.pixel_window(nside, 4 * nside)
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
    np.testing.assert_allclose(spectra.pixel_window(nside, lmax), window, rtol=5 * INDICATOR_SAMPLING)


def test_the_window_is_what_averaging_does_to_a_sky():
    """A sky averaged over pixels loses the power the window says, at every nside alike."""
    nside, fine, rng = 32, 256, np.random.default_rng(5)
    cl = steep(3 * nside)
    ratio = []
    for _ in range(3):
        sky = draw(cl, fine, rng, 3 * nside)
        ratio.append(spectra.anafast(hp.ud_grade(sky, nside), 48) / spectra.anafast(sky, 48))
    bands = spectra.Bandpowers([4, 16, 32, 48])
    expected = spectra.pixel_window(nside, 48) ** 2 / spectra.pixel_window(fine, 48) ** 2 * 1.0
    # Aliasing of power above 2 nside and the scatter of shapes between pixels: a percent.
    np.testing.assert_allclose(bands.bin(np.mean(ratio, axis=0)), bands.bin(expected), rtol=0.01)


def test_the_window_ends_at_four_nside():
    assert spectra.pixel_window(64).size == 192
    with pytest.raises(
        SpectrumError, match="the pixel window of nside 16 ends at ell = 64; lmax = 65 was asked"
    ):
        spectra.pixel_window(16, 65)


# --- full sky ---------------------------------------------------------------------------------------------


def test_anafast_recovers_power_and_keeps_the_monopole():
    rng = np.random.default_rng(0)
    ell, m = hp.Alm.getlm(16)
    alm = rng.normal(size=ell.size) + 1j * (m > 0) * rng.normal(size=ell.size)
    sky = hp.alm2map(alm, 16, lmax=16)
    by_hand = [sum(abs(alm[hp.Alm.getidx(16, i, k)]) ** 2 * (2 if k else 1) for k in range(i + 1)) / (2 * i + 1)
               for i in range(17)]  # fmt: skip
    np.testing.assert_allclose(spectra.anafast(sky, 16), by_hand, rtol=1e-4)
    assert spectra.anafast(sky).size == 48


@pytest.mark.parametrize("value", [np.nan, np.inf, hp.UNSEEN])
def test_anafast_refuses_holes(value):
    sky = np.zeros(192)
    sky[7] = value
    with pytest.raises(
        SpectrumError, match=r"the map has 1 pixels that are NaN, inf or UNSEEN, the first at 7"
    ):
        spectra.anafast(sky)
    with pytest.raises(MapError, match="no HEALPix map"):
        spectra.anafast(np.zeros(100))


# --- cut sky ----------------------------------------------------------------------------------------------


def test_coupling_equals_3j_symbols():
    lmax, rng = 12, np.random.default_rng(2)
    weight_cl = rng.random(2 * lmax + 1)
    expected = np.zeros((lmax + 1, lmax + 1))
    for one in range(lmax + 1):
        for two in range(lmax + 1):
            first, symbols = ducc0.misc.wigner3j_int(one, two, 0, 0)
            which = np.arange(first, first + symbols.size)
            total = np.sum((2 * which + 1) * weight_cl[which] * symbols**2)
            expected[one, two] = (2 * two + 1) / (4 * np.pi) * total
    found = cut_sky._coupling_from_spectrum(weight_cl, lmax)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_coupling_equals_transforms_of_every_mode():
    nside, lmax = 8, 16
    weights = masks.apodize(masks.planck_like_mask(nside), 30)
    mean_pseudo = np.zeros((lmax + 1, lmax + 1))
    for ell in range(lmax + 1):
        for m in range(ell + 1):
            for phase in (1,) if m == 0 else (1 / np.sqrt(2), 1j / np.sqrt(2)):
                alm = np.zeros(hp.Alm.getsize(lmax), dtype=complex)
                alm[hp.Alm.getidx(lmax, ell, m)] = phase
                seen = hp.alm2map(alm, nside, lmax=lmax) * weights
                mean_pseudo[:, ell] += hp.anafast(seen, lmax=lmax, iter=3)
    matrix = spectra.coupling_matrix(weights, lmax)
    # Pixels are no quadrature above 2 nside, where the product of mask and sky has power: one part in a hundred.
    np.testing.assert_allclose(matrix, mean_pseudo, rtol=0, atol=0.01 * matrix.max())


def test_coupling_of_a_full_sky_is_the_identity():
    np.testing.assert_allclose(
        spectra.coupling_matrix(np.ones(12 * 16**2), 30), np.eye(31), atol=TRANSFORM, rtol=0
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_full_sky_decouples_to_its_own_bandpowers(seed):
    sky = np.random.default_rng(seed).normal(size=12 * 16**2)
    bands = spectra.Bandpowers([2, 3, 7, 20, 32])
    found = spectra.master(sky, np.ones(sky.size), bands, 40)
    np.testing.assert_allclose(found, bands.bin(spectra.anafast(sky, 40)), rtol=TRANSFORM)


def test_master_is_unbiased_and_blind_to_constants():
    nside, lmax, n_skies = 16, 47, 200
    valid, rng = masks.planck_like_mask(nside), np.random.default_rng(8)
    cl = steep(lmax) + 1e-4
    cl[:2] = 0
    bands = spectra.Bandpowers([2, 6, 10, 16, 24, 32])
    coupling = spectra.coupling_matrix(valid, lmax)
    found = []
    for _ in range(n_skies):
        sky = draw(cl, nside, rng, lmax)
        found.append(spectra.master(sky + 1e3, valid, bands, lmax, coupling=coupling))
    again = spectra.master(np.where(valid, sky, np.nan), valid, bands, lmax)
    np.testing.assert_allclose(again, found[-1], rtol=1e-6)
    ratio = np.mean(found, axis=0) / bands.bin(cl)
    error = np.std(found, axis=0) / bands.bin(cl) / np.sqrt(n_skies)
    # Four standard errors, and a percent for the weighted mean that is taken out and for pixels at 2 nside.
    assert np.all(np.abs(ratio - 1) < 4 * error + 0.01), (ratio, error)
    # The undecoupled spectrum would fail this: the test can tell.
    rough = bands.bin(spectra.pseudo_cl(sky, valid, lmax)) / valid.mean()
    assert np.any(np.abs(rough / found[-1] - 1) > 0.03)


def test_pseudo_cl_reads_nothing_under_a_hole():
    rng = np.random.default_rng(1)
    sky, weights = rng.normal(size=192), masks.apodize(np.arange(192) > 40, 20.0)
    expected = hp.anafast(sky * weights, lmax=8, iter=3)
    for poison in (np.nan, hp.UNSEEN, 1e30):
        poisoned = np.where(weights > 0, sky, poison)
        np.testing.assert_array_equal(spectra.pseudo_cl(poisoned, weights, 8), expected)


@pytest.mark.parametrize(
    ("sky", "weights", "edges", "text"),
    [
        (np.ones(192), np.arange(192) > 120, [2, 4, 5], "the band from ell = 4 to 4 is 1 wide; at this sky"),
        (np.ones(192), np.arange(192) > 120, [2, 4, 5], "the least is 1/fsky, 3: use log_bands"),
        (np.ones(192), np.ones(192), [2, 20], "the bands reach ell = 19, the spectrum ell = 11"),
        (np.ones(192), np.ones(48), [2, 8], "the map has 192 pixels, the weights 48"),
        (np.ones(192), np.zeros(192), [2, 8], "all weights are 0: nothing is observed"),
        (np.ones(192), -np.ones(192), [2, 8], "weights hold negative or non-finite values"),
        (
            np.full(192, np.nan),
            np.ones(192),
            [2, 8],
            "the observed part of the map has 192 pixels that are NaN",
        ),
    ],
)
def test_master_refuses_what_it_cannot_do(sky, weights, edges, text):
    with pytest.raises(SpectrumError, match=text):
        spectra.master(sky, weights, spectra.Bandpowers(edges))


def test_decouple_refuses_shapes_that_do_not_fit():
    bands = spectra.Bandpowers([2, 8])
    with pytest.raises(SpectrumError, match=r"the coupling matrix has shape \(5, 5\); \(9, 9\) was expected"):
        spectra.decouple(np.ones(9), np.eye(5), bands)
    with pytest.raises(SpectrumError, match="shape is 0 within the bands"):
        spectra.decouple(np.ones(9), np.eye(9), bands, shape=np.zeros(9))
    with pytest.raises(SpectrumError, match="shape ends at ell = 3; it is needed to ell = 8"):
        spectra.decouple(np.ones(9), np.eye(9), bands, shape=np.ones(4))


# --- files ------------------------------------------------------------------------------------------------

CL = 1e3 / (np.arange(1, 1201) * np.arange(2, 1202.0))
DL = CL * np.arange(1200) * np.arange(1, 1201) / (2 * np.pi)


def write(path, columns, header=""):
    np.savetxt(path, np.column_stack(columns), header=header)
    return path


def test_text_and_fits_files_are_read(tmp_path):
    ell = np.arange(1200)
    for path in (
        write(tmp_path / "a", [CL]),
        write(tmp_path / "b", [ell, CL, CL / 9]),
        write(tmp_path / "c", [ell, CL], "ell C_ell"),
        write(tmp_path / "d", [ell, CL / 9, CL]),
    ):
        column = 2 if path.name == "d" else None
        np.testing.assert_allclose(spectra.read_cl(path, column=column), CL, rtol=1e-12)
    hp.write_cl(str(tmp_path / "e.fits"), CL, dtype=np.float64)
    np.testing.assert_allclose(spectra.read_cl(tmp_path / "e.fits"), CL, rtol=1e-12)


@pytest.mark.parametrize("header", ["L TT EE BB TE", "ell D_ell", "l  l(l+1)C_l/2pi [uK^2]", None])
def test_dl_is_told_by_its_header_or_the_user(tmp_path, header):
    path = write(tmp_path / "a", [np.arange(2, 1200), DL[2:]], header or "")
    found = spectra.read_cl(path) if header else spectra.read_cl(path, kind="dl")
    np.testing.assert_allclose(found[2:], CL[2:], rtol=1e-10)
    assert (found[:2] == 0).all()
    if header is None:
        with pytest.raises(
            SpectrumError, match="does not say whether it holds C_ell or D_ell, and it runs as D"
        ):
            spectra.read_cl(path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the file is empty"),
        ("2 1.0\n4 1.0\n", "the first column must be ell = 0, 1, 2 and so on without gaps"),
        ("0 1.0\n1 -1.0\n", "1 values are negative or not finite, the first at ell = 1"),
        ("0 1.0\n1 nan\n", "1 values are negative or not finite, the first at ell = 1"),
        ("hello\n", "not a table of numbers with # comments"),
        ("SIMPLE  = T\n", "no spectrum as healpy.write_cl makes it"),
    ],
)
def test_files_that_hold_no_spectrum_are_refused(tmp_path, text, error):
    path = tmp_path / "cl.txt"
    path.write_text(text)
    with pytest.raises(SpectrumError, match=error):
        spectra.read_cl(path)


def test_missing_files_columns_and_kinds_are_refused(tmp_path):
    with pytest.raises(SpectrumError, match="no such file; a spectrum was expected"):
        spectra.read_cl(tmp_path / "none")
    with pytest.raises(SpectrumError, match="a directory; a spectrum was expected"):
        spectra.read_cl(tmp_path)
    path = write(tmp_path / "a", [np.arange(9), CL[:9]])
    with pytest.raises(SpectrumError, match="there is no column 5; the file has 2 columns"):
        spectra.read_cl(path, column=5)
    with pytest.raises(SpectrumError, match='kind is "auto", "cl" or "dl"; got \'Dl\''):
        spectra.read_cl(path, kind="Dl")
