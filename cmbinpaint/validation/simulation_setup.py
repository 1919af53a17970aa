"""The skies that models are evaluated on: what is true, what is observed of it, and the bins of all figures.

Inputs: a mask. Outputs: `SimulationSetup`, which makes sky after sky, each from its number alone.

The standard setup is that of all tables of this package: Planck 2018's spectrum, a Gaussian beam of 3 pixels
and the pixel window, white noise of 3 µK per pixel, 0.3 µK in Q and U. For errors the true sky is the signal
convolved with the beam, without noise; for spectra it is the whole observation, signal and noise.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._types import BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MaskError, SpectrumError
from cmbinpaint.problem.plan import InpaintingPlan
from cmbinpaint.sims.skies import simulate_sky
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sims.theory import fiducial_cl, fiducial_spectra
from cmbinpaint.spectra.bandpowers import Bandpowers, log_bands
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.pixels import pixel_size
from cmbinpaint.validation.depths import DEPTH_EDGES, HOLE_WIDTHS, WIDTH_EDGES, DepthBins, hole_width_classes

BEAM_PIXELS = 3.0
NOISE_UK, NOISE_POL_UK = 3.0, 0.3
N_BANDS = 10
# Bands end here, in nside: beyond, a beam of 3 pixels has left less than a thousandth of the power.
BANDS_END = 1.5
HIGHEST_ELL = 6000
# From this nside on holes are deeper, in pixels, and bins too.
FINE_NSIDE, FINE_DEPTH_EDGES = 512, (1.3, 4.3, 8.3, 20.0)


@dataclass(frozen=True, eq=False)
class SimulationSetup:
    """A series of simulated skies, and the bins in which fills are evaluated.

    Parameters
    ----------
    plan
        Holes and data.
    cl
        (n,) the sky's C_ell from ell = 0, µK²; of T, Q, U (4, n) TT, EE, BB, TE, of Q, U (2, n) EE, BB: the plan then
        has a row for each Stokes parameter.
    fwhm
        Of the Gaussian beam, radians; the pixel window is applied too.
    noise_std
        White noise per pixel, µK; of several Stokes parameters one for each.
    seed
        Of all skies.
    bands
        Of the spectra.
    depth_edges
        Of the depth bins, pixels.
    lmax
        Highest multipole of skies and of the sky model; None: where the signal left in the map is negligible.

    Raises
    ------
    MaskError
        If the plan has nothing to fill.
    SpectrumError
        If the bands go beyond lmax.
    """

    plan: InpaintingPlan
    cl: FloatArray
    fwhm: float
    noise_std: float | FloatArray
    seed: int
    bands: Bandpowers
    depth_edges: tuple[float, ...] = DEPTH_EDGES
    lmax: int | None = None

    def __post_init__(self) -> None:
        if not self.plan.targets.any():
            raise MaskError("the mask has no holes: there is nothing to fill and to evaluate")
        if self.bands.lmax > self.sky_model.lmax:
            raise SpectrumError(
                f"the bands reach ell = {self.bands.lmax}, the skies ell = {self.sky_model.lmax}; end the bands there"
            )

    @classmethod
    def standard(
        cls,
        valid: BoolArray,
        seed: int = 0,
        *,
        fields: Fields = Fields.T,
        fwhm: float | None = None,
        noise_std: float | FloatArray | None = None,
    ) -> Self:
        """The standard setup for a mask, (npix,) bool RING, or rows; `fwhm` in radians, None: 3 pixels; noise in µK."""
        plan = InpaintingPlan.from_valid(valid).of(fields)
        nside, highest = plan.nside, min(HIGHEST_ELL, 3 * plan.nside)
        if noise_std is None:
            levels = np.array([NOISE_UK, NOISE_POL_UK, NOISE_POL_UK])
            noise_std = NOISE_UK if fields is Fields.T else levels[-fields.n :]
        cl = fiducial_cl(highest) if fields is Fields.T else fiducial_spectra(highest)
        cl = cl[1:3] if fields is Fields.QU else cl
        fwhm = BEAM_PIXELS * pixel_size(nside) if fwhm is None else fwhm
        top = min(
            int(BANDS_END * nside), SkyModel.from_theory(cl, nside, fwhm=fwhm, noise_std=noise_std).lmax
        )
        edges = FINE_DEPTH_EDGES if nside >= FINE_NSIDE else DEPTH_EDGES
        return cls(plan, cl, fwhm, noise_std, seed, log_bands(2, top, min(N_BANDS, top - 1)), edges)

    @property
    def nside(self) -> int:
        """Resolution."""
        return self.plan.nside

    @property
    def fields(self) -> Fields:
        """The Stokes parameters of the skies."""
        return self.sky_model.fields

    def scale_of(self, true: FloatArray) -> FloatArray:
        """(skies, bands) what biases are relative to: the true bandpowers; with Q and U √(C_XX C_YY) of the signal."""
        if self.fields is Fields.T:
            return true
        power = self.sky_model.signal.values
        scale = [self.bands.bin(np.sqrt(power[i, i] * power[j, j])) for i, j in self.fields.pairs]
        return np.broadcast_to(np.concatenate(scale), true.shape)

    @cached_property
    def sky_model(self) -> SkyModel:
        """The true model of these skies."""
        return SkyModel.from_theory(
            self.cl, self.nside, fwhm=self.fwhm, noise_std=self.noise_std, lmax=self.lmax
        )

    @cached_property
    def depths(self) -> DepthBins:
        """The targets by depth."""
        return DepthBins.of(self.plan, self.depth_edges)

    @cached_property
    def width_classes(self) -> IntArray:
        """As the plan's arrays: the class of each target's hole by width, -1 elsewhere; see `hole_width_classes`."""
        return hole_width_classes(self.plan)

    @cached_property
    def depths_by_width(self) -> tuple[DepthBins, ...]:
        """The targets by depth, for each class of holes in `HOLE_WIDTHS`."""
        return tuple(
            DepthBins.of(self.plan, self.depth_edges, within=self.width_classes == i)
            for i in range(len(HOLE_WIDTHS))
        )

    def sky(self, index: int) -> tuple[FloatArray, FloatArray]:
        """Sky number `index`: the whole observation and its signal, (npix,) or (k, npix) float64 RING, µK."""
        observed, parts = simulate_sky(
            self.cl, self.nside, fwhm=self.fwhm, noise_std=self.noise_std, pixwin=True,
            lmax=self.sky_model.lmax, seed=sky_rng(self.seed, index), return_parts=True,
        )  # fmt: skip
        return observed, parts.signal

    def varied(self, **changes: object) -> Self:
        """The same skies but for `cl`, `fwhm`, `noise_std` or `lmax`, from the same random numbers."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @cached_property
    def digest(self) -> str:
        """sha256 of all that a record of one sky depends on, hex."""
        state = hashlib.sha256(f"{__version__} {self.plan.digest} {self.sky_model.digest}".encode())
        state.update(f"{self.seed} {self.bands.edges.tolist()} {self.depth_edges} {WIDTH_EDGES}".encode())
        return state.hexdigest()


def sky_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of a true sky; realizations of the same seed and index draw from another one."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, 1)))
