"""Theory spectra against CAMB called directly, and the packaged table against theory."""

import dataclasses

import camb
import numpy as np
import pytest

from cmbinpaint.errors import SpectrumError
from cmbinpaint.sims import Cosmology, fiducial_cl, fiducial_spectra, theory_cl, theory_spectra

LMAX = 350


@pytest.fixture(scope="module")
def planck() -> np.ndarray:
    return theory_cl(lmax=LMAX)


def test_the_spectrum_is_camb_s_in_square_microkelvin(planck: np.ndarray) -> None:
    pars = camb.set_params(
        H0=67.36,
        ombh2=0.02237,
        omch2=0.12,
        tau=0.0544,
        ns=0.9649,
        As=2.1e-9,
        mnu=0.06,
        lmax=500,
        lens_potential_accuracy=1,
    )
    dl = camb.get_results(pars).get_lensed_scalar_cls(LMAX, CMB_unit="muK")[:, 0]
    ell = np.arange(2, LMAX + 1)
    # CAMB's accuracy at another lmax: 1e-3.
    np.testing.assert_allclose(planck[2:], dl[2 : LMAX + 1] * 2 * np.pi / (ell * (ell + 1)), rtol=1e-3)
    assert planck.shape == (LMAX + 1,)
    assert not planck[:2].any()
    peak = (ell * (ell + 1) * planck[2:] / (2 * np.pi))[100:300].max()
    assert peak == pytest.approx(5730, rel=0.01)  # µK², Planck 2018


def test_the_packaged_table_is_the_default_cosmology(planck: np.ndarray) -> None:
    # 3e-4 of the spline, and CAMB at another lmax.
    np.testing.assert_allclose(fiducial_cl(LMAX)[2:], planck[2:], rtol=1e-3)


def dl_of(cl: np.ndarray) -> np.ndarray:
    ell = np.arange(cl.shape[-1])
    return cl * ell * (ell + 1) / (2 * np.pi)


def test_the_packaged_spectra_are_camb_s() -> None:
    """In the order TT, EE, BB, TE; CAMB called as the table says, its rounding to single precision is 6e-8."""
    pars = camb.set_params(
        H0=67.36, ombh2=0.02237, omch2=0.12, tau=0.0544, ns=0.9649, As=2.1e-9, mnu=0.06, lmax=8300,
        lens_potential_accuracy=4,
    )  # fmt: skip
    columns = camb.get_results(pars).get_lensed_scalar_cls(8000, CMB_unit="muK")
    packaged = dl_of(fiducial_spectra(6200))
    for row, column in zip(packaged[:3], columns.T[:3], strict=True):
        np.testing.assert_allclose(row[2:], column[2:6201], rtol=1e-5)
    # TE passes through zero.
    scale = np.sqrt(packaged[0] * packaged[1])
    np.testing.assert_array_less(np.abs(packaged[3] - columns[:6201, 3])[2:] / scale[2:], 1e-5)


def test_the_packaged_spectra_at_known_places() -> None:
    """Planck 2018's peaks: place and height in µK²; the reionization bump of EE, the lensing hill of BB."""
    dl = dl_of(fiducial_spectra(2500))
    assert dl.shape == (4, 2501) and not dl[:, :2].any()
    tt, ee, bb, te = dl
    assert tt.argmax() == pytest.approx(220, abs=2) and tt.max() == pytest.approx(5730, rel=0.01)
    assert ee.argmax() == pytest.approx(992, abs=8) and ee.max() == pytest.approx(42, rel=0.02)
    assert te.argmax() == pytest.approx(309, abs=4) and te.max() == pytest.approx(118, rel=0.03)
    assert te.argmin() == pytest.approx(748, abs=6) and te[150] == pytest.approx(-47, abs=2)
    assert ee[4] / ee[20] > 5 and bb.max() == pytest.approx(0.10, rel=0.03)
    np.testing.assert_array_equal(fiducial_spectra(100), fiducial_spectra(2500)[:, :101])


def test_tensor_modes_at_known_places() -> None:
    """For r = 1: BB's bump of reionization, the hill of recombination near ell = 80, 6.5e-2 µK² high; TT's plateau."""
    lensing, tensor = (
        dl_of(fiducial_spectra(2500)),
        dl_of(fiducial_spectra(2500, r=1.0) - fiducial_spectra(2500)),
    )
    bb = tensor[2]
    assert bb[30:].argmax() + 30 == pytest.approx(80, abs=8)
    assert bb[80] == pytest.approx(0.065, rel=0.03) and bb[2] > 2 * bb[6]
    assert bb[80] / lensing[2, 80] == pytest.approx(31, rel=0.05)
    assert tensor[0, 2:30].min() > 300 and tensor[0, 200] < 60
    assert not tensor[:, 1001:].any() and not tensor[:, :2].any()


