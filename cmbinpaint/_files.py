"""Files that are whole under their names, or not there: written beside, brought to disk, renamed.

Inputs: a path. Outputs: a stream to write to.
"""

import errno
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cmbinpaint.errors import CmbInpaintError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Bytes of a file's name that leave room for what is put around it: file systems allow 255.
_LONGEST_NAME = 230


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`; when the block succeeded it is on disk and has that name, when not it is gone.

    A process that is killed leaves a hidden file `.NAME.*.part` behind, and what stood under the name before.
    """
    short = path.name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    beside = path.with_name(f".{short}.{uuid.uuid4().hex[:12]}.part")
    try:
        with beside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file whole, or leave what was there; text in UTF-8."""
    with whole_or_nothing(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def read_regular(path: Path) -> bytes:
    """Read a file; a device or a pipe raises OSError instead of never ending."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


@contextmanager
def held_folder(folder: Path, doing: str, refusal: type[CmbInpaintError]) -> Iterator[None]:
    """Keep other processes out of a folder; the lock dies with the process, however that ends.

    Parameters
    ----------
    folder
        It exists; while it is held, a file ``.lock`` in it names the process.
    doing
        What another process that holds it does, for the error: "trains".
    refusal
        The error's class.
    """
    path = folder / ".lock"
    handle = _locked(path, folder, doing, refusal)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _locked(path: Path, folder: Path, doing: str, refusal: type[CmbInpaintError]) -> int:
    """The lock file's descriptor, once no other process has it; file systems that know no locks are trusted."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise refusal(f"cannot write to {folder} ({error.strerror}); give another folder") from error
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
            os.close(handle)  # the one before removed it in between
        except BlockingIOError:
            holder = os.read(handle, 200).decode(errors="replace") or "unknown"
            os.close(handle)
            raise refusal(
                f"another process ({holder}) {doing} in {folder}; wait for it, or give another folder"
            ) from None
        except FileNotFoundError:
            os.close(handle)
        except OSError:
            return handle


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk; where folders cannot be synced, names get there on their own."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EISDIR):
            raise
