"""HEALPix files: healpy and astropy are the oracles; every fault of a file gets its message."""

import bz2
import gzip
import lzma
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import astropy.units as u
import healpy as hp
import numpy as np
import pytest
from astropy.io import fits as afits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cmbinpaint.errors import CmbInpaintWarning, FitsError, MapError, UnitsError
from cmbinpaint.files import fits
from cmbinpaint.files.fits import MapInfo, describe, read_map, read_mask, sha256_of, write_map
from cmbinpaint.sphere.maps import UNSEEN

NSIDE = 16
NPIX = 12 * NSIDE**2
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SKY = np.random.default_rng(5).normal(size=NPIX).astype("f4")


def make(
    path: Path,
    columns: dict[str, Any] | None = None,
    *,
    header: dict[str, Any] | None = None,
    units: dict[str, str] | None = None,
    checksum: bool = False,
    formats: dict[str, str] | None = None,
    without: tuple[str, ...] = (),
    **column_words: Any,
) -> Path:
    """Write a HEALPix-like table with astropy alone, as others write theirs."""
    columns = {"I_STOKES": SKY} if columns is None else columns
    units = {"I_STOKES": "uK_CMB"} if units is None else units
    letters = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "u1": "B", "b1": "L"}
    cols = []
    for name, array in columns.items():
        array = np.asarray(array)
        letter = (formats or {}).get(name) or letters[array.dtype.str[1:]]
        cols.append(afits.Column(name=name, format=letter, array=array, unit=units.get(name), **column_words))
    hdu = afits.BinTableHDU.from_columns(cols)
    cards = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "IMPLICIT"} | (
        header or {}
    )
    for key, value in cards.items():
        if key not in without:
            hdu.header[key] = value
    hdu.writeto(path, overwrite=True, checksum=checksum)
    return path


def patch_bytes(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(old) >= 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new, 1))
    return path


# --- round trips -----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    nside=st.sampled_from([1, 2, 8, 16, 32]),
    dtype=st.sampled_from(
        ["<f4", ">f4", "<f8", ">f8", "<i2", ">i4", "<i8", "u1", "bool", "<f2", "<u2", "<u4", "i1"]
    ),
    nest=st.booleans(),
    ordering=st.sampled_from(["RING", "NESTED", None]),
    seed=st.integers(0, 999),
    suffix=st.sampled_from([".fits", ".fits.gz"]),
)
def test_what_is_written_comes_back_and_healpy_agrees(
    tmp_path_factory: pytest.TempPathFactory,
    nside: int,
    dtype: str,
    nest: bool,
    ordering: str | None,
    seed: int,
    suffix: str,
) -> None:
    path = tmp_path_factory.mktemp("round") / f"map{suffix}"
    sky = (100 * np.random.default_rng(seed).random(12 * nside**2)).astype(dtype)
    write_map(path, sky, nest=nest, ordering=ordering, unit="uK")
    back, info = read_map(path, nest=nest)
    np.testing.assert_array_equal(back, sky)
    assert back.dtype.isnative and info.dtype == str(back.dtype)
    assert info.ordering == (ordering or ("NESTED" if nest else "RING")) and info.nest == nest
    assert info.unit == "uK_CMB" and info.nside == nside and info.sha256 == sha256_of(path)
    wider = {"<f2": "f4", "<u2": "i4", "<u4": "i8", "i1": "i2"}
    assert back.dtype == np.dtype(wider.get(dtype, dtype)).newbyteorder("=")
    np.testing.assert_array_equal(hp.read_map(path, nest=nest, dtype=None), sky)
    with afits.open(path, checksum=True) as hdus:  # a wrong sum would warn, and warnings are errors here
        assert hdus[1].header["CHECKSUM"] and hdus[0].header["DATASUM"]
        assert hdus[1].header["TFORM1"][:4] == "1024" or nside < 16


@settings(max_examples=20, deadline=None)
@given(
    nest=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64, np.int32]),
    nside=st.sampled_from([4, 16, 64]),
    back=st.sampled_from([True, False, None]),
)
def test_files_of_healpy_are_read_alike(
    tmp_path_factory: pytest.TempPathFactory, nest: bool, dtype: Any, nside: int, back: bool | None
) -> None:
    path = tmp_path_factory.mktemp("hp") / "map.fits"
    sky = np.arange(12 * nside**2).astype(dtype)
    hp.write_map(path, sky, nest=nest, dtype=dtype, coord="G", column_units="uK")
    array, info = read_map(path, nest=back)
    np.testing.assert_array_equal(array, hp.read_map(path, nest=back, dtype=dtype))
    assert (info.unit, info.coord, info.column, info.hdu) == ("uK_CMB", "G", "T", 1)
    assert info.nest == (nest if back is None else back)


