"""Algebra per multipole: a small matrix at each ell, that acts on the a_lm of one to three fields.

Inputs: spectra. Outputs: `EllMatrix`, with products, square roots, inverses, and Gaussian draws.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cmbinpaint._types import AnyArray, ComplexArray, FloatArray, IntArray
from cmbinpaint.errors import SpectrumError
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.harmonics import CACHED_LMAX, alm_degrees, alm_size, draw_alm
from cmbinpaint.sphere.power import as_numbers, validate_cl

# A pivot of a Cholesky factor below this fraction of its diagonal is rounding, and counts as zero.
_ROUNDING = 1e-12
# Spectra in another order are impossible at more than this fraction of all ell, a slip of the hand at fewer.
_OFTEN = 0.05


@dataclass(frozen=True, eq=False)
class EllMatrix:
    """A (k, k) matrix at each ell.

    Parameters
    ----------
    values
        (k, k, lmax + 1) float64, k = 1, 2 or 3: T, or E and B, or T, E and B.

    Examples
    --------
    >>> signal = EllMatrix.from_spectra([[4.0, 4.0], [1.0, 1.0], [0.5, 0.5], [1.0, 1.0]])  # TT, EE, BB, TE
    >>> root = signal.cholesky()
    >>> np.allclose((root @ root.transposed).values, signal.values)
    True
    """

    values: FloatArray

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim == 1:
            values = values[None, None]
        if values.ndim != 3 or values.shape[0] != values.shape[1] or not 1 <= len(values) <= 3:
            raise SpectrumError(
                f"the spectra have shape {values.shape}; expected (k, k, lmax + 1), k = 1 to 3"
            )
        object.__setattr__(self, "values", values)

    @classmethod
    def from_spectra(cls, spectra: AnyArray) -> Self:
        """The symmetric matrix of spectra in healpy's order (its ``new=True``).

        Parameters
        ----------
        spectra
            (lmax + 1,) or (1, lmax + 1) TT; (2, lmax + 1) EE, BB or (3, lmax + 1) EE, BB, EB; (4, lmax + 1) TT, EE,
            BB, TE or (6, lmax + 1) TT, EE, BB, TE, EB, TB.

        Raises
        ------
        SpectrumError
            If their number is another.
        """
        rows = np.atleast_2d(np.asarray(spectra, dtype=np.float64))
        fields = {1: Fields.T, 2: Fields.QU, 3: Fields.QU, 4: Fields.TQU, 6: Fields.TQU}.get(len(rows))
        if rows.ndim != 2 or fields is None:
            raise SpectrumError(
                f"the spectra have shape {rows.shape}; expected (lmax + 1,) TT, (2 or 3, lmax + 1) EE, BB and EB, or "
                "(4 or 6, lmax + 1) TT, EE, BB, TE and EB, TB"
            )
        values = np.zeros((fields.n, fields.n, rows.shape[1]))
        for (i, j), row in zip(fields.pairs, rows, strict=False):
            values[i, j] = values[j, i] = row
        return cls(values)

    @classmethod
    def identity(cls, k: int, lmax: int) -> Self:
        """The unit matrix at each ell."""
        return cls(np.repeat(np.eye(k)[..., None], lmax + 1, axis=2))

    @property
    def k(self) -> int:
        """The number of fields."""
        return len(self.values)

    @property
    def lmax(self) -> int:
        """The highest multipole."""
        return self.values.shape[2] - 1

    @property
    def fields(self) -> Fields:
        """The fields that it acts on."""
        return Fields.of(self.k)

    @property
    def spectra(self) -> FloatArray:
        """(1, 3 or 6, lmax + 1) the spectra of a symmetric matrix, in healpy's order."""
        return np.stack([self.values[i, j] for i, j in self.fields.pairs])

    @property
    def transposed(self) -> Self:
        """The matrix transposed at each ell."""
        return type(self)(self.values.swapaxes(0, 1))

    def __matmul__(self, other: "EllMatrix") -> Self:
        """The product at each ell."""
        return type(self)(np.einsum("ijl,jkl->ikl", self.values, other.values))

    def __truediv__(self, other: "EllMatrix") -> Self:
        """The product with the inverse of `other` at each ell."""
        if self.k == 1:
            return type(self)(self.values / other.values)
        left, right = (matrix.values.transpose(2, 0, 1) for matrix in (self, other))
        divided = np.linalg.solve(right.swapaxes(1, 2), left.swapaxes(1, 2)).swapaxes(1, 2)
        return type(self)(np.asarray(divided.transpose(1, 2, 0), dtype=np.float64))

    def plus_diagonal(self, levels: AnyArray) -> Self:
        """The matrix plus (k,) levels on the diagonal at each ell: signal and white noise."""
        values = self.values.copy()
        for i, level in enumerate(levels):
            values[i, i] += level
        return type(self)(values)

    def inverse(self) -> Self:
        """The inverse at each ell."""
        return self.identity(self.k, self.lmax) / self

    def cholesky(self) -> Self:
        """The lower triangular L with `L Lᵀ` the matrix; a mode without power gets a row of zeros.

        Raises
        ------
        SpectrumError
            If the matrix has a negative eigenvalue at some ell: names the ell and the spectra there.
        """
        root = np.zeros_like(self.values)
        for j in range(self.k):
            pivot = self.values[j, j] - np.square(root[j, :j]).sum(axis=0)
            self._refuse_negative(pivot < -_ROUNDING * np.abs(self.values[j, j]))
            alive = pivot > _ROUNDING * self.values[j, j]
            root[j, j] = np.sqrt(np.where(alive, pivot, 0.0))
            for i in range(j + 1, self.k):
                rest = self.values[i, j] - (root[i, :j] * root[j, :j]).sum(axis=0)
                scale = np.sqrt(np.abs(self.values[i, i] * self.values[j, j]))
                self._refuse_negative(~alive & (np.abs(rest) > np.sqrt(_ROUNDING) * scale))
                np.divide(rest, root[j, j], out=root[i, j], where=alive)
        return type(self)(root)

    def apply(self, alm: ComplexArray, *, out: ComplexArray | None = None) -> ComplexArray:
        """The matrix times a_lm (k, size), or (size,) if k is 1; written to `out` (which may be `alm`) if given."""
        out = np.empty_like(alm) if out is None else out
        source, target = (array.reshape(self.k, -1).view(np.float64) for array in (alm, out))
        used = [[j for j in range(self.k) if self.values[i, j].any()] for i in range(self.k)]
        doubled = np.repeat(self.values, 2, axis=2)  # of real and imaginary parts
        for chunk, ell in _blocks(self.lmax):
            rows = []
            for i, columns in enumerate(used):
                terms = [doubled[i, j][ell] * source[j, chunk] for j in columns]
                rows.append(sum(terms[1:], terms[0]) if terms else 0.0)
            for i, row in enumerate(rows):
                target[i, chunk] = row
        return out

    def draw(self, rng: np.random.Generator) -> ComplexArray:
        """(k, size) Gaussian a_lm with these spectra, from a Generator alone (see `draw_alm`)."""
        white = np.stack([draw_alm(np.ones(self.lmax + 1), rng) for _ in range(self.k)])
        return self.cholesky().apply(white, out=white)

    def _refuse_negative(self, bad: AnyArray) -> None:
        if bad.any():
            ell = int(np.argmax(bad))
            here = ", ".join(
                f"{name} = {self.values[pair][ell]:.4g}"
                for name, pair in zip(self.fields.spectra, self.fields.pairs, strict=True)
            )
            raise SpectrumError(
                f"the spectra are not those of any sky at ell = {ell}: {here} (power is not negative, and no cross "
                "power exceeds the geometric mean of its two, as in TE² <= TT·EE); check the order TT, EE, BB, TE"
            )


