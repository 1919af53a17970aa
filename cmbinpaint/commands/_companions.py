"""Maps that belong to the map of a command: its truth, what was made of it, its errors.

Inputs: files, and what is known of the first map. Outputs: (npix,) or (k, npix) float64, RING, in its unit of work, U
in HEALPix's convention.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cmbinpaint.errors import CmbInpaintWarning, MapError, UnitsError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray, FloatArray
    from cmbinpaint.files.fits import MapInfo


class Companions:
    """Reads maps that belong to another one, the first, in its unit of work, float64.

    Parameters
    ----------
    info
        Of the first map.
    unit
        Of the work; None: the first map's own, of which nothing is known.
    max_memory
        Bytes that a map may take.
    declared
        Unit and ordering that the user says of all files.
    """

    def __init__(
        self,
        info: "MapInfo",
        unit: str | None,
        max_memory: int | None,
        declared: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self.info, self.unit, self.max_memory, self.declared = info, unit, max_memory, declared

    def in_work_unit(self, sky: "AnyArray", info: "MapInfo") -> "FloatArray":
        """Return it as float64, NaN where nothing is known; a file that gives no unit has the map's."""
        import numpy as np

        from cmbinpaint.sphere.maps import validate_map
        from cmbinpaint.sphere.units import unit_factor

        if info.unit is not None and self.unit is None:
            raise UnitsError(
                f"{self.info.path} gives no unit and {info.path} is in {info.unit}: they cannot be compared; --unit "
                "declares it"
            )
        taken, own = validate_map(sky, polarized=True), info.unit or self.info.unit
        factor = 1.0 if own is None or self.unit is None else unit_factor(own, self.unit)
        values = np.where(taken.known, taken.values * factor, np.nan)
        if info.fields.n > 1 and (info.polcconv or "").upper() == "IAU":
            values[-1] *= -1
        return values

    def read(self, path: Path) -> "tuple[FloatArray, MapInfo]":
        """Read the columns named as the map's, else those of T, Q, U, or of T the first; refuse other resolutions."""
        from cmbinpaint.files import fits

        own = {c.name for c in fits.describe(path, max_memory=self.max_memory)}
        names: list[str | tuple[str, ...]] = [self.info.field]
        if self.info.fields.n > 1:  # a standard deviation's, as --std-map names them
            names.append(tuple(f"{name}_STD" for name in self.info.names))
        other = 0 if self.info.fields.n == 1 else self.info.fields.value
        chosen = next((n for n in names if own >= ({n} if isinstance(n, str) else set(n))), other)
        with warnings.catch_warnings():
            if self.info.unit is None:  # said of the map itself already
                warnings.filterwarnings("ignore", "column .* has no TUNIT", CmbInpaintWarning)
            sky, info = fits.read_map(
                path,
                chosen,
                unit=self.declared[0],
                ordering=self.declared[1],
                max_memory=self.max_memory,
                same_frame_as=self.info,
            )
        if info.nside != self.info.nside:
            raise MapError(
                f"{path} has nside {info.nside}, {self.info.path} has nside {self.info.nside}; they must be equal"
            )
        return self.in_work_unit(sky, info), info

    def read_full(self, path: Path) -> "FloatArray":
        """Read a map without holes."""
        import numpy as np

        sky, _ = self.read(path)
        n = int(np.count_nonzero(np.isnan(sky)))
        if n:
            raise MapError(f"{path} has {n} pixels that are NaN or UNSEEN; a full sky was expected")
        return sky

    def read_filled(self, path: Path) -> "tuple[FloatArray, MapInfo]":
        """Read a filled map; say so if it looks to be the one with holes."""
        import numpy as np

        sky, info = self.read(path)
        n = int(np.count_nonzero(np.isnan(sky)))
        if n:
            raise MapError(
                f"{path} has {n} pixels that are NaN or UNSEEN, and a filled map was expected; the order is the map "
                "with holes first, then what was made of it"
            )
        return sky, info
