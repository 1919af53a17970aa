"""What `optimal_spectrum` keeps in a folder: taken up by the next call, with the same bits, and by no other's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

from cmbinpaint import optimal_spectrum
from cmbinpaint._files import held_folder
from cmbinpaint.errors import CmbInpaintError, OutputError
from cmbinpaint.pipeline.kept_pieces import remove_pieces
from cmbinpaint.sims import fiducial_cl, simulate_sky

NSIDE, NOISE, FWHM = 8, 10.0, np.radians(15)
CL = fiducial_cl(3 * NSIDE - 1)
KNOWN = {"cl": CL, "fwhm": FWHM, "noise_std": NOISE, "bins": [2, 5, 9, 14], "unit": "uK"}
MASK = np.abs(hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)[1]) > 15
SKIES = [
    simulate_sky(CL, NSIDE, fwhm=FWHM, pixwin=True, seed=0)
    + NOISE * np.random.default_rng(part).standard_normal(12 * NSIDE**2)
    for part in (1, 2)
]
NAMES = ("bandpowers", "covariance", "response", "noise_bias", "windows")


def pieces_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder).as_posix())[17:] for path in folder.glob("*/*/*.npz"))


def test_half_of_the_pieces_are_taken_up_with_the_same_bits(tmp_path: Path) -> None:
    known = KNOWN | {"sky2": SKIES[1], "n_sims": 12, "seed": 1}
    plain = optimal_spectrum(SKIES[0], MASK, **known)
    first = optimal_spectrum(SKIES[0], MASK, folder=tmp_path, **known)
    every = pieces_of(tmp_path)
    assert len(every) == 4 + 12 and {"response/0003.npz", "pairs/0011.npz"} < set(every)
    kept = sorted(tmp_path.glob("*/*/*.npz"))
    times = {path: path.stat().st_mtime_ns for path in kept[::2]}
    for path in kept[1::2]:
        path.unlink()
    with ThreadPoolExecutor(2) as pool:
        again = optimal_spectrum(SKIES[0], MASK, folder=tmp_path, executor=pool, **known)
    assert pieces_of(tmp_path) == every
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(plain, name), err_msg=name)
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name), err_msg=name)


def test_pieces_are_used_and_those_of_another_setup_are_not(tmp_path: Path) -> None:
    plain = optimal_spectrum(SKIES[0], MASK, folder=tmp_path, seed=1, **KNOWN)
    for path in tmp_path.glob("*/response/*.npz"):
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **(arrays | {"response": 2 * arrays["response"]}))
    used = optimal_spectrum(SKIES[0], MASK, folder=tmp_path, seed=1, **KNOWN)
    np.testing.assert_allclose(used.response, 2 * plain.response)
    x = hp.pix2vec(NSIDE, np.arange(MASK.size))[0]
    for change in (
        {"seed": 2}, {"noise_std": 11.0}, {"bins": [2, 5, 14]}, {"templates": [x**2]}, {"cl": 1.01 * CL}, {"fwhm": 0.2}
    ):  # fmt: skip
        options = KNOWN | {"seed": 1} | change
        found = optimal_spectrum(SKIES[0], MASK, folder=tmp_path, **options)
        wanted = optimal_spectrum(SKIES[0], MASK, **options)
        np.testing.assert_array_equal(found.response, wanted.response, err_msg=str(change))
    other = MASK & (x < 0.9)
    found = optimal_spectrum(SKIES[0], other, folder=tmp_path, seed=1, **KNOWN)
    np.testing.assert_array_equal(found.response, optimal_spectrum(SKIES[0], other, seed=1, **KNOWN).response)


def test_without_a_seed_the_folder_keeps_one(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    one, again = (optimal_spectrum(SKIES[0], MASK, folder=folder, **KNOWN) for _ in range(2))
    np.testing.assert_array_equal(again.bandpowers, one.bandpowers)
    assert again.seed == one.seed == int((folder / "seed").read_text())
    apart = optimal_spectrum(SKIES[0], MASK, folder=tmp_path / "c", **KNOWN)
    assert apart.seed != one.seed and np.any(apart.bandpowers != one.bandpowers)
    assert optimal_spectrum(SKIES[0], MASK, folder=folder, seed=7, **KNOWN).seed == 7


def test_pieces_are_removed_and_nothing_else(tmp_path: Path) -> None:
    optimal_spectrum(SKIES[0], MASK, folder=tmp_path / "kept", **KNOWN)
    (tmp_path / "kept" / "notes.txt").write_text("precious")
    remove_pieces(tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["notes.txt"]
    (tmp_path / "kept" / "notes.txt").unlink()
    remove_pieces(tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot make the folder .*file"):
        optimal_spectrum(SKIES[0], MASK, folder=tmp_path / "file", **KNOWN)
    with pytest.raises(CmbInpaintError, match="folder is a int; give a path"):
        optimal_spectrum(SKIES[0], MASK, folder=3, **KNOWN)
    with (
        held_folder(tmp_path, "works", OutputError),
        pytest.raises(OutputError, match=r"another process .* works in"),
    ):
        optimal_spectrum(SKIES[0], MASK, folder=tmp_path, **KNOWN)
    (tmp_path / "seed").write_text("seven")
    with pytest.raises(OutputError, match="seed holds no seed; remove it, or give a seed"):
        optimal_spectrum(SKIES[0], MASK, folder=tmp_path, **KNOWN)
