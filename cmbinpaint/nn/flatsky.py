"""A flat patch of sky as a torus: what a physical and a spectral loss need of it.

Inputs: fields `(B, C, H, W)`, the variance of each Fourier mode. Outputs: quadratic forms, spectra in rings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import RecipeError

RINGS = 16  # of equal width in wavenumber, up to Nyquist
_TINY = 1e-12


@dataclass(frozen=True)
class FlatSky:
    """Prior and noise of a patch, in the unit of the fields that come.

    Attributes
    ----------
    mode_variance
        Gives, for a side in pixels, the expected |rfft2|² of the signal: (side, side//2+1).
    noise_std
        White noise per observed pixel.
    floor
        Modes with less variance than this fraction of the largest count as having that much: an inverse stays finite.
    """

    mode_variance: Callable[[int], FloatArray]
    noise_std: float
    floor: float = 1e-6

    def __post_init__(self) -> None:
        if not self.noise_std > 0:
            raise RecipeError(
                f"the physical loss needs noise: noise_std is {self.noise_std}; give a number above 0"
            )

    def prior_form(self, field: Tensor) -> Tensor:
        """yᵀ S⁻¹ y of each (H, W) plane, `(B, C)`; the mean of a plane is free.

        S is diagonal in Fourier space, with |rfft2|² of expectation v: yᵀ S⁻¹ y = Σ |Y|² / v over the full plane.
        """
        height, width = field.shape[-2:]
        if height != width:
            raise RecipeError(f"got patches of {height} x {width} px; the physical loss needs square ones")
        inverse = self._inverse(width).to(field)
        power = _mode_power(field)
        return (power * inverse).sum((-2, -1))

    def _inverse(self, side: int) -> Tensor:
        variance = torch.from_numpy(self.mode_variance(side).copy())
        inverse = multiplicity(side) / variance.clamp(min=self.floor * float(variance.max()))
        inverse[0, 0] = 0.0
        return inverse


def ring_power(field: Tensor, rings: int = RINGS) -> Tensor:
    """Mean |rfft2|² in rings of wavenumber, `(B, C, rings)`, of Hann-windowed fields without their mean."""
    side = field.shape[-1]
    if field.shape[-2] != side:
        raise RecipeError(
            f"got patches of {field.shape[-2]} x {side} px; the spectral loss needs square ones"
        )
    window = torch.hann_window(side, device=field.device, dtype=field.dtype)
    window = window[:, None] * window
    mean = (field * window).sum((-2, -1), keepdim=True) / window.sum()
    power = _mode_power((field - mean) * window)
    weights = _ring_weights(side, rings).to(power)
    with torch.autocast(field.device.type, enabled=False):  # which would sum the modes in half precision
        return power.flatten(-2) @ weights + _TINY


def multiplicity(side: int) -> Tensor:
    """How many modes of the full plane each mode of rfft2 stands for, (side, side//2+1) float64."""
    count = torch.full((side, side // 2 + 1), 2.0, dtype=torch.float64)
    count[:, 0] = 1.0
    if side % 2 == 0:
        count[:, -1] = 1.0
    return count


def _mode_power(field: Tensor) -> Tensor:
    """|rfft2|², with its derivatives at 0 too."""
    modes = torch.fft.rfft2(field)
    return modes.real.square() + modes.imag.square()


@lru_cache(maxsize=8)
def _ring_weights(side: int, rings: int) -> Tensor:
    """(modes, rings): the matrix that averages power over each ring; rings without modes are left out."""
    f = torch.fft.fftfreq(side, dtype=torch.float64)
    waves = torch.hypot(f[:, None], torch.fft.rfftfreq(side, dtype=torch.float64))
    ring = (waves * (2 * rings)).floor().long()
    count = multiplicity(side)
    count[0, 0] = 0.0
    columns = [torch.where(ring == r, count, 0.0).flatten() for r in range(rings)]
    return torch.stack([c / c.sum() for c in columns if c.sum() > 0], dim=1)
