"""The user's own simulations in place of drawn ones.

Inputs: (n, npix), maps one after the other, or a function of the index. Outputs: checked maps in the unit of the
work, RING.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import islice
from typing import Any

import numpy as np

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import CmbInpaintError, MapError
from cmbinpaint.sphere.maps import validate_map
from cmbinpaint.sphere.units import unit_factor


class Fluctuations:
    """Simulated full-sky observations, asked for by index, lowest first.

    Parameters
    ----------
    given
        (n, npix) or, for one, (npix,); an iterable of (npix,) maps; or a callable that returns map i. Arrays,
        masked arrays without masked entries or Quantities; bare numbers are in the map's unit.
    nside, nest, unit, work_unit
        Of the map that is filled, and the unit of the work.
    first, total
        Which are needed: ``first`` to ``first + total - 1``. Of an iterable those before are passed over.

    Raises
    ------
    MapError
        On the wrong shape, or if there are too few.
    CmbInpaintError
        If `given` is none of these.
    """

    def __init__(
        self,
        given: Any,
        *,
        nside: int,
        nest: bool,
        unit: str | None,
        work_unit: str | None,
        first: int,
        total: int,
    ) -> None:
        self.nside, self.nest, self.unit, self.work_unit = nside, nest, unit, work_unit
        self.needed = first + total
        self._at: Callable[[int], Any] | None = given if callable(given) else None
        self._next: Iterator[Any] = iter(())
        self._index = first
        if self._at is None:
            if isinstance(given, str | bytes) or not isinstance(given, Iterable):
                raise CmbInpaintError(
                    f"fluctuations is a {type(given).__name__}; give an array (n, npix), an iterable of maps, or "
                    "a function that returns map i"
                )
            given = self._rows(given)
            if isinstance(given, Sized) and len(given) < self.needed:
                raise MapError(self._too_few(len(given)))
            self._next = islice(iter(given), first, None)

    def __call__(self, index: int) -> FloatArray:
        """(npix,) float64, RING, in the unit of the work."""
        if self._at is not None:
            given = self._at(index)
        else:
            if index != self._index:
                raise CmbInpaintError(f"fluctuation {index} was asked for after {self._index - 1}")
            self._index += 1
            try:
                given = next(self._next)
            except StopIteration:
                raise MapError(self._too_few(index)) from None
        return self._taken(given, index)

    def _rows(self, given: Any) -> Any:
        """The maps of an array; other iterables as they are."""
        shape = getattr(given, "shape", None)
        if shape is None:
            return given
        npix = 12 * self.nside**2
        if tuple(shape) == (npix,):
            return [given]
        if len(shape) != 2 or shape[1] != npix:
            raise MapError(
                f"fluctuations have shape {tuple(shape)}; expected (n, {npix}): one full-sky observation of nside "
                f"{self.nside} for each realization"
            )
        return given

    def _too_few(self, there: int) -> str:
        return (
            f"{there} fluctuations were given and {self.needed} are needed: realization i uses fluctuation i; "
            "give more, or ask for fewer realizations"
        )

    def _taken(self, given: Any, index: int) -> FloatArray:
        try:
            taken = validate_map(given, nest=self.nest)
        except CmbInpaintError as error:
            raise type(error)(f"fluctuation {index}: {error}") from None
        if taken.nside != self.nside:
            raise MapError(
                f"fluctuation {index} has nside {taken.nside}, the map {self.nside}; simulate at the map's"
            )
        n_bad = int(np.count_nonzero(~(taken.known & np.isfinite(taken.values))))
        if n_bad:
            raise MapError(
                f"fluctuation {index} holds {n_bad} pixels that are NaN, infinite, UNSEEN or masked; a simulated "
                "observation of the full sky is needed, holes included"
            )
        unit = taken.unit or self.unit
        factor = 1.0 if unit is None or self.work_unit is None else unit_factor(unit, self.work_unit)
        return taken.values * factor
