"""Records: what was written comes back, what belongs elsewhere does not, nothing half-written stays."""

import numpy as np
import pytest

from cmbinpaint.errors import CmbInpaintError
from cmbinpaint.files.result_store import ResultStore

ARRAYS = {"error": np.arange(5.0), "kept": np.ones(3, np.float32), "steps": np.array(7)}


def test_what_was_written_comes_back(tmp_path) -> None:
    kept = ResultStore(tmp_path / "kriging", "a" * 64)
    assert not kept.has(0)
    for sky in range(3):
        kept.write(sky, {**ARRAYS, "error": ARRAYS["error"] + sky})
    assert kept.has(2) and not kept.has(3)
    stacked = kept.stack(3)
    np.testing.assert_array_equal(stacked["error"], np.arange(5.0) + np.arange(3)[:, None])
    assert stacked["kept"].dtype == np.float32 and stacked["steps"].tolist() == [7, 7, 7]
    assert sorted(path.name for path in kept.folder.iterdir()) == ["0000.npz", "0001.npz", "0002.npz"]


def test_records_of_something_else_are_refused_or_discarded(tmp_path) -> None:
    old, new = ResultStore(tmp_path, "a" * 64), ResultStore(tmp_path, "b" * 64)
    old.write(0, ARRAYS)
    new.write(1, ARRAYS)
    with pytest.raises(CmbInpaintError, match=r"0000.npz is a record of another setup.*aaaa.*expected bbbb"):
        new.has(0)
    (tmp_path / "0002.npz").write_bytes(new.path(1).read_bytes()[:100])
    with pytest.raises(CmbInpaintError, match=r"0002.npz is not a record .* remove it and run again"):
        new.read(2)
    assert new.discard_others() == 2 and new.has(1) and not new.has(0) and not new.has(2)


def test_nothing_pickled_is_loaded(tmp_path) -> None:
    kept = ResultStore(tmp_path, "a" * 64)
    np.savez(kept.path(0), made_of=np.array({"a": 1}, dtype=object))
    with pytest.raises(CmbInpaintError, match="is not a record"):
        kept.read(0)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch) -> None:
    def stop(*args):
        raise KeyboardInterrupt

    kept = ResultStore(tmp_path, "a" * 64)
    monkeypatch.setattr("os.replace", stop)
    with pytest.raises(KeyboardInterrupt):
        kept.write(0, ARRAYS)
    assert list(tmp_path.iterdir()) == []
