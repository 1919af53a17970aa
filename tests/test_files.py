"""Files are whole under their names, or what stood there stays."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint._files import held_folder, read_regular, sync_folder, whole_or_nothing, write_whole
from cmbinpaint.errors import CheckpointError


@given(old=st.none() | st.binary(), pieces=st.lists(st.binary()), breaks=st.booleans())
def test_all_of_a_file_or_the_old_one(tmp_path_factory, old, pieces, breaks) -> None:
    path = tmp_path_factory.mktemp("f") / "a.bin"
    if old is not None:
        path.write_bytes(old)
    try:
        with whole_or_nothing(path) as stream:
            for piece in pieces:
                stream.write(piece)
            if breaks:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert breaks
    expected = old if breaks else b"".join(pieces)
    assert [p.name for p in path.parent.iterdir()] == ([] if expected is None else ["a.bin"])
    assert expected is None or path.read_bytes() == expected


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses(tmp_path: Path, monkeypatch, call: str) -> None:
    path = tmp_path / "a.csv"
    write_whole(path, "µK\n")
    assert path.read_bytes() == "µK\n".encode()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new\n")
    assert path.read_text(encoding="utf-8") == "µK\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)]
)
def test_folders_that_cannot_be_synced_are_no_error(tmp_path, monkeypatch, number: int, passes: bool) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    if passes:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            sync_folder(tmp_path)


HOLDER = """
import sys
from pathlib import Path
from cmbinpaint._files import held_folder
from cmbinpaint.errors import CheckpointError
with held_folder(Path(sys.argv[1]), "trains", CheckpointError):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_held_folder_is_free_when_its_process_ends(tmp_path: Path, killed: bool) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        text = (
            rf"another process \({holder.pid} on {socket.gethostname()}\) trains in .*; wait for it, or give"
        )
        with (
            pytest.raises(CheckpointError, match=text),
            held_folder(tmp_path, "trains", CheckpointError),
        ):
            pass
        if killed:
            holder.kill()
        else:
            holder.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ([".lock"] if killed else [])
    with held_folder(tmp_path, "trains", CheckpointError):
        assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_held(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match=r"cannot write to .*absent \(No such file or directory\)"),
        held_folder(tmp_path / "absent", "trains", CheckpointError),
    ):
        pass


def test_what_is_not_a_regular_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "a") == read_regular(tmp_path / "b") == b"abc"
    os.mkfifo(tmp_path / "c")
    for path in (Path("/dev/zero"), tmp_path / "c"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(path)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
