"""Atomic writing: a file is written beside its final name, flushed to disk, then renamed.

Inputs: a path. Outputs: a stream to write to.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cmbinpaint.errors import CmbInpaintError

try:
    import fcntl
except ImportError:  # Windows refuses to remove a file that is open, which tells the same
    fcntl = None  # type: ignore[assignment]

# Bytes of a file's name that leave room for what is put around it: file systems allow 255.
_LONGEST_NAME = 240
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_TRIES = 100


@contextmanager
def whole_or_nothing(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Open a file beside `path`; when the block succeeded it is on disk and has that name, when not it is gone.

    A process that is killed leaves a hidden file `.NAME.part` behind, which the next that writes NAME removes, and what
    stood under the name before.

    Parameters
    ----------
    path
        The file.
    replace
        Whether a file of that name is replaced, even one that another process makes meanwhile.

    Raises
    ------
    OSError
        With the file's name, if the disk refuses it, another process is writing it, it exists and is not to be
        replaced, or it is not a regular file.
    """
    short = path.name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    beside, moved = path.with_name(f".{short}.part"), False
    try:
        refuse_special(path)
        with _open_alone(beside) as stream:
            try:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                moved = _rename(beside, path, replace)
            finally:
                if not moved:  # else it is another process's by now
                    with suppress(OSError):
                        beside.unlink(missing_ok=True)
    except OSError as error:
        if error.filename in (None, str(beside), beside):
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes | str, *, replace: bool = True) -> None:
    """Write a file whole, or leave what was there; text in UTF-8."""
    with whole_or_nothing(path, replace=replace) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def read_regular(path: Path) -> bytes:
    """Read a file; a device or a pipe raises OSError instead of never ending."""
    refuse_special(path)
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
    try:
        stream = _open_alone(path)
    except BlockingIOError:
        holder = _start_of(path) or "unknown"
        raise refusal(
            f"another process ({holder}) {doing} in {folder}; wait for it, or give another folder"
        ) from None
    except OSError as error:
        raise refusal(f"cannot write to {folder} ({error.strerror}); give another folder") from error
    with stream:
        stream.write(f"{os.getpid()} on {socket.gethostname()}".encode())
        stream.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def refuse_special(path: Path) -> None:
    """Refuse devices, pipes and sockets: reading them may never end, and a rename would put a file in their place.

    Raises
    ------
    OSError
        If something that is neither a file nor a folder has this name.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


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


def _rename(beside: Path, path: Path, replace: bool) -> bool:
    """Give the file its name; whether it has lost the old one."""
    if replace:
        os.replace(beside, path)
        return True
    try:
        os.link(beside, path)
        return False
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "it exists already and is not replaced", str(path)) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    with path.open("xb"):  # a file system without links: at least the name is ours from here on
        pass
    os.replace(beside, path)
    return True


def _open_alone(beside: Path) -> BinaryIO:
    """Make the file, locked as long as it is open, in place of one that a killed process left."""
    for _ in range(_TRIES):
        try:
            stream = beside.open("xb")
        except FileExistsError:
            _clear(beside)
            continue
        # Another process may have taken it for a leftover before it was locked.
        if _lock(stream) and os.fstat(stream.fileno()).st_nlink:
            return stream
        stream.close()
        time.sleep(0.01)
    raise _busy(beside)


def _clear(beside: Path) -> None:
    """Remove what a killed process left; refuse what a living one is writing."""
    with suppress(FileNotFoundError):
        if fcntl is None:
            try:
                beside.unlink()
            except PermissionError:
                raise _busy(beside) from None
            return
        with beside.open("rb") as left:
            if not _lock(left):
                raise _busy(beside)
            if os.fstat(left.fileno()).st_nlink:
                beside.unlink()


def _lock(stream: BinaryIO) -> bool:
    """Lock a file until it is closed, however that comes; whether no other process has it."""
    try:
        if fcntl is not None:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some file systems know no locks.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _start_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(200).decode(errors="replace")
    except OSError:  # it was removed meanwhile
        return ""


def _busy(beside: Path) -> OSError:
    return BlockingIOError(errno.EAGAIN, "another process is writing it", str(beside))
