"""The standard deviation of decoupled bandpowers is their scatter."""

import numpy as np

from cmbinpaint.sims import fiducial_cl, fiducial_spectra, simulate_sky
from cmbinpaint.spectra import Bandpowers, anafast, log_bands, master
from cmbinpaint.spectra.decoupled_scatter import decoupled_std
from cmbinpaint.sphere import masks
from cmbinpaint.sphere.planck_mask import planck_like_mask

NSIDE, LMAX = 16, 47
VALID = planck_like_mask(NSIDE)


def test_of_a_full_sky_it_is_cosmic_variance() -> None:
    """But for the integrals of pixels, which are right to 1e-3 up to nside."""
    bands, cl = Bandpowers([2, 8, 17]), fiducial_cl(16)
    found = decoupled_std(cl[None], np.ones(VALID.size), bands, 16)
    np.testing.assert_allclose(found[0], np.sqrt(bands.bin(cl**2) * 2 / bands.n_modes), rtol=2e-3)


def test_of_white_noise_the_weights_leave_fewer_modes() -> None:
    weights = masks.apodize(VALID, 15.0)
    bands = Bandpowers([2, 16, 32])
    found = decoupled_std(np.ones((1, LMAX + 1)), weights, bands, LMAX)[0]
    modes = bands.n_modes * np.mean(weights**2) ** 2 / np.mean(weights**4)
    np.testing.assert_allclose(found, np.sqrt(2 / modes), rtol=0.15)


def test_behind_a_beam_it_is_the_scatter_of_skies() -> None:
    """Of T, Q, U, in each spectrum and band; counting modes alone states a tenth of it at high ell."""
    theory, bands, weights = fiducial_spectra(LMAX), log_bands(4, 32, 4), np.tile(VALID * 1.0, (3, 1))
    n = 120
    skies = [
        simulate_sky(theory, NSIDE, fwhm=np.radians(11), pixwin=True, noise_std=(3.0, 0.3, 0.3), seed=s)
        for s in range(n)
    ]
    scatter = np.std([master(sky, weights, bands, LMAX) for sky in skies], axis=0)
    full = np.mean([anafast(sky, LMAX) for sky in skies[:20]], axis=0)
    stated = decoupled_std(full, weights, bands, LMAX)
    # 120 skies know a scatter to 6 %; the approximation holds to 20 %, on the safe side where leakage rules.
    assert np.all((stated / scatter > 0.75) & (stated / scatter < 1.5)), stated / scatter
    counted = np.sqrt(2 / (bands.n_modes * VALID.mean())) * bands.bin(full[0])
    assert counted[-1] < 0.5 * scatter[0, -1]
    alone = decoupled_std(full[:1], VALID * 1.0, bands, LMAX)
    np.testing.assert_allclose(alone[0], stated[0], rtol=1e-12)
