"""The exact answer by dense linear algebra, for few pixels: whole skies up to nside 16, or around one hole.

Inputs: a mask, a sky model, and which pixels to solve for from which data. Outputs: the posterior's mean,
covariance and samples.

It shares no code with the solver (`gaussian`) and serves as its oracle: covariances come from the Legendre
series `C(θ) = sum_l (2l+1)/4π C_l P_l(cos θ)`, the posterior from a Cholesky factor. Monopole and dipole,
whose prior is broad, enter as four explicit modes, so that their variance costs no precision (universal
kriging; Rasmussen & Williams 2006, eq. 2.41 and 2.42).
"""

from collections.abc import Iterator

import numpy as np
from numpy.polynomial import legendre
from scipy import linalg

from cmbinpaint._types import AnyArray, BoolArray, FloatArray, IntArray
from cmbinpaint.errors import MapError, MaskError, SpectrumError
from cmbinpaint.gaussian.gaussian_sky import GaussianSky
from cmbinpaint.sphere.pixels import pixel_vectors

# More data pixels than this would need over 2 GB and minutes.
MAX_DATA = 12288
# Elements of a covariance made at a time: what stays in cache.
BLOCK = 1 << 15


class DenseSolver:
    """The posterior of the signal in chosen pixels, exactly.

    Parameters
    ----------
    valid
        (npix,) bool, RING; True where a pixel is data.
    sky_model
        Its `signal_cl`, `noise_std`, `nside`. Noise must be positive where data are.
    targets
        (n,) pixels to solve for; None: all that are not data.
    radius
        Use data within this angle (radians) of a target only; None: all. The answer tends to the full one as
        the radius grows.

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
        sky_model: GaussianSky,
        *,
        targets: IntArray | None = None,
        radius: float | None = None,
    ) -> None:
        valid = np.asarray(valid, dtype=bool)
        vectors = pixel_vectors(sky_model.nside)
        if valid.shape != (len(vectors),):
            raise MaskError(
                f"the mask has {valid.size} pixels, the sky model {len(vectors)}; make them agree"
            )
        self.targets = np.flatnonzero(~valid) if targets is None else np.asarray(targets, dtype=np.int64)
        data = np.flatnonzero(valid)
        if radius is not None:
            nearest = _largest_cosine(vectors[data], vectors[self.targets])
            data = data[nearest >= np.cos(radius)]
        if not 0 < data.size <= MAX_DATA:
            raise MaskError(
                f"{data.size} data pixels; dense algebra serves 1 to {MAX_DATA}: "
                "use a lower nside or another radius, or the gaussian solver"
            )
        self.data = data
        self._npix = valid.size
        at_data, at_targets = vectors[data], vectors[self.targets]
        cl = np.asarray(sky_model.signal_cl, dtype=np.float64)
        noise = np.broadcast_to(np.asarray(sky_model.noise_std, dtype=np.float64), valid.shape)[data]
        self._factor = _cholesky(covariance(cl, at_data, at_data), noise)
        # Half-solved cross covariance: L⁻¹ C_dt.
        self._half_cross = self._forward(covariance(cl, at_data, at_targets))
        self._prior = covariance(cl, at_targets, at_targets)
        self._set_broad_modes(cl, at_data, at_targets)

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

    def _set_broad_modes(self, cl: FloatArray, at_data: FloatArray, at_targets: FloatArray) -> None:
        """Monopole and dipole: their values at data and targets, and their posterior covariance."""
        variance = np.concatenate([cl[:1] / (4 * np.pi), np.repeat(cl[1:2] * 3 / (4 * np.pi), 3)])
        kept = variance > 0
        data_modes = np.column_stack([np.ones(len(at_data)), at_data])[:, : variance.size][:, kept]
        targets = np.column_stack([np.ones(len(at_targets)), at_targets])
        self._target_modes = targets[:, : variance.size][:, kept]
        self._half_modes = self._forward(data_modes)
        precision = np.diag(1.0 / variance[kept]) + self._half_modes.T @ self._half_modes
        self._mode_covariance = linalg.inv(precision) if kept.any() else np.zeros((0, 0))

    def _forward(self, values: FloatArray) -> FloatArray:
        return linalg.solve_triangular(self._factor, values, lower=True)

    def _read(self, observed: AnyArray) -> FloatArray:
        observed = np.asarray(observed, dtype=np.float64)
        if observed.shape != (self._npix,):
            raise MapError(f"the observed map has shape {observed.shape}; expected ({self._npix},)")
        return observed[self.data]


def covariance(signal_cl: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """The signal's covariance between two sets of unit vectors, without monopole and dipole.

    Parameters
    ----------
    signal_cl
        (lmax + 1,) spectrum.
    first, second
        (n, 3) and (m, 3) unit vectors.

    Returns
    -------
    (n, m) float64.
    """
    coefficients = (2 * np.arange(signal_cl.size) + 1) * signal_cl / (4 * np.pi)
    coefficients[:2] = 0.0
    out = np.empty((len(first), len(second)))
    for rows in _blocks(len(first), len(second)):
        out[rows] = legendre.legval(np.clip(first[rows] @ second.T, -1.0, 1.0), coefficients)
    return out


def _cholesky(signal: FloatArray, noise_std: FloatArray) -> FloatArray:
    np.fill_diagonal(signal, np.diag(signal) + np.square(noise_std))
    try:
        return linalg.cholesky(signal, lower=True, overwrite_a=True)
    except linalg.LinAlgError as error:
        raise SpectrumError(
            "the covariance of the data is not positive definite: with fewer modes than pixels noise_std "
            f"must be positive (smallest here: {noise_std.min():.3g})"
        ) from error


def _largest_cosine(points: FloatArray, others: FloatArray) -> FloatArray:
    """(n,) the cosine of the angle from each point to the nearest of the others."""
    out = np.empty(len(points))
    for rows in _blocks(len(points), len(others)):
        out[rows] = (points[rows] @ others.T).max(axis=1)
    return out


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, n_columns))
    return (slice(start, start + step) for start in range(0, n_rows, step))
