"""What a map's spectrum looks like in two numbers: a spectral index and a beam.

Inputs: a `SkyModel`. Outputs: `SpectrumShape`.
"""

from typing import NamedTuple

import numpy as np

from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import Cosmology, fiducial_cl
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.sphere.windows import pixel_window

_PLANCK = Cosmology().ns
_PIVOT = 500.0  # multipole; near the middle of what a fit sees, so that slope and amplitude come apart
_LOWEST_SHARE = 1e-4  # of the largest ell² C_ell: weaker power makes no visible difference in a fill


class SpectrumShape(NamedTuple):
    """The cosmology and beam that a map-level spectrum is most like."""

    n_s: float  # Planck 2018's cosmology with its spectral index changed
    fwhm_px: float  # of a Gaussian beam, in pixels' sides, beside the pixel window


def spectrum_shape(sky_model: SkyModel) -> SpectrumShape:
    """Fit ``C_ell = A (ell / 500)^(n_s - n_Planck) B_ell² P_ell² C_ell(Planck 2018)`` to a model's signal.

    Least squares of the logarithm over the multipoles where signal exceeds noise, 2 ell + 1 times each. A beam that
    sharpens (less power lost than to the pixel window alone) counts as none.
    """
    step = pixel_size(sky_model.nside)
    ell = np.arange(2, sky_model.lmax + 1)
    signal = sky_model.signal_cl[2:]
    seen = (signal > sky_model.noise_cl) & (ell**2 * signal > _LOWEST_SHARE * np.max(ell**2 * signal))
    if np.count_nonzero(seen) < 4:  # nothing to fit: like what it is compared with
        return SpectrumShape(_PLANCK, 0.0)
    ell, signal = ell[seen], signal[seen]
    plain = fiducial_cl(int(ell[-1]))[ell] * np.square(pixel_window(sky_model.nside, int(ell[-1]))[ell])
    terms = np.stack(
        [np.ones(ell.size), np.log(ell / _PIVOT), -ell * (ell + 1.0) * step**2 / (8 * np.log(2))], 1
    )
    weight = np.sqrt(2 * ell + 1.0)
    (_, tilt, square), *_ = np.linalg.lstsq(
        weight[:, None] * terms, weight * np.log(signal / plain), rcond=None
    )
    return SpectrumShape(float(_PLANCK + tilt), float(np.sqrt(max(square, 0.0))))
