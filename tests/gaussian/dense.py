"""The exact answer by dense linear algebra, for few pixels: whole skies up to nside 16, or around one hole.

Inputs: a mask, a sky model, and which pixels to solve for from which data. Outputs: the posterior's mean,
covariance and samples.

It shares no code with the solver and is its oracle: covariances come from sums over ell (`dense_covariance`),
the posterior from a Cholesky factor. Monopole and dipole of T, whose prior is broad, enter as four explicit modes, so
that their variance costs no precision (universal kriging; Rasmussen & Williams 2006, eq. 2.41 and 2.42).

Of Q, U or T, Q, U a value is numbered `stokes * npix + pixel`: maps (k, npix) laid out in a row.
"""

import itertools

import numpy as np
from scipy import linalg

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.sims.sky_model import SkyModel
from cmbinpaint.sphere.pixels import pixel_vectors
from tests.gaussian.dense_covariance import (
    blocks,
    covariance,
    polarization_covariance,
    temperature_polarization_covariance,
)

# More data pixels than this would need over 2 GB and minutes.
MAX_DATA = 12288


class DenseSolver:
    """The posterior of the signal in chosen pixels, exactly.

    Parameters
    ----------
    valid
        (npix,) bool, RING, or (k, npix), a mask for each Stokes parameter; True where a pixel is data.
    sky_model
        Its `signal_cl`, `noise_std` or `noise_cov`, `nside`. Noise must be positive where data are.
    targets
        (n,) values to solve for (pixels of T alone); None: all that are not data.
    radius
        Of T alone: use data within this angle (radians) of a target only; None: all. The answer tends to the full one
        as the radius grows.

    Raises
    ------
    MaskError
        If nothing is observed (within the radius), or too much is for dense algebra.
    SpectrumError
        If the covariance of the data is not positive definite.
    """

    def __init__(
        self,
        valid: BoolArray,
        sky_model: SkyModel,
        *,
        targets: IntArray | None = None,
        radius: float | None = None,
    ) -> None:
        self._signal = np.asarray(sky_model.signal_cl, dtype=np.float64)
        if self._signal.ndim == 1:
            self._signal = self._signal[None, None]
        self._vectors = pixel_vectors(sky_model.nside)
        k, npix = len(self._signal), len(self._vectors)
        self._shape = (npix,) if k == 1 else (k, npix)
        valid = np.asarray(valid, dtype=bool)
        if valid.shape not in {(npix,), (k, npix)}:
            raise MaskError(f"the mask has {valid.shape[-1]} pixels, the sky model {npix}; make them agree")
        valid = np.broadcast_to(valid, (k, npix)).ravel()
        self.targets = np.flatnonzero(~valid) if targets is None else np.asarray(targets, dtype=np.int64)
        data = np.flatnonzero(valid)
        if radius is not None:
            nearest = _largest_cosine(self._vectors[data], self._vectors[self.targets])
            data = data[nearest >= np.cos(radius)]
        if not 0 < data.size <= MAX_DATA:
            raise MaskError(
                f"{data.size} values as data; dense algebra is for 1 to {MAX_DATA}: "
                "use a lower nside or another radius, or the gaussian solver"
            )
        self.data = data
        self._factor = _cholesky(self._covariance(data, data), _noise(sky_model, k, npix), data, npix)
        # Half-solved cross covariance: L⁻¹ C_dt.
        self._half_cross = self._forward(self._covariance(data, self.targets))
        self._prior = self._covariance(self.targets, self.targets)
        self._set_broad_modes(self._signal[0, 0] if k != 2 else np.zeros(2))

    def mean(self, observed: AnyArray) -> FloatArray:
        """(n_targets,) the posterior mean; linear in `observed`, of which only the data pixels are read."""
        half = self._forward(self._read(observed))
        amplitudes = self._mode_covariance @ (self._half_modes.T @ half)
        return self._half_cross.T @ (half - self._half_modes @ amplitudes) + self._target_modes @ amplitudes

    def covariance(self) -> FloatArray:
        """(n_targets, n_targets) the posterior covariance; it does not depend on the data."""
        leverage = self._target_modes - self._half_cross.T @ self._half_modes
        return (
            self._prior
            - self._half_cross.T @ self._half_cross
            + leverage @ self._mode_covariance @ leverage.T
        )

    def std(self) -> FloatArray:
        """(n_targets,) the posterior standard deviation."""
        return np.sqrt(np.clip(np.diag(self.covariance()), 0.0, None))

    def samples(self, observed: AnyArray, n: int, rng: np.random.Generator) -> FloatArray:
        """(n, n_targets) draws from the posterior of the signal."""
        values, vectors = linalg.eigh(self.covariance())
        root = vectors * np.sqrt(np.clip(values, 0.0, None))
        return self.mean(observed) + rng.standard_normal((n, self.targets.size)) @ root.T

    def _covariance(self, first: IntArray, second: IntArray) -> FloatArray:
        """(n, m) the signal's covariance between values, without monopole and dipole of T."""
        npix, k = len(self._vectors), len(self._signal)
        out = np.empty((first.size, second.size))
        rows, columns = first // npix, second // npix
        at = [
            [self._vectors[values[stokes == i] % npix] for i in range(k)]
            for values, stokes in ((first, rows), (second, columns))
        ]
        if k != 2:
            out[np.ix_(rows == 0, columns == 0)] = covariance(self._signal[0, 0], at[0][0], at[1][0])
        if k == 1:
            return out
        q, u = k - 2, k - 1
        together = all(np.array_equal(pixels[q], pixels[u]) for pixels in at)  # then one call serves all four
        for i, j in ((q, q), (q, u), (u, q), (u, u)):
            if (i, j) == (q, q) or not together:
                both = polarization_covariance(self._signal[q:, q:], at[0][i], at[1][j])
            out[np.ix_(rows == i, columns == j)] = both[i - q, j - q]
        for i in (q, u) if k == 3 else ():
            cross = temperature_polarization_covariance(self._signal[0, 1:], at[0][0], at[1][i])
            out[np.ix_(rows == 0, columns == i)] = cross[i - q]
            cross = temperature_polarization_covariance(self._signal[0, 1:], at[1][0], at[0][i])
            out[np.ix_(rows == i, columns == 0)] = cross[i - q].T
        return out

    def _set_broad_modes(self, cl: FloatArray) -> None:
        """Monopole and dipole of T: their values at data and targets, and their posterior covariance."""
        variance = np.concatenate([cl[:1] / (4 * np.pi), np.repeat(cl[1:2] * 3 / (4 * np.pi), 3)])
        kept = variance > 0
        data_modes, self._target_modes = (
            np.where((values < len(self._vectors))[:, None], self._four_modes(values), 0.0)[:, kept]
            for values in (self.data, self.targets)
        )
        self._half_modes = self._forward(data_modes)
        precision = np.diag(1.0 / variance[kept]) + self._half_modes.T @ self._half_modes
        self._mode_covariance = linalg.inv(precision) if kept.any() else np.zeros((0, 0))

    def _four_modes(self, values: IntArray) -> FloatArray:
        return np.column_stack([np.ones(values.size), self._vectors[values % len(self._vectors)]])

    def _forward(self, values: FloatArray) -> FloatArray:
        return linalg.solve_triangular(self._factor, values, lower=True)

    def _read(self, observed: AnyArray) -> FloatArray:
        observed = np.asarray(observed, dtype=np.float64)
        if observed.shape != self._shape:
            raise MapError(f"the observed map has shape {observed.shape}; expected {self._shape}")
        return observed.ravel()[self.data]