def validate_spectra(spectra: Any, name: str = "cl") -> EllMatrix:
    """Return the power spectra of T, of E and B, or of all three, refusing what is none.

    Parameters
    ----------
    spectra
        (lmax+1,) TT, or rows in healpy's order (`EllMatrix.from_spectra`), or CAMB's columns (lmax+1, 4) TT, EE, BB,
        TE. From ell = 0, C_ell; a Quantity is converted to µK². Of several, entries 0 and 1 are not used.
    name
        How messages name them.

    Raises
    ------
    SpectrumError
        If they are not those of any sky; healpy's old order (TT, TE, EE, BB) is recognized and named.
    """
    rows = as_numbers(spectra, "uK2", name)
    if rows.ndim < 2:
        return EllMatrix(validate_cl(spectra, name, lmax=2))
    if rows.ndim == 2 and rows.shape[1] == 4 and len(rows) > 6:
        rows = rows.T
    matrix = EllMatrix.from_spectra(rows)
    rows[:, :2] = matrix.values[..., :2] = 0.0
    for label, row in zip(matrix.fields.spectra, rows, strict=False):
        validate_cl(row, f"{name} ({label})", lmax=2, signed=True)
    try:
        matrix.cholesky()
    except SpectrumError as error:
        if len(rows) == 4 and _has_old_order(rows):
            raise SpectrumError(
                f"{name} is in healpy's old order, TT, TE, EE, BB: {error}. Give cl[[0, 2, 3, 1]]: TT, EE, BB, TE"
            ) from None
        if len(rows) > 2 and _is_possible(rows[[0, 2, 1, *range(3, len(rows))]]):
            raise SpectrumError(f"{name}: EE and BB stand in each other's place: {error}") from None
        raise SpectrumError(f"{name}: {error}") from None
    return matrix


def _is_possible(rows: FloatArray) -> bool:
    """Whether a sky has these spectra."""
    try:
        EllMatrix.from_spectra(rows).cholesky()
    except SpectrumError:
        return False
    return True


def _has_old_order(rows: FloatArray) -> bool:
    """Whether four spectra make no sense in many places as TT, EE, BB, TE, but do as TT, TE, EE, BB."""
    tt, second, third, fourth = rows
    impossible = (second < 0) | (fourth**2 > tt * second) | (third < 0)
    return bool(
        np.mean(impossible) > _OFTEN and np.all((third >= 0) & (fourth >= 0) & (second**2 <= tt * third))
    )


def _blocks(lmax: int) -> Iterator[tuple[slice, Any]]:
    """Pieces of an alm's reals, and where each finds its ell among doubled ones, without long temporaries."""
    if lmax <= CACHED_LMAX:
        yield slice(0, 2 * alm_size(lmax)), _doubled_degrees(lmax)
        return
    start = 0
    for m in range(lmax + 1):
        stop = start + 2 * (lmax + 1 - m)
        yield slice(start, stop), slice(2 * m, None)
        start = stop


@functools.lru_cache(maxsize=8)
def _doubled_degrees(lmax: int) -> IntArray:
    degrees = 2 * np.repeat(alm_degrees(lmax), 2)
    degrees.flags.writeable = False
    return degrees
