"""Where a map came from, and how its file had it.

Inputs: what a header says. Outputs: `MapInfo` of a map, `ColumnInfo` and `OtherColumn` of a column,
`require_same_frame`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, NamedTuple

from cmbinpaint._types import AnyArray
from cmbinpaint.errors import MapError
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import validate_nside

_HISTORY_COLUMNS = 72
# How entries begin that this package writes.
_ENTRIES = ("cmbinpaint ", "sky model: ", "self-check: ", "warning: ")


@dataclass(frozen=True)
class MapInfo:
    """Where a map came from, and how the file had it.

    Attributes
    ----------
    nside
        Resolution.
    nest
        Whether the returned array is NESTED.
    ordering
        `"RING"` or `"NESTED"`: the file's.
    unit
        `"K_CMB"`, `"mK_CMB"`, `"uK_CMB"`, another unit as the file writes it, or None: the file does not say.
    column, hdu
        TTYPE and the HDU's number.
    columns
        Of several columns their TTYPE, the first one's in `column` too; else empty.
    coord
        `"G"`, `"E"`, `"C"`, or None: the file does not say. Maps are never rotated.
    polcconv
        `"COSMO"`, `"IAU"` or None.
    dtype
        Of the array, native byte order.
    path, sha256
        Of the file.
    header
        The HDU's cards but for structure and comments, cleaned of control characters; what only the primary
        header says is in it too. HISTORY is one text with a line for each card.
    """

    nside: int
    nest: bool
    ordering: str
    unit: str | None = None
    column: str = "TEMPERATURE"
    hdu: int = 1
    coord: str | None = None
    polcconv: str | None = None
    dtype: str = "float64"
    path: str = ""
    sha256: str = ""
    header: Mapping[str, Any] = dataclass_field(default_factory=dict, repr=False)
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validate_nside(self.nside)
        if self.ordering not in ("RING", "NESTED"):
            raise MapError(f"ordering is 'RING' or 'NESTED', got {self.ordering!r}")

    @property
    def field(self) -> str | tuple[str, ...]:
        """The column, or columns, as `read_map` takes them."""
        return self.columns or self.column

    @property
    def fields(self) -> Fields:
        """T, or Q and U, or all three."""
        return Fields.of(len(self.names))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, one or several."""
        return self.columns or (self.column,)

    @property
    def tunit(self) -> str:
        """The unit as the file spells it, or an empty text."""
        for key, name in self.header.items():
            if key.startswith("TTYPE") and str(name).strip() == self.column:
                return str(self.header.get(f"TUNIT{key[5:]}", "")).strip()
        return ""

    @property
    def history(self) -> tuple[str, ...]:
        """The HISTORY entries, those that were cut into cards put together again."""
        entries: list[str] = []
        goes_on = False
        for line in str(self.header.get("HISTORY", "")).splitlines():
            if goes_on and not line.startswith(_ENTRIES):
                entries[-1] += line
            else:
                entries.append(line)
            # A card that ends in a blank comes back one column short.
            goes_on = len(line) >= _HISTORY_COLUMNS - 1
            entries[-1] += " " * (goes_on and len(line) < _HISTORY_COLUMNS)
        return tuple(entry.rstrip() for entry in entries)


@dataclass(frozen=True)
class ColumnInfo:
    """One column of a file, for listings: its HDU, number, name, unit as written, type and length."""

    hdu: int
    number: int
    name: str
    unit: str
    dtype: str
    length: int


class OtherColumn(NamedTuple):
    """A column that passes through: name and unit as written, (npix,) in the file's ordering, whether it goes first."""

    name: str
    unit: str
    values: AnyArray
    first: bool


def require_same_frame(own: str | None, path: str, other: MapInfo) -> None:
    """Refuse two files that say they are in different coordinates; one that says nothing fits any.

    Raises
    ------
    MapError
        With the frames of both.
    """
    if own is not None and other.coord is not None and own != other.coord:
        raise MapError(
            f"{path} is in coordinates {own!r}, {other.path} in {other.coord!r}: they show different skies pixel by "
            "pixel. Rotate one of them first (healpy.Rotator.rotate_map_pixel); nothing is rotated here"
        )
