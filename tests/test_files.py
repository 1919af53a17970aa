"""Files are whole under their names, or what stood there stays."""

import errno
import fcntl
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


@given(old=st.none() | st.binary(), pieces=st.lists(st.binary()), breaks=st.booleans(), replace=st.booleans())
def test_all_of_a_file_or_the_old_one(tmp_path_factory, old, pieces, breaks, replace) -> None:
    path = tmp_path_factory.mktemp("f") / "a.bin"
    if old is not None:
        path.write_bytes(old)
    refused = False
    try:
        with whole_or_nothing(path, replace=replace) as stream:
            for piece in pieces:
                stream.write(piece)
            if breaks:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert breaks
    except FileExistsError as error:
        refused = True
        assert str(error) == f"[Errno 17] it exists already and is not replaced: '{path}'"
        assert not replace and old is not None
    expected = old if breaks or refused else b"".join(pieces)
    assert [p.name for p in path.parent.iterdir()] == ([] if expected is None else ["a.bin"])
    assert expected is None or path.read_bytes() == expected


@pytest.mark.parametrize(("call", "replace"), [("fsync", True), ("replace", True), ("link", False)])
def test_a_disk_that_refuses_is_said_to_refuse_the_file(tmp_path, monkeypatch, call, replace) -> None:
    path, new = tmp_path / "a.csv", tmp_path / ("a.csv" if replace else "b.csv")
    write_whole(path, "µK\n")
    assert path.read_bytes() == "µK\n".encode()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=f"No space left on device: '{new}'"):
        write_whole(new, "new\n", replace=replace)
    assert path.read_text(encoding="utf-8") == "µK\n" and list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with (
        pytest.raises(OSError, match=f"No such file or directory: '{other}'"),
        whole_or_nothing(tmp_path / "a"),
    ):
        other.read_bytes()


@pytest.mark.parametrize("replace", [False, True])
def test_pipes_and_devices_stay(tmp_path: Path, replace: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match=f"not a regular file: '{path}'"):
            write_whole(path, "x", replace=replace)
        assert not path.is_file() and path.exists()


def test_a_file_system_without_links(tmp_path: Path, monkeypatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a"
    write_whole(path, "mine", replace=False)
    with pytest.raises(FileExistsError, match=f"'{path}'"):
        write_whole(path, "yours", replace=False)
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [9, 15])
def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path, number: int) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom cmbinpaint._files import whole_or_nothing\n"
        "with whole_or_nothing(Path(sys.argv[1])) as stream:\n"
        f"    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), {number})\n"
    )
    path = tmp_path / "a"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -number
    assert [p.name for p in tmp_path.iterdir()] == [".a.part"]
    write_whole(path, "whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_what_another_process_is_writing_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with whole_or_nothing(path) as stream:
        stream.write(b"first")
        with pytest.raises(BlockingIOError, match=f"another process is writing it: '{path}'"):
            write_whole(path, "second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".a.part").write_text("left")
    write_whole(tmp_path / "a", "whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_taken_away_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch) -> None:
    """Another process may take it for a leftover in the moment before the lock."""
    flock, calls = fcntl.flock, []

    def late(stream: object, how: int) -> None:
        if not calls:
            (tmp_path / ".a.part").unlink()
        calls.append(how)
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(tmp_path / "a", "whole")
    assert len(calls) == 2 and (tmp_path / "a").read_text() == "whole"


def test_names_as_long_as_file_systems_allow(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127 + "x")
    write_whole(path, "whole")
    assert path.read_text() == "whole"


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
