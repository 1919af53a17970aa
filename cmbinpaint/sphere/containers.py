"""Open the containers that maps come in, and close them again.

Inputs: arrays, masked arrays, Quantities, astropy's Masked. Outputs: plain data, mask and unit, and the function
that puts an answer back into the same kind of container.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cmbinpaint._types import AnyArray, BoolArray
from cmbinpaint.errors import MapError, UnitsError
from cmbinpaint.sphere.units import quantity_unit


def unwrap(sky: Any) -> tuple[Any, Any, str | None, Callable[[AnyArray, BoolArray | None], Any]]:
    """Return a map's (data, mask or None, unit or None, way back); a table's column with a unit is a Quantity.

    The way back takes the answer and its mask (None where the map had none).
    """
    from astropy.units import Quantity
    from astropy.utils.masked import Masked

    if isinstance(sky, list | tuple) and any(hasattr(row, "unit") or hasattr(row, "mask") for row in sky):
        return unwrap(_stacked(sky))
    if not isinstance(sky, Quantity) and getattr(sky, "unit", None) is not None:
        sky = Quantity(sky, copy=False)
    unit = getattr(sky, "unit", None) if isinstance(sky, Quantity) else None
    own = None if unit is None else quantity_unit(unit)
    if isinstance(sky, Masked):
        plain = np.asarray(sky.unmasked.value if unit is not None else sky.unmasked)

        def masked(out: AnyArray, mask: BoolArray | None) -> Any:
            return Masked(
                out if unit is None else Quantity(out, unit, dtype=out.dtype, copy=False), mask=mask
            )

        return plain, np.asarray(sky.mask), own, masked
    if unit is not None:
        return sky.value, None, own, lambda out, mask: Quantity(out, unit, dtype=out.dtype, copy=False)
    if isinstance(sky, np.ma.MaskedArray):
        return sky.data, np.ma.getmaskarray(sky), None, lambda out, mask: np.ma.MaskedArray(out, mask=mask)
    return sky, None, None, lambda out, mask: out


def _stacked(rows: Sequence[Any]) -> Any:
    """Maps in a list as one array; numpy would drop what they say of masks and units."""
    from astropy.units import Quantity, UnitConversionError

    rows = [
        row if getattr(row, "unit", None) is None else Quantity(row, copy=False, subok=True) for row in rows
    ]
    try:
        return np.ma.stack(rows) if any(np.ma.isMaskedArray(row) for row in rows) else np.stack(rows)
    except UnitConversionError as error:
        raise UnitsError(f"the maps of a list are in units that differ: {error}") from None
    except ValueError as error:
        raise MapError(f"the maps of a list do not fit together: {error}") from None
