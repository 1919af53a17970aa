"""Patches for CoMBInE's networks, simulated while they train.

Inputs: a description of patches and masks, and a seed. Outputs: `HoleBatch`es, each a pure function of
(seed, split, index), of skies that never repeat.

Fields are drawn on a torus twice the patch from the fiducial spectrum up to the pixels' Nyquist frequency: no
power beyond it is folded in, as sampling the sky at pixel centers does.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.plane.power import draw_fields, mode_variance
from cmbinpaint.plane.tangent import PatchGrid
from cmbinpaint.sims.theory import fiducial_cl
from cmbinpaint.sphere.windows import gaussian_beam
from cmbinpaint.training.data.examples import HoleBatch, Rendering, check_channels
from cmbinpaint.training.data.masks import Bounded, MaskSource, RandomShapes
from cmbinpaint.training.data.planck_colors import LIMIT_uK
from cmbinpaint.training.data.skies import field_rms
from cmbinpaint.training.data.splits import split_number
from cmbinpaint.training.recipes.checks import check_integer, check_number


@dataclass(frozen=True)
class FlatStream:
    """Simulated patches behind fresh masks.

    Attributes
    ----------
    seed
        Seed of everything.
    batch_size
        Patches a batch.
    side, step_arcmin
        The patch's pixels.
    beam_fwhm_arcmin, noise_uK
        Beam, and white noise a pixel that the data have and the truth has not.
    channels, limit_uK
        See `Rendering`.
    masks
        Where masks come from.
    """

    seed: int
    batch_size: int = 3
    side: int = 128
    step_arcmin: float = 6.87
    beam_fwhm_arcmin: float = 0.0
    noise_uK: float = 0.0
    channels: int = 1
    limit_uK: float = LIMIT_uK
    masks: MaskSource = field(default_factory=lambda: Bounded(RandomShapes()))

    def __post_init__(self) -> None:
        check_integer("[data]", "batch_size", self.batch_size, least=1, most=2**16)
        check_integer("[data]", "side", self.side, least=8, most=8192)
        check_number("[data]", "step_arcmin", self.step_arcmin, above=0.0)
        for key in ("beam_fwhm_arcmin", "noise_uK"):
            check_number("[data]", key, getattr(self, key), least=0.0)
        check_channels(self.channels, self.limit_uK)

    def batch(self, index: int, split: str = "train") -> HoleBatch:
        """The batch number `index` of a split; the same whoever asks, whenever."""
        key = (split_number(split), index)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        step = PatchGrid(self.side, self.step_arcmin / 60).step_rad
        variance = mode_variance(self.spectrum, 2 * self.side, step)
        signal = draw_fields(variance, self.batch_size, rng)[:, : self.side, : self.side]
        valid = self.masks.draw(self.batch_size, self.side, rng)
        noise = self.noise_uK * rng.standard_normal(signal.shape) if self.noise_uK else None
        return Rendering(self.channels, self.rms_uK, self.limit_uK).hide(signal, noise, valid)

    @cached_property
    def spectrum(self) -> FloatArray:
        """(lmax+1,) C_ell in µK² up to the corner of the pixels' Fourier plane."""
        lmax = int(np.ceil(np.sqrt(2) * np.pi / np.radians(self.step_arcmin / 60))) + 1
        return fiducial_cl(lmax) * gaussian_beam(np.radians(self.beam_fwhm_arcmin / 60), lmax) ** 2

    @cached_property
    def rms_uK(self) -> float:
        """rms of the field."""
        return field_rms(self.spectrum)
