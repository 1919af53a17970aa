"""What the columns of a file are, by the names that Planck, WMAP, healpy and toast give them: T, Q, U, masks, noise.

Inputs: column names. Outputs: those of the Stokes parameters wanted, of their masks and of their noise covariance.
"""

import itertools
import re
from collections.abc import Sequence

from cmbinpaint.errors import FitsError
from cmbinpaint.sphere.fields import Fields

_NAMES = {
    "T": r"T|I|I_STOKES|TEMPERATURE|INTENSITY|STOKES_I",
    "Q": r"Q|Q_STOKES|STOKES_Q|Q[_-]POLARI[SZ]ATION",
    "U": r"U|U_STOKES|STOKES_U|U[_-]POLARI[SZ]ATION",
}
_MASKS = (r"TMASK|MASK_?T|T_MASK", r"PMASK|MASK_?P|P_MASK")


def stokes_of(name: str) -> str | None:
    """T, Q or U, if a column of this name is one."""
    return next((s for s, pattern in _NAMES.items() if _named([name], pattern)), None)


def fields_of(names: Sequence[str]) -> Fields:
    """What a table with these columns holds: T, or Q and U, or all three."""
    found = {stokes_of(name) for name in names}
    if not {"Q", "U"} <= found:
        return Fields.T
    return Fields.TQU if "T" in found else Fields.QU


def stokes_columns(names: Sequence[str], fields: Fields, where: str) -> tuple[str, ...]:
    """The columns of these Stokes parameters.

    Raises
    ------
    FitsError
        If there is none, or more than one, of any of them.
    """
    found = []
    for letter in fields.stokes:
        own = _named(names, _NAMES[letter])
        if len(own) != 1:
            raise FitsError(
                f"{where} has {len(own)} columns that are {letter} by their names; it has {', '.join(names)}: name "
                "them, as field=('I_STOKES', 'Q_STOKES', 'U_STOKES')"
            )
        found += own
    return tuple(found)


def mask_columns(names: Sequence[str], fields: Fields) -> tuple[str, ...]:
    """The masks of these Stokes parameters, by their names: of T and polarization, or one of each; else none."""
    both = [_named(names, pattern) for pattern in _MASKS]
    if all(len(own) == 1 for own in both):
        (temperature,), (polarization,) = both
        return {
            Fields.T: (temperature,),
            Fields.QU: (polarization,),
            Fields.TQU: (temperature, polarization),
        }[fields]
    return stokes_columns(names, fields, "the mask's file") if fields_of(names) is Fields.TQU else ()


def covariance_columns(names: Sequence[str], fields: Fields, where: str) -> tuple[str, ...]:
    """The columns of the noise covariance, II, IQ, IU, QQ, QU, UU as far as these Stokes parameters have them.

    Raises
    ------
    FitsError
        If there is none, or more than one, of any of them.
    """
    letters = fields.stokes.replace("T", "I")
    pairs = [a + b for a, b in itertools.combinations_with_replacement(letters, 2)]
    found = [_named(names, rf"(COV_)?{pair}([_-]COV(ARIANCE)?)?") for pair in pairs]
    if not all(len(own) == 1 for own in found):
        raise FitsError(
            f"{where} has no noise covariance by the names of its columns: {', '.join(names)}; expected "
            f"{', '.join(pairs)}, or II_COV and so on: name them, in this order"
        )
    return tuple(own[0] for own in found)


def _named(names: Sequence[str], pattern: str) -> list[str]:
    """Those that match."""
    return [name for name in names if re.fullmatch(pattern, name.strip().upper())]
