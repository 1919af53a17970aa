"""Read power spectra from text and FITS files, without ever taking D_ell for C_ell.

Inputs: a path. Outputs: C_ell (lmax+1,) from ell = 0.
"""

import io
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from astropy.io import fits

from cmbinpaint._types import FloatArray
from cmbinpaint.errors import SpectrumError

__all__ = ["read_cl"]

# A CMB's C_ell falls by 1e4 from ell = 10 to 1000, its D_ell stays within a factor of a few.
_FALL_OF_DL = 0.05


def read_cl(
    path: str | Path, *, kind: Literal["auto", "cl", "dl"] = "auto", column: int | None = None
) -> FloatArray:
    """Return the temperature C_ell of a text or FITS file.

    Parameters
    ----------
    path
        Text: one column C_ell from ell = 0, or ell and C_ell in the first two columns (further ones, EE and
        so on, are left). FITS: as `healpy.write_cl` makes it.
    kind
        What the file holds. "auto": what its comment lines say (`D_ell`, `l(l+1)`, or CAMB's `L TT EE`, which
        is D_ell); nothing said means C_ell, unless the values run as D_ell of a CMB does, which is an error.
    column
        Index of the column of a text file; None: the second of several.

    Returns
    -------
    cl
        (lmax+1,) float64, in the file's unit squared; multipoles below the first that is listed are 0.

    Raises
    ------
    SpectrumError
        If the file cannot be read, multipoles are missing or repeated, values are negative or not finite, or
        it cannot be told what it holds.
    """
    if kind not in ("auto", "cl", "dl"):
        raise SpectrumError(f'kind is "auto", "cl" or "dl"; got {kind!r}')
    path = Path(path)
    if not path.is_file():
        raise SpectrumError(
            f"{path}: {'a directory' if path.is_dir() else 'no such file'}; a spectrum was expected"
        )
    with path.open("rb") as file:
        is_fits = file.read(9) in (b"SIMPLE  =", b"\x1f\x8b")
    values, said = (_from_fits(path), "cl") if is_fits else _from_text(path, column)
    bad = ~np.isfinite(values) | (values < 0)
    if bad.any():
        raise SpectrumError(
            f"{path}: {int(bad.sum())} values are negative or not finite, the first at "
            f"ell = {int(np.argmax(bad))}"
        )
    if kind == "auto":
        kind = _what_it_holds(values, said, path)
    if kind == "cl":
        return values
    ell = np.arange(values.size)
    return values * np.where(ell > 0, 2 * np.pi / np.maximum(ell * (ell + 1.0), 1.0), 0.0)


def _from_fits(path: Path) -> FloatArray:
    """Return the first column of the first table, which is the temperature's."""
    try:
        # From bytes, so that nothing stays open when the file is damaged.
        with warnings.catch_warnings(), fits.open(io.BytesIO(path.read_bytes())) as hdus:
            warnings.simplefilter("ignore")
            column = np.asarray(hdus[1].data.field(0), dtype=np.float64)
    except Exception as error:  # astropy raises many kinds for a damaged file
        raise SpectrumError(f"{path}: no spectrum as healpy.write_cl makes it: {error}") from error
    return column.reshape(-1)


def _from_text(path: Path, column: int | None) -> tuple[FloatArray, str]:
    """Return values from ell = 0 and what the comments say they are ("cl", "dl", "")."""
    try:
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file is refused below, in our words
            table = np.loadtxt(text.splitlines(), ndmin=2, delimiter="," if "," in text else None)
    except ValueError as error:
        raise SpectrumError(f"{path}: not a table of numbers with # comments: {error}") from error
    if table.size == 0:
        raise SpectrumError(f"{path}: the file is empty; ell and C_ell in two columns were expected")
    said = _said("\n".join(line for line in text.splitlines() if line.lstrip().startswith("#")))
    if table.shape[1] == 1:
        return table[:, 0], said
    wanted = 1 if column is None else column
    if not 0 <= wanted < table.shape[1]:
        raise SpectrumError(
            f"{path}: there is no column {wanted}; the file has {table.shape[1]} columns, from 0"
        )
    ell = table[:, 0]
    if ell[0] < 0 or not np.array_equal(ell, np.arange(ell.size) + ell[0]) or ell[0] != int(ell[0]):
        raise SpectrumError(
            f"{path}: the first column must be ell = 0, 1, 2 and so on without gaps (or start at 2); "
            f"it begins {ell[:4].tolist()}"
        )
    return np.concatenate([np.zeros(int(ell[0])), table[:, wanted]]), said


def _said(comments: str) -> str:
    if re.search(r"\bD_?(ell|l)\b|\bD_?\{?\\?ell|[lL]\s*\(\s*[lL]\s*\+\s*1\s*\)|\bell\s*\(\s*ell", comments):
        return "dl"
    if re.search(r"\bC_?(ell|l)\b", comments, re.IGNORECASE):
        return "cl"
    # CAMB's and the Planck archive's own tables: D_ell with this line and no word about it.
    return "dl" if re.search(r"^#\s*L\s+TT\b", comments, re.MULTILINE) else ""


def _what_it_holds(values: FloatArray, said: str, path: Path) -> Literal["cl", "dl"]:
    if said == "dl":
        return "dl"
    if not said and values.size > 200:
        early = float(np.mean(values[8:13]))
        late = float(np.mean(values[min(1000, values.size - 5) - 5 :][:10]))
        fall = (min(1000, values.size - 5) / 10) ** -2
        if late > early * max(_FALL_OF_DL, 5 * fall):
            raise SpectrumError(
                f"{path}: it does not say whether it holds C_ell or D_ell, and it runs as D_ell does; give "
                'kind="dl" or kind="cl", or put a line "# ell C_ell" at its head'
            )
    return "cl"
