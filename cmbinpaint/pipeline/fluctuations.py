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
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import SkyInput, validate_map
from cmbinpaint.sphere.units import unit_factor


class Fluctuations:
    """Simulated full-sky observations, asked for by index, lowest first.

    Parameters
    ----------
    given
        (n, npix) or, for one, (npix,); an iterable of (npix,) maps; or a callable that returns map i. Arrays,
        masked arrays without masked entries or Quantities; bare numbers are in the map's unit. Of several Stokes
        parameters each is (k, npix).
    sky
        The map that is filled.
    work_unit, flip
        The unit of the work, and whether U changes its sign there.
    first, total
        Which are needed: ``first`` to ``first + total - 1``. Of an iterable those before are skipped.

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
        sky: SkyInput,
        work_unit: str | None,
        flip: bool = False,
        first: int,
        total: int,
    ) -> None:
        self._sky, self._work_unit, self._flip = sky, work_unit, flip
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
        one = self._sky.values.shape
        if tuple(shape) == one:
            return [given]
        if tuple(shape[1:]) != one:
            raise MapError(
                f"fluctuations have shape {tuple(shape)}; expected (n, {', '.join(map(str, one))}): one full-sky "
                f"observation of nside {self._sky.nside} for each realization"
            )
        return given

    def _too_few(self, there: int) -> str:
        return (
            f"{there} fluctuations were given and {self.needed} are needed: realization i uses fluctuation i; "
            "give more, or ask for fewer realizations"
        )

    def _taken(self, given: Any, index: int) -> FloatArray:
        try:
            taken = validate_map(given, nest=self._sky.nest, polarized=self._sky.fields is not Fields.T)
        except CmbInpaintError as error:
            raise type(error)(f"fluctuation {index}: {error}") from None
        if taken.nside != self._sky.nside:
            raise MapError(
                f"fluctuation {index} has nside {taken.nside}, the map {self._sky.nside}; simulate at the map's"
            )
        if taken.fields is not self._sky.fields:
            raise MapError(
                f"fluctuation {index} is of {taken.fields.stokes}, the map of {self._sky.fields.stokes}; simulate all "
                "of it"
            )
        n_bad = int(np.count_nonzero(~(taken.known & np.isfinite(taken.values))))
        if n_bad:
            raise MapError(
                f"fluctuation {index} holds {n_bad} pixels that are NaN, infinite, UNSEEN or masked; a simulated "
                "observation of the full sky is needed, holes included"
            )
        unit = taken.unit or self._sky.unit
        factor = 1.0 if unit is None or self._work_unit is None else unit_factor(unit, self._work_unit)
        values = taken.values * factor
        if self._flip:
            values[-1] *= -1
        return values
