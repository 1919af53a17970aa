"""Bands of multipoles and bandpowers.

Inputs: band edges, spectra from ell = 0. Outputs: `Bandpowers`, which averages C_ell.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cmbinpaint._types import FloatArray, IntArray
from cmbinpaint.errors import SpectrumError

__all__ = ["Bandpowers", "log_bands"]


@dataclass(frozen=True, eq=False)
class Bandpowers:
    """Bands of multipoles: band i holds `edges[i] <= ell < edges[i+1]`, averaged with weights 2 ell + 1.

    Parameters
    ----------
    edges
        (n+1,) whole numbers, ascending, from 0.

    Raises
    ------
    SpectrumError
        If the edges overlap or are not multipoles.

    Examples
    --------
    >>> bands = Bandpowers([2, 4, 8])
    >>> bands.n, bands.bin(np.ones(8)).tolist()
    (2, [1.0, 1.0])
    """

    edges: IntArray

    def __post_init__(self) -> None:
        given = np.asarray(self.edges)
        if given.ndim != 1 or given.size < 2 or given.dtype.kind not in "iuf":
            raise SpectrumError(f"band edges are 2 or more multipoles in ascending order; got {self.edges!r}")
        edges = given.astype(np.int64)
        if not np.array_equal(edges, given) or edges[0] < 0:
            raise SpectrumError(f"band edges are whole numbers from 0; got {given.tolist()}")
        steps = np.diff(edges)
        if np.any(steps <= 0):
            i = int(np.argmax(steps <= 0))
            raise SpectrumError(
                f"bands overlap: edge {edges[i + 1]} follows {edges[i]}; band i holds edges[i] <= ell < "
                "edges[i+1], so the edges must ascend"
            )
        edges.flags.writeable = False
        object.__setattr__(self, "edges", edges)

    @property
    def n(self) -> int:
        """The number of bands."""
        return self.edges.size - 1

    @property
    def lmax(self) -> int:
        """The last multipole of the last band."""
        return int(self.edges[-1]) - 1

    @cached_property
    def widths(self) -> IntArray:
        """(n,) int64: multipoles in each band."""
        return np.diff(self.edges)

    @cached_property
    def n_modes(self) -> FloatArray:
        """(n,) float64: modes in each band on a full sky, the sum of 2 ell + 1."""
        return np.diff(self.edges.astype(np.float64) ** 2)

    @cached_property
    def centers(self) -> FloatArray:
        """(n,) float64: mean multipole of each band's modes."""
        return self.bin(np.arange(self.lmax + 1))

    def bin(self, cl: npt.ArrayLike) -> FloatArray:
        """Return the bandpowers (..., n) of C_ell (..., at least lmax+1): means weighted with 2 ell + 1."""
        array = np.asarray(cl, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] <= self.lmax:
            raise SpectrumError(
                f"the bands reach ell = {self.lmax}, the spectrum has shape {array.shape}: "
                f"it must have at least {self.lmax + 1} multipoles, from ell = 0"
            )
        weights = 2 * np.arange(self.lmax + 1) + 1.0
        inside = (array[..., : self.lmax + 1] * weights)[..., self.edges[0] :]
        return np.add.reduceat(inside, self.edges[:-1] - self.edges[0], axis=-1) / self.n_modes


def log_bands(lmin: int, lmax: int, n: int, *, min_width: int = 1) -> Bandpowers:
    """Return n bands from lmin to lmax inclusive, about equal in log ell, none narrower than min_width."""
    width = int(min_width)
    if not 0 <= lmin <= lmax or n < 1 or width < 1:
        raise SpectrumError(
            f"cannot make {n} bands of at least {min_width} multipoles from ell = {lmin} to {lmax}"
        )
    if (lmax + 1 - lmin) < n * width:
        raise SpectrumError(
            f"{n} bands of at least {width} do not fit into ell = {lmin} to {lmax}; "
            f"ask for at most {(lmax + 1 - lmin) // width}"
        )
    ideal = np.geomspace(max(lmin, 1), lmax + 1, n + 1)
    edges = [int(lmin)]
    for i in range(1, n):
        room = lmax + 1 - width * (n - i)  # what the bands still to come need
        edges.append(min(max(round(float(ideal[i])), edges[-1] + width), room))
    return Bandpowers(np.array([*edges, lmax + 1]))
