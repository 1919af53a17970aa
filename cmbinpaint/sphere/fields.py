"""Which Stokes parameters are worked on together: T, or Q and U, or T, Q and U.

Inputs: their number. Outputs: `Fields`, their names, spins and spectra.

Arrays have them on the leading axis: maps (k, npix), a_lm (k, size), spectra (k, k, lmax + 1), k = 1, 2 or 3.
"""

from enum import Enum

from cmbinpaint.errors import MapError


class Fields(Enum):
    """The Stokes parameters of a map, in the HEALPix convention (COSMO).

    Examples
    --------
    >>> Fields.of(3).modes
    'TEB'
    >>> Fields.QU.spectra
    ('EE', 'BB', 'EB')
    """

    T = "T"
    QU = "QU"
    TQU = "TQU"

    @classmethod
    def of(cls, n: int) -> "Fields":
        """Those of a map with n rows.

        Raises
        ------
        MapError
            If n is not 1, 2 or 3.
        """
        for fields in cls:
            if len(fields.value) == n:
                return fields
        raise MapError(f"a map has 1 (T), 2 (Q, U) or 3 (T, Q, U) Stokes parameters; got {n}")

    @property
    def n(self) -> int:
        """Their number k."""
        return len(self.value)

    @property
    def stokes(self) -> str:
        """The rows of a map, one letter each."""
        return self.value

    @property
    def modes(self) -> str:
        """The rows of a_lm, one letter each: T, or E and B, or all three."""
        return self.value.replace("QU", "EB")

    @property
    def spins(self) -> tuple[tuple[int, slice], ...]:
        """Which rows are transformed together, and their spin."""
        temperature, polarization = (0, slice(0, 1)), (2, slice(self.n - 2, self.n))
        return {"T": (temperature,), "QU": (polarization,), "TQU": (temperature, polarization)}[self.value]

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The rows of modes that each of `spectra` is of."""
        return tuple((self.modes.index(s[0]), self.modes.index(s[1])) for s in self.spectra)

    @property
    def spectra(self) -> tuple[str, ...]:
        """The spectra in healpy's order (its ``new=True``): TT, EE, BB, TE, EB, TB as far as they exist."""
        return tuple(s for s in ("TT", "EE", "BB", "TE", "EB", "TB") if set(s) <= set(self.modes))
