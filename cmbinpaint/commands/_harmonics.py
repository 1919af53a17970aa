"""What `inpaint` writes of a filled map beside it: E and B as maps, and the a_lm.

Inputs: a `Request` and its filled map. Outputs: columns E_MODES and B_MODES; `OUT_alm.fits`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmbinpaint.commands._input import Request
from cmbinpaint.errors import CmbInpaintError, MapError

if TYPE_CHECKING:
    from cmbinpaint._types import AnyArray
    from cmbinpaint.files.map_info import OtherColumn

COLUMNS = ("E_MODES", "B_MODES")


def alm_path(path: Path) -> Path:
    """Return where the a_lm of a filled map are written."""
    stem = path.name.partition(".fits")[0]
    return path.with_name(f"{stem}_alm.fits")


def refuse_no_modes(request: Request) -> None:
    """Refuse what cannot be had of this map, before any work.

    Raises
    ------
    CmbInpaintError
        If E and B of a map of T are asked for.
    MapError
        If the filled map will have no values where nothing is filled.
    """
    from cmbinpaint.sphere.maps import validate_map

    if request.args.eb_maps and request.info.fields.n == 1:
        raise CmbInpaintError("--eb-maps is of Q and U; this fill is of T")
    lost = int((request.plan.excluded & ~validate_map(request.sky, polarized=True).known).sum())
    if lost:
        option = "--eb-maps" if request.args.eb_maps else "--alm"
        raise MapError(
            f"{option} needs a full sky, and {lost} excluded pixels of {request.args.map} have no value"
        )


def with_eb_columns(
    others: "Sequence[OtherColumn]", filled: "AnyArray", request: Request
) -> "list[OtherColumn]":
    """Return the other columns with E and B after them, in the place of older ones."""
    import numpy as np

    from cmbinpaint.files.map_info import OtherColumn
    from cmbinpaint.spectra.modes import eb_maps
    from cmbinpaint.sphere.maps import to_nest

    info = request.info
    modes = eb_maps(cosmo_map(filled, request)).astype(
        info.dtype if info.dtype.startswith("float") else "float64"
    )
    made = [
        OtherColumn(
            name, info.unit or "", to_nest(row) if info.ordering == "NESTED" else np.array(row), False
        )
        for name, row in zip(COLUMNS, modes, strict=True)
    ]
    return [*(one for one in others if one.name not in COLUMNS), *made]


def write_modes(path: Path, filled: "AnyArray", request: Request, cards: Mapping[str, Any]) -> None:
    """Write the a_lm of a filled map."""
    import numpy as np

    from cmbinpaint.files.alm_files import write_alm
    from cmbinpaint.spectra.modes import map_to_alm

    alm = np.atleast_2d(map_to_alm(cosmo_map(filled, request)))
    known = {key: value for key, value in cards.items() if value[0] is not None} if cards else {}
    # A series resumes with what has no map yet: what a killed run left beside is made again.
    args = request.args
    overwrite = args.overwrite or args.realizations is not None
    write_alm(
        path, alm, request.info.fields.modes, unit=request.info.unit or "", cards=known, overwrite=overwrite
    )


def cosmo_map(filled: "AnyArray", request: Request) -> "AnyArray":
    """Return the map in float64, U in HEALPix's convention."""
    import numpy as np

    values = np.array(filled, dtype=np.float64)
    if values.ndim == 2 and (request.polconv or "COSMO") == "IAU":
        values[-1] *= -1
    return values
