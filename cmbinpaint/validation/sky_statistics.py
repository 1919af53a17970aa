"""What is measured on one sky: bandpowers, low multipoles, jumps at hole edges, the distribution of pixels.

Inputs: a setup, full RING maps. Outputs: small arrays; of several Stokes parameters, or their modes and spectra, the
figures of one after those of the other.
"""

from functools import cached_property

import numpy as np
from scipy.special import ndtr

from cmbinpaint._types import ComplexArray, FloatArray, IntArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.harmonics import Harmonics, alm_to_cl, alm_to_real, resize_alm
from cmbinpaint.sphere.pixels import pixel_neighbors
from cmbinpaint.validation.depths import HOLE_WIDTHS
from cmbinpaint.validation.simulation_setup import SimulationSetup

# Multipoles whose single coefficients are kept.
LOW_ELL = 10
# Pixels of each depth whose single errors are kept; more add little, for neighbors err alike.
PIXELS_KEPT = 4000


class SkyStatistics:
    """Everything that is measured on maps of one setup; what it needs of the geometry is found once.

    Raises
    ------
    SpectrumError
        If the setup's bands end below `LOW_ELL`.
    """

    def __init__(self, setup: SimulationSetup) -> None:
        if setup.bands.lmax < LOW_ELL:
            raise SpectrumError(
                f"the bands end at ell = {setup.bands.lmax}, multipoles to {LOW_ELL} are evaluated singly: "
                "take nside 8 or more"
            )
        self.setup = setup
        self.bands = setup.bands
        self.depths = setup.depths
        self.harmonics = Harmonics(setup.nside, setup.bands.lmax)

    @cached_property
    def kept(self) -> IntArray:
        """(k,) indices into `depths.pixels` of the pixels whose errors are kept, up to `PIXELS_KEPT` a depth."""
        rng = np.random.default_rng(0)
        chosen = []
        for i in range(self.depths.n):
            here = np.flatnonzero(self.depths.bin_of == i)
            chosen.append(rng.choice(here, min(PIXELS_KEPT, here.size), replace=False))
        return np.sort(np.concatenate(chosen))

    @cached_property
    def kept_bins(self) -> IntArray:
        """(k,) the depth bin of each kept pixel."""
        return self.depths.bin_of[self.kept]

    @cached_property
    def kept_widths(self) -> IntArray:
        """(k,) the class by width of each kept pixel's hole."""
        return self.setup.width_classes.reshape(-1)[self.depths.pixels[self.kept]]

    def by_width(self, sky: FloatArray) -> FloatArray:
        """(widths, depths) mean squares of a map by class of hole and depth; NaN where there is no pixel."""
        return np.stack([bins.mean_square(sky) for bins in self.setup.depths_by_width])

    def at_kept(self, sky: FloatArray) -> FloatArray:
        """(k,) float32: the values of a map in the kept pixels."""
        return self.depths.at(sky)[self.kept].astype(np.float32)

    def alm(self, sky: FloatArray) -> ComplexArray:
        """The a_lm of a map up to the last band, as `anafast` has them."""
        return self.harmonics.analysis(sky, iterations=3)

    def power(self, alm: ComplexArray, other: ComplexArray | None = None) -> FloatArray:
        """(bands,) bandpowers of C_ell, or of the cross spectrum with another map; of all spectra in a row."""
        lmax = self.harmonics.lmax
        if alm.ndim == 1:
            return self.bands.bin(alm_to_cl(alm, lmax, other))
        second = alm if other is None else other
        return np.concatenate(
            [
                self.bands.bin(alm_to_cl(alm[i], lmax, second[j]) + alm_to_cl(alm[j], lmax, second[i])) / 2
                for i, j in self.setup.fields.pairs
            ]
        )

    def low_alm(self, alm: ComplexArray) -> FloatArray:
        """((LOW_ELL + 1)²,) real coefficients of each mode, each of variance C_ell; see `low_degrees`."""
        rows = [resize_alm(row, self.harmonics.lmax, LOW_ELL) for row in np.atleast_2d(alm)]
        return np.concatenate([alm_to_real(row, LOW_ELL) for row in rows])

    @cached_property
    def edge_pairs(self) -> tuple[IntArray, IntArray, IntArray]:
        """(pairs,) each: a hole pixel, an observed neighbor of it, and the class of its hole by width."""
        inside, npix = self.depths.pixels, 12 * self.setup.nside**2
        near = pixel_neighbors(self.setup.nside, inside % npix)
        first = inside // npix * npix
        near = np.where(near >= 0, near + first[:, None], -1)
        row, column = np.nonzero((near >= 0) & self.setup.plan.valid.reshape(-1)[near])
        hole = inside[row]
        width = self.setup.width_classes.reshape(-1)[hole] + hole // npix * len(HOLE_WIDTHS)
        return hole, near[row, column], width

    def jumps(self, sky: FloatArray) -> FloatArray:
        """(widths,) mean square difference across the edges of holes by width; NaN where there are none."""
        hole, beside, width = self.edge_pairs
        n, values = len(HOLE_WIDTHS) * self.setup.fields.n, sky.reshape(-1)
        squares = np.bincount(width, weights=np.square(values[hole] - values[beside]), minlength=n)
        count = np.bincount(width, minlength=n)
        return np.divide(squares, count, out=np.full(n, np.nan), where=count > 0)

    def one_point(self, sky: FloatArray) -> FloatArray:
        """(1 + depths,) Kolmogorov-Smirnov distances of the hole pixels from the model's normal distribution.

        All pixels first, then by depth. Pixels are correlated, so that a distance means something only beside
        those of true skies.
        """
        model, bins = self.setup.sky_model, self.depths
        levels = [model.noise_std] if self.setup.fields.n == 1 else np.asarray(model.noise_std)
        n, parts = bins.n // self.setup.fields.n, []
        for row, (rms, level) in enumerate(zip(model.stokes_rms, levels, strict=True)):
            sigma = np.sqrt(rms**2 + np.mean(np.square(level)))
            here = bins.bin_of // n == row
            values, bin_of = bins.at(sky)[here] / sigma, bins.bin_of[here] % n
            parts += [values, *(values[bin_of == i] for i in range(n))]
        return np.array([ks_distance(part) for part in parts])


def low_degrees() -> IntArray:
    """((LOW_ELL + 1)²,) the ell of each coefficient of one mode in `SkyStatistics.low_alm`."""
    ell = np.concatenate([np.arange(m, LOW_ELL + 1) for m in range(LOW_ELL + 1)])
    return np.concatenate([ell[: LOW_ELL + 1], np.repeat(ell[LOW_ELL + 1 :], 2)])


def ks_distance(values: FloatArray) -> float:
    """The largest distance between the distribution of values and the standard normal one; NaN of none."""
    if values.size == 0:
        return float("nan")
    normal = ndtr(np.sort(values))
    rank = np.arange(values.size + 1) / values.size
    return float(max(np.max(rank[1:] - normal), np.max(normal - rank[:-1])))
