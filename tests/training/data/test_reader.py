"""Reading data sets: verified, by number, never as a whole."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from cmbinpaint.errors import DataSetError
from cmbinpaint.training.data import reader as stored
from cmbinpaint.training.data.reader import StoredSkies
from cmbinpaint.training.data.skies import DataSetRecipe, sky_patches, split_skies
from cmbinpaint.training.data.splits import SPLITS


def test_every_patch_is_its_skys(tiny: DataSetRecipe, built: Path) -> None:
    skies = StoredSkies.open(built)
    for split in SPLITS:
        number = 0
        for label in range(2):
            for sky in split_skies(tiny, label)[split]:
                for patch in sky_patches(tiny, skies.spectra()[label], label, sky):
                    np.testing.assert_array_equal(skies.patch(split, number), patch)
                    assert skies.labels(split)[number] == label
                    number += 1
        assert skies.count(split) == number == 12


def test_middles_are_without_margin(built: Path) -> None:
    skies = StoredSkies.open(built)
    middles = skies.patches("test")
    assert middles.shape == (12, 16, 16) and middles.dtype == np.float32
    np.testing.assert_array_equal(middles[5], skies.patch("test", 5)[4:20, 4:20])
    np.testing.assert_array_equal(skies.patches("test", [7, 2]), middles[[7, 2]])


def test_the_rms_is_the_fields(built: Path) -> None:
    skies = StoredSkies.open(built)
    by_class = skies.manifest.class_rms_uK
    assert skies.rms_uK == pytest.approx(np.hypot(*by_class) / np.sqrt(2))
    values = np.concatenate([skies.patches(split) for split in SPLITS])
    # 36 patches of few independent modes: some 5 %.
    assert values.std() == pytest.approx(skies.rms_uK, rel=0.2)


def test_patches_stay_on_disk_and_few_files_are_open(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_OPEN_SHARDS", 2)
    skies = StoredSkies.open(built)
    base = skies.patch("train", 0)
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap) and not skies.patch("train", 0).flags.writeable
    for split in SPLITS:
        skies.patches(split)
        assert len(skies._maps) <= 2


def test_it_travels_as_folder_and_manifest(built: Path) -> None:
    skies = StoredSkies.open(built)
    skies.patches("train")
    content = pickle.dumps(skies)
    assert len(content) < 5000  # the patches are 83 kB
    np.testing.assert_array_equal(pickle.loads(content).patches("train"), skies.patches("train"))


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / "validation_c01_0000.npy").unlink()
    with pytest.raises(DataSetError, match=r"validation_c01_0000\.npy: missing or unreadable \(No such file"):
        StoredSkies.open(copy)
    with pytest.raises(DataSetError, match=r"validation_c01_0000\.npy: cannot be read"):
        StoredSkies.open(copy, verify="sizes")


@pytest.mark.parametrize("place", [0, 90, 200, -1])
def test_a_damaged_shard_is_named(copy: Path, place: int) -> None:
    path = copy / "test_c00_0000.npy"
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(
        DataSetError, match=r"test_c00_0000\.npy: damaged, its sha256 is .* makes this file again"
    ):
        StoredSkies.open(copy)


def test_a_truncated_shard_is_seen_without_hashes(copy: Path) -> None:
    path = copy / "test_c00_0000.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataSetError, match=r"test_c00_0000\.npy: cannot be read"):
        StoredSkies.open(copy, verify="sizes")
    np.save(path, np.zeros((2, 3, 3), dtype=np.float32))
    text = "holds float32 (2, 3, 3), the manifest says float32 (6, 24, 24)"
    with pytest.raises(DataSetError, match=re.escape(text)):
        StoredSkies.open(copy, verify="sizes")


def test_a_pickle_in_a_shard_is_not_opened(copy: Path) -> None:
    np.save(copy / "test_c00_0000.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataSetError, match=r"test_c00_0000\.npy: cannot be read"):
        StoredSkies.open(copy, verify="sizes")


def test_words_and_numbers_that_are_not_there(built: Path) -> None:
    skies = StoredSkies.open(built)
    with pytest.raises(DataSetError, match="split is 'valid'; known: train, validation, test"):
        skies.patch("valid", 0)
    with pytest.raises(DataSetError, match="patch 12 of 'train' was asked for; it has 12, from 0"):
        skies.patch("train", 12)
    with pytest.raises(DataSetError, match="verify is 'hash'; known: hashes, sizes"):
        StoredSkies.open(built, verify="hash")  # type: ignore[arg-type]
