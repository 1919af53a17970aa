"""Optimal bandpowers and all that a likelihood needs of them.

Inputs: numbers that were computed elsewhere. Outputs: `OptimalSpectrum`: tables, FITS files, `sacc` objects.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError, requires
from cmbinpaint.files.bandpower_files import write_bandpowers
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.spectra.bandpowers import Bandpowers
from cmbinpaint.sphere.ell_matrix import EllMatrix
from cmbinpaint.sphere.power import as_numbers

# What `sacc` calls the spectra.
_SACC = {"TT": "cl_00", "EE": "cl_ee", "BB": "cl_bb", "TE": "cl_0e", "EB": "cl_eb", "TB": "cl_0b"}


@dataclass(frozen=True, eq=False)
class OptimalSpectrum:
    """Bandpowers of the sky's C_ell with their covariance.

    Bandpowers are means of C_ell with weights 2 ell + 1, if the spectrum has the model's shape within each band (of TE,
    EB and TB: the shape of the root of the product of the two modes' own). Below, n is the number of bands and
    n_spectra that of `spectra`; of T alone this axis is left out.

    Attributes
    ----------
    bands
        The bands; `bands.centers` are their multipoles.
    bandpowers, errors
        (n_spectra, n) C_ell and its standard deviation, in the square of `unit`.
    covariance
        (n_spectra * n, n_spectra * n) of `bandpowers.ravel()`, for a Gaussian sky with the model's spectrum.
    response
        As `covariance`: how quadratic estimates respond to bandpowers; Fisher's matrix if the model is true.
    noise_bias
        (n_spectra, n) the noise's part that was subtracted; 0 with a second split.
    windows
        (n_spectra, n, n_spectra, lmax+1) how each bandpower responds to each spectrum's C_ell, as BB to EE; of T alone
        (n, lmax+1). See `expected`.
    unit
        Unit of the map, None if unspecified.
    beam_divided
        Whether beam and pixel window are divided out: they are where `cl` was given, with what smooths it.
    sky_model
        The model, in the unit of the work.
    n_sims, seed
        Simulated pairs that the covariance is of, 0 without a second split; what random numbers are drawn with.
    """

    bands: Bandpowers
    bandpowers: FloatArray
    errors: FloatArray
    covariance: FloatArray
    response: FloatArray
    noise_bias: FloatArray
    windows: FloatArray
    unit: str | None
    beam_divided: bool
    sky_model: SkyModel
    n_sims: int
    seed: int

    @property
    def spectra(self) -> tuple[str, ...]:
        """Names of the spectra in healpy's order (its ``new=True``), as TT, EE, BB, TE, EB, TB."""
        return self.sky_model.fields.spectra

    def expected(self, cl: Any) -> FloatArray:
        """What is expected of `bandpowers` for a sky of these spectra: `windows` times `cl`.

        Parameters
        ----------
        cl
            C_ell from ell = 0 in the square of `unit`, at least as far as the bands: TT (lmax+1,); TT, EE, BB, TE (4,
            lmax+1), or with EB, TB; of Q, U EE, BB, or with EB. Nothing is added beyond its end.
        """
        squared = f"{self.unit.removesuffix('_CMB')}2" if self.unit else ""
        rows = EllMatrix.from_spectra(as_numbers(cl, squared, "cl")).spectra
        if len(rows) != len(self.spectra):
            raise SpectrumError(f"cl has shape {np.shape(cl)}; give rows of {', '.join(self.spectra)}")
        if rows.shape[1] <= self.bands.lmax:
            raise SpectrumError(
                f"cl ends at ell = {rows.shape[1] - 1}, the bands at {self.bands.lmax}; give it as far"
            )
        size = self.windows.shape[-1]
        rows = np.pad(rows[:, :size], ((0, 0), (0, max(0, size - rows.shape[1]))))
        return np.tensordot(self.windows, rows if len(rows) > 1 else rows[0], 2 if len(rows) > 1 else 1)

    def to_dl(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n,) centers, and ``ell (ell + 1) / 2 pi`` there times bandpowers and errors."""
        center = self.bands.centers
        factor = center * (center + 1) / (2 * np.pi)
        return center, factor * self.bandpowers, factor * self.errors

    def csv(self) -> str:
        """One line a band: ell_min, ell_max, C_ell, its error and the noise bias, as CSV with a header.

        Of several spectra the name of the spectrum comes first.
        """
        lines = ["ell_min,ell_max,cl,cl_error,noise_bias"]
        for row in zip(*self._columns().values(), strict=True):
            _, low, high, _, *values = row
            lines.append(f"{low},{high}," + ",".join(f"{value:.8g}" for value in values))
        if len(self.spectra) > 1:
            names = ["spectrum", *self._columns()["SPECTRUM"]]
            lines = [f"{name},{line}" for name, line in zip(names, lines, strict=True)]
        return "\n".join(lines) + "\n"

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write a FITS file, atomically.

        Its table BANDPOWERS has a row for each band of each spectrum, in the order of the images COVARIANCE, RESPONSE
        (rows and columns) and WINDOWS (bandpower, spectrum, ell); its header says what was assumed.

        Parameters
        ----------
        path
            The file, ``.fits`` or ``.fits.gz``.
        overwrite
            Whether an existing file is replaced.
        """
        size, n_spectra = self.covariance.shape[0], len(self.spectra)
        model, window = self.sky_model, "divided out" if self.beam_divided else "in"
        provenance = {
            "CREATOR": f"cmbinpaint {__version__}", "FIELDS": model.fields.stokes, "MAPNSIDE": model.nside,
            "SPECTRA": ",".join(self.spectra), "WINDOW": (window, "beam and pixel window"),
            "MODEL": model.source, "NOISE": model.noise_source, "NSIMS": self.n_sims, "SEED": str(self.seed),
            "DIGEST": (model.digest, "of the sky model"),
        }  # fmt: skip
        images = {
            "COVARIANCE": self.covariance,
            "RESPONSE": self.response,
            "WINDOWS": self.windows.reshape(size, n_spectra, -1),
        }
        return write_bandpowers(
            Path(path), self._columns(), images, unit=self.unit, provenance=provenance, overwrite=overwrite
        )

    def to_sacc(self) -> Any:
        """The bandpowers as a `sacc.Sacc`, with their covariance, and of each spectrum the window on itself.

        Windows between spectra have no place there. Needs ``pip install 'cmbinpaint[sacc]'``.

        Raises
        ------
        MissingExtraError
            If ``sacc`` is not installed.
        """
        requires("sacc")
        import sacc

        made, ell = sacc.Sacc(), np.arange(self.windows.shape[-1])
        for mode in self.sky_model.fields.modes:
            made.add_tracer("Misc", f"cmb_{mode}")
        n_spectra, n = len(self.spectra), self.bands.n
        windows = self.windows.reshape(n_spectra, n, n_spectra, -1)
        for i, (name, power) in enumerate(zip(self.spectra, np.atleast_2d(self.bandpowers), strict=True)):
            window = sacc.BandpowerWindow(ell, windows[i, :, i].T)
            made.add_ell_cl(
                _SACC[name], f"cmb_{name[0]}", f"cmb_{name[1]}", self.bands.centers, power, window=window
            )
        made.add_covariance(self.covariance)
        made.metadata |= {"unit": self.unit or "", "beam_divided": self.beam_divided, "seed": str(self.seed)}
        return made

    def _columns(self) -> dict[str, Any]:
        """What is known of each band of each spectrum, spectrum by spectrum."""
        n, edges = len(self.spectra), self.bands.edges
        return {
            "SPECTRUM": np.repeat(self.spectra, self.bands.n),
            "ELL_MIN": np.tile(edges[:-1], n),
            "ELL_MAX": np.tile(edges[1:] - 1, n),
            "ELL": np.tile(self.bands.centers, n),
            "CL": self.bandpowers.ravel(),
            "CL_ERROR": self.errors.ravel(),
            "NOISE_BIAS": self.noise_bias.ravel(),
        }