def test_the_same_map_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.fits", "b.fits"):
        write_map(tmp_path / name, SKY, provenance={"CISEED": 1}, history=["made"])
    assert sha256_of(tmp_path / "a.fits") == sha256_of(tmp_path / "b.fits")
    # astropy would put the second of writing here.
    assert afits.getheader(tmp_path / "a.fits", 1).comments["CHECKSUM"] == "FITS standard 4.0, appendix J"


def test_a_planck_like_file_of_two_columns(tmp_path: Path) -> None:
    mask = SKY > -1
    path = write_map(
        tmp_path / "planck.fits",
        {"I_STOKES": SKY, "TMASK": mask.astype("f4")},
        unit={"I_STOKES": "K_CMB"},
        ordering="NESTED",
        coord="GALACTIC",
    )
    with afits.open(path) as hdus:
        header = hdus[1].header
        assert [header[k] for k in ("TTYPE1", "TUNIT1", "TTYPE2")] == ["I_STOKES", "K_CMB", "TMASK"]
        assert "TUNIT2" not in header
        keys = ("PIXTYPE", "ORDERING", "NSIDE", "FIRSTPIX", "LASTPIX", "INDXSCHM", "COORDSYS", "OBJECT")
        assert [header[k] for k in keys] == [
            "HEALPIX", "NESTED", NSIDE, 0, NPIX - 1, "IMPLICIT", "GALACTIC", "FULLSKY",
        ]  # fmt: skip
    sky, info = read_map(path, "I_STOKES")
    np.testing.assert_array_equal(sky, SKY)
    np.testing.assert_array_equal(read_mask(path, "TMASK"), mask)
    np.testing.assert_array_equal(hp.read_map(path, field=("TMASK",)), mask)
    assert (info.coord, info.ordering, info.nest, info.unit) == ("G", "NESTED", False, "K_CMB")


def test_the_frame_of_the_input_is_kept(tmp_path: Path) -> None:
    source = make(
        tmp_path / "in.fits",
        {"Q": SKY, "TEMPERATURE": SKY},
        units={"TEMPERATURE": "mK,thermodynamic"},
        header={"ORDERING": "nested", "COORDSYS": "GALACTIC", "POLCCONV": "COSMO", "EXTNAME": "COMP-MAP"},
    )
    sky, info = read_map(source, "temperature")
    assert (info.unit, info.coord, info.polcconv, info.ordering) == ("mK_CMB", "G", "COSMO", "NESTED")
    out = write_map(tmp_path / "out.fits", sky, info=info)
    header = afits.getheader(out, 1)
    kept = {
        "TTYPE1": "TEMPERATURE",
        "TUNIT1": "mK,thermodynamic",
        "COORDSYS": "GALACTIC",
        "ORDERING": "NESTED",
    }
    for key, value in (kept | {"POLCCONV": "COSMO", "EXTNAME": "COMP-MAP"}).items():
        assert header[key] == value
    again, other = read_map(out)
    np.testing.assert_array_equal(again, sky)
    assert (other.unit, other.ordering, other.polcconv) == (info.unit, info.ordering, "COSMO")


def test_provenance_is_written_clean(tmp_path: Path) -> None:
    path = write_map(
        tmp_path / "map.fits",
        SKY,
        provenance={
            "CIVERS": ("0.1.0", "version of cmbinpaint"),
            "CISEED": (np.int64(0), "seed"),
            "CIFSKY": 0.76,
            "CIMODEL": ("m\n\x07µ" + "x" * 100, "c" * 200),
            "CINAN": float("nan"),
            "CINONE": None,
        },
        history=["cmbinpaint inpaint\nsecond line", "h" * 150, "weiß"],
    )
    with afits.open(path, checksum=True) as hdus:
        header = hdus[1].header
        assert (header["CIVERS"], header["CISEED"], header["CIFSKY"]) == ("0.1.0", 0, 0.76)
        assert header.comments["CISEED"] == "seed"
        assert header["CIMODEL"] == "m  u" + "x" * 100 and header["CINAN"] == "nan"
        text = str(header["HISTORY"])
        assert "cmbinpaint inpaint\nsecond line\n" in text and "wei?" in text
    assert read_map(path, unit="K")[1].header["CIMODEL"] == "m  u" + "x" * 100


@pytest.mark.parametrize("key", ["NAXIS1", "ttype1", "CHECKSUM", "TOOLONGKEY", "BAD KEY", "NSIDE"])
def test_provenance_cannot_touch_the_structure(tmp_path: Path, key: str) -> None:
    with pytest.raises(FitsError, match=f"provenance keyword '{key}' cannot be used: it needs up to 8"):
        write_map(tmp_path / "map.fits", SKY, provenance={key: 1})
    assert not list(tmp_path.iterdir())


