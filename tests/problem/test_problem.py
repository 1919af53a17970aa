"""What is assumed of a map's sky."""

import numpy as np
import pytest

from cmbinpaint.errors import MapError
from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.theory import fiducial_cl, fiducial_spectra

NSIDE = 16


def test_a_given_spectrum_is_used_to_the_highest_multipole_where_the_whole_is_asked_for() -> None:
    cl, fwhm, noise = fiducial_cl(47), np.radians(15), 3.0
    sky = simulate_sky(cl, NSIDE, fwhm=fwhm, pixwin=True, noise_std=noise, seed=2)
    problem = Problem.make(sky, np.arange(sky.size) > 100, assume_microkelvin=True)
    known = {"cl": cl, "fwhm": fwhm, "noise_std": noise}
    assert problem.assume_sky(**known, whole=True).lmax == 3 * NSIDE - 1 > problem.assume_sky(**known).lmax


def test_noise_that_is_not_given_beside_a_spectrum_is_that_of_the_map() -> None:
    nside, fwhm = 32, np.radians(6)
    cl = fiducial_spectra(3 * nside - 1)
    sky = simulate_sky(cl, nside, fwhm=fwhm, pixwin=True, noise_std=(10.0, 0.3, 0.3), seed=3)
    problem = Problem.make(sky, np.arange(sky.shape[1]) > 2000, assume_microkelvin=True)
    made = problem.assume_sky(cl=cl, fwhm=fwhm)
    np.testing.assert_allclose(made.noise_std, [10.0, 0.3, 0.3], rtol=0.03)
    assert made.source.startswith(
        f"given cl, T: noise {made.noise_std[0]:.3g} per pixel from blocks of pixels; "
    )
    assert "Q and U: noise 0.3" in made.source
    assert not made.is_estimated
    given = problem.assume_sky(cl=cl, fwhm=fwhm, noise_std=made.noise_std)
    np.testing.assert_array_equal(made.signal_cl, given.signal_cl)
    assert given.source == "given cl, noise given"
    alone = Problem.make(sky[0], np.arange(sky.shape[1]) > 2000, assume_microkelvin=True)
    assert alone.assume_sky(cl=cl[0], fwhm=fwhm).noise_std == made.noise_std[0]
    np.testing.assert_array_equal(problem.assume_sky(cl=cl, fwhm=fwhm, noise_std=0).noise_std, [0, 0, 0])


def test_where_no_noise_is_seen_a_small_noise_is_assumed_and_said() -> None:
    cl, fwhm = fiducial_cl(3 * NSIDE - 1), np.radians(12)
    sky = simulate_sky(cl, NSIDE, fwhm=fwhm, pixwin=True, seed=2)
    problem = Problem.make(sky, np.arange(sky.size) > 100, assume_microkelvin=True)
    made = problem.assume_sky(cl=cl, fwhm=fwhm)
    assert made.source == "given cl, no noise seen, a small noise assumed"
    assert 0.003 < made.noise_std / np.std(sky) < 0.01


@pytest.mark.parametrize("nside", [1, 2])
def test_where_noise_cannot_be_estimated_it_has_to_be_given(nside: int) -> None:
    sky = np.random.default_rng(1).standard_normal(12 * nside**2)
    problem = Problem.make(sky, np.arange(sky.size) > 2, assume_microkelvin=True)
    cl = np.full(3 * nside, 4 * np.pi / sky.size)
    said = "cl was given without noise_std, .* nside 4 or more: give cl and noise_std.* noise_std=0 says"
    with pytest.raises(MapError, match=said):
        problem.assume_sky(cl=cl)
    assert problem.assume_sky(cl=cl, noise_std=0).noise_std == 0
