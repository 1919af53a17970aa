"""Files are whole under their names, or what stood there stays."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint._files import sync_folder, whole_or_nothing, write_whole


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
