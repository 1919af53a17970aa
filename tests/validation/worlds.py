"""Small settings that tests of the validation share."""

import functools

import numpy as np

from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.pixels import pixel_angles
from cmbinpaint.validation.simulation_setup import SimulationSetup


@functools.cache
def valid_at(nside: int) -> np.ndarray:
    """A band and a few discs."""
    theta, phi = pixel_angles(nside, np.arange(12 * nside**2))
    valid = np.abs(np.pi / 2 - theta) > 0.22
    for lon, lat, radius in ((1.0, 0.9, 0.15), (4.0, -0.8, 0.1), (2.5, -1.1, 0.2), (5.5, 0.7, 0.12)):
        cosine = np.sin(lat) * np.cos(theta) + np.cos(lat) * np.sin(theta) * np.cos(phi - lon)
        valid &= cosine < np.cos(radius)
    return valid


def setup_at(nside: int, seed: int = 3) -> SimulationSetup:
    """A setup with few bands and two depths."""
    standard = SimulationSetup.standard(valid_at(nside), seed)
    bands = Bandpowers(np.array([2, 4, 8, max(13, nside)]))
    return SimulationSetup(
        standard.plan, standard.cl, standard.fwhm, standard.noise_std, seed, bands, depth_edges=(1.3,)
    )
