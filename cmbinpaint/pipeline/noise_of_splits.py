"""White and colored noise of a map, from the difference of its two halves.

Inputs: two splits and a mask. Outputs: what `inpaint_map` takes as `noise_std` and `colored_noise_cl`.
"""

from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import MapError
from cmbinpaint.problem.problem import Problem
from cmbinpaint.sims.noise_fit import fit_noise
from cmbinpaint.spectra.bandpowers import log_bands
from cmbinpaint.spectra.mode_coupling import master, narrowest_band
from cmbinpaint.sphere.fields import Fields

_BANDS = 16
_LEAST_BANDS = 4


def noise_of_splits(
    first: Any, second: Any, mask: Any = None, *, nest: bool = False, unit: str | None = None
) -> tuple[float, FloatArray]:
    """Estimate the noise of the mean of two splits: a white level and an isotropic colored part.

    Half of the splits' difference has no signal, and the noise of their mean. Its decoupled bandpowers are fitted by
    white noise plus a power law in ell. What the two splits share, residual foregrounds say, is not in it.

    Parameters
    ----------
    first, second
        Temperature maps (npix,) of one sky with independent noise of equal level, as `inpaint_map` takes them.
    mask
        1 = observed; None: where both are known.
    nest, unit
        As in `inpaint_map`.

    Returns
    -------
    noise_std
        The white part per pixel, in µK if the unit is known, else in the map's.
    colored_noise_cl
        (3*nside,) float64 power of the colored part as it is in the map, unit²; 0 at ell = 0 and 1.

    Raises
    ------
    MapError
        If the maps are not of temperature, do not agree or are the same, or too little of the sky is observed to tell.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> sky = 100 * rng.standard_normal(12 * 16**2)
    >>> first, second = (sky + 2 * rng.standard_normal(sky.size) for _ in range(2))
    >>> std, colored = noise_of_splits(first, second)
    >>> 1.3 < std < 1.5
    True
    """
    problems = [Problem.make(sky, mask, nest=nest, unit=unit) for sky in (first, second)]
    a, b = problems
    if a.fields is not Fields.T or b.fields is not Fields.T:
        raise MapError("noise_of_splits takes temperature maps, (npix,)")
    if (a.plan.nside, a.work_unit) != (b.plan.nside, b.work_unit):
        raise MapError(
            f"splits are of one sky: the first has nside {a.plan.nside} and unit {a.work_unit}, the second "
            f"{b.plan.nside} and {b.work_unit}"
        )
    valid = a.plan.valid & b.plan.valid
    weights, lmax = valid.astype(np.float64), 3 * a.plan.nside - 1
    width = narrowest_band(weights) if valid.any() else lmax
    n = min(_BANDS, lmax // (2 * width))
    if n < _LEAST_BANDS:
        raise MapError(
            f"{valid.mean():.3g} of the sky is observed by both splits: too little to tell white from colored noise"
        )
    half = np.where(valid, (a.sky.values * a.factor - b.sky.values * b.factor) / 2, 0.0)
    if not half.any():
        raise MapError("the two splits are the same map: give two with independent noise")
    bands = log_bands(2, lmax - width, n, min_width=width)
    power = master(half, weights, bands, lmax)
    white, colored, slope = fit_noise(power, bands.centers, bands.n_modes * valid.mean())
    ell = np.arange(3 * a.plan.nside, dtype=np.float64)
    cl = np.where(ell < 2, 0.0, colored * (np.maximum(ell, 1.0) / bands.centers[0]) ** -slope)
    return float(np.sqrt(white * valid.size / (4 * np.pi))), cl
