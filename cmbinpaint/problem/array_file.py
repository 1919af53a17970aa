"""Arrays in one file, mapped into memory when it is read: processes that read it share them.

Inputs: texts, numbers and arrays by name. Outputs: the same again, arrays read-only and not in memory until used.

The file is a line that says what it is, length and checksum of a JSON text, that text, and the arrays, each at a
multiple of 64 bytes with a checksum. Nothing is unpickled.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmbinpaint import __version__
from cmbinpaint._files import refuse_special, whole_or_nothing
from cmbinpaint._types import AnyArray
from cmbinpaint.errors import PlanError

_MAGIC = b"cmbinpaint arrays 1\n"
_ALIGNMENT = 64
_LONGEST_TEXT = 1 << 26
_KINDS = "biuf"


def write_arrays(path: Path, said: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> None:
    """Write texts and numbers (as JSON) and arrays, whole or not at all."""
    entries, offset = {}, 0
    kept = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    for name, array in kept.items():
        shape = list(np.shape(arrays[name]))
        entries[name] = [
            array.dtype.str,
            shape,
            offset,
            zlib.crc32(array.data.cast("B") if array.size else b""),
        ]
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    text = json.dumps({"version": __version__, "said": said, "size": offset, "arrays": entries}).encode()
    with whole_or_nothing(path) as stream:
        head = _MAGIC + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + text
        stream.write(head + bytes(-len(head) % _ALIGNMENT))
        for array in kept.values():
            stream.write(array.data)
            stream.write(bytes(-array.nbytes % _ALIGNMENT))


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Read what `write_arrays` wrote.

    Raises
    ------
    PlanError
        If it is none of its files, damaged, or of another version of the package.
    OSError
        If there is no such file.
    """
    refuse_special(path)
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise PlanError(f"{path} is not a plan that cmbinpaint saved; make one with plan.save(path)")
        length, checksum = (int.from_bytes(stream.read(n), "little") for n in (8, 4))
        text = stream.read(min(length, _LONGEST_TEXT))
    damaged = PlanError(f"{path} is damaged or not complete; make the plan again")
    if len(text) != length or zlib.crc32(text) != checksum:
        raise damaged
    found = json.loads(text)
    if found["version"] != __version__:
        raise PlanError(
            f"{path} was made by cmbinpaint {found['version']}, this is {__version__}, whose fills may differ; make "
            "the plan again"
        )
    start = len(_MAGIC) + 12 + length
    start += -start % _ALIGNMENT
    raw = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    if raw.size != start + found["size"]:
        raise damaged
    arrays = {}
    for name, (dtype, shape, offset, checksum) in found["arrays"].items():
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        part = raw[start + offset : start + offset + size]
        if kind.kind not in _KINDS or part.size != size or zlib.crc32(part.data if size else b"") != checksum:
            raise damaged
        arrays[name] = part.view(kind).reshape(shape)
    return found["said"], arrays
