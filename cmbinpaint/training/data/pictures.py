"""A folder of pictures as masks.

Inputs: a folder of pictures (what Pillow reads) and ``.npy`` arrays. Outputs: bool arrays, True = observed.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from cmbinpaint._types import AnyArray, BoolArray
from cmbinpaint.errors import MaskError
from cmbinpaint.training.data.shapes import SMALLEST_SIDE

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".webp", ".npy")


def read_pictures(folder: Path, *, bright_is_valid: bool = True) -> list[BoolArray]:
    """Read all pictures of a folder, in order of name, each cut at half of the full scale.

    Parameters
    ----------
    folder
        Their folder; other files are ignored.
    bright_is_valid
        Whether bright pixels are observed; otherwise they are holes.

    Returns
    -------
    list of (rows, cols) bool, True = observed.

    Raises
    ------
    MaskError
        If there is no picture, or one cannot be read, is too small, or has no hole; it is named.
    """
    if not folder.is_dir():
        raise MaskError(f"{folder} is not a folder; give one that holds pictures of masks")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise MaskError(f"{folder} holds no picture; known endings: {' '.join(_ENDINGS)}")
    return [read_picture(path, bright_is_valid=bright_is_valid) for path in paths]


def read_picture(path: Path, *, bright_is_valid: bool = True) -> BoolArray:
    """Read one picture as `read_pictures` does.

    Raises
    ------
    MaskError
        If it cannot be read, is too small, or has no hole.
    """
    bright = _bright_array(path) if path.suffix.lower() == ".npy" else _bright_picture(path)
    if bright.ndim != 2 or min(bright.shape) < SMALLEST_SIDE:
        raise MaskError(
            f"{path} has shape {bright.shape}; a mask is two-dimensional with sides of {SMALLEST_SIDE} px or more"
        )
    valid = bright if bright_is_valid else ~bright
    if valid.all():
        raise MaskError(f"{path} has no hole; is it the other way round? give the other value of `holes`")
    return np.ascontiguousarray(valid)


def _bright_picture(path: Path) -> BoolArray:
    try:
        with Image.open(path) as picture:
            # 16-bit and float pictures would be clipped by the conversion to 8 bits.
            deep = picture.mode.startswith(("I", "F"))
            values = np.asarray(picture if deep else picture.convert("L"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise MaskError(f"{path} cannot be read as a picture ({error}); remove or replace it") from error
    half = values.max() / 2 if deep else 127.5
    return np.asarray(values > half)


def _bright_array(path: Path) -> BoolArray:
    try:
        values: AnyArray = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MaskError(f"{path} cannot be read as an array ({error}); remove or replace it") from error
    return np.asarray(values != 0)
