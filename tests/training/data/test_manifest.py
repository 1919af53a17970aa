"""A manifest is read with suspicion: nothing outside the folder, nothing its recipe does not make."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cmbinpaint._files import write_whole
from cmbinpaint.errors import DataSetError
from cmbinpaint.training.data.manifest import file_hash, read_manifest, write_manifest
from cmbinpaint.training.data.reader import StoredSkies


def damage(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def test_what_is_written_is_read(copy: Path) -> None:
    before = (copy / "manifest.json").read_bytes()
    write_manifest(copy, read_manifest(copy))
    assert (copy / "manifest.json").read_bytes() == before


SHARD = "train_c00_0000.npy"


@pytest.mark.parametrize(
    "change, text",
    [
        (
            lambda t: t["sha256"].update({"../x.npy": "0" * 64}),
            "names the file '../x.npy', which its recipe does not",
        ),
        (
            lambda t: t["sha256"].update({"/dev/zero": "0" * 64}),
            "names the file '/dev/zero', which its recipe does",
        ),
        (
            lambda t: t["sha256"].update({"x.npy": "0" * 64}),
            "names the file 'x.npy', which its recipe does not make",
        ),
        (lambda t: t["sha256"].update({SHARD: "12"}), f"the sha256 of '{SHARD}' is '12'; 64 hexadecimal"),
        (lambda t: t["sha256"].update({SHARD: 12}), f"the sha256 of '{SHARD}' is '12'; 64 hexadecimal"),
        (lambda t: t["sha256"].pop("spectra.npy"), "lacks the sha256 of 'spectra.npy'"),
        (lambda t: t["recipe"].update(skies=-1), "data set: skies is -1; give 1 or more"),
        (lambda t: t["recipe"].update(skies=10**18), f"data set: skies is {10**18}; give 1000000 or less"),
        (lambda t: t["recipe"].update(colour=1), "data set: unknown key 'colour'"),
        (lambda t: t.pop("sha256"), "an entry is absent or of the wrong type ('sha256')"),
        (lambda t: t.update(sha256=["x"]), "an entry is absent or of the wrong type"),
        (lambda t: t.update(recipe=3), "an entry is absent or of the wrong type"),
        (lambda t: t.update(class_rms_uK=[1.0]), "class_rms_uK is [1.0]; 2 positive numbers are needed"),
        (lambda t: t.update(class_rms_uK=[10**400, 1]), "an entry is absent or of the wrong type"),
        (lambda t: t.update(format=1), "not a data set's manifest of format 2; make the data set again"),
    ],
)
def test_what_is_refused(copy: Path, change: Callable[[dict[str, Any]], None], text: str) -> None:
    damage(copy, change)
    with pytest.raises(DataSetError, match=re.escape(text)):
        read_manifest(copy)


def test_no_manifest_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(
        DataSetError, match=r"is not a data set: manifest\.json cannot be read .*`cmbinpaint dataset`"
    ):
        read_manifest(tmp_path)
    for content in ("{", "[" * 100_000, "1" * 5000):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(DataSetError, match=r"manifest\.json: not "):
            read_manifest(tmp_path)


def test_a_device_in_a_files_place(copy: Path) -> None:
    """Neither endless files nor pipes without a writer are read."""
    for name in ("test_c00_0000.npy", "manifest.json"):
        (copy / name).unlink()
        (copy / name).symlink_to("/dev/zero")
        with pytest.raises(DataSetError, match=rf"{name}.* \(not a regular file\)"):
            StoredSkies.open(copy)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_whole(path, b"old")
    with pytest.raises(TypeError):
        write_whole(path, 7)  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npy"] and path.read_bytes() == b"old"


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
