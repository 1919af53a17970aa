"""Mode coupling against 3j symbols, transforms of every mode and simulated skies."""

import ducc0
import healpy as hp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint import spectra
from cmbinpaint.errors import SpectrumError
from cmbinpaint.spectra import mode_coupling
from cmbinpaint.sphere import masks

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
    found = mode_coupling._coupling_from_spectrum(weight_cl, lmax)
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
    expected = spectra.pseudo_cl(sky, weights, 8)
    np.testing.assert_allclose(expected, hp.anafast(sky * weights, lmax=8, iter=3), rtol=1e-12)
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
    with pytest.raises(SpectrumError, match=r"shape has shape \(4,\); it is needed from ell = 0 to 8"):
        spectra.decouple(np.ones(9), np.eye(9), bands, shape=np.ones(4))
