"""Save FITS files whole or not at all.

Inputs: HDUs, a path. Outputs: a file with checksums under its final name; errors that say what the disk refused.
"""

import errno
import gzip
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from cmbinpaint._files import whole_or_nothing
from cmbinpaint.errors import FitsError
from cmbinpaint.files.map_info import MapInfo

_OVERWRITE = "give another name, or overwrite=True (--overwrite)"


def save_whole(hdus: list[Any], target: Path, overwrite: bool, info: MapInfo | None = None) -> None:
    """Write HDUs with checksums, atomically; the file of `info` is never replaced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)
        for hdu in hdus:
            # Without astropy's date: the same map gives the same bytes.
            hdu.add_checksum(when="FITS standard 4.0, appendix J")
        with _whole_or_nothing(target, overwrite, info) as stream:
            _save(fits.HDUList(hdus), stream, target)


def _save(hdus: fits.HDUList, stream: BinaryIO, target: Path) -> None:
    if target.suffix == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            hdus.writeto(packed)
    else:
        hdus.writeto(_Plain(stream))


class _Plain:
    """A stream that numpy does not take for a file: its `tofile` drops what the system says of a full disk."""

    def __init__(self, stream: BinaryIO) -> None:
        self.write, self.flush, self.tell = stream.write, stream.flush, stream.tell
        self.close = stream.flush  # it is closed where it was opened
        self.closed, self.mode, self.name = False, "wb", ""


@contextmanager
def _whole_or_nothing(target: Path, overwrite: bool, info: MapInfo | None) -> Iterator[BinaryIO]:
    """Refuse what must not be written over; say what the disk refused."""
    _refuse(target, overwrite, info)
    try:
        with whole_or_nothing(target, replace=overwrite) as stream:
            yield stream
    except FileExistsError as error:
        raise FitsError(
            f"{target} came to be while it was written here, and is not replaced: {_OVERWRITE}"
        ) from error
    except OSError as error:
        raise FitsError(
            f"{target} cannot be written: {_reason(error)}; no partial file was left and nothing else was touched"
        ) from error


def _reason(error: OSError) -> str:
    """Say what the disk refused; astropy puts an error of its own before the system's."""
    cause: BaseException | None = error
    while isinstance(cause, OSError) and cause.errno is None:
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, OSError):
        return error.strerror or str(error)
    return "the disk is full" if cause.errno == errno.ENOSPC else cause.strerror or str(cause)


def _refuse(target: Path, overwrite: bool, info: MapInfo | None) -> None:
    if not target.parent.is_dir():
        raise FitsError(f"{target} cannot be written: the folder {target.parent} does not exist")
    if target.is_dir():
        raise FitsError(f"{target} is a directory; the path of a FITS file was expected")
    if target.suffix in (".bz2", ".xz", ".zip"):
        raise FitsError(f"{target}: only .fits and .fits.gz are written")
    source = Path(info.path) if info is not None and info.path else None
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise FitsError(f"{target} is the input; it is never overwritten: give another name")
    if os.path.lexists(target) and not overwrite:
        raise FitsError(f"{target} exists already; {_OVERWRITE}")