def test_masked_arrays_and_quantities_are_written(tmp_path: Path) -> None:
    mask = np.arange(NPIX) < 5
    path = write_map(tmp_path / "masked.fits", np.ma.MaskedArray(SKY, mask=mask, fill_value=1e20), unit="K")
    sky, _ = read_map(path)
    assert np.all(sky[:5] == np.float32(UNSEEN)) and sky.dtype == np.float32
    np.testing.assert_array_equal(sky[5:], SKY[5:])
    path = write_map(tmp_path / "ints.fits", np.ma.MaskedArray(np.arange(NPIX), mask=mask), unit="K")
    assert np.all(read_map(path)[0][:5] == UNSEEN)
    path = write_map(tmp_path / "quantity.fits", u.Quantity(SKY, u.mK, dtype="f4"))
    assert read_map(path)[1].unit == "mK_CMB"
    with pytest.raises(UnitsError, match="unit='K' was declared, but the map is in uK_CMB"):
        write_map(tmp_path / "q.fits", SKY * u.uK, unit="K")


def test_units_are_kept_or_declared_never_crossed(tmp_path: Path) -> None:
    source = make(tmp_path / "in.fits", units={"I_STOKES": "Kcmb"})
    sky, info = read_map(source)
    assert afits.getheader(write_map(tmp_path / "a.fits", sky, info=info, unit="K"), 1)["TUNIT1"] == "Kcmb"
    with pytest.raises(
        UnitsError, match=r"unit='uK' was declared, but the map read from .*in\.fits is in K_CMB"
    ):
        write_map(tmp_path / "b.fits", sky, info=info, unit="uK")
    with pytest.raises(UnitsError, match="'K_CMB' was declared, but the map to be written is in uK_CMB"):
        write_map(tmp_path / "b.fits", sky * u.uK, info=info)
    bare = make(tmp_path / "bare.fits", units={})
    sky, info = read_map(bare, unit="muK")
    assert afits.getheader(write_map(tmp_path / "c.fits", sky, info=info), 1)["TUNIT1"] == "uK_CMB"