def _noise(sky_model: SkyModel, k: int, npix: int) -> FloatArray:
    """(k, k, npix) the noise covariance of each pixel."""
    noise = np.zeros((k, k, npix))
    cov = getattr(sky_model, "noise_cov", None)
    if cov is not None:
        for row, (i, j) in zip(cov, zip(*np.triu_indices(k), strict=True), strict=True):
            noise[i, j] = noise[j, i] = row
        return noise
    std = np.asarray(sky_model.noise_std, dtype=np.float64)
    for stokes in range(k):
        noise[stokes, stokes] = np.square(std[stokes] if k > 1 else std)
    return noise


def _cholesky(signal: FloatArray, noise: FloatArray, data: IntArray, npix: int) -> FloatArray:
    """The lower factor of the data's covariance: noise of one pixel's values is added to the signal's."""
    row_of = np.full(len(noise) * npix, -1)
    row_of[data] = np.arange(data.size)
    for i, j in itertools.product(range(len(noise)), repeat=2):
        rows, columns = row_of[i * npix : (i + 1) * npix], row_of[j * npix : (j + 1) * npix]
        both = (rows >= 0) & (columns >= 0)
        signal[rows[both], columns[both]] += noise[i, j, both]
    try:
        return linalg.cholesky(signal, lower=True, overwrite_a=True)
    except linalg.LinAlgError as error:
        raise SpectrumError(
            "the covariance of the data is not positive definite: with fewer modes than pixels noise_std "
            f"must be positive (least variance: {min(n.min() for n in np.einsum('iip->ip', noise)):.3g})"
        ) from error


def _largest_cosine(points: FloatArray, others: FloatArray) -> FloatArray:
    """(n,) the cosine of the angle from each point to the nearest of the others."""
    out = np.empty(len(points))
    for rows in blocks(len(points), len(others)):
        out[rows] = (points[rows] @ others.T).max(axis=1)
    return out
