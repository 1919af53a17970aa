"""Files as others write and damage them: read where there is one right reading, else refused with words that help."""

import gzip
import re
from pathlib import Path
from typing import Any

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits as afits

from cmbinpaint.errors import CmbInpaintWarning, FitsError, MapError
from cmbinpaint.files.fits import describe, read_map, read_mask, write_map

NSIDE = 4
NPIX = 12 * NSIDE**2
SKY = np.random.default_rng(5).normal(size=NPIX).astype("f4")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def make(
    path: Path, *columns: tuple[str, str, Any, str | None], checksum: bool = False, **cards: Any
) -> Path:
    """Write a table of (TTYPE, TFORM, array, TUNIT) with astropy alone; a card of None is left out."""
    columns = columns or (("I", "E", SKY, "uK_CMB"),)
    hdu = afits.BinTableHDU.from_columns([afits.Column(n, f, u, array=a) for n, f, a, u in columns])
    given = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "INDXSCHM": "IMPLICIT"} | cards
    for keyword, value in given.items():
        if value is not None:
            hdu.header[keyword] = value
    hdu.writeto(path, overwrite=True, checksum=checksum)
    return path


def with_card(path: Path, keyword: str, text: str | bytes) -> Path:
    """Put a raw card into the table's header, whatever astropy thinks of it."""
    raw = path.read_bytes()
    at = raw.find(b"XTENSION")
    end = next(i for i in range(at, len(raw), 80) if raw[i : i + 80].rstrip() == b"END")
    text = text if isinstance(text, bytes) else text.encode("ascii")
    new = (f"{keyword:8}= ".encode() + text).ljust(80)
    cards = [raw[i : i + 80] for i in range(at, end, 80)]
    cards = [c for c in cards if c[:8].rstrip() != keyword.encode()] + [new]
    header = b"".join(cards) + b"END".ljust(80)
    old = -(-(end + 80 - at) // 2880) * 2880
    path.write_bytes(raw[:at] + header.ljust(-(-len(header) // 2880) * 2880) + raw[at + old :])
    return path


# --- units ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [b"\xb5", b"\xc2\xb5", b"\xce\xbc"])
def test_micro_signs_are_read_and_written_as_micro(tmp_path: Path, sign: bytes) -> None:
    path = with_card(make(tmp_path / "map.fits"), "TUNIT1", b"'" + sign + b"K_CMB'")
    sky, info = read_map(path)
    assert info.unit == "uK_CMB"
    assert afits.getheader(write_map(tmp_path / "out.fits", sky, info=info), 1)["TUNIT1"] == "uK_CMB"


def test_a_sign_of_another_encoding_is_never_dropped(tmp_path: Path) -> None:
    path = with_card(make(tmp_path / "map.fits"), "TUNIT1", b"'\xe6K_CMB'")  # µ in code page 437
    assert read_map(path)[1].unit == "?K_CMB"
    assert read_map(path, checksum=False)[1].unit != "K_CMB"


def test_a_unit_without_quotes_is_read(tmp_path: Path) -> None:
    assert read_map(with_card(make(tmp_path / "map.fits"), "TUNIT1", "uK_CMB / unit"))[1].unit == "uK_CMB"


# --- cards that cannot be parsed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("TSCAL1", "0.1.2"),
        ("TSCAL1", "0,1"),
        ("TSCAL1", "'abc'"),
        ("TSCAL1", "(1, 2)"),
        ("TSCAL1", "T"),
        ("TZERO1", "100.0.0"),
        ("TZERO1", "'nan'"),
        ("BAD_DATA", "7 x"),
        ("BAD_DATA", "'none'"),
    ],
)
def test_numbers_that_values_hang_on_are_refused_if_unreadable(
    tmp_path: Path, keyword: str, text: str
) -> None:
    path = make(tmp_path / "map.fits", ("I", "I", np.arange(NPIX, dtype="i2"), "uK_CMB"))
    what = (
        re.escape(f"{keyword} in the header of HDU 1 is ")
        + ".*a number was expected. The values depend on it: correct"
    )
    for reader in (read_map, read_mask):
        with pytest.raises(FitsError, match=what):
            reader(with_card(path, keyword, text))


def test_an_unreadable_card_in_small_letters_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    path.write_bytes(
        path.read_bytes().replace(b"NAXIS2  =                  192 /", b"NAxIS2  =                  192 @")
    )
    with pytest.raises(
        FitsError, match="NAXIS2 in the header is '192 @ length of dimension 2'; a whole number was"
    ):
        read_map(path)


@pytest.mark.parametrize("rows", [2**60, 10**30])
def test_a_size_beyond_all_files_is_refused(tmp_path: Path, rows: int) -> None:
    path = with_card(make(tmp_path / "map.fits"), "NAXIS2", str(rows))
    with pytest.raises(FitsError, match=r"declares .*e\+\d+ bytes of data"):
        describe(path)


def test_a_null_value_that_is_none_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits", ("I", "I", np.arange(NPIX, dtype="i2"), "uK_CMB"))
    with pytest.raises(FitsError, match="TNULL1 in the header is '7 7'; a whole number was expected"):
        read_map(with_card(path, "TNULL1", "7 7"))


def test_an_index_scheme_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FitsError, match="has INDXSCHM='IMPLIZIT 7'; EXPLICIT or IMPLICIT was expected"):
        read_map(with_card(make(tmp_path / "map.fits"), "INDXSCHM", "IMPLIZIT 7"))
    path = with_card(make(tmp_path / "map.fits"), "INDXSCHM", "IMPLICIT")  # without quotes
    np.testing.assert_array_equal(read_map(path)[0], SKY)


def test_unreadable_cards_of_other_columns_and_blank_ones_harm_nothing(tmp_path: Path) -> None:
    columns = (("I", "E", SKY, "uK_CMB"), ("Q", "E", 2 * SKY, "uK_CMB"))
    path = with_card(with_card(make(tmp_path / "map.fits", *columns), "TSCAL2", "0.1.2"), "TZERO1", "")
    np.testing.assert_array_equal(read_map(path)[0], SKY)
    with pytest.raises(FitsError, match="TSCAL2 in the header"):
        read_map(path, "Q")


@pytest.mark.parametrize("keyword", ["A([?", "WHAT?", "TT*"])
def test_keywords_are_no_patterns(tmp_path: Path, keyword: str) -> None:
    path = with_card(make(tmp_path / "map.fits"), keyword, "1")
    sky, info = read_map(path)
    np.testing.assert_array_equal(sky, SKY)
    assert info.header[keyword] == 1 and info.header["TTYPE1"] == "I"


def test_scaled_columns_are_doubles(tmp_path: Path) -> None:
    path = with_card(make(tmp_path / "map.fits"), "TZERO1", "2725500.25")
    sky, _ = read_map(path)
    assert sky.dtype == np.float64
    np.testing.assert_array_equal(sky, SKY.astype("f8") + 2725500.25)


# --- checksums --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 6])
def test_gzip_s_own_checksum_is_verified(tmp_path: Path, level: int) -> None:
    packed = bytearray(gzip.compress(make(tmp_path / "map.fits").read_bytes(), level))
    path = tmp_path / "map.fits.gz"
    changed = refused = 0
    for place in range(len(packed) // 2, len(packed) - 9, 7):
        packed[place] ^= 1
        path.write_bytes(packed)
        try:
            changed += not np.array_equal(read_map(path)[0], SKY)
        except FitsError as error:
            assert "damaged" in str(error)
            refused += 1
        packed[place] ^= 1
    assert changed == 0 and refused > 20
    path.write_bytes(packed[:-6])
    with pytest.raises(FitsError, match="its compressed data break off or fail their check"):
        read_map(path)
    with pytest.raises(FitsError, match="break off or fail their check"):
        describe(path)
    packed[-6] ^= 1  # the sum itself
    path.write_bytes(packed)
    with pytest.raises(FitsError, match=r"fail their check \(CRC check failed"):
        read_map(path, checksum=False)


def test_what_follows_a_table_in_a_compressed_file_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.fits.gz"
    path.write_bytes(gzip.compress(make(tmp_path / "map.fits").read_bytes() + bytes(6000 * 2880)))
    read_map(path)
    monkeypatch.setattr("cmbinpaint.files.fits_scan._LONGEST_REST", 1 << 20)
    with pytest.raises(FitsError, match="unpacks to more than 1048576 bytes beyond what is read of it"):
        read_map(path)


@pytest.mark.parametrize("image", [None, np.arange(100.0)])
def test_the_primary_header_s_checksum_is_verified(tmp_path: Path, image: Any) -> None:
    path = make(tmp_path / "map.fits", checksum=True)
    primary = afits.PrimaryHDU(image)
    primary.header["TELESCOP"] = "PLANCK"
    primary.add_checksum()
    with afits.open(path) as hdus:
        afits.HDUList([primary, hdus[1].copy()]).writeto(tmp_path / "two.fits", checksum=True)
    np.testing.assert_array_equal(read_map(tmp_path / "two.fits")[0], SKY)
    raw = (tmp_path / "two.fits").read_bytes()
    (tmp_path / "two.fits").write_bytes(raw.replace(b"PLANCK", b"PLANKC"))
    with pytest.raises(FitsError, match="in HDU 0 CHECKSUM does not agree with header and data"):
        read_map(tmp_path / "two.fits")
    read_map(tmp_path / "two.fits", checksum=False)


# --- columns and pixels -----------------------------------------------------------------------------------


def test_two_columns_of_one_name_need_a_number(tmp_path: Path) -> None:
    path = make(
        tmp_path / "map.fits", ("I", "E", SKY, "uK"), ("X", "E", 2 * SKY, "uK"), ("i", "E", 3 * SKY, "uK")
    )
    np.testing.assert_array_equal(read_map(path, "I")[0], SKY)  # spelled exactly so once
    path = with_card(path, "TTYPE2", "'I'")
    with pytest.raises(
        FitsError, match=r"has 2 columns 'I': give a number; it has 0: I \[uK\], 1: I \[uK\], 2: i"
    ):
        read_map(path, "I")
    np.testing.assert_array_equal(read_map(path, 1)[0], 2 * SKY)


def test_a_misspelled_pixtype_is_read_and_another_is_not(tmp_path: Path) -> None:
    for name in ("HELPIX", "HEALPIXEL", "healpx"):
        np.testing.assert_array_equal(read_map(make(tmp_path / "map.fits", PIXTYPE=name))[0], SKY)
    for name in ("CAR", "IGLOO", "QUADCUBE", "HPX"):
        with pytest.raises(FitsError, match=f"has PIXTYPE='{name}'; HEALPIX was expected"):
            read_map(make(tmp_path / "map.fits", PIXTYPE=name))


def test_a_full_sky_that_says_explicit_is_a_full_sky(tmp_path: Path) -> None:
    for columns in ((("T", "E", SKY, "uK"),), (("T", "E", SKY, "uK"), ("Q", "E", SKY, "uK"))):
        path = make(tmp_path / "map.fits", *columns, INDXSCHM="EXPLICIT")
        np.testing.assert_array_equal(read_map(path)[0], SKY)
    path = make(
        tmp_path / "map.fits", ("T", "E", SKY[:9], "uK"), ("Q", "E", SKY[:9], "uK"), INDXSCHM="EXPLICIT"
    )
    with pytest.raises(
        FitsError, match=r"is EXPLICIT, which needs a column of pixel indices; it has 0: T \[uK\], 1"
    ):
        read_map(path)


def test_pixels_of_any_name_are_found_first_if_whole(tmp_path: Path) -> None:
    pixels = np.array([3, 1, 7])
    for name, form in (("HEALPIX_NUMBER", "K"), ("MYPIX", "D"), ("PIXEL", "J")):
        path = make(
            tmp_path / "m.fits", (name, form, pixels, None), ("T", "E", SKY[:3], "uK"), INDXSCHM="EXPLICIT"
        )
        np.testing.assert_array_equal(read_map(path)[0][pixels], SKY[:3])


def test_values_as_arrays_in_rows(tmp_path: Path) -> None:
    pixels = np.arange(12)
    path = make(
        tmp_path / "map.fits",
        ("PIXEL", "4J", pixels.reshape(3, 4), None), ("T", "4E", SKY[:12].reshape(3, 4), "uK"),
        INDXSCHM="EXPLICIT",
    )  # fmt: skip
    np.testing.assert_array_equal(read_map(path)[0][:12], SKY[:12])
    path = make(
        tmp_path / "map.fits",
        ("PIXEL", "J", pixels, None), ("IQU", "3E", np.ones((12, 3)), "uK"), INDXSCHM="EXPLICIT",
    )  # fmt: skip
    with pytest.raises(
        FitsError, match=r"lists 12 pixels for 36 values of column 'IQU' \(3 a row\): one value"
    ):
        read_map(path)
    path = make(tmp_path / "map.fits", ("IQU", "3E", np.ones((NPIX, 3)), "uK"))
    with pytest.raises(
        FitsError, match="'IQU' holds 576, which is 3 values for each pixel: give each a column"
    ):
        read_map(path)


@pytest.mark.parametrize("repeat", [1, 4])
def test_grain_is_refused_by_name(tmp_path: Path, repeat: int) -> None:
    values = SKY[: 8 * repeat].reshape(8, repeat)
    columns = (("PIXEL", "J", np.arange(0, 32, 4), None), ("I", f"{repeat}E", values, "uK"))
    with pytest.raises(FitsError, match=r"has GRAIN=4: an index that stands for several pixels is not read"):
        read_map(make(tmp_path / "map.fits", *columns, INDXSCHM="EXPLICIT", GRAIN=4))
    np.testing.assert_array_equal(read_map(make(tmp_path / "m.fits", GRAIN=0))[0], SKY)


def test_multi_order_maps_are_refused_as_such(tmp_path: Path) -> None:
    columns = (("UNIQ", "K", 4 * 4**2 + np.arange(NPIX), None), ("PROBDENSITY", "D", np.abs(SKY), "sr-1"))
    for cards in ({"ORDERING": "NUNIQ", "NSIDE": None}, {"ORDERING": None, "NSIDE": None}):
        with pytest.raises(
            FitsError, match=r"is a multi-order \(multi-resolution, NUNIQ\) map; put it on one nside"
        ):
            read_map(make(tmp_path / "map.fits", *columns, INDXSCHM="EXPLICIT", **cards))


def test_compressed_tables_are_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(FitsError, match=r"is a compressed table \(ZTABLE\); unpack it first with funpack"):
        read_map(make(tmp_path / "map.fits", ZTABLE=True))


# --- frames -----------------------------------------------------------------------------------------------


def test_maps_of_other_coordinates_are_refused(tmp_path: Path) -> None:
    _, info = read_map(make(tmp_path / "map.fits", COORDSYS="GALACTIC"))
    for frame in ("G", "gal", None):
        read_mask(make(tmp_path / "mask.fits", COORDSYS=frame), same_frame_as=info)
    for reader in (read_map, read_mask):
        with pytest.raises(
            MapError, match=r"mask.fits is in coordinates 'C', .*map.fits in 'G': they show different"
        ):
            reader(make(tmp_path / "mask.fits", COORDSYS="C"), same_frame_as=info)


# --- names ------------------------------------------------------------------------------------------------


def test_a_column_name_longer_than_a_card_comes_back(tmp_path: Path) -> None:
    name = "TEMPERATURE_" + "X" * 120
    path = make(tmp_path / "map.fits", XTYPE1=name)  # astropy itself writes no such TTYPE, only other cards
    raw = path.read_bytes().replace(b"TTYPE1  = ", b"YTYPE1  = ").replace(b"XTYPE1  = ", b"TTYPE1  = ")
    path.write_bytes(raw)
    sky, info = read_map(path, name)
    np.testing.assert_array_equal(sky, SKY)
    assert info.column == name and info.tunit == "uK_CMB"
    with pytest.warns(
        CmbInpaintWarning, match=r"TEMPERATURE_XXXXXXXX\.\.\. has 132 characters; a FITS card holds 68"
    ):
        out = write_map(tmp_path / "out.fits", sky, info=info)
    assert read_map(out)[1].column == name[:68]
    np.testing.assert_array_equal(hp.read_map(out, dtype=None), SKY)


@pytest.mark.parametrize("letter", ["a", "µ"])
def test_a_file_name_of_255_bytes_is_written_and_read(tmp_path: Path, letter: str) -> None:
    room = 255 - len(".fits")
    path = tmp_path / (letter * (room // len(letter.encode())) + ".fits")
    write_map(path, SKY, unit="uK")
    np.testing.assert_array_equal(read_map(path)[0], SKY)
    assert list(tmp_path.iterdir()) == [path]


SPECTRUM = "planck2018_lcdm_cl_v3.fits"  # the one file there that is no map


# --- real files -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the public files are not at {DATA}")
@pytest.mark.parametrize(
    "path", sorted(set(DATA.glob("*.fits")) - {DATA / SPECTRUM}), ids=lambda path: path.name
)
def test_public_files_read_as_healpy_reads_them(path: Path) -> None:
    with pytest.warns(CmbInpaintWarning, match="has no TUNIT") if not describe(path)[0].unit else nothing():
        sky, info = read_map(path, nest=None)
    expected = hp.read_map(path, nest=None, dtype=None)
    np.testing.assert_array_equal(sky, expected.astype(expected.dtype.newbyteorder("=")))
    assert 12 * info.nside**2 == sky.size


class nothing:
    """A context that does nothing."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_a_header_without_an_end_is_not_read_forever(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    head = path.read_bytes()[:2880]
    endless = head.replace(b"END" + b" " * 77, b" " * 80)
    (tmp_path / "endless.fits").write_bytes(endless + b" " * 2880 * 4096)
    with pytest.raises(FitsError, match="the header of HDU 0 is longer than 11796480 bytes"):
        read_map(tmp_path / "endless.fits")


def test_a_table_without_columns_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "map.fits")
    with afits.open(path) as hdus:
        empty = afits.BinTableHDU.from_columns(
            [], header=afits.Header({"PIXTYPE": "HEALPIX", "NSIDE": NSIDE})
        )
        afits.HDUList([hdus[0].copy(), empty]).writeto(tmp_path / "empty.fits")
    with pytest.raises(FitsError, match=r"HDU 1.* has no columns"):
        read_map(tmp_path / "empty.fits")


def test_a_file_that_came_to_be_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch) -> None:
    from cmbinpaint.files import fits_save

    target = tmp_path / "map.fits"
    monkeypatch.setattr(fits_save, "_refuse", lambda *_: target.write_bytes(b"of another process"))
    with pytest.raises(FitsError, match="came to be while it was written here, and is not replaced"):
        write_map(target, SKY)
    assert target.read_bytes() == b"of another process" and list(tmp_path.iterdir()) == [target]
