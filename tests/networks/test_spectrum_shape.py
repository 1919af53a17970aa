"""Index and beam of a map's spectrum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmbinpaint.networks.spectrum_shape import spectrum_shape
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import Cosmology, fiducial_cl, theory_cl
from cmbinpaint.sphere.pixels import pixel_size


@settings(max_examples=25, deadline=None)
@given(
    nside=st.sampled_from([128, 512, 2048]),
    tilt=st.floats(-0.7, 0.7),
    beam=st.floats(0.0, 8.0),
    scale=st.floats(1e-3, 1e3),
    noise=st.floats(0.0, 20.0),
)
def test_a_tilted_spectrum_behind_a_beam_is_told(nside, tilt, beam, scale, noise) -> None:
    """What is fitted, exactly: errors are the least squares' rounding, and of a root near zero."""
    lmax = min(3 * nside, 6000)
    ell = np.arange(lmax + 1)
    cl = scale**2 * fiducial_cl(lmax) * (np.maximum(ell, 1) / 700) ** tilt
    model = SkyModel.from_theory(cl, nside, fwhm=beam * pixel_size(nside), noise_std=scale * noise)
    found = spectrum_shape(model)
    assert found.n_s == pytest.approx(Cosmology().ns + tilt, abs=1e-3)
    assert found.fwhm_px == pytest.approx(beam, abs=0.1)


@pytest.mark.parametrize("ns", [0.5, 1.5])
def test_true_cosmologies_are_told_to_a_quarter(ns: float) -> None:
    """CAMB's spectra are no power of the fiducial's: lensing and the integrated Sachs-Wolfe effect are in them."""
    cl = theory_cl(Cosmology(ns=ns), lmax=1535)
    for beam in (1.0, 3.0, 5.0):
        found = spectrum_shape(SkyModel.from_theory(cl, 512, fwhm=beam * pixel_size(512), noise_std=3.0))
        assert found.n_s == pytest.approx(ns, abs=0.25) and found.fwhm_px == pytest.approx(beam, abs=0.3)


def test_noise_alone_is_like_the_fiducial() -> None:
    cl = fiducial_cl(383) * 1e-12
    model = SkyModel.from_theory(cl, 128, noise_std=3.0)
    assert spectrum_shape(model) == (Cosmology().ns, 0.0)
