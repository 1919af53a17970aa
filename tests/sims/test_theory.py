"""Theory spectra against CAMB called directly, and the packaged table against theory."""

import dataclasses

import camb
import numpy as np
import pytest

from cmbinpaint.errors import SpectrumError
from cmbinpaint.sims import Cosmology, fiducial_cl, theory_cl

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


def test_the_table_reaches_any_lmax() -> None:
    whole = fiducial_cl(8000)
    np.testing.assert_array_equal(fiducial_cl(100), whole[:101])
    assert (np.diff(whole[6000:]) < 0).all()
    assert (whole[2:] > 0).all()
    assert not whole[:2].any()


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
