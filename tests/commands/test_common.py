"""What commands share: arguments, refusals, seeds."""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbinpaint import cli
from cmbinpaint.commands import _common as common
from cmbinpaint.errors import CmbInpaintError, CmbInpaintWarning, FitsError, kept_warnings
from cmbinpaint.files import fits
from cmbinpaint.sphere.fields import Fields
from cmbinpaint.sphere.maps import UNSEEN


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8G", 8 * 2**30),
        ("500M", 500 * 2**20),
        ("1.5k", 1536),
        ("77", 77),
        ("2 GiB", 2 * 2**31 // 2),
        ("3gb", 3 * 2**30),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert common.memory_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "0", "1.2.3", "8X", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected bytes, as 8G or 500M"):
        common.memory_size(text)


@pytest.mark.parametrize(
    ("parse", "good", "bad", "text"),
    [
        (common.positive_int, ["1", "20"], ["0", "-1", "1.5", "x", ""], "expected a whole number above 0"),
        (common.natural, ["0", "7"], ["-1", "0.5", "nan"], "expected a whole number, 0 or more"),
        (common.positive_float, ["0.1", "5e3"], ["0", "-2", "nan", "inf", "x"], "expected a number above 0"),
        (common.natural_float, ["0", "2.5"], ["-0.1", "nan", "inf"], "expected a number, 0 or more"),
    ],
)
def test_numbers(parse, good, bad, text) -> None:
    for word in good:
        assert parse(word) == float(word)
    for word in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=text):
            parse(word)


def test_a_column_is_a_number_or_a_name() -> None:
    assert common.column("2") == 2 and common.column("I_STOKES") == "I_STOKES"


def test_noise_is_a_number_or_a_map_in_its_own_unit(tmp_path: Path) -> None:
    def read(path: Path) -> tuple[np.ndarray, str]:
        maps, info = fits.read_map(path)
        return maps[None], info.unit

    assert common.read_noise("2.5", Fields.T, read) == 2.5
    np.testing.assert_array_equal(common.read_noise("3,0.5", Fields.TQU, read), [3, 0.5, 0.5])
    np.testing.assert_array_equal(common.read_noise("3", Fields.QU, read), [3, 3])
    path = fits.write_map(tmp_path / "n.fits", np.full(12 * 4, 3e-6), unit="K_CMB", ordering="NESTED")
    np.testing.assert_allclose(common.read_noise(str(path), Fields.T, read), np.full(48, 3.0))
    with pytest.raises(
        FitsError, match="--noise-std: got 'nosuch'; expected a number, 0 or more in µK, or a"
    ):
        common.read_noise("nosuch", Fields.T, read)
    with pytest.raises(CmbInpaintError, match=r"--noise-std 3,0\.5 gives 2; the map is of T: one for all"):
        common.read_noise("3,0.5", Fields.T, read)


def test_an_unsaid_unit_is_microkelvin_with_a_warning() -> None:
    assert common.microkelvin("x", "mK_CMB") == 1e3
    with pytest.warns(CmbInpaintWarning, match="the noise map n gives no unit: µK_CMB is assumed"):
        assert common.microkelvin("the noise map n", None) == 1.0


@given(st.floats(1e-6, 1e6), st.sampled_from([np.float32, np.float64]))
def test_scaling_keeps_holes_holes(factor: float, dtype: type) -> None:
    sky = np.array([1.0, UNSEEN, -2.0, np.nan], dtype=dtype)
    np.testing.assert_allclose(common.scaled(sky, factor), [factor, UNSEEN, -2 * factor, np.nan], rtol=1e-12)


def test_fresh_seeds_differ_and_fit_a_header() -> None:
    seeds = {common.fresh_seed() for _ in range(20)}
    assert len(seeds) == 20 and all(0 <= seed < 2**32 for seed in seeds)


def test_words_for_people() -> None:
    assert [common.human_seconds(s) for s in (0.2, 40, 200, 9000)] == ["1 s", "40 s", "3 min", "2.5 h"]
    assert [common.human_bytes(s) for s in (7, 1.5e3, 4.2e8, 1.5e9)] == [
        "7 bytes",
        "1.5 kB",
        "420 MB",
        "1.5 GB",
    ]


def test_the_command_line_can_be_typed_again() -> None:
    assert common.command_line(["inpaint", "my map.fits"]) == "cmbinpaint inpaint 'my map.fits'"


def test_warnings_are_kept_and_given_all_the_same() -> None:
    with pytest.warns() as given, kept_warnings() as kept:
        for text in ("one", "two", "one"):
            warnings.warn(text, CmbInpaintWarning, stacklevel=1)
        warnings.warn("of another package", UserWarning, stacklevel=1)
        assert kept == []
    assert kept == ["one", "two"]
    assert [str(w.message) for w in given] == ["one", "two", "one", "of another package"]


def test_an_error_in_the_block_comes_out() -> None:
    with pytest.raises(FitsError, match="it"), kept_warnings():
        raise FitsError("it")


@pytest.mark.parametrize(
    "words",
    [
        "simulate --nside 16 -o sky.fits --noise-std map.fits",
        "validate --nside 16 --skies 2 -o runs --mask map.fits",
        "info map.fits",
        "inpaint map.fits -o sky.fits",
        "spectra map.fits",
        "report map.fits map.fits -o page.html",
    ],
)
def test_every_command_that_reads_maps_bounds_their_memory(
    words: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    fits.write_map("map.fits", np.ones(3072), unit="uK_CMB")
    assert cli.main([*words.split(), "--max-memory", "1K"]) == 1
    err = capsys.readouterr().err
    assert "map.fits declares data that need" in err and "1024 are allowed: raise --max-memory" in err
