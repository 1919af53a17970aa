"""The least scatter that any estimator of a cut sky's bandpowers can have: the Fisher limit.

Inputs: a mask, a sky model, bands. Outputs: relative standard deviations.

With C the covariance of the observed pixels and C_b the part of it that a band makes, the amplitude of that band (the
others known) is known to a variance of at least 1 / F_bb, F_bb = Tr[(C^-1 C_b)²] / 2 (Tegmark 1997, Phys. Rev. D 55,
5895). An estimator whose mean grows by R for each unit of amplitude scatters by at least R / √F_bb (Cramér & Rao): a
filled map may scatter less than 1 / √F_bb where its response is below one, without having measured more.
"""

import numpy as np

from cmbinpaint._types import BoolArray, FloatArray
from cmbinpaint.errors import MaskError
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.maps import npix_to_nside
from cmbinpaint.sphere.pixel_covariance import CovarianceTable
from cmbinpaint.sphere.pixels import pixel_vectors

MOST_PIXELS = 3000  # of which the exact limit is computed: matrices of 72 MB
_BROAD = 1e4  # variance of monopole and dipole over the field's: they are not known


def fisher_scatter(valid: BoolArray, sky_model: SkyModel, bands: Bandpowers) -> FloatArray:
    """(bands,) least standard deviation of the amplitude of each band's signal, relative, the other bands known.

    Parameters
    ----------
    valid
        (npix,) bool RING, True = observed; at most `MOST_PIXELS` observed.
    sky_model
        Signal and noise.
    bands
        Bands of multipoles.

    Raises
    ------
    MaskError
        If more pixels are observed.
    """
    pixels = np.flatnonzero(valid)
    if pixels.size > MOST_PIXELS:
        raise MaskError(
            f"{pixels.size} pixels are observed; the exact limit is computed for at most {MOST_PIXELS}: take a "
            "lower nside"
        )
    vectors = pixel_vectors(npix_to_nside(valid.size), pixels)
    cosine = vectors @ vectors.T
    chord2 = np.maximum(2 - 2 * cosine, 0.0)
    cl = sky_model.signal_cl
    covariance = CovarianceTable.from_cl(cl)(chord2) + _BROAD * sky_model.rms**2 * (1 + 3 * cosine)
    noise = np.broadcast_to(np.square(sky_model.noise_std), (valid.size,))[pixels]
    covariance[np.diag_indices_from(covariance)] += noise
    inverse = np.linalg.inv(covariance)
    information = []
    for low, high in zip(bands.edges[:-1], bands.edges[1:], strict=True):
        part = np.zeros_like(cl)
        part[low:high] = cl[low:high]
        product = inverse @ CovarianceTable.from_cl(part)(chord2)
        information.append(0.5 * np.sum(product * product.T))
    return 1 / np.sqrt(np.array(information))


def mode_scatter(valid: BoolArray, sky_model: SkyModel, bands: Bandpowers) -> FloatArray:
    """(bands,) the same by counting modes: sqrt(2 / (fsky modes)) of total power, relative to the signal's."""
    signal = bands.bin(sky_model.signal_cl)
    return np.sqrt(2 / (np.mean(valid) * bands.n_modes)) * (signal + sky_model.noise_cl) / signal
