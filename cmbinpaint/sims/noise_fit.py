"""White noise and a power law, fitted to the bandpowers of noise.

Inputs: bandpowers with their modes. Outputs: the white level, and the colored part by ell.
"""

import numpy as np
from scipy.optimize import minimize

from cmbinpaint._types import FloatArray

# How colored noise may fall with ell: atmosphere and 1/f noise have slopes of 1 to 4; one that is nearly flat is white.
SHALLOWEST, STEEPEST = 0.5, 6.0
# Where the power law begins to be told from white noise, the fit of its slope begins.
_STARTS = (1.0, 3.0)
# ln L that its two parameters have to gain over white noise alone.
_LEAST_GAIN = 3.0


def fit_noise(power: FloatArray, centers: FloatArray, modes: FloatArray) -> tuple[float, float, float]:
    """Fit `w + a (l / l0)^-s` to the bandpowers of Gaussian noise by their likelihood.

    Parameters
    ----------
    power, centers, modes
        (n,) bandpowers, above 0 on the mean; centers of the bands, l0 is the first one's; modes in each.

    Returns
    -------
    (w, a, s): the white level, the colored power at l0, and its slope; a is 0 where white noise fits about as well.
    """
    scale = float(np.median(power[power > 0])) if np.any(power > 0) else 1.0
    x = np.log(centers / centers[0])

    def expected(parameters: FloatArray) -> FloatArray:
        return np.exp(parameters[0]) + np.exp(parameters[1] - parameters[2] * x)

    def minus_log_likelihood(parameters: FloatArray) -> float:
        model = expected(parameters)
        return float(np.sum(modes / 2 * (power / scale / model + np.log(model))))

    bounds = [(-25.0, 10.0), (-25.0, 25.0), (SHALLOWEST, STEEPEST)]
    fits = [
        minimize(minus_log_likelihood, [0.0, 0.0, slope], bounds=bounds, method="L-BFGS-B")
        for slope in _STARTS
    ]
    best = min(fits, key=lambda fit: fit.fun)
    white, colored, slope = best.x
    alone = float(np.average(power, weights=modes))
    if minus_log_likelihood(np.array([np.log(alone / scale), -25.0, 1.0])) - best.fun < _LEAST_GAIN:
        return alone, 0.0, 1.0
    return scale * float(np.exp(white)), scale * float(np.exp(colored)), float(slope)
