"""Which columns of a file are T, Q and U, by the names that Planck, WMAP, healpy and toast give them.

Inputs: column names. Outputs: those of the Stokes parameters wanted.
"""

import re
from collections.abc import Sequence

from cmbinpaint.errors import FitsError
from cmbinpaint.sphere.fields import Fields

_NAMES = {
    "T": r"T|I|I_STOKES|TEMPERATURE|INTENSITY|STOKES_I",
    "Q": r"Q|Q_STOKES|STOKES_Q|Q[_-]POLARI[SZ]ATION",
    "U": r"U|U_STOKES|STOKES_U|U[_-]POLARI[SZ]ATION",
}


def stokes_of(name: str) -> str | None:
    """T, Q or U, if a column of this name is one."""
    return next((s for s, names in _NAMES.items() if re.fullmatch(names, name.strip().upper())), None)


def stokes_columns(names: Sequence[str], fields: Fields, where: str) -> tuple[str, ...]:
    """The columns of these Stokes parameters.

    Raises
    ------
    FitsError
        If there is none, or more than one, of any of them.
    """
    found = []
    for letter in fields.stokes:
        own = [name for name in names if stokes_of(name) == letter]
        if len(own) != 1:
            raise FitsError(
                f"{where} has {len(own)} columns that are {letter} by their names; it has {', '.join(names)}: name "
                "them, as field=('I_STOKES', 'Q_STOKES', 'U_STOKES')"
            )
        found += own
    return tuple(found)
