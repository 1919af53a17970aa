"""E and B seen in part: 3j symbols by sympy and ducc0, transforms by healpy, simulated skies with six spectra."""

import ducc0
import healpy as hp
import numpy as np
import pytest

from cmbinpaint import spectra
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sims import fiducial_spectra, simulate_sky
from cmbinpaint.spectra.mode_coupling import _WIGNER, _coupling_from_spectrum
from cmbinpaint.sphere import masks

NAMES = ("TT", "EE", "BB", "TE", "EB", "TB")


def symbols(one: int, two: int, m: int) -> dict[int, float]:
    """(one two L; m -m 0) by L."""
    if min(one, two) < abs(m):
        return {}
    first, values = ducc0.misc.wigner3j_int(one, two, m, -m)
    return dict(enumerate(values, start=first))


def expected_coupling(
    weight_cl: np.ndarray, lmax: int, first: int, second: int, *, sign: int = 0
) -> np.ndarray:
    """The sum over 3j symbols of spins `first` and `second`; `sign` keeps even (1) or odd (-1) sums of ell."""
    out = np.zeros((lmax + 1, lmax + 1))
    for one in range(lmax + 1):
        for two in range(lmax + 1):
            a, b = symbols(one, two, first), symbols(one, two, second)
            for ell in a.keys() & b.keys() & set(range(weight_cl.size)):
                kept = (1 + sign * (-1) ** (one + two + ell)) / 2 if sign else 1
                out[one, two] += (
                    kept * (2 * two + 1) * (2 * ell + 1) / (4 * np.pi) * weight_cl[ell] * a[ell] * b[ell]
                )
    return out


def test_the_3j_symbols_of_the_oracle_are_sympys() -> None:
    wigner_3j = pytest.importorskip("sympy.physics.wigner", reason="an oracle of the oracle").wigner_3j
    for one, two in ((2, 2), (3, 2), (5, 4), (2, 6)):
        for ell, value in symbols(one, two, 2).items():
            assert value == pytest.approx(float(wigner_3j(one, two, ell, 2, -2, 0)), abs=1e-14)


def test_couplings_equal_sums_over_3j_symbols() -> None:
    lmax = 9
    weight_cl = np.random.default_rng(2).random(2 * lmax + 1)
    sums = [_coupling_from_spectrum(weight_cl, lmax, mn) for mn in _WIGNER[2, 2]]
    same, mixed = (sums[0] + sums[1]) / 2, (sums[0] - sums[1]) / 2
    np.testing.assert_allclose(same, expected_coupling(weight_cl, lmax, 2, 2, sign=1), atol=1e-13)
    np.testing.assert_allclose(mixed, expected_coupling(weight_cl, lmax, 2, 2, sign=-1), atol=1e-13)
    cross = _coupling_from_spectrum(weight_cl, lmax, _WIGNER[0, 2][0])
    np.testing.assert_allclose(cross, expected_coupling(weight_cl, lmax, 0, 2), atol=1e-13)
    assert mixed[4, 4] > 0.01 and not same[:2].any()


def test_spectra_are_healpys() -> None:
    sky = np.random.default_rng(0).normal(size=(3, 12 * 16**2))
    np.testing.assert_allclose(spectra.anafast(sky, 40), hp.anafast(sky, lmax=40), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        spectra.anafast(sky[1:], 40), hp.anafast(sky, lmax=40)[[1, 2, 4]], rtol=1e-9, atol=1e-12
    )


def test_a_full_sky_decouples_to_its_own_bandpowers() -> None:
    sky = np.random.default_rng(3).normal(size=(3, 12 * 16**2))
    bands = spectra.Bandpowers([2, 3, 7, 20, 32])
    own = bands.bin(spectra.anafast(sky, 40))
    found = spectra.master(sky, np.ones(sky.shape[1]), bands, 40)
    # Unit weights have 1e-4 of spurious power, which each spectrum sees of the largest.
    np.testing.assert_allclose(found, own, rtol=0, atol=1e-3 * np.abs(own).max())


def test_six_spectra_come_back_from_a_cut_sky_on_average() -> None:
    nside, lmax, n_skies = 16, 47, 150
    ell = np.arange(lmax + 1)
    base = np.where(ell > 1, 1 / np.maximum(ell * (ell + 1.0), 1), 0) + 1e-4 * (ell > 1)
    cl = base * np.array([10.0, 1.0, 0.3, 1.5, 0.2, -0.5])[:, None]
    latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
    weights = np.stack([masks.apodize(latitude > 12, 10), masks.apodize(latitude > 20, 10)])
    bands = spectra.Bandpowers([2, 6, 10, 16, 24, 32])
    found = []
    for seed in range(n_skies):
        sky = simulate_sky(cl, nside, seed=seed)
        sky[0] += 1e3
        found.append(spectra.master(np.where(weights[[0, 1, 1]] > 0, sky, np.nan), weights, bands, lmax))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(n_skies)
    wanted = bands.bin(cl)
    scale = np.sqrt(wanted[[0, 1, 2, 0, 1, 0]] * wanted[[0, 1, 2, 1, 2, 2]])
    # Four and a half standard errors in thirty numbers, and a percent for pixels at 2 nside and the mean of T.
    assert np.all(np.abs(mean - wanted) < 4.5 * error + 0.01 * scale), (mean - wanted) / error
    assert np.all(error / scale < 0.1)
    # Undecoupled, B has E's leakage and this would fail.
    rough = bands.bin(spectra.pseudo_cl(sky, weights, lmax))[2] / np.mean(weights[1] ** 2)
    assert np.any(rough / wanted[2] > 1.3)


def test_lensing_b_modes_are_unbiased_beside_far_larger_e_modes() -> None:
    """What E leaks is taken out on the mean, if its shape within bands is known."""
    nside, lmax = 32, 64
    cl = fiducial_spectra(lmax)
    latitude = np.abs(hp.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)[1])
    weights = masks.apodize(latitude > 10, 12)
    bands = spectra.Bandpowers([2, 8, 16, 24, 32, 40, 48, 56])
    shape = np.maximum(cl[1:3], 1e-12)
    found = [
        spectra.master(simulate_sky(cl[1:3], nside, lmax=lmax, seed=s), weights, bands, lmax, shape=shape)[1]
        for s in range(60)
    ]
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(60)
    assert np.all(np.abs(mean - bands.bin(cl[2])) < 4 * error), (
        mean / bands.bin(cl[2]),
        error / bands.bin(cl[2]),
    )


@pytest.mark.parametrize(
    ("edges", "weights", "text"),
    [
        ([0, 4, 8], np.ones(192), "the bands begin at ell = 0; polarization begins at 2"),
        ([2, 4, 8], np.ones((4, 192)), r"weights has shape \(4, 192\)"),
        ([2, 4, 8], np.zeros((2, 192)), "all weights are 0"),
    ],
    ids=["monopole", "rows", "zero"],
)
def test_what_cannot_be_decoupled_is_refused(edges: list[int], weights: np.ndarray, text: str) -> None:
    with pytest.raises(SpectrumError, match=text):
        spectra.master(np.ones((3, 192)), weights, spectra.Bandpowers(edges), 11)
