"""What is assumed of a map's sky."""

import numpy as np

from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.theory import fiducial_cl

NSIDE = 16


def test_a_given_spectrum_is_used_to_the_highest_multipole_where_the_whole_is_asked_for() -> None:
    cl, fwhm, noise = fiducial_cl(47), np.radians(15), 3.0
    sky = simulate_sky(cl, NSIDE, fwhm=fwhm, pixwin=True, noise_std=noise, seed=2)
    problem = Problem.make(sky, np.arange(sky.size) > 100, assume_microkelvin=True)
    known = {"cl": cl, "fwhm": fwhm, "noise_std": noise}
    assert problem.assume_sky(**known, whole=True).lmax == 3 * NSIDE - 1 > problem.assume_sky(**known).lmax