def test_tensor_modes_are_linear_in_r() -> None:
    less, more = (fiducial_spectra(300, r=r) - fiducial_spectra(300) for r in (0.001, 0.01))
    np.testing.assert_allclose(10 * less, more, rtol=1e-9, atol=1e-15)
    with pytest.raises(SpectrumError, match=r"r is -0\.1; expected a tensor-to-scalar ratio"):
        fiducial_spectra(300, r=-0.1)


def test_the_packaged_tensor_modes_are_camb_s() -> None:
    """What CAMB's sum has beyond its lensed scalars; 2 %, as it is less accurate by default than the table."""
    pars = camb.set_params(
        H0=67.36, ombh2=0.02237, omch2=0.12, tau=0.0544, ns=0.9649, As=2.1e-9, mnu=0.06, r=0.1, nt=0.0,
        WantTensors=True, lmax=700, lens_potential_accuracy=4, max_l_tensor=600, max_eta_k_tensor=2000,
    )  # fmt: skip
    results = camb.get_results(pars)
    bb = (results.get_total_cls(300, CMB_unit="muK") - results.get_lensed_scalar_cls(300, CMB_unit="muK"))[
        :, 2
    ]
    packaged = dl_of(fiducial_spectra(300, r=0.1) - fiducial_spectra(300))[2]
    np.testing.assert_allclose(packaged[2:], bb[2:], rtol=0.02)


def test_theory_spectra_add_tensor_modes() -> None:
    """Those of the packaged table, for the same cosmology."""
    added = theory_spectra(lmax=200, r=0.5) - theory_spectra(lmax=200)
    packaged = fiducial_spectra(200, r=0.5) - fiducial_spectra(200)
    np.testing.assert_allclose(added[:3, 2:], packaged[:3, 2:], rtol=1e-4)
    with pytest.raises(SpectrumError, match="r is True"):
        theory_spectra(lmax=200, r=True)


def test_the_smooth_spectrum_is_the_packaged_one() -> None:
    """Up to ell = 2000; above, it lacks the lensing by small scales."""
    np.testing.assert_allclose(fiducial_cl(2000)[2:], fiducial_spectra(2000)[0, 2:], rtol=1e-3)
    ratio = fiducial_cl(6200)[[3000, 5000]] / fiducial_spectra(6200)[0, [3000, 5000]]
    np.testing.assert_allclose(ratio, [0.995, 0.79], atol=0.005)


def test_the_table_reaches_any_lmax() -> None:
    whole = fiducial_cl(8000)
    np.testing.assert_array_equal(fiducial_cl(100), whole[:101])
    assert (np.diff(whole[6000:]) < 0).all()
    assert (whole[2:] > 0).all()
    assert not whole[:2].any()


def test_small_scales_of_the_lensing_potential_are_in() -> None:
    """At ell = 3000 they are 0.4 % of TT. The table comes from more multipoles, which is 5e-4 there."""
    spectra = theory_spectra(lmax=3000)
    np.testing.assert_allclose(spectra[0, 2900:], fiducial_spectra(3000)[0, 2900:], rtol=1e-3)
    np.testing.assert_array_equal(spectra[0], theory_cl(lmax=3000))


def test_lensing_and_parameters_matter(planck: np.ndarray) -> None:
    other = theory_cl(Cosmology(As=4.2e-9, tau=0.0544), lmax=300, lensed=False)
    # Twice As is twice the power; lensing moves TT by less than 1 % below ell = 300.
    np.testing.assert_allclose(other[30:], 2 * planck[30:301], rtol=0.01)
    assert np.abs(other[30:] / planck[30:301] / 2 - 1).max() > 1e-4


def test_a_cosmology_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cosmology().H0 = 70.0  # type: ignore[misc]
    assert Cosmology(H0=70).H0 == 70.0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"H0": 0.67}, r"H0 is 0.67; expected a number from 20 to 150 \(Planck 2018: 67.36\)"),
        ({"As": 2.1}, "As is 2.1; expected a number from 1e-11"),
        ({"ns": float("nan")}, "ns is nan; expected a number"),
        ({"tau": "high"}, "tau is 'high'; expected a number"),
    ],
)
def test_no_such_universe(parameters: dict, text: str) -> None:
    with pytest.raises(SpectrumError, match=text):
        Cosmology(**parameters)


@pytest.mark.parametrize("lmax", [1, -5, 2.5, True])
def test_no_such_lmax(lmax: object) -> None:
    with pytest.raises(SpectrumError, match="expected a whole number from 2 to"):
        theory_cl(lmax=lmax)  # type: ignore[arg-type]
    with pytest.raises(SpectrumError, match="expected a whole number from 2 to"):
        fiducial_cl(lmax)  # type: ignore[arg-type]
    with pytest.raises(SpectrumError, match="expected a whole number from 2 to 6200"):
        fiducial_spectra(lmax)  # type: ignore[arg-type]


def test_the_packaged_spectra_end() -> None:
    assert fiducial_spectra(6200).shape == (4, 6201)
    with pytest.raises(SpectrumError, match="lmax is 6201; expected a whole number from 2 to 6200"):
        fiducial_spectra(6201)
