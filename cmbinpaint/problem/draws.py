"""What realizations are made of.

Inputs: which realizations, with noise or without, the user's own simulations if there are any. Outputs: `Draws`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.problem.numbers import is_whole


@dataclass(frozen=True, eq=False)
class Draws:
    """Which realizations are made, and of what.

    Parameters
    ----------
    first
        Index of the first realization, so that many can be made a few at a time.
    with_noise
        False: realizations of the signal alone; needs `noise_std` or a `sky_model`.
    fluctuations
        Your own simulations in place of draws from the sky model: realization i is ``o'_i + predict(d - d'_i)``
        with o'_i an observation of the full sky, holes included: signal, beam and noise as in the map (colored
        noise and all), without a dipole like the solar one. An array (n, npix), an iterable of (npix,) maps (taken in
        order), or a function that returns map i; in the map's ordering and, unless a Quantity, in its unit.

    Raises
    ------
    CmbInpaintError
        If the index is not a whole number, or simulations are given of which the signal alone is wanted.

    Examples
    --------
    >>> Draws(first=10).first
    10
    """

    first: int = 0
    with_noise: bool = True
    fluctuations: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.with_noise, bool | np.bool_):
            raise CmbInpaintError(f"with_noise is a {type(self.with_noise).__name__}; expected True or False")
        if not is_whole(self.first, 0):
            raise CmbInpaintError(f"first is {self.first!r}; realizations are counted from 0")
        if self.fluctuations is not None and not self.with_noise:
            raise CmbInpaintError(
                "with_noise=False was given with fluctuations: they hold signal and noise together, and the noise "
                "would be needed apart; omit one of the two"
            )