@pytest.mark.parametrize(
    ("sky", "words", "text"),
    [
        ({}, {}, "at least one"),
        ({"A": SKY}, {"unit": "K"}, r"units as \{name: unit\}"),
        ({"A": SKY}, {"unit": {"B": "K"}}, r"units are given for \['B'\], which are not columns"),
        ({"A": SKY, "B": SKY[:12]}, {}, "one length"),
        (SKY, {"unit": {"A": "K"}}, "unit is one text for a single map"),
        (np.ones((4, NPIX)), {}, r"shape \(4, 3072\)"),
        (SKY[:100], {}, "100 pixels is not a HEALPix map"),
        (SKY.astype(complex), {}, "holds complex128"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, sky: Any, words: dict[str, Any], text: str) -> None:
    with pytest.raises(MapError, match=text):
        write_map(tmp_path / "map.fits", sky, **words)
    assert not list(tmp_path.iterdir())


# --- what others write -----------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["NESTED", "NEST", "nested", "Nest", " nested "])
def test_nested_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    path = make(tmp_path / "map.fits", header={"ORDERING": spelling})
    np.testing.assert_array_equal(read_map(path)[0], hp.reorder(SKY, n2r=True))
    np.testing.assert_array_equal(read_map(path, nest=True)[0], SKY)


@pytest.mark.parametrize("spelling", ["RING", "ring", "Ring"])
def test_ring_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    path = make(tmp_path / "map.fits", header={"ORDERING": spelling})
    np.testing.assert_array_equal(read_map(path)[0], SKY)


def test_ordering_missing_or_strange(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", without=("ORDERING",))
    with pytest.raises(FitsError, match=r"HDU 1 of .*map\.fits has no ORDERING: declare it, .*--ordering"):
        read_map(path)
    np.testing.assert_array_equal(read_map(path, ordering="nest", nest=True)[0], SKY)
    with pytest.raises(FitsError, match="ORDERING is 'spiral'"):
        read_map(path, ordering="spiral")
    with pytest.warns(CmbInpaintWarning, match="says ORDERING='RING'; it is read as NESTED, as declared"):
        read_map(make(tmp_path / "ring.fits"), ordering="NESTED")


def test_keywords_of_the_primary_header_count(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", without=("ORDERING", "PIXTYPE"), units={"I_STOKES": "mK"})
    with afits.open(path, mode="update") as hdus:
        hdus[0].header["SKYCOORD"] = "Galactic"
        hdus[0].header["ORDERING"] = "NESTED"
    info = read_map(path)[1]
    assert (info.coord, info.ordering, info.unit) == ("G", "NESTED", "mK_CMB")


@pytest.mark.parametrize("bad", [-999.0, 0.0, -1.6375e30])
def test_bad_data_is_unseen(tmp_path: Path, bad: float) -> None:
    sky = np.where(np.arange(NPIX) % 7 == 0, bad, SKY).astype("f4")
    path = make(tmp_path / "map.fits", {"I_STOKES": sky}, header={"BAD_DATA": bad})
    array, _ = read_map(path)
    assert np.all((array == np.float32(UNSEEN)) == (sky == np.float32(bad)))
    mask = make(tmp_path / "mask.fits", {"TMASK": np.where(sky == bad, bad, 1.0)}, header={"BAD_DATA": bad})
    np.testing.assert_array_equal(read_mask(mask), sky != np.float32(bad))


def test_nulls_of_integer_columns_are_unseen(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", {"I_STOKES": np.arange(NPIX, dtype="i2")}, null=7)
    array, _ = read_map(path)
    assert array.dtype == np.float32 and np.flatnonzero(array == np.float32(UNSEEN)).tolist() == [7]


def test_scaled_columns(tmp_path: Path) -> None:
    stored = np.arange(NPIX) % 100
    path = make(tmp_path / "map.fits", {"I_STOKES": stored.astype("i2")})
    with afits.open(path, mode="update") as hdus:
        hdus[1].header["TSCAL1"], hdus[1].header["TZERO1"] = 0.5, 10.0
    array, _ = read_map(path)
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, stored * 0.5 + 10.0)
    with afits.open(path) as hdus:
        np.testing.assert_array_equal(array, hdus[1].data["I_STOKES"])


def test_fields_by_name_and_number(tmp_path: Path) -> None:
    path = make(
        tmp_path / "map.fits",
        {"I_STOKES": SKY, "Q_STOKES": 2 * SKY, "TMASK": (SKY > 0).astype("i2")},
        units={"I_STOKES": "K_CMB", "Q_STOKES": "K_CMB"},
    )
    for field in ("I_STOKES", "i_stokes", 0, np.int64(0), "0"):
        np.testing.assert_array_equal(read_map(path, field)[0], SKY)
    np.testing.assert_array_equal(read_map(path, 1)[0], 2 * SKY)
    listed = r"0: I_STOKES \[K_CMB\], 1: Q_STOKES \[K_CMB\], 2: TMASK \[no unit\]"
    with pytest.raises(
        FitsError, match=f"has no column 'I_STOKE'; it has {listed}; did you mean 'I_STOKES'\\?"
    ):
        read_map(path, "I_STOKE")
    with pytest.raises(FitsError, match=f"has no field 3; it has {listed}"):
        read_map(path, 3)
    for field in (-1, True, None):
        with pytest.raises(
            FitsError, match=r"has no field -1|one column's name or number, or several in a tuple"
        ):
            read_map(path, field)  # type: ignore[arg-type]
    assert [(c.hdu, c.number, c.name, c.unit, c.dtype, c.length) for c in describe(path)] == [
        (1, 0, "I_STOKES", "K_CMB", "float32", NPIX),
        (1, 1, "Q_STOKES", "K_CMB", "float32", NPIX),
        (1, 2, "TMASK", "", "int16", NPIX),
    ]


def test_hdus_by_name_and_number(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", header={"EXTNAME": "COMP-MAP"})
    np.testing.assert_array_equal(read_map(path, hdu="comp-map")[0], SKY)
    with pytest.raises(
        FitsError, match=r"has no HDU 4; it has 0: unnamed \(image\), 1: COMP-MAP \(bintable\)"
    ):
        read_map(path, hdu=4)
    with pytest.raises(FitsError, match="has no HDU 'BEAM'"):
        read_map(path, hdu="BEAM")
    with pytest.raises(FitsError, match=r"HDU 0 of .* is without data, not a binary table, .* usually HDU 1"):
        read_map(path, hdu=0)
    with pytest.raises(FitsError, match="hdu is a number from 0 or an EXTNAME, got float"):
        read_map(path, hdu=1.0)  # type: ignore[arg-type]


def test_units_of_columns(tmp_path: Path) -> None:
    bare = make(tmp_path / "bare.fits", units={})
    with pytest.warns(CmbInpaintWarning, match=r"has no TUNIT: assumed unit-free, or µK_CMB .*--unit"):
        assert read_map(bare)[1].unit is None
    assert read_map(bare, unit="mK")[1].unit == "mK_CMB"
    jansky = make(tmp_path / "jansky.fits", units={"I_STOKES": "MJy/sr"})
    array, info = read_map(jansky)
    assert info.unit == "MJy/sr"  # kept as it is: nothing here has to be in µK
    assert afits.getheader(write_map(tmp_path / "out.fits", array, info=info), 1)["TUNIT1"] == "MJy/sr"
    np.testing.assert_array_equal(read_mask(jansky), SKY)
    with pytest.warns(CmbInpaintWarning, match="says TUNIT='uK_CMB'; it is read as K_CMB, as declared"):
        array, info = read_map(make(tmp_path / "map.fits"), unit="K")
    assert info.unit == "K_CMB"
    np.testing.assert_array_equal(array, SKY)


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open])
def test_compressed_files(tmp_path: Path, opener: Any) -> None:
    plain = make(tmp_path / "map.fits", checksum=True)
    with opener(tmp_path / "packed", "wb") as stream:
        stream.write(plain.read_bytes())
    np.testing.assert_array_equal(read_map(tmp_path / "packed")[0], SKY)
    assert describe(tmp_path / "packed")[0].name == "I_STOKES"


def test_control_characters_are_cleaned(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", header={"OBJECT": "FULLSKY", "COORDSYS": "GAL", "METHOD": "commander"})
    path = patch_bytes(path, b"'commander", b"'c\x00mm\xe9\nder")
    path = patch_bytes(path, b"'uK_CMB  '", b"'uK_CMB\t\x07'")
    array, info = read_map(path)
    np.testing.assert_array_equal(array, SKY)
    assert info.unit == "uK_CMB" and info.header["METHOD"] == "c mm? der"
    out = write_map(tmp_path / "out.fits", array, info=info)
    with afits.open(out, checksum=True) as hdus:
        assert hdus[1].header["TUNIT1"] == "uK_CMB"


# --- partial skies ---------------------------------------------------------------------------------------

PARTIAL = {"INDXSCHM": "EXPLICIT", "OBJECT": "PARTIAL"}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4"])
@pytest.mark.parametrize("nest", [False, True])
def test_a_partial_sky_is_unseen_elsewhere(tmp_path: Path, dtype: str, nest: bool) -> None:
    pixels = np.random.default_rng(0).permutation(NPIX)[:500]
    values = np.arange(1, 501).astype(dtype)
    header = PARTIAL | {"ORDERING": "NESTED" if nest else "RING"}
    path = make(tmp_path / "map.fits", {"PIXEL": pixels, "I_STOKES": values}, header=header)
    array, _ = read_map(path, nest=nest)
    expected = np.full(NPIX, UNSEEN, {"i2": "f4", "i4": "f8"}.get(dtype, dtype))
    expected[pixels] = values
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(read_map(path, "I_STOKES", nest=nest)[0], expected)
    observed = read_mask(path, nest=nest)
    np.testing.assert_array_equal(observed != 0, expected != UNSEEN if dtype != "f4" else expected > 0)
    assert observed.dtype == np.dtype(dtype)


def test_a_partial_sky_of_healpy(tmp_path: Path) -> None:
    sky = np.where(np.arange(NPIX) % 3 == 0, hp.UNSEEN, SKY.astype("f8"))
    hp.write_map(tmp_path / "map.fits", sky, partial=True, column_units="K", dtype=np.float64)
    np.testing.assert_array_equal(read_map(tmp_path / "map.fits")[0], sky)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ([-3, -1], r"2 pixel indices are negative, the first -3"),
        ([NPIX], r"1 pixel indices are out of range \(nside 16 has 3072 pixels\), the first 3072"),
        ([8, 9], r"2 pixel indices are duplicates, the first 8"),
    ],
)
def test_bad_pixel_indices(tmp_path: Path, change: list[int], text: str) -> None:
    pixels = np.arange(100, dtype="i4")
    pixels[: len(change)] = change
    path = make(tmp_path / "map.fits", {"PIXEL": pixels, "I_STOKES": SKY[:100]}, header=PARTIAL)
    with pytest.raises(FitsError, match=text):
        read_map(path)


def test_pixel_indices_must_be_whole(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", {"PIXEL": np.arange(100) + 0.5, "I_STOKES": SKY[:100]}, header=PARTIAL)
    with pytest.raises(FitsError, match="some pixel indices are not whole numbers"):
        read_map(path)


# --- faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["filled.fits", "odd[1].fits.gz"])
def test_where_one_file_was_expected_a_series_is_named(tmp_path: Path, name: str) -> None:
    """`inpaint -o filled.fits --realizations 3` writes filled_000.fits and so on."""
    stem, dot, ending = name.partition(".fits")
    for i in range(5, 7):
        (tmp_path / f"{stem}_{i:03d}{dot}{ending}").touch()
        with pytest.raises(FitsError) as raised:
            read_map(tmp_path / name)
        more = ", and 1 like it" if i > 5 else ""
        assert str(raised.value).endswith(f"); {stem}_005{dot}{ending} does{more}")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FitsError, match=r"absent\.fits does not exist \(looked from "):
        read_map(tmp_path / "absent.fits")
    (tmp_path / "absent_mask.fits").touch()
    with pytest.raises(FitsError, match=r"absent\.fits does not exist \(looked from [^;]*\)$"):
        read_map(tmp_path / "absent.fits")
    with pytest.raises(FitsError, match="is a directory; the path of a FITS file was expected"):
        read_map(tmp_path)
    (tmp_path / "empty.fits").touch()
    with pytest.raises(FitsError, match=r"is empty \(0 bytes\)"):
        read_map(tmp_path / "empty.fits")
    np.save(tmp_path / "map.npy", SKY)
    with pytest.raises(FitsError, match=r"map\.npy is not a FITS file: it starts with b'\\x93NUMPY"):
        read_map(tmp_path / "map.npy")
    with gzip.open(tmp_path / "text.gz", "wb") as stream:
        stream.write(b"hello")
    with pytest.raises(FitsError, match=r"text\.gz is not a FITS file"):
        read_map(tmp_path / "text.gz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FitsError, match="is not a regular file"):
        read_map(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    path.chmod(0)
    with pytest.raises(FitsError, match="cannot be read: Permission denied"):
        read_map(path)


# The example ends just after the primary header: a whole FITS file, but without its table.
@settings(max_examples=40, deadline=None)
@example(fraction=0.16015625, packed=False)
@given(fraction=st.floats(0.001, 0.999), packed=st.booleans())
def test_a_truncated_file_is_never_read(
    tmp_path_factory: pytest.TempPathFactory, fraction: float, packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = make(folder / "whole.fits").read_bytes()
    end = 2 * 2880 + 4 * NPIX  # primary, table header, data: then padding
    data = gzip.compress(whole) if packed else whole[:end]
    (folder / "cut.fits").write_bytes(data[: max(20, int(fraction * (len(data) - 16)))])
    with pytest.raises(FitsError, match="truncated"):
        read_map(folder / "cut.fits")


def test_truncation_says_found_and_expected(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    end = 2 * 2880 + 4 * NPIX
    path.write_bytes(path.read_bytes()[: end - 1000])
    with pytest.raises(FitsError, match=rf"is truncated: {end - 1000} bytes found, {end} expected"):
        read_map(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(FitsError, match="the header of HDU 1 breaks off after 1120 bytes, without END"):
        read_map(path)


@pytest.mark.parametrize("packed", [False, True])
def test_missing_padding_is_said_but_no_fault(tmp_path: Path, packed: bool) -> None:
    data = make(tmp_path / "map.fits", checksum=True).read_bytes()[: 2 * 2880 + 4 * NPIX]
    (tmp_path / "map.fits").write_bytes(gzip.compress(data) if packed else data)
    with pytest.warns(CmbInpaintWarning, match="is 18048 bytes long, not a multiple of 2880: its end"):
        sky, _ = read_map(tmp_path / "map.fits")
    np.testing.assert_array_equal(sky, SKY)


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 4 * NPIX - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    path = make(tmp_path_factory.mktemp("bit") / "map.fits", checksum=True)
    data = bytearray(path.read_bytes())
    data[2 * 2880 + position] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(
        FitsError, match=r"damaged or was edited: in HDU 1 DATASUM is \d+, the data sum to \d+"
    ):
        read_map(path)
    read_map(path, checksum=False)


def test_an_edited_header_is_found(tmp_path: Path) -> None:
    path = patch_bytes(make(tmp_path / "map.fits", checksum=True), b"'RING    '", b"'NESTED  '")
    with pytest.raises(FitsError, match=r"in HDU 1 CHECKSUM does not agree .* checksum=False reads it"):
        read_map(path)
    assert read_map(path, checksum=False)[1].ordering == "NESTED"


def test_checksums_hold_over_chunks_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"TMASK": (SKY > 0).astype("u1"), "I_STOKES": np.arange(NPIX, dtype="i2")}
    path = make(tmp_path / "map.fits", columns, checksum=True)
    monkeypatch.setattr("cmbinpaint.files.fits_table.CHUNK_BYTES", 100)  # 33 rows of three bytes
    np.testing.assert_array_equal(read_map(path, "I_STOKES")[0], np.arange(NPIX))


@pytest.mark.parametrize("where", [0, 1])
def test_images_are_refused_with_the_way_out(tmp_path: Path, where: int) -> None:
    image = np.zeros((3, 40, 80), "f4")
    header = afits.Header({"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR"})
    hdus = (
        [afits.PrimaryHDU(image, header)]
        if where == 0
        else [afits.PrimaryHDU(), afits.ImageHDU(image, header)]
    )
    afits.HDUList(hdus).writeto(tmp_path / "car.fits")
    with pytest.raises(
        FitsError, match=rf"HDU {where} of .* is an image of shape \(3, 40, 80\) \(RA---CAR\).*map2healpix"
    ):
        read_map(tmp_path / "car.fits")
    if where == 1:
        return
    with pytest.raises(FitsError, match="is an image of shape"):
        describe(tmp_path / "car.fits")


def test_nside_missing_wrong_or_lying(tmp_path: Path) -> None:
    with pytest.raises(FitsError, match=r"HDU 1 of .* has no NSIDE"):
        read_map(make(tmp_path / "map.fits", without=("NSIDE",)))
    with pytest.raises(
        FitsError,
        match=r"NSIDE of .* is inconsistent: it says 32, 12288 pixels, but .* holds 3072, which is nside 16",
    ):
        read_map(make(tmp_path / "map.fits", header={"NSIDE": 32}))
    with pytest.raises(FitsError, match="no full sky; a partial one needs INDXSCHM='EXPLICIT'"):
        read_map(make(tmp_path / "map.fits", {"I_STOKES": SKY[:500]}))
    for value, text in ((17, "nside 17 is not a power of two"), ("many", "NSIDE in the header is 'many'")):
        with pytest.raises(FitsError, match=text):
            read_map(make(tmp_path / "map.fits", header={"NSIDE": value}))
    assert read_map(make(tmp_path / "map.fits", header={"NSIDE": "16"}))[1].nside == 16
    with pytest.raises(FitsError, match="PIXTYPE='CAR'; HEALPIX was expected"):
        read_map(make(tmp_path / "map.fits", header={"PIXTYPE": "CAR"}))
    np.testing.assert_array_equal(read_map(make(tmp_path / "map.fits", without=("PIXTYPE",)))[0], SKY)


@pytest.mark.parametrize(
    ("letter", "array", "text"),
    [
        ("PE()", np.array([SKY[:3]] * NPIX, dtype=object), "variable-length"),
        ("3A", np.array(["abc"] * NPIX), "holds text"),
        ("C", SKY.astype("c8"), "holds complex numbers"),
    ],
)
def test_columns_without_numbers(tmp_path: Path, letter: str, array: Any, text: str) -> None:
    hdu = afits.BinTableHDU.from_columns([afits.Column(name="T", format=letter, array=array)])
    hdu.header["NSIDE"], hdu.header["ORDERING"] = NSIDE, "RING"
    hdu.writeto(tmp_path / "map.fits")
    with pytest.raises(FitsError, match=f"column 'T' of HDU 1 of .* {text}|column 'T' .* is {text}"):
        read_map(tmp_path / "map.fits")


def test_a_gzip_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    nside = 8192
    rows = 12 * nside**2 // 1024
    head = make(tmp_path / "small.fits", header={"NSIDE": nside}).read_bytes()[: 2 * 2880]
    head = head.replace(b"NAXIS2  =                 3072", b"NAXIS2  = %20d" % rows)
    head = head.replace(b"NAXIS1  =                    4", b"NAXIS1  =                 4096")
    head = head.replace(b"TFORM1  = 'E       '", b"TFORM1  = '1024E   '")
    with gzip.open(tmp_path / "bomb.fits.gz", "wb") as stream:
        stream.write(head + bytes(1 << 20))
    for reader in (read_map, read_mask, describe):
        with pytest.raises(
            FitsError,
            match=rf"declares data that need {4096 * rows} bytes of memory; 1000000 are allowed",
        ):
            reader(tmp_path / "bomb.fits.gz", max_memory=1_000_000)
    # A small file may declare a large sky, compressed or not.
    sparse = make(
        tmp_path / "sparse.fits",
        {"PIXEL": np.arange(4), "I_STOKES": SKY[:4]},
        header=PARTIAL | {"NSIDE": 2**25},
    )
    with pytest.raises(FitsError, match="bytes of memory"):
        read_map(sparse)
    with pytest.raises(FitsError, match="1000 are allowed"):
        read_map(make(tmp_path / "map.fits"), max_memory=1000)


def test_damaged_structure(tmp_path: Path) -> None:
    path = patch_bytes(make(tmp_path / "map.fits"), b"TFORM1  = 'E       '", b"TFORM1  = 'D       '")
    with pytest.raises(FitsError, match="columns of HDU 1 add up to 8 bytes a row, NAXIS1 says 4"):
        read_map(path)
    path = patch_bytes(make(tmp_path / "map.fits"), b"TFORM1  = 'E       '", b"TFORM1  = 'Z       '")
    with pytest.raises(FitsError, match="TFORM1 is 'Z': the table's columns cannot be read"):
        read_map(path)
    path = patch_bytes(
        make(tmp_path / "map.fits"), b"NAXIS2  =                 3072", b"NAXIS2  =                -3072"
    )
    with pytest.raises(FitsError, match="negative sizes"):
        read_map(path)


# --- writing safely --------------------------------------------------------------------------------------


def test_existing_files_and_inputs_are_safe(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    before = path.read_bytes()
    sky, info = read_map(path)
    with pytest.raises(FitsError, match=r"map\.fits exists already; .*overwrite=True \(--overwrite\)"):
        write_map(path, sky)
    with pytest.raises(FitsError, match="is the input; it is never overwritten"):
        write_map(path, sky, info=info, overwrite=True)
    (tmp_path / "link.fits").symlink_to(path)
    with pytest.raises(FitsError, match="is the input"):
        write_map(tmp_path / "link.fits", sky, info=info, overwrite=True)
    assert path.read_bytes() == before
    write_map(path, sky + 1, overwrite=True, unit="K")
    np.testing.assert_array_equal(read_map(path)[0], SKY + 1)


def test_targets_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FitsError, match=r"the folder .*absent does not exist"):
        write_map(tmp_path / "absent" / "map.fits", SKY)
    with pytest.raises(FitsError, match="is a directory"):
        write_map(tmp_path, SKY)
    with pytest.raises(FitsError, match=r"only \.fits and \.fits\.gz are written"):
        write_map(tmp_path / "map.fits.bz2", SKY)


@pytest.mark.parametrize(
    ("number", "text"),
    [(28, "the disk is full"), (13, "Permission denied"), (30, "Read-only file system")],
)
@pytest.mark.parametrize("where", ["os.fsync", "os.replace"])
def test_a_failed_write_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str, where: str
) -> None:
    path = make(tmp_path / "map.fits")
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(where, fail)
    with pytest.raises(FitsError, match=f"map.fits cannot be written: {text}; no partial file was left"):
        write_map(path, SKY, overwrite=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_interrupt_removes_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_map(tmp_path / "map.fits", SKY)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from cmbinpaint.files.fits import write_map\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n    write_map(sys.argv[1], np.zeros(3072))\n"
        "except ValueError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "map.fits")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "FitsError" in done.stdout and "map.fits cannot be written" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = write_map(tmp_path / "map.fits", SKY)
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- real files ------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the public file {name} is not at {DATA}")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "wmap_band_iqumap_r9_7yr_W_v4_udgraded32.fits",
        "wmap_band_iqumap_r9_7yr_W_v4_udgraded32_masked.fits",
    ],
)
def test_wmap_comes_back_the_same(tmp_path: Path, name: str) -> None:
    path = real(name)
    with pytest.warns(CmbInpaintWarning, match="has no TUNIT"):
        sky, info = read_map(path)
    np.testing.assert_array_equal(sky, hp.read_map(path, dtype=np.float32))
    assert (info.nside, info.ordering, info.dtype, info.column) == (32, "RING", "float32", "I_STOKES")
    assert np.count_nonzero(sky == np.float32(UNSEEN)) == (4686 if "masked" in name else 0)
    sky, info = read_map(path, unit="mK")
    out = write_map(tmp_path / "out.fits", sky, info=info)
    again, other = read_map(out)
    np.testing.assert_array_equal(again, sky)
    assert (other.unit, other.dtype, other.ordering, other.column) == (
        "mK_CMB",
        "float32",
        "RING",
        "I_STOKES",
    )


def test_real_masks_are_read() -> None:
    planck = read_mask(real("planck_like_mask_nside128.fits"))
    assert planck.mean() == pytest.approx(0.759, abs=5e-4) and set(np.unique(planck)) == {0.0, 1.0}
    wmap = read_mask(real("wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits"))
    assert wmap.size == 12288


def test_info_refuses_contradictions() -> None:
    with pytest.raises(MapError, match="ordering is 'RING' or 'NESTED', got 'ring'"):
        MapInfo(nside=4, nest=False, ordering="ring")
    with pytest.raises(MapError, match="nside 3 is not a power of two"):
        MapInfo(nside=3, nest=False, ordering="RING")


def test_one_module_is_the_door() -> None:
    assert {"read_map", "write_map", "read_mask", "MapInfo", "describe", "sha256_of"} <= set(fits.__all__)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cmbinpaint ", "sky model: ", "self-check: ", "warning: "]),
            st.text(st.sampled_from("ab µ±"), max_size=300),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_history_comes_back_as_it_was_told(tmp_path: Path, parts: list[tuple[str, str]]) -> None:
    told = [word + " ".join(text.split()) for word, text in parts]  # runs of blanks at a card's end are lost
    path = fits.write_map(tmp_path / "a.fits", np.zeros(12), unit="K", history=told, overwrite=True)
    spelled = tuple(line.replace("µ", "u").replace("±", "+-").rstrip() for line in told)
    assert fits.read_map(path)[1].history == spelled


def test_no_history_is_none(tmp_path: Path) -> None:
    path = fits.write_map(tmp_path / "a.fits", np.zeros(12), unit="K")
    info = fits.read_map(path)[1]
    assert info.history == () and "HISTORY" not in info.header


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"field": "²"}, "has no column '²'; it has"),
        ({"hdu": "²"}, "has no HDU '²'; it has"),
        ({"max_memory": "8G"}, "max_memory is a number of bytes above 0, got '8G'"),
        ({"max_memory": -1}, "max_memory is a number of bytes above 0, got -1"),
        ({"max_memory": math.nan}, "max_memory is a number of bytes above 0, got nan"),
    ],
)
def test_odd_arguments_are_refused_with_what_was_given(option: dict, text: str, tmp_path: Path) -> None:
    write_map(tmp_path / "a.fits", np.arange(48.0), unit="K")
    with pytest.raises(FitsError, match=re.escape(text)):
        read_map(tmp_path / "a.fits", **option)
    assert read_map(tmp_path / "a.fits", max_memory=1e9)[0].size == 48
